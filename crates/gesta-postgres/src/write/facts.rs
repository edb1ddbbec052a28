//! What is known of the store when a group is decided: the look-ups under the lock, and the batches accepted before.

use std::collections::HashMap;

use bytes::Bytes;
use gesta_core::{
    AppendError, Checkpoint, CommandKey, CommandRecord, Condition, EventBytes, EventId, Facts, Placed,
    Position, StreamName, Timestamp, check_marks,
};

use super::search::Searched;

/// What is known of the store when a group is decided.
pub(crate) struct Known {
    /// The head before the group.
    pub(crate) head: Checkpoint,
    /// The last position, with those of the batches accepted before.
    pub(crate) last: u64,
    /// The time of the last event.
    pub(crate) recorded_at: Timestamp,
    /// The number for the next new stream.
    pub(crate) next_sid: i64,
    pub(crate) streams: HashMap<StreamName, StreamHead>,
    pub(crate) events: HashMap<EventId, Vec<(StreamName, Placed)>>,
    /// The end of the batch that holds a position.
    pub(crate) ends: HashMap<u64, u64>,
    pub(crate) commands: HashMap<Bytes, CommandRecord<'static>>,
    /// The newest events, in order: all after the end of the earliest search, up to a limit.
    pub(crate) newer: Vec<(u64, EventBytes)>,
    pub(crate) marks: HashMap<u64, u32>,
}

/// The number of a stream and its last event.
#[derive(Debug, Clone, Copy)]
pub(crate) struct StreamHead {
    pub(crate) sid: i64,
    pub(crate) last: Placed,
}

impl Known {
    fn find(&self, stream: &StreamName, id: EventId) -> Option<Placed> {
        let places = self.events.get(&id)?;
        places.iter().find(|(own, _)| own == stream).map(|(_, place)| *place)
    }

    /// Records an event of an accepted batch.
    pub(crate) fn add(&mut self, stream: &StreamName, bytes: &EventBytes, place: Placed, sid: i64, end: u64) {
        let sequence = place.position.sequence;
        self.last = sequence;
        self.streams.insert(stream.clone(), StreamHead { sid, last: place });
        self.events.entry(bytes.id()).or_default().push((stream.clone(), place));
        self.ends.insert(sequence, end);
        self.newer.push((sequence, bytes.clone()));
    }
}

/// The facts for one batch of the group.
pub(crate) struct BatchFacts<'a> {
    pub(crate) known: &'a Known,
    /// Nothing for a batch without conditions.
    pub(crate) searched: Option<&'a Searched>,
}

impl Facts for BatchFacts<'_> {
    fn command(&self, key: &CommandKey) -> Option<CommandRecord<'_>> {
        self.known.commands.get(&key.key).cloned()
    }

    fn event(&self, _: usize, stream: &StreamName, id: EventId) -> Option<Placed> {
        self.known.find(stream, id)
    }

    fn batch_end(&self, sequence: u64) -> u64 {
        self.known.ends.get(&sequence).copied().unwrap_or(sequence)
    }

    fn head(&self, _: usize, stream: &StreamName) -> Option<Placed> {
        self.known.streams.get(stream).map(|head| head.last)
    }

    fn expected_event(&self, _: usize, stream: &StreamName, id: EventId) -> Option<Placed> {
        self.known.find(stream, id)
    }

    fn check_place(&self, _: usize, after: &Checkpoint) -> Result<(), AppendError> {
        let head = &self.known.head;
        if !head.at_least(after) {
            return Err(AppendError::CheckpointAhead { checkpoint: after.clone(), head: head.clone() });
        }
        let mark = |at: Position| self.known.marks.get(&at.sequence).copied();
        Ok(check_marks(after, mark)?)
    }

    fn newest_match(&self, at: usize, condition: &Condition, after: u64) -> Option<u64> {
        let newer = self.known.newer.iter().rev().take_while(|(sequence, _)| *sequence > after);
        let newest = newer.into_iter().find(|(_, event)| condition.fail_if_any.matches(event));
        let searched = || self.searched.and_then(|searched| searched.matches.get(at).copied().flatten());
        newest.map(|(sequence, _)| *sequence).or_else(searched)
    }
}
