//! Appends the batches of a file: splits a batch that is already there in part, and retries errors that may pass.

use std::thread::sleep;
use std::time::Duration;

use gesta_core::{AppendError, Batch, EventStore, NewEvent, Retry};

/// Counts of appended and repeated events.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    pub(crate) appended: u64,
    /// Events that were already in the log.
    pub(crate) repeated: u64,
}

/// Appends to one store.
pub(crate) struct Appender<'a> {
    pub(crate) store: &'a dyn EventStore,
}

/// How often a failed append is retried, and the first pause. The pause doubles each time.
const RETRIES_MAX: u32 = 8;
const FIRST_PAUSE: Duration = Duration::from_millis(50);

impl Appender<'_> {
    /// Appends events in their order. Events that are already in the log are skipped.
    ///
    /// The store refuses a batch if only a part of it is in the log: the file has grown, or repeats an id. Then the batch is cut at the
    /// place that the store names, and both parts are sent.
    pub(crate) fn append(&self, mut events: Vec<NewEvent>) -> Result<Counts, AppendError> {
        let mut counts = Counts::default();
        let mut rests = Vec::new();
        while !events.is_empty() {
            match self.try_append(&events) {
                Ok(true) => counts.repeated += events.len() as u64,
                Ok(false) => counts.appended += events.len() as u64,
                Err(AppendError::IdTaken { index, .. }) if (1..events.len()).contains(&index) => {
                    rests.push(events.split_off(index));
                    continue;
                }
                Err(error) => return Err(error),
            }
            events = rests.pop().unwrap_or_default();
        }
        Ok(counts)
    }

    /// Appends one batch. Returns true if it was already in the log.
    fn try_append(&self, events: &[NewEvent]) -> Result<bool, AppendError> {
        let mut pause = FIRST_PAUSE;
        for _ in 0..RETRIES_MAX {
            let batch = Batch::new(events.iter().cloned());
            match pollster::block_on(self.store.append(batch)) {
                Ok(appended) => return Ok(appended.repeated),
                Err(full @ AppendError::StorageFull { .. }) => return Err(full),
                Err(error) if error.retry() == Retry::Never => return Err(error),
                Err(_) => sleep(pause),
            }
            pause *= 2;
        }
        let batch = Batch::new(events.iter().cloned());
        pollster::block_on(self.store.append(batch)).map(|appended| appended.repeated)
    }
}

#[cfg(test)]
mod tests {
    use gesta_core::{EventId, MemoryStore, StoreId, Timestamp};

    use super::*;

    fn events(ids: &[u128]) -> Vec<NewEvent> {
        let event = |id: &u128| {
            let (stream, event_type) = ("s-1".parse().unwrap(), "t".parse().unwrap());
            NewEvent::json(EventId::from_u128(*id), stream, event_type, Timestamp::from_nanos(0), "1")
        };
        ids.iter().map(event).collect()
    }

    #[test]
    fn a_batch_that_is_partly_in_the_log_is_completed_in_order() {
        let store = MemoryStore::new(StoreId::from_bytes([7; 16]), 1, || Timestamp::from_nanos(1));
        let append = |ids: &[u128]| {
            let counts = Appender { store: &store }.append(events(ids)).unwrap();
            (counts.appended, counts.repeated)
        };
        assert_eq!(append(&[1, 2]), (2, 0));
        assert_eq!(append(&[1, 2, 3, 4]), (2, 2), "the file has grown");
        assert_eq!(append(&[5, 2, 6, 1, 7]), (3, 2), "the file repeats ids");
        assert_eq!(append(&[5, 2, 6, 1, 7]), (0, 5));
        let page = store.read_now(&gesta_core::Read::stream("s-1".parse().unwrap())).unwrap();
        let ids = page.events.iter().map(|event| event.id()).collect::<Vec<_>>();
        assert_eq!(ids, [1, 2, 3, 4, 5, 6, 7].map(EventId::from_u128));
    }
}
