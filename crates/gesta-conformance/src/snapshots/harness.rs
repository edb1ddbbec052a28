//! The interface between a backend and the laws of a snapshot store, and the harness of memory.

use std::sync::Arc;

use gesta_core::{MemorySnapshotStore, SnapshotStore};

/// The setup of one backend for a law. Each law gets a new harness and takes one store from it.
pub trait SnapshotHarness: Send + Sync + 'static {
    /// Creates an empty store. It loses nothing by itself while a law runs.
    fn store(&self) -> Arc<dyn SnapshotStore>;

    /// Loses everything that the store holds, as an operator or a crash may, and returns the store.
    ///
    /// It is called while no call is under way. The given `Arc` is the only one.
    fn lose_all(&self, store: Arc<dyn SnapshotStore>) -> Arc<dyn SnapshotStore>;
}

/// The harness of the in-memory snapshot store.
#[derive(Default)]
pub struct MemorySnapshots;

impl MemorySnapshots {
    /// Creates the harness.
    #[must_use]
    pub fn new() -> Self {
        Self
    }
}

impl SnapshotHarness for MemorySnapshots {
    fn store(&self) -> Arc<dyn SnapshotStore> {
        Arc::new(MemorySnapshotStore::new())
    }

    fn lose_all(&self, store: Arc<dyn SnapshotStore>) -> Arc<dyn SnapshotStore> {
        drop(store);
        self.store()
    }
}
