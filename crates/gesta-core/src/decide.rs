//! Decides batches, for every store: is a batch a repeat, and do its expectations and conditions hold?
//!
//! Both functions are pure: what they know of the store comes from [`Facts`]. Their checks and the order of these are
//! part of the contract. A store checks the form of a batch first ([`check_batch`](crate::check_batch)), then asks
//! [`repeat_of`], then says if it takes writes at all, then asks [`check`].

#[cfg(test)]
mod tests;

use std::borrow::Cow;

use crate::batch::{Batch, CommandKey, Condition, Placed};
use crate::checkpoint::{Checkpoint, Position, Version};
use crate::error::AppendError;
use crate::event::{EventId, NewEvent};
use crate::name::StreamName;

/// What a store knows of one partition when it decides a batch: all events recorded so far, and those of the batches
/// accepted before it in the same group.
///
/// `at` is the index of the asked thing in the batch, for stores that have looked up each part of the batch before.
/// Everything was looked up before, so no question can fail.
pub trait Facts {
    /// Returns the number of the partition.
    fn partition(&self) -> u16 {
        0
    }

    /// Returns the record of a command key.
    fn command(&self, key: &CommandKey) -> Option<CommandRecord<'_>>;

    /// Returns the place of event `at` of the batch, if an event with this id is in the stream.
    fn event(&self, at: usize, stream: &StreamName, id: EventId) -> Option<Placed>;

    /// Returns the last sequence of the batch that holds the last event found by [`Self::event`].
    fn batch_end(&self, sequence: u64) -> u64;

    /// Returns the place of the last event of the stream in expectation `at`.
    fn head(&self, at: usize, stream: &StreamName) -> Option<Placed>;

    /// Returns the place of the event that expectation `at` names, if it is in the stream.
    ///
    /// It is asked only if the stream's last event has the version that is expected.
    fn expected_event(&self, at: usize, stream: &StreamName, id: EventId) -> Option<Placed>;

    /// Checks that the place of condition `at` lies in this history of the store, and not beyond its head.
    ///
    /// # Errors
    /// [`AppendError::CheckpointAhead`] or [`AppendError::Diverged`].
    fn check_place(&self, at: usize, after: &Checkpoint) -> Result<(), AppendError>;

    /// Returns the sequence of the newest event after `after` that matches the query of condition `at`.
    fn newest_match(&self, at: usize, condition: &Condition, after: u64) -> Option<u64>;
}

/// A recorded command key: its request, and the events that it caused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CommandRecord<'a> {
    /// The SHA-256 of the request.
    pub request: [u8; 32],
    /// The sequence of its first event.
    pub first: u64,
    /// The version of each of its events, in order; at least one.
    pub versions: Cow<'a, [u64]>,
}

impl CommandRecord<'_> {
    /// Returns the sequence of its last event.
    #[must_use]
    pub fn last(&self) -> u64 {
        self.first + self.versions.len() as u64 - 1
    }

    /// Returns the first answer to the command, if the request is the same.
    ///
    /// # Errors
    /// [`AppendError::KeyReused`].
    pub fn answer(&self, command: &CommandKey, partition: u16) -> Result<Repeat, RefusedBatch> {
        if self.request != command.request {
            return Err(RefusedBatch { error: AppendError::KeyReused, speaks_of: self.last() });
        }
        let place = |(version, sequence): (&u64, u64)| Placed {
            version: Version::new(*version),
            position: Position { partition, sequence },
        };
        let places = self.versions.iter().zip(self.first..).map(place).collect();
        Ok(Repeat { places, end: self.last() })
    }
}

/// The first answer to a repeated batch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Repeat {
    /// The places of its events.
    pub places: Vec<Placed>,
    /// The last sequence of the batch that holds the last of the events.
    pub end: u64,
}

/// A refusal. It may be told only once the events that it speaks of are durable.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RefusedBatch {
    /// The answer.
    pub error: AppendError,
    /// The last sequence that the answer depends on; 0 if none.
    pub speaks_of: u64,
}

/// Finds an earlier append of the same batch, by its command key or its ids.
///
/// # Errors
/// [`AppendError::KeyReused`] or [`AppendError::IdTaken`].
pub fn repeat_of(facts: &impl Facts, batch: &Batch) -> Result<Option<Repeat>, RefusedBatch> {
    if let Some(command) = &batch.command
        && let Some(record) = facts.command(command)
    {
        return record.answer(command, facts.partition()).map(Some);
    }
    repeat_by_ids(facts, batch)
}

/// Decides a repeat by ids alone. All found, at growing positions: a repeat. None found: a new batch. Anything else
/// is refused.
fn repeat_by_ids(facts: &impl Facts, batch: &Batch) -> Result<Option<Repeat>, RefusedBatch> {
    let find = |(at, event): (usize, &NewEvent)| facts.event(at, &event.stream, event.id);
    let found = batch.events.iter().enumerate().map(find).collect::<Vec<_>>();
    let Some(taken) = found.iter().position(Option::is_some) else { return Ok(None) };
    let grows = |at: usize| match (found[at - 1], found[at]) {
        (Some(before), Some(place)) => before.position.sequence < place.position.sequence,
        _ => true,
    };
    let cut = (1..found.len()).find(|at| found[*at].is_some() != found[0].is_some() || !grows(*at));
    let Some(index) = cut else {
        let places = found.into_iter().flatten().collect::<Vec<_>>();
        let end = facts.batch_end(places.last().expect("a batch has events").position.sequence);
        return Ok(Some(Repeat { places, end }));
    };
    let (event, version) = (&batch.events[taken], found[taken].expect("it is taken").version);
    let error = AppendError::IdTaken { stream: event.stream.clone(), id: event.id, version, index };
    // The index to cut at depends on every event found, so the answer waits for the last of them.
    let speaks_of = found.iter().flatten().map(|place| place.position.sequence).max().unwrap_or(0);
    Err(RefusedBatch { error, speaks_of })
}

/// Checks the batch's expectations of streams, then its conditions.
///
/// # Errors
/// [`AppendError::Conflict`], [`AppendError::ConditionFailed`], [`AppendError::CheckpointAhead`] or
/// [`AppendError::Diverged`]: the first that does not hold, in the order of the batch.
pub fn check(facts: &impl Facts, batch: &Batch) -> Result<(), RefusedBatch> {
    for (at, (stream, expected)) in batch.expect.iter().enumerate() {
        let last = facts.head(at, stream);
        let actual = last.map(|place| place.version);
        let version_of = |id| facts.expected_event(at, stream, id).map(|place| place.version);
        if !expected.is_met_by(actual, version_of) {
            let error = AppendError::Conflict { stream: stream.clone(), expected: *expected, actual };
            return Err(RefusedBatch { error, speaks_of: last.map_or(0, |place| place.position.sequence) });
        }
    }
    batch.conditions.iter().enumerate().try_for_each(|(at, condition)| check_condition(facts, at, condition))
}

fn check_condition(facts: &impl Facts, index: usize, condition: &Condition) -> Result<(), RefusedBatch> {
    let partition = facts.partition();
    if let Some(after) = &condition.after {
        facts.check_place(index, after).map_err(|error| RefusedBatch { error, speaks_of: 0 })?;
    }
    let after = condition.after.as_ref().map_or(0, |after| after.sequence(partition));
    match facts.newest_match(index, condition, after).filter(|sequence| *sequence > after) {
        Some(sequence) => {
            let at = Position { partition, sequence };
            Err(RefusedBatch { error: AppendError::ConditionFailed { index, at }, speaks_of: sequence })
        }
        None => Ok(()),
    }
}
