//! Look-ups for a writer in front of a replica: it decides a group of batches before the source records them.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use gesta_core::{Batch, Facts, NewEvent, Position, RecordedBatch, RecordedEvent, Timestamp, Version};

use super::Replica;
use crate::index::{LookupError, MemTable, ReadMode};
use crate::store::append::{durable_part, look_up_in};
use crate::write::{Accepted, DecisionContext, Lookup, Scope};

/// What a replica knows of a group of batches: all events up to a place, and the batches of the group that were accepted since.
///
/// It is a view of one moment. Events that the replica gets afterwards may or may not be in its answers: a group that was decided is
/// valid only if the source records it directly after [`Self::head`].
pub struct GroupLookUp<'a> {
    batches: &'a [Batch],
    lookups: Vec<Lookup>,
    /// The tables that may have grown since the look-ups, and one more with what was accepted.
    tables: Vec<Arc<MemTable>>,
    partition: u16,
    head: u64,
    next: u64,
    recorded_at: Timestamp,
}

impl<'a> GroupLookUp<'a> {
    pub(super) fn of(replica: &Replica, batches: &'a [Batch]) -> Result<Self, LookupError> {
        let shared = &replica.log.shared;
        let part = durable_part(shared, replica.partition)?;
        let lookups = batches.iter().map(|batch| look_up_in(shared, &part, batch, ReadMode::Disk));
        let lookups = lookups.collect::<Result<Vec<_>, _>>()?;
        let mut tables = part.snapshot.growing();
        tables.push(MemTable::new(part.durable + 1));
        Ok(Self {
            batches,
            lookups,
            tables,
            partition: replica.partition,
            head: part.durable,
            next: part.durable + 1,
            recorded_at: Timestamp::from_nanos(replica.recorded_at.load(Ordering::Acquire)),
        })
    }

    /// Returns the sequence of the last event that was looked at. The first batch that is accepted begins after it.
    #[must_use]
    pub const fn head(&self) -> u64 {
        self.head
    }

    /// Returns what is known for the decision of a batch of the group, in the words of the source.
    ///
    /// It holds a lock that the replica's writer needs: drop it before batches are fed in.
    ///
    /// # Panics
    /// If the group has no such batch.
    #[must_use]
    pub fn facts(&self, at: usize) -> impl Facts + '_ {
        let scope = Scope { partition: self.partition, durable: self.head };
        DecisionContext::new(&self.lookups[at], &self.tables, scope)
    }

    /// Accepts a batch of the group: gives its events the next places, and adds it to what is known. The time is `now`, or that of
    /// the last event if that is later.
    ///
    /// The caller has decided that it is no repeat and that its expectations hold. It is to be fed in once the source has recorded it.
    ///
    /// # Panics
    /// If the group has no such batch, if it has no event, or if its command key is recorded.
    pub fn accept(&mut self, at: usize, now: Timestamp) -> RecordedBatch {
        let batch = &self.batches[at];
        self.recorded_at = self.recorded_at.max(now);
        let (accepted_before, tables) = self.tables.split_last().expect("there is a table for the group");
        let accepted = Accepted {
            batch,
            lookup: &self.lookups[at],
            ended_since: tables,
            recorded_at: self.recorded_at.as_nanos(),
        };
        // The records are nowhere yet, and no decision reads them.
        let versions = accepted.insert(&mut accepted_before.write(), std::iter::repeat(0), 0);
        let event = |((new, version), sequence): ((&NewEvent, u64), u64)| {
            let position = Position { partition: self.partition, sequence };
            RecordedEvent::new(position, Version::new(version), self.recorded_at, new.to_bytes())
        };
        let events = batch.events.iter().zip(versions).zip(self.next..).map(event).collect::<Vec<_>>();
        self.next += events.len() as u64;
        RecordedBatch::new(events, batch.command.clone()).expect("a batch with events")
    }
}
