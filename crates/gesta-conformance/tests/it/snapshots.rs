//! The laws of a snapshot store on the in-memory one.

use gesta_conformance::{MemorySnapshots, compare_snapshots_with_memory};

mod memory {
    gesta_conformance::snapshot_laws!(gesta_conformance::MemorySnapshots::new());
}

#[test]
fn the_in_memory_store_passes_with_any_seed() {
    for seed in 0..50 {
        compare_snapshots_with_memory(&MemorySnapshots::new(), seed, 200);
    }
}
