//! A range of the log over all partitions, and its batches, one partition after the other.

use std::collections::VecDeque;

use gesta_core::{BoxFuture, Checkpoint, ReadError, RecordedBatch, RecordedBatches};

/// The events after a place up to another one.
pub(super) struct Range<'a> {
    pub(super) after: &'a Checkpoint,
    pub(super) until: &'a Checkpoint,
}

impl Range<'_> {
    /// The number of its events.
    pub(super) fn events(&self) -> u64 {
        self.until.sequences().zip(self.after.sequences()).map(|(until, after)| until - after).sum()
    }

    /// Its batches. `read` reads those of one partition between two sequences.
    pub(super) fn batches<'s>(
        &self,
        read: impl Fn(u16, u64, u64) -> Box<dyn RecordedBatches + 's>,
    ) -> Box<dyn RecordedBatches + 's> {
        let parts = (0..).zip(self.after.sequences().zip(self.until.sequences()));
        let parts = parts.map(|(partition, (after, until))| read(partition, after, until)).collect();
        Box::new(OneAfterTheOther(parts))
    }
}

/// Several readers, one after the other.
struct OneAfterTheOther<'a>(VecDeque<Box<dyn RecordedBatches + 'a>>);

impl RecordedBatches for OneAfterTheOther<'_> {
    fn next(&mut self) -> BoxFuture<'_, Result<Vec<RecordedBatch>, ReadError>> {
        Box::pin(async move {
            while let Some(first) = self.0.front_mut() {
                let batches = first.next().await?;
                if !batches.is_empty() {
                    return Ok(batches);
                }
                self.0.pop_front();
            }
            Ok(Vec::new())
        })
    }
}

/// A place in words: the position, or those in each partition.
pub(super) fn words(place: &Checkpoint) -> String {
    let positions = place.sequences().map(|sequence| sequence.to_string()).collect::<Vec<_>>();
    let noun = if positions.len() == 1 { "position" } else { "positions" };
    format!("{noun} {}", positions.join(", "))
}
