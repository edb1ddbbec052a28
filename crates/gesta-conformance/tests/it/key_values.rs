//! The laws of a key-value store on the in-memory one.

use gesta_conformance::{MemoryKeyValues, compare_key_values_with_memory};

mod memory {
    gesta_conformance::key_value_laws!(gesta_conformance::MemoryKeyValues::new());
}

mod under_restarts {
    use gesta_conformance::{MemoryKeyValues, RestartingKeyValues};

    // The in-memory store has nothing to restart from. This checks that the restarting harness does not disturb the
    // laws.
    gesta_conformance::key_value_laws!(RestartingKeyValues::every(1, MemoryKeyValues::new()));
}

#[test]
fn the_in_memory_store_passes_with_any_seed() {
    for seed in 0..50 {
        compare_key_values_with_memory(&MemoryKeyValues::new(), seed, 200);
    }
}
