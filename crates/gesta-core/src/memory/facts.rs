//! What the in-memory store knows when it decides a batch.

use super::{Log, Partition};
use crate::batch::{CommandKey, Condition, Placed};
use crate::checkpoint::{Checkpoint, StoreId};
use crate::decide::{CommandRecord, Facts};
use crate::error::AppendError;
use crate::event::EventId;
use crate::form::check_marks;
use crate::name::StreamName;

/// The facts of one partition.
pub(super) struct MemoryFacts<'a> {
    log: &'a Log,
    id: StoreId,
    partition: &'a Partition,
}

impl<'a> MemoryFacts<'a> {
    pub(super) fn new(log: &'a Log, id: StoreId, partition: u16) -> Self {
        Self { log, id, partition: &log.partitions[usize::from(partition)] }
    }
}

impl Facts for MemoryFacts<'_> {
    fn partition(&self) -> u16 {
        self.partition.number
    }

    fn command(&self, key: &CommandKey) -> Option<CommandRecord<'_>> {
        self.partition.command(key)
    }

    fn event(&self, _: usize, stream: &StreamName, id: EventId) -> Option<Placed> {
        self.partition.find(stream, id)
    }

    fn batch_end(&self, sequence: u64) -> u64 {
        self.partition.batch_end(sequence)
    }

    fn head(&self, _: usize, stream: &StreamName) -> Option<Placed> {
        let sequence = *self.partition.streams.get(stream)?.last()?;
        let event = self.partition.event(sequence);
        Some(Placed { version: event.version(), position: event.position() })
    }

    fn expected_event(&self, _: usize, stream: &StreamName, id: EventId) -> Option<Placed> {
        self.partition.find(stream, id)
    }

    fn check_place(&self, _: usize, after: &Checkpoint) -> Result<(), AppendError> {
        let head = self.log.head(self.id);
        if !head.at_least(after) {
            return Err(AppendError::CheckpointAhead { checkpoint: after.clone(), head });
        }
        Ok(check_marks(after, |at| self.log.mark_at(at))?)
    }

    fn newest_match(&self, _: usize, condition: &Condition, after: u64) -> Option<u64> {
        let newest = self.partition.events.iter().rev();
        let mut newer = newest.take_while(|event| event.position().sequence > after);
        newer.find(|event| condition.fail_if_any.matches(event)).map(|event| event.position().sequence)
    }
}
