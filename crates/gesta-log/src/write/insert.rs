//! Adds an accepted batch to the table that grows.

use std::sync::Arc;

use gesta_core::{Batch, Tag};

use super::lookup::Lookup;
use crate::index::{IndexedEvent, MemTable, State};

/// A batch with its look-up, and the tables that became full after it, oldest first.
pub(crate) struct Accepted<'a> {
    pub(crate) batch: &'a Batch,
    pub(crate) lookup: &'a Lookup,
    pub(crate) ended_since: &'a [Arc<MemTable>],
    pub(crate) recorded_at: i64,
}

impl Accepted<'_> {
    /// Adds the batch to a table. `records` are the offsets of its records in the segment, and its frame ends at `frame_end`. Returns
    /// the version of each of its events.
    pub(crate) fn insert(
        &self,
        table: &mut State,
        records: impl Iterator<Item = u32>,
        frame_end: u64,
    ) -> Vec<u64> {
        let mut versions = Vec::with_capacity(self.batch.events.len());
        for (number, (event, at)) in self.batch.events.iter().zip(records).enumerate() {
            let indexed = IndexedEvent {
                stream: event.stream.as_str(),
                event_type: event.event_type.as_str(),
                id: event.id,
            };
            let tags = event.tags.iter().map(Tag::as_str);
            let base = || self.lookup.next_version(number, &event.stream, self.ended_since);
            versions.push(table.insert(&indexed, tags, at, versions.is_empty(), base));
        }
        table.end_batch(self.recorded_at, frame_end);
        if let Some(command) = &self.batch.command {
            let is_new = table.insert_command(&command.key, command.request, &versions);
            assert!(is_new, "a recorded command key is a repeat");
        }
        versions
    }
}
