//! Excerpts: whole streams of a log, as batches of a log of their own.

use crate::checkpoint::Position;
use crate::copy::RecordedBatch;
use crate::event::RecordedEvent;
use crate::limits::BATCH_EVENTS_MAX;

/// Bytes after which a batch of an excerpt ends, unless a single event has more.
const BATCH_BYTES_MAX: usize = 1 << 20;

/// Makes the batches of a log from the events of whole streams, in any order.
///
/// Versions, ids, times and payloads stay. Positions are new: dense from 1, in the order of the log. Events that were recorded at one
/// time become one batch, up to 1 MiB, since events do not tell the batch that they were in. Command keys do not come along.
#[must_use]
pub fn excerpt(mut events: Vec<RecordedEvent>) -> Vec<RecordedBatch> {
    // Within a partition this is the order of positions; between partitions there is none.
    events.sort_by_key(|event| {
        let Position { partition, sequence } = event.position();
        (event.recorded_at(), partition, sequence)
    });
    let (mut batches, mut batch, mut bytes) = (Vec::new(), Vec::<RecordedEvent>::new(), 0);
    for (event, sequence) in events.into_iter().zip(1..) {
        let position = Position { partition: 0, sequence };
        let moved = RecordedEvent::new(position, event.version(), event.recorded_at(), (*event).clone());
        let is_whole = batch.last().is_some_and(|last| {
            last.recorded_at() != moved.recorded_at()
                || batch.len() == BATCH_EVENTS_MAX
                || bytes + moved.as_bytes().len() > BATCH_BYTES_MAX
        });
        if is_whole {
            batches.push(whole(std::mem::take(&mut batch)));
            bytes = 0;
        }
        bytes += moved.as_bytes().len();
        batch.push(moved);
    }
    if !batch.is_empty() {
        batches.push(whole(batch));
    }
    batches
}

fn whole(events: Vec<RecordedEvent>) -> RecordedBatch {
    RecordedBatch::new(events, None).expect("dense events of one time")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checkpoint::Version;
    use crate::event::{EventId, NewEvent};
    use crate::time::Timestamp;

    fn event(partition: u16, sequence: u64, time: i64, bytes: usize) -> RecordedEvent {
        let id = EventId::from_u128(u128::from(sequence) * 10 + u128::from(partition));
        let (stream, kind) = ("a".parse().unwrap(), "b".parse().unwrap());
        let new = NewEvent::json(id, stream, kind, Timestamp::from_nanos(0), vec![b'1'; bytes]);
        let position = Position { partition, sequence };
        RecordedEvent::new(position, Version::new(sequence), Timestamp::from_nanos(time), new.to_bytes())
    }

    /// The sequence in the source of each event, batch by batch.
    fn check(events: Vec<RecordedEvent>, expected: &[&[u64]]) {
        let batches = excerpt(events);
        let versions =
            |batch: &RecordedBatch| batch.events().iter().map(|event| event.version().get()).collect();
        assert_eq!(batches.iter().map(versions).collect::<Vec<Vec<u64>>>(), expected);
        let positions = batches.iter().flat_map(|batch| batch.events().iter().map(RecordedEvent::position));
        assert!(
            positions.eq((1..)
                .map(|sequence| Position { partition: 0, sequence })
                .take(batches.iter().map(|batch| batch.events().len()).sum()))
        );
    }

    #[test]
    fn events_of_one_time_are_a_batch_and_gaps_between_positions_close() {
        check(
            vec![event(0, 9, 3, 1), event(0, 2, 1, 1), event(0, 5, 2, 1), event(0, 7, 2, 1)],
            &[&[2], &[5, 7], &[9]],
        );
        check(Vec::new(), &[]);
    }

    #[test]
    fn a_batch_ends_at_its_limits() {
        let half = BATCH_BYTES_MAX / 2;
        check(vec![event(0, 1, 1, half), event(0, 2, 1, half), event(0, 3, 1, 1)], &[&[1], &[2, 3]]);
        let many =
            (1..=BATCH_EVENTS_MAX as u64 + 1).map(|sequence| event(0, sequence, 1, 0)).collect::<Vec<_>>();
        let sizes = excerpt(many).iter().map(|batch| batch.events().len()).collect::<Vec<_>>();
        assert!(sizes.iter().all(|size| *size <= BATCH_EVENTS_MAX) && sizes.len() > 1, "{sizes:?}");
    }

    #[test]
    fn partitions_are_merged_by_time() {
        check(vec![event(1, 1, 2, 1), event(0, 2, 3, 1), event(0, 1, 1, 1)], &[&[1], &[1], &[2]]);
    }
}
