//! Recorded histories as a test's store.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use gesta_core::{MemoryStore, RecordedBatch, StoreId, Timestamp};

use super::{FIRST_TIME_NANOS, MILLISECOND_NANOS};

/// A memory store with one partition that has recorded these batches: events with their ids, versions and times, and the command keys.
/// Its clock goes on after the last of them, by one millisecond with every append.
///
/// `gesta_log::batches_in` reads the batches of an excerpt.
///
/// # Panics
/// If a batch does not follow the ones before it.
#[must_use]
#[track_caller]
pub fn recorded(batches: impl IntoIterator<Item = RecordedBatch>) -> MemoryStore {
    let clock = Arc::new(AtomicI64::new(FIRST_TIME_NANOS));
    let own = Arc::clone(&clock);
    let store = MemoryStore::new(StoreId::from_bytes(*b"gesta test store"), 1, move || {
        Timestamp::from_nanos(own.fetch_add(MILLISECOND_NANOS, Ordering::Relaxed))
    });
    for batch in batches {
        let at = batch.first();
        clock.store(batch.recorded_at().as_nanos(), Ordering::Relaxed);
        let again = batch.to_batch().unwrap_or_else(|error| panic!("the batch at {at}: {error}"));
        let appended = store.append_now(again).unwrap_or_else(|error| panic!("the batch at {at}: {error}"));
        assert!(!appended.repeated, "the batch at {at} is recorded twice");
    }
    store
}
