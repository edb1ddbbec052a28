//! The comparison with the in-memory store finds stores that differ.

use std::sync::Arc;

use gesta_conformance::{Clock, Harness, Memory, Restarting, compare_with_memory};
use gesta_core::{EventStore, MemoryStore, StoreId, Timestamp};

/// A harness whose stores ignore the clock of the laws.
struct Deaf(Clock);

impl Harness for Deaf {
    fn store(&self) -> Arc<dyn EventStore> {
        Arc::new(MemoryStore::new(StoreId::from_bytes([7; 16]), 1, || Timestamp::from_nanos(5)))
    }

    fn clock(&self) -> &Clock {
        &self.0
    }
}

/// A harness whose stores are empty after a restart.
struct Forgetful(Memory);

impl Harness for Forgetful {
    fn store(&self) -> Arc<dyn EventStore> {
        self.0.store()
    }

    fn clock(&self) -> &Clock {
        self.0.clock()
    }

    fn restart(&self, _: Arc<dyn EventStore>) -> Arc<dyn EventStore> {
        self.store()
    }
}

#[test]
fn the_in_memory_store_passes_with_any_seed() {
    for seed in 0..20 {
        compare_with_memory(&Memory::new(1), seed, 100);
        compare_with_memory(&Restarting::every(3, Memory::new(3)), seed, 100);
    }
}

#[test]
#[should_panic(expected = "the store answers")]
fn a_store_that_records_other_times_is_seen() {
    compare_with_memory(&Deaf(Clock::default()), 7, 200);
}

#[test]
#[should_panic]
fn a_store_that_forgets_at_a_restart_is_seen() {
    compare_with_memory(&Restarting::every(50, Forgetful(Memory::new(1))), 7, 200);
}
