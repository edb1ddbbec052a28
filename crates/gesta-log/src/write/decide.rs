//! Decides batches: a pure function of the look-up and the tables. The order of the checks is part of the store's
//! contract.

use std::sync::{Arc, RwLockReadGuard};

use gesta_core::{
    AppendError, Batch, Checkpoint, CommandKey, Condition, Diverged, EventId, Placed, Position, StoreId,
    StreamName, Version,
};

use super::lookup::{ConditionPlace, Lookup};
use crate::bugs::{Bug, planted};
use crate::index::{CommandEntry, LookupError, MemTable, PartRef, State};

/// A refusal. It waits until the events it is based on are durable.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Refused {
    pub(crate) error: AppendError,
    /// The last position that the answer is based on; 0 if none.
    pub(crate) speaks_of: u64,
}

/// The first answer to a repeated batch.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Repeat {
    pub(crate) places: Vec<Placed>,
    /// The end of the batch that holds the last of the events.
    pub(crate) end: u64,
}

/// The facts about the log that a decision needs besides the index.
pub(crate) struct Scope {
    pub(crate) store: StoreId,
    pub(crate) partition: u16,
    /// The last position that readers have seen: no valid checkpoint lies after it.
    pub(crate) durable: u64,
}

/// All that a decision reads: the look-up, and the tables after it, locked against change.
pub(crate) struct DecisionContext<'a> {
    lookup: &'a Lookup,
    /// The active table of the look-up's snapshot, and all tables begun since.
    tables: Vec<RwLockReadGuard<'a, State>>,
}

impl<'a> DecisionContext<'a> {
    /// `tables` must be the active table of the look-up's snapshot and all tables begun since.
    pub(crate) fn new(lookup: &'a Lookup, tables: &'a [Arc<MemTable>]) -> Self {
        Self { lookup, tables: tables.iter().map(|table| table.read()).collect() }
    }

    /// The version and position of the last event of a stream that the batch has an expectation for.
    fn expected_head(&self, at: usize, stream: &StreamName) -> Option<(u64, u64)> {
        let newest = self.tables.iter().rev().find_map(|table| table.head(stream.as_str()));
        newest.or_else(|| self.lookup.expected_head(at))
    }

    fn find(&self, event: usize, stream: &StreamName, id: EventId) -> Option<(u64, u64)> {
        let in_table = |table: &RwLockReadGuard<'_, State>| table.find_id(stream.as_str(), id);
        self.tables.iter().rev().find_map(in_table).or_else(|| self.lookup.found(event))
    }

    /// The version and position of the event that the batch expects as the last one of a stream.
    fn anchor(&self, at: usize, stream: &StreamName, id: EventId) -> Option<(u64, u64)> {
        let in_table = |table: &RwLockReadGuard<'_, State>| table.find_id(stream.as_str(), id);
        self.tables.iter().rev().find_map(in_table).or_else(|| self.lookup.anchor(at))
    }

    fn command(&self, command: &CommandKey) -> Option<&CommandEntry> {
        let in_table = self.tables.iter().rev().find_map(|table| table.command(&command.key));
        in_table.or_else(|| self.lookup.command())
    }

