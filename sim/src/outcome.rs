//! Counts of simulations, and the violations that they found.

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};

use gesta_log::sim::Counts;

use crate::model::Wrong;
use crate::plan::Focus;

/// The counts of a simulation.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Outcome {
    /// Appends, reads and other calls, opens included.
    pub operations: u64,
    /// Opens that were checked against the model.
    pub opens: u64,
    /// Opens that rebuilt the index beside the open log.
    pub unindexed: u64,
    /// Opens that a torn sector left read-only, for an operator to decide.
    pub unproven: u64,
    /// Second opens of an open log; all were refused.
    pub second_opens: u64,
    /// Harm to files that was reported or had no effect.
    pub harms: u64,
    /// Harm that no record on the disk contradicts: no reader of the folder can detect it.
    pub undetectable: u64,
    /// Backups that were restored and compared.
    pub backups: u64,
    /// The operations of the machine.
    pub counts: Counts,
    /// A hash over everything that happened. The same seed gives the same hash.
    pub trace: u64,
}

/// A promise that the log broke, and the seed that shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    /// The seed.
    pub seed: u64,
    /// The options and the profile that the seed chose.
    pub options: String,
    /// The focus of the simulations, if one was set.
    pub focus: Option<Focus>,
    /// The failed check.
    pub what: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { seed, options, focus, what } = self;
        write!(f, "{what}\nseed {seed} chose {options}\nrepeat it with: cargo xtask sim --seed {seed}")?;
        focus.map_or(Ok(()), |focus| write!(f, " --focus {}", focus.name()))
    }
}

impl std::error::Error for Violation {}

/// Runs `run`, and turns a panic of the log into a failed check.
pub(crate) fn guarded<T>(run: impl FnOnce() -> Result<T, Wrong>) -> Result<T, Wrong> {
    catch_unwind(AssertUnwindSafe(run)).unwrap_or_else(|panic| {
        let said = panic.downcast_ref::<String>().map(String::as_str);
        let said = said.or_else(|| panic.downcast_ref::<&str>().copied());
        Err(format!("the log panicked: {}", said.unwrap_or("without a message")))
    })
}

impl Outcome {
    /// Adds the counts of another simulation.
    pub fn add(&mut self, other: &Self) {
        self.operations += other.operations;
        self.opens += other.opens;
        self.unindexed += other.unindexed;
        self.unproven += other.unproven;
        self.second_opens += other.second_opens;
        self.harms += other.harms;
        self.undetectable += other.undetectable;
        self.backups += other.backups;
        self.trace = self.trace.rotate_left(1) ^ other.trace;
        let (own, other) = (&mut self.counts, &other.counts);
        own.file_operations += other.file_operations;
        own.power_cuts += other.power_cuts;
        own.kills += other.kills;
        own.eio += other.eio;
        own.no_space += other.no_space;
        own.short_writes += other.short_writes;
        own.read_only += other.read_only;
        own.clock_back += other.clock_back;
        own.dropped_sectors += other.dropped_sectors;
        own.torn_sectors += other.torn_sectors;
        own.betrayed_sectors += other.betrayed_sectors;
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { operations, opens, unindexed, unproven, counts, trace, .. } = self;
        let Self { second_opens, harms, undetectable, backups, .. } = self;
        writeln!(
            f,
            "{operations} operations, {opens} opens checked, {unindexed} with an index rebuild, {unproven} left to an operator"
        )?;
        writeln!(
            f,
            "{} power cuts, {} kills, {} EIO, {} ENOSPC, {} EROFS, {} short writes",
            counts.power_cuts,
            counts.kills,
            counts.eio,
            counts.no_space,
            counts.read_only,
            counts.short_writes
        )?;
        writeln!(
            f,
            "{harms} logs harmed, {undetectable} undetectable, {backups} backups restored, {} sectors lost without an error, {} clocks set back, {second_opens} second openers",
            counts.betrayed_sectors, counts.clock_back
        )?;
        writeln!(
            f,
            "{} sectors dropped, {} torn, {} file operations",
            counts.dropped_sectors, counts.torn_sectors, counts.file_operations
        )?;
        write!(f, "trace {trace:016x}")
    }
}
