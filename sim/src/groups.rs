//! Consumer groups by seed: dealers without threads, members that die and answer late, a key-value store that loses replies.
//!
//! Everything follows from a seed. The judges know nothing of the dealer: one keeps what each effect did at its target (`target`), one looks at
//! every row that becomes durable (`rows`), one at every delivery (`deals`).

mod deals;
mod key_value;
mod log;
mod machine;
mod member;
mod operator;
mod plan;
mod rows;
mod run;
mod target;
mod world;

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};

pub use world::Mistake;

use self::plan::Plan;
use self::world::World;

/// What happened in simulations of groups.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Groups {
    /// Simulations.
    pub runs: u64,
    /// Deliveries.
    pub deliveries: u64,
    /// Effects at targets.
    pub effects: u64,
    /// Effects that a target dropped because it had seen them.
    pub dropped: u64,
    /// Rows that became durable.
    pub puts: u64,
    /// Puts in doubt or refused by chance.
    pub doubts: u64,
    /// Starts of dealers.
    pub starts: u64,
    /// Streams that were parked.
    pub parked: u64,
    /// Events that were skipped.
    pub skipped: u64,
    /// Deliveries that expired.
    pub expired: u64,
    /// Resets, removals and losses of the row, and restores.
    pub moves: u64,
    /// A hash over everything that happened. The same seed gives the same hash.
    pub trace: u64,
}

impl Groups {
    /// Adds the counts of other simulations.
    pub fn add(&mut self, other: &Self) {
        self.runs += other.runs;
        self.deliveries += other.deliveries;
        self.effects += other.effects;
        self.dropped += other.dropped;
        self.puts += other.puts;
        self.doubts += other.doubts;
        self.starts += other.starts;
        self.parked += other.parked;
        self.skipped += other.skipped;
        self.expired += other.expired;
        self.moves += other.moves;
        self.trace = self.trace.wrapping_mul(31).wrapping_add(other.trace);
    }
}

impl fmt::Display for Groups {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} groups: {} deliveries ({} expired), {} effects and {} dropped, {} rows ({} in doubt or refused), {} starts, {} streams parked, {} events skipped, {} resets, removals and restores",
            self.runs,
            self.deliveries,
            self.expired,
            self.effects,
            self.dropped,
            self.puts,
            self.doubts,
            self.starts,
            self.parked,
            self.skipped,
            self.moves
        )
    }
}

/// A promise that a group broke, and the seed that shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupViolation {
    /// The seed.
    pub seed: u64,
    /// What the seed chose.
    pub plan: String,
    /// The failed check.
    pub what: String,
}

impl fmt::Display for GroupViolation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { seed, plan, what } = self;
        write!(f, "{what}\nseed {seed} chose {plan}\nrepeat it with: cargo xtask sim-groups --seed {seed}")
    }
}

impl std::error::Error for GroupViolation {}

/// The reason why a check failed.
pub(crate) type Wrong = String;

/// Runs the simulation of one seed.
///
/// # Errors
/// [`GroupViolation`] if a promise was broken.
pub fn simulate_groups(seed: u64, mistake: Option<Mistake>) -> Result<Groups, GroupViolation> {
    simulate(seed, mistake, false)
}

/// Runs the simulation of one seed, and prints its steps.
///
/// # Errors
/// [`GroupViolation`] if a promise was broken.
pub fn show_groups(seed: u64) -> Result<Groups, GroupViolation> {
    simulate(seed, None, true)
}

fn simulate(seed: u64, mistake: Option<Mistake>, is_shown: bool) -> Result<Groups, GroupViolation> {
    let plan = Plan::of(seed);
    let described = format!("{plan:?}");
    let violation = |what| GroupViolation { seed, plan: described.clone(), what };
    let run = || World::new(seed, plan, mistake, is_shown).run();
    match catch_unwind(AssertUnwindSafe(run)) {
        Ok(outcome) => outcome.map_err(violation),
        Err(panic) => {
            let text = panic.downcast_ref::<String>().cloned();
            let text = text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()));
            Err(violation(format!("panic: {}", text.unwrap_or_default())))
        }
    }
}
