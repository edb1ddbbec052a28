//! The facts of a partition, with the copies of all partitions: the place of a condition lies in each of them.

use std::sync::Arc;

use gesta_core::{
    AppendError, Checkpoint, CommandKey, CommandRecord, Condition, EventId, Facts, Placed, ReadError,
    StreamName,
};
use gesta_log::Replica;

/// The facts of a partition, which check the places of conditions in all partitions.
pub(super) struct Everywhere<'a, F> {
    pub(super) facts: F,
    pub(super) copies: &'a [Arc<Replica>],
}

impl<F: Facts> Facts for Everywhere<'_, F> {
    fn check_place(&self, at: usize, after: &Checkpoint) -> Result<(), AppendError> {
        let checked = self.facts.check_place(at, after);
        if self.copies.len() == 1 {
            return checked;
        }
        let head = self.copies.iter().fold(after.clone(), |head, copy| copy.raise(&copy.head(), head));
        if !head.at_least(after) {
            return Err(AppendError::CheckpointAhead { checkpoint: after.clone(), head });
        }
        checked?;
        for copy in self.copies.iter().filter(|copy| copy.partition() != self.facts.partition()) {
            // A place that cannot be read is accepted: reading its event reports the damage.
            if let Err(ReadError::Diverged { checkpoint, found }) = copy.check_place_blocking(after) {
                return Err(AppendError::Diverged { checkpoint, found });
            }
        }
        Ok(())
    }

    fn partition(&self) -> u16 {
        self.facts.partition()
    }

    fn command(&self, key: &CommandKey) -> Option<CommandRecord<'_>> {
        self.facts.command(key)
    }

    fn event(&self, at: usize, stream: &StreamName, id: EventId) -> Option<Placed> {
        self.facts.event(at, stream, id)
    }

    fn batch_end(&self, sequence: u64) -> u64 {
        self.facts.batch_end(sequence)
    }

    fn head(&self, at: usize, stream: &StreamName) -> Option<Placed> {
        self.facts.head(at, stream)
    }

    fn expected_event(&self, at: usize, stream: &StreamName, id: EventId) -> Option<Placed> {
        self.facts.expected_event(at, stream, id)
    }

    fn newest_match(&self, at: usize, condition: &Condition, after: u64) -> Option<u64> {
        self.facts.newest_match(at, condition, after)
    }
}
