//! What the log knows when it decides a batch: the look-up and the tables. The rules are those of [`gesta_core`].

use std::borrow::Cow;
use std::sync::Arc;

use gesta_core::{
    AppendError, Checkpoint, CommandKey, CommandRecord, Condition, Diverged, EventId, Facts, Placed,
    Position, StreamName, Version,
};

use super::lookup::{ConditionPlace, Lookup};
use crate::bugs::{Bug, planted};
use crate::index::{CommandEntry, Contents, LookupError, MemTable, PartRef, State};

/// The facts about the log that a decision needs besides the index.
pub(crate) struct Scope {
    pub(crate) partition: u16,
    /// The last position that readers have seen: no valid checkpoint lies after it.
    pub(crate) durable: u64,
}

/// All that a decision reads: the look-up, and the tables after it, locked against change.
pub(crate) struct DecisionContext<'a> {
    lookup: &'a Lookup,
    /// The active table of the look-up's snapshot, and all tables begun since.
    tables: Vec<Contents<'a>>,
    scope: Scope,
}

impl<'a> DecisionContext<'a> {
    /// `tables` must be the active table of the look-up's snapshot and all tables begun since.
    pub(crate) fn new(lookup: &'a Lookup, tables: &'a [Arc<MemTable>], scope: Scope) -> Self {
        Self { lookup, tables: tables.iter().map(|table| table.read()).collect(), scope }
    }

    fn place(&self, (version, sequence): (u64, u64)) -> Placed {
        let position = Position { partition: self.scope.partition, sequence };
        Placed { version: Version::new(version), position }
    }

    fn find_in_tables(&self, stream: &StreamName, id: EventId) -> Option<(u64, u64)> {
        self.tables.iter().rev().find_map(|table| table.find_id(stream.as_str(), id))
    }

    fn last(&self) -> u64 {
        self.tables.last().map_or(0, |table| table.last())
    }

    /// The position of the last match of a condition.
    fn last_match(&self, at: usize, condition: &Condition) -> Option<u64> {
        let (before, checked_to) = self.lookup.match_of(at);
        for table in self.tables.iter().rev().filter(|table| table.last() >= table.first) {
            if table.last() <= checked_to {
                break;
            }
            let found = match_in(table, condition);
            if let Some(found) = found.filter(|found| *found > checked_to) {
                return Some(found);
            }
            if planted(Bug::ConditionsOfNewestTable) {
                break;
            }
        }
        before
    }
}

impl Facts for DecisionContext<'_> {
    fn partition(&self) -> u16 {
        self.scope.partition
    }

    fn command(&self, key: &CommandKey) -> Option<CommandRecord<'_>> {
        let in_table = self.tables.iter().rev().find_map(|table| table.command(&key.key));
        in_table.or_else(|| self.lookup.command()).map(CommandEntry::record)
    }

    fn event(&self, at: usize, stream: &StreamName, id: EventId) -> Option<Placed> {
        let found = self.find_in_tables(stream, id).or_else(|| self.lookup.found(at));
        found.map(|found| self.place(found))
    }

    fn batch_end(&self, sequence: u64) -> u64 {
        let table = self.tables.iter().find(|table| (table.first..=table.last()).contains(&sequence));
        table.map_or(self.lookup.found_end(), |table| table.batch_end(sequence))
    }

    fn head(&self, at: usize, stream: &StreamName) -> Option<Placed> {
        let newest = self.tables.iter().rev().find_map(|table| table.head(stream.as_str()));
        newest.or_else(|| self.lookup.expected_head(at)).map(|head| self.place(head))
    }

    fn expected_event(&self, at: usize, stream: &StreamName, id: EventId) -> Option<Placed> {
        let found = self.find_in_tables(stream, id).or_else(|| self.lookup.anchor(at));
        found.map(|found| self.place(found))
    }

    fn check_place(&self, at: usize, after: &Checkpoint) -> Result<(), AppendError> {
        let sequence = after.sequence(self.scope.partition);
        let ahead = |durable| {
            let head = after.clone().with(self.scope.partition, durable);
            AppendError::CheckpointAhead { checkpoint: after.clone(), head }
        };
        match self.lookup.place_of(at) {
            _ if sequence > self.scope.durable => Err(ahead(self.scope.durable)),
            ConditionPlace::Here => Ok(()),
            // No reader of this history had seen the place when the batch was sent.
            ConditionPlace::Ahead(durable) => Err(ahead(durable)),
            ConditionPlace::Elsewhere(mark) => {
                let at = Position { partition: self.scope.partition, sequence };
                let found = after.clone().with_mark(at, mark);
                Err(Diverged { checkpoint: after.clone(), found }.into())
            }
        }
    }

    fn newest_match(&self, at: usize, condition: &Condition, after: u64) -> Option<u64> {
        if self.last() == after { None } else { self.last_match(at, condition) }
    }
}

impl CommandEntry {
    /// The entry as the rules read it.
    pub(crate) fn record(&self) -> CommandRecord<'_> {
        CommandRecord { request: self.request, first: self.first, versions: Cow::Borrowed(&self.versions) }
    }
}

fn match_in(table: &State, condition: &Condition) -> Option<u64> {
    let plan = PartRef::MemTable(table).plan(&condition.fail_if_any);
    let found = plan.and_then(|mut plan| plan.previous(u32::MAX));
    found.expect("a table is in memory").map(|found| table.first + u64::from(found))
}

/// The error for an append that failed because a look-up failed.
pub(crate) fn unavailable(fault: &LookupError) -> AppendError {
    AppendError::Unavailable { reason: fault.to_string() }
}