    /// The end of the batch that holds the event at `position`, the last one found.
    fn end_of(&self, position: u64) -> u64 {
        let table = self.tables.iter().find(|table| (table.first..=table.last()).contains(&position));
        table.map_or(self.lookup.found_end(), |table| table.batch_end(position))
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

fn match_in(table: &State, condition: &Condition) -> Option<u64> {
    let plan = PartRef::MemTable(table).plan(&condition.fail_if_any);
    let found = plan.and_then(|mut plan| plan.previous(u32::MAX));
    found.expect("a table is in memory").map(|found| table.first + u64::from(found))
}

/// Finds an earlier append of the same batch, by its command key or its ids.
pub(crate) fn repeat_of(
    known: &DecisionContext<'_>,
    batch: &Batch,
    scope: &Scope,
) -> Result<Option<Repeat>, Refused> {
    if let Some(command) = &batch.command
        && let Some(entry) = known.command(command)
    {
        return repeat_of_command(entry, command, scope.partition).map(Some);
    }
    repeat_by_ids(known, batch, scope)
}

/// The first answer to a command whose key was recorded.
pub(crate) fn repeat_of_command(
    entry: &CommandEntry,
    command: &CommandKey,
    partition: u16,
) -> Result<Repeat, Refused> {
    if entry.request != command.request {
        return Err(Refused { error: AppendError::KeyReused, speaks_of: entry.last() });
    }
    let place = |(version, sequence): (&u64, u64)| Placed {
        version: Version::new(*version),
        position: Position { partition, sequence },
    };
    let places = entry.versions.iter().zip(entry.first..).map(place).collect();
    Ok(Repeat { places, end: entry.last() })
}

/// Decides a repeat by ids alone. All found, at growing positions: a repeat. None found: a new batch. Anything else
/// is refused.
fn repeat_by_ids(
    known: &DecisionContext<'_>,
    batch: &Batch,
    scope: &Scope,
) -> Result<Option<Repeat>, Refused> {
    let find = |(at, event): (usize, &gesta_core::NewEvent)| known.find(at, &event.stream, event.id);
    let found = batch.events.iter().enumerate().map(find).collect::<Vec<_>>();
    let Some(taken) = found.iter().position(Option::is_some) else { return Ok(None) };
    let grows = |at: usize| match (found[at - 1], found[at]) {
        (Some((_, before)), Some((_, position))) => before < position,
        _ => true,
    };
    let cut = (1..found.len()).find(|at| found[*at].is_some() != found[0].is_some() || !grows(*at));
    let Some(cut) = cut else {
        let places = found.into_iter().flatten().map(|(version, sequence)| Placed {
            version: Version::new(version),
            position: Position { partition: scope.partition, sequence },
        });
        let places = places.collect::<Vec<_>>();
        let end = known.end_of(places.last().expect("a batch has events").position.sequence);
        return Ok(Some(Repeat { places, end }));
    };
    let (event, (version, _)) = (&batch.events[taken], found[taken].expect("it is taken"));
    let (stream, id, version) = (event.stream.clone(), event.id, Version::new(version));
    // The point at which the batch would have to be split depends on every event found, so the answer waits for the
    // last of them.
    let speaks_of = found.iter().flatten().map(|(_, position)| *position).max().unwrap_or(0);
    Err(Refused { error: AppendError::IdTaken { stream, id, version, index: cut }, speaks_of })
}

/// Checks the batch's expectations of streams and its conditions.
pub(crate) fn check(known: &DecisionContext<'_>, batch: &Batch, scope: &Scope) -> Result<(), Refused> {
    for (at, (stream, expected)) in batch.expect.iter().enumerate() {
        let last = known.expected_head(at, stream);
        let actual = last.map(|(version, _)| Version::new(version));
        let version_of = |id| known.anchor(at, stream, id).map(|(version, _)| Version::new(version));
        if !expected.is_met_by(actual, version_of) {
            let error = AppendError::Conflict { stream: stream.clone(), expected: *expected, actual };
            return Err(Refused { error, speaks_of: last.map_or(0, |(_, position)| position) });
        }
    }
    batch
        .conditions
        .iter()
        .enumerate()
        .try_for_each(|(at, condition)| check_condition(known, at, condition, scope))
}

fn check_condition(
    known: &DecisionContext<'_>,
    at: usize,
    condition: &Condition,
    scope: &Scope,
) -> Result<(), Refused> {
    let after = condition.after.as_ref().map_or(0, |after| after.sequence(scope.partition));
    if let Some(checkpoint) = &condition.after {
        check_place(checkpoint, known.lookup.place_of(at), scope)
            .map_err(|error| Refused { error, speaks_of: 0 })?;
    }
    if known.last() == after {
        return Ok(());
    }
    match known.last_match(at, condition) {
        Some(sequence) if sequence > after => {
            let position = Position { partition: scope.partition, sequence };
            Err(Refused {
                error: AppendError::ConditionFailed { index: at, at: position },
                speaks_of: sequence,
            })
        }
        _ => Ok(()),
    }
}

/// Checks that the place of a condition lies within this history of the log.
fn check_place(checkpoint: &Checkpoint, place: ConditionPlace, scope: &Scope) -> Result<(), AppendError> {
    let after = checkpoint.sequence(scope.partition);
    let ahead = |durable| {
        let head = Checkpoint::new(scope.store, [durable]);
        AppendError::CheckpointAhead { checkpoint: checkpoint.clone(), head }
    };
    match place {
        _ if after > scope.durable => Err(ahead(scope.durable)),
        ConditionPlace::Here => Ok(()),
        // No reader of this history had seen the place when the batch was sent.
        ConditionPlace::Ahead(durable) => Err(ahead(durable)),
        ConditionPlace::Elsewhere(mark) => {
            let at = Position { partition: scope.partition, sequence: after };
            let found = checkpoint.clone().with_mark(at, mark);
            Err(Diverged { checkpoint: checkpoint.clone(), found }.into())
        }
    }
}

/// The error for an append that failed because a look-up failed.
pub(crate) fn unavailable(fault: &LookupError) -> AppendError {
    AppendError::Unavailable { reason: fault.to_string() }
}
