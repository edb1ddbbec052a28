//! The store on a JetStream cluster by seed: several processes with copies, a cluster with elections, lost answers and lost messages.
//!
//! Everything follows from a seed. The processes drive the machine of `gesta-jetstream`, and decide with its `decide`. The judge (`judge`)
//! knows neither: it reads the messages that the cluster has at the end, and what each client was told.

mod cluster;
mod copy;
mod history;
mod judge;
mod plan;
mod process;
mod world;

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};

use self::plan::Plan;
use self::world::World;

/// What happened in simulations of the store on JetStream.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Clustered {
    /// Simulations.
    pub runs: u64,
    /// Messages that the clusters had at the end.
    pub messages: u64,
    /// Appends that were acknowledged.
    pub acknowledged: u64,
    /// Appends that were refused by their expectations or conditions.
    pub refused: u64,
    /// Appends in doubt, which were sent again.
    pub doubts: u64,
    /// Groups that were decided more than once.
    pub decided_again: u64,
    /// Elections.
    pub elections: u64,
    /// Processes that were killed.
    pub kills: u64,
    /// Messages that clusters lost.
    pub lost: u64,
    /// Processes that named a loss.
    pub halts: u64,
    /// Clusters that accepted a message behind one that it does not follow, so that all processes stopped.
    pub broken: u64,
}

impl Clustered {
    /// Adds the counts of other simulations.
    pub fn add(&mut self, other: &Self) {
        self.runs += other.runs;
        self.messages += other.messages;
        self.acknowledged += other.acknowledged;
        self.refused += other.refused;
        self.doubts += other.doubts;
        self.decided_again += other.decided_again;
        self.elections += other.elections;
        self.kills += other.kills;
        self.lost += other.lost;
        self.halts += other.halts;
        self.broken += other.broken;
    }
}

impl fmt::Display for Clustered {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            runs,
            messages,
            acknowledged,
            refused,
            doubts,
            decided_again,
            elections,
            kills,
            lost,
            halts,
            broken,
        } = self;
        write!(
            f,
            "{runs} clusters: {messages} messages, {acknowledged} appends acknowledged, {refused} refused, {doubts} in doubt, {decided_again} groups decided again, {elections} elections, {kills} kills, {lost} messages lost, {halts} processes that named a loss, {broken} broken chains"
        )
    }
}

/// A promise that the store broke, and the seed that shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClusterViolation {
    /// The seed.
    pub seed: u64,
    /// What the seed chose.
    pub plan: String,
    /// The failed check.
    pub what: String,
}

impl fmt::Display for ClusterViolation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { seed, plan, what } = self;
        write!(f, "{what}\nseed {seed} chose {plan}\nrepeat it with: cargo xtask sim-jetstream --seed {seed}")
    }
}

impl std::error::Error for ClusterViolation {}

/// The reason why a check failed.
type Wrong = String;

/// Runs the simulation of one seed.
///
/// # Errors
/// [`ClusterViolation`] if a promise was broken.
pub fn simulate_jetstream(seed: u64) -> Result<Clustered, ClusterViolation> {
    let plan = Plan::of(seed);
    let described = format!("{plan:?}");
    let violation = |what| ClusterViolation { seed, plan: described.clone(), what };
    match catch_unwind(AssertUnwindSafe(|| World::new(seed, plan).run())) {
        Ok(outcome) => outcome.map_err(violation),
        Err(panic) => {
            let text = panic.downcast_ref::<String>().cloned();
            let text = text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()));
            Err(violation(format!("panic: {}", text.unwrap_or_default())))
        }
    }
}
