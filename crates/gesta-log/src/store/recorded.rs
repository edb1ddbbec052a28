//! Appends batches at the places and times at which another store has recorded them, for copies and replicas.
//!
//! The append is the usual one: the batch expects each stream where it ended, and the same code decides it. So a log never holds
//! what no history could.

use gesta_core::{Batch, CopyError, RecordedBatch, check_batch};

use super::LogStore;
use super::append::{Prepare, look_up, refused};
use crate::index::ReadMode;
use crate::limits::{DECISIONS_MAX, GROUP_BYTES_MAX};
use crate::write::{Answer, Committer, Lookup, RecordedPlace, in_doubt};

/// A recorded batch that the writer has, or its answer.
pub(super) enum InLine {
    Answered(Answer),
    Waiting(oneshot::Receiver<Answer>),
}

impl LogStore {
    /// Adds recorded batches. Blocks until they are durable. On an error, some of the batches, from the first on, may have been added.
    pub(super) fn add_blocking(&self, batches: &[RecordedBatch]) -> Result<(), CopyError> {
        for group in groups(batches) {
            let mut waiting = Vec::with_capacity(group.len());
            let queued = group.iter().try_for_each(|recorded| {
                waiting.push((recorded, self.queue_blocking(recorded)?));
                Ok(())
            });
            // Those before a refused one are in line, and are answered.
            self.with_role(Committer::commit_all);
            for (recorded, answer) in waiting {
                check_places(recorded, answer.wait_blocking())?;
            }
            queued?;
        }
        Ok(())
    }

    fn queue_blocking(&self, recorded: &RecordedBatch) -> Result<InLine, CopyError> {
        let batch = self.recorded_batch(recorded)?;
        let lookup = look_up(&self.shared, &batch, ReadMode::Disk)
            .map_err(|fault| append_error(recorded)(refused(&self.shared, &fault)))?;
        self.put_in_line(recorded, batch, lookup)
    }

    /// The batch that a store without the recorded one would take.
    pub(super) fn recorded_batch(&self, recorded: &RecordedBatch) -> Result<Batch, CopyError> {
        let position = recorded.first();
        let batch = recorded.to_batch().map_err(|source| CopyError::Name { position, source })?;
        check_batch(&batch, self.shared.id, &self.shared.capabilities).map_err(append_error(recorded))?;
        Ok(batch)
    }

    /// Puts a recorded batch in line: one after the other, so that their order is that of their positions. The caller has them
    /// committed.
    pub(super) fn put_in_line(
        &self,
        recorded: &RecordedBatch,
        batch: Batch,
        lookup: Lookup,
    ) -> Result<InLine, CopyError> {
        let place = RecordedPlace {
            first: recorded.first().sequence,
            recorded_at: recorded.recorded_at().as_nanos(),
        };
        match self.prepare(batch, lookup, Some(place)) {
            Prepare::Answered(answer) => Ok(InLine::Answered(answer)),
            Prepare::Ready(role, ticket, answer) => {
                role.enqueue(ticket).map_err(append_error(recorded))?;
                Ok(InLine::Waiting(answer))
            }
        }
    }
}

impl InLine {
    fn wait_blocking(self) -> Answer {
        match self {
            Self::Answered(answer) => answer,
            Self::Waiting(answer) => answer.recv().unwrap_or_else(|_| Err(in_doubt())),
        }
    }

    pub(super) async fn wait(self) -> Answer {
        match self {
            Self::Answered(answer) => answer,
            Self::Waiting(answer) => answer.await.unwrap_or_else(|_| Err(in_doubt())),
        }
    }
}

/// Adds the place of a batch to the reason why it was not appended.
pub(super) fn append_error(recorded: &RecordedBatch) -> impl FnOnce(gesta_core::AppendError) -> CopyError {
    let position = recorded.first();
    move |source| CopyError::Append { position, source }
}

/// Checks that a batch got the places at which it was recorded. The log counts its partition as 0.
pub(super) fn check_places(recorded: &RecordedBatch, answer: Answer) -> Result<(), CopyError> {
    let appended = answer.map_err(append_error(recorded))?;
    let places = appended.places.iter().map(|place| (place.position.sequence, place.version));
    if places.eq(recorded.events().iter().map(|event| (event.position().sequence, event.version()))) {
        return Ok(());
    }
    Err(CopyError::Moved { position: recorded.first() })
}

/// Cuts batches into runs that the writer takes as one group each, and that fit its queue.
fn groups(batches: &[RecordedBatch]) -> impl Iterator<Item = &[RecordedBatch]> {
    let mut rest = batches;
    std::iter::from_fn(move || {
        let mut bytes = 0;
        let fits = |batch: &&RecordedBatch| {
            bytes += batch.bytes();
            bytes <= GROUP_BYTES_MAX
        };
        let count = rest.iter().take(DECISIONS_MAX).take_while(fits).count().max(1).min(rest.len());
        let (group, after) = rest.split_at(count);
        rest = after;
        (!group.is_empty()).then_some(group)
    })
}

#[cfg(test)]
mod tests {
    use gesta_core::{EventId, NewEvent, Position, RecordedEvent, Timestamp, Version};

    use super::*;

    #[test]
    fn groups_hold_all_batches_in_order_within_the_limits_of_the_writer() {
        let batch = |sequence, bytes| {
            let id = EventId::from_u128(u128::from(sequence));
            let (stream, kind) = ("a".parse().unwrap(), "b".parse().unwrap());
            let event = NewEvent::json(id, stream, kind, Timestamp::MIN, vec![b'1'; bytes]);
            let position = Position { partition: 0, sequence };
            let version = Version::new(sequence - 1);
            let event = RecordedEvent::new(position, version, Timestamp::MIN, event.to_bytes());
            RecordedBatch::new(vec![event], None).unwrap()
        };
        let sizes = |batches: &[RecordedBatch]| groups(batches).map(<[_]>::len).collect::<Vec<_>>();
        let small = (1..=2_500).map(|sequence| batch(sequence, 1)).collect::<Vec<_>>();
        assert_eq!(sizes(&small), [1_024, 1_024, 452]);
        let large = (1..=3).map(|sequence| batch(sequence, GROUP_BYTES_MAX / 2)).collect::<Vec<_>>();
        assert_eq!(sizes(&large), [1, 1, 1]);
        let mixed = [batch(1, 1), batch(2, GROUP_BYTES_MAX), batch(3, 1), batch(4, 1)];
        assert_eq!(sizes(&mixed), [1, 1, 2]);
        assert_eq!(sizes(&[]), [0_usize; 0]);
    }
}
