//! How far a consumer is behind: in events, and in time.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use gesta_core::{Checkpoint, EventStore, Limit, Place, Query, Read, ReadError, Timestamp};

use crate::clock::Clock;
use crate::limits::LAG_KEPT;

/// Returns the number of events, of any type, between two places of one log.
#[must_use]
pub fn events_between(from: &Checkpoint, to: &Checkpoint) -> u64 {
    to.sequences().zip(from.sequences()).map(|(to, from)| to.saturating_sub(from)).sum()
}

/// Measures the age of the oldest event after a place, with few reads.
#[derive(Default)]
pub(crate) struct LagMeter(Mutex<Option<Oldest>>);

#[derive(Clone)]
struct Oldest {
    after: Checkpoint,
    /// `None`: there is no event after the place.
    recorded_at: Option<Timestamp>,
    /// The clock's `elapsed` when it was read.
    read_at: Duration,
}

impl LagMeter {
    /// The age of the oldest event between a place and the head. Zero if there is none.
    ///
    /// It reads one event of each partition that lags. What was read is kept for the same place, and for a second.
    pub(crate) async fn lag(
        &self,
        store: &dyn EventStore,
        clock: &dyn Clock,
        at: &Checkpoint,
        head: &Checkpoint,
    ) -> Result<Duration, ReadError> {
        if at.at_least(head) {
            return Ok(Duration::ZERO);
        }
        let kept = self.0.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let elapsed = clock.elapsed();
        let is_fresh = |kept: &Oldest| {
            kept.recorded_at.is_some()
                && (kept.after == *at || elapsed.saturating_sub(kept.read_at) < LAG_KEPT)
        };
        let recorded_at = match kept.filter(is_fresh) {
            Some(kept) => kept.recorded_at,
            None => {
                let recorded_at = oldest(store, at, head).await?;
                let read = Oldest { after: at.clone(), recorded_at, read_at: elapsed };
                *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(read);
                recorded_at
            }
        };
        Ok(recorded_at.map_or(Duration::ZERO, |recorded_at| age(recorded_at, clock.now())))
    }
}

/// The earliest time of the first events after a place, over all partitions.
async fn oldest(
    store: &dyn EventStore,
    at: &Checkpoint,
    head: &Checkpoint,
) -> Result<Option<Timestamp>, ReadError> {
    let mut oldest = None;
    for (partition, (at_sequence, head_sequence)) in (0..).zip(at.sequences().zip(head.sequences())) {
        if at_sequence >= head_sequence {
            continue;
        }
        // Only this partition has anything between the two places.
        let from = head.clone().with_place_of(partition, at);
        let one = Limit::events(std::num::NonZeroU32::MIN);
        let read = Read::log_from(Query::All, Place::At(from)).until(head.clone()).limit(one);
        let first = store.read(read).await?.events.first().map(|event| event.recorded_at());
        oldest = [oldest, first].into_iter().flatten().min();
    }
    Ok(oldest)
}

/// Zero if the clock has gone back meanwhile.
fn age(recorded_at: Timestamp, now: Timestamp) -> Duration {
    let nanos = i128::from(now.as_nanos()) - i128::from(recorded_at.as_nanos());
    Duration::from_nanos(u64::try_from(nanos.max(0)).unwrap_or(u64::MAX))
}
