//! A random history of one caller gets the same answers as in the in-memory store.

use std::sync::Arc;

use gesta_core::{Fingerprint, MemorySnapshotStore, SnapshotKey, SnapshotStore, StoreId};

use super::{SnapshotHarness, World, key, snapshot};
use crate::key_values::random::Choose;

/// The seed and length of the history that is run as a law.
const SEED: u64 = 0x6765_7374_615f_736e;
const STEPS: u32 = 300;

pub(crate) fn a_random_history_gets_the_same_answers_as_in_memory(world: &World<'_>) {
    compare(world, SEED, STEPS);
}

/// Runs a random history of `steps` calls on a store and on the in-memory one, and compares the answers.
///
/// # Panics
/// If the two answer differently. The message has the seed and the step.
pub fn compare_snapshots_with_memory(harness: &dyn SnapshotHarness, seed: u64, steps: u32) {
    compare(&World::new(harness), seed, steps);
}

/// The in-memory store as the harness of the oracle.
struct Oracle(Arc<MemorySnapshotStore>);

impl SnapshotHarness for Oracle {
    fn store(&self) -> Arc<dyn SnapshotStore> {
        self.0.clone()
    }

    fn lose_all(&self, store: Arc<dyn SnapshotStore>) -> Arc<dyn SnapshotStore> {
        self.0.clear();
        store
    }
}

fn compare(world: &World<'_>, seed: u64, steps: u32) {
    let oracle = Oracle(Arc::default());
    let oracle = World::new(&oracle);
    let mut choose = Choose(seed);
    for step in 0..steps {
        let of = any_key(&mut choose);
        let version = choose.below(12) as u64;
        let context = format!("seed {seed}, step {step}, version {version} of {of:?}");
        match choose.below(8) {
            0..3 => {
                let put = snapshot(version, format!("{step}"));
                oracle.put(&of, put.clone());
                world.put(&of, put);
            }
            3 => {
                let versions = [version, version + 1 + choose.below(3) as u64];
                oracle.remove(&of, &versions);
                world.remove(&of, &versions);
            }
            4 => assert_eq!(world.list(&of), oracle.list(&of), "{context}"),
            5 => {
                let within = [None, Some(StoreId::from_bytes([1; 16]))][choose.below(2)];
                let limit = [1, 2, 9][choose.below(3)];
                assert_eq!(world.streams(within, limit), oracle.streams(within, limit), "{context}");
            }
            6 => assert_eq!(world.newest(&of, None), oracle.newest(&of, None), "{context}"),
            _ => assert_eq!(
                world.newest(&of, Some(version)),
                oracle.newest(&of, Some(version)),
                "at most: {context}"
            ),
        }
    }
}

fn any_key(choose: &mut Choose) -> SnapshotKey {
    let byte = |choose: &mut Choose| [1, 1, 2][choose.below(3)];
    SnapshotKey {
        store: StoreId::from_bytes([byte(choose); 16]),
        kind: Fingerprint::from_bytes([byte(choose); 32]),
        ..key(["a", "a-1", "b-1"][choose.below(3)])
    }
}
