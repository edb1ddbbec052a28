//! The interface between a backend and the laws of a key-value store, and harnesses for memory and for restarts.

use std::num::NonZeroU32;
use std::sync::{Arc, Mutex, MutexGuard};

use bytes::Bytes;
use gesta_core::{
    BoxFuture, Entry, KeyName, KeyPrefix, KeyValueError, KeyValueStore, MemoryKeyValueStore, Revision,
};

/// The setup of one backend for a law. Each law gets a new harness and takes one store from it.
pub trait KeyValueHarness: Send + Sync + 'static {
    /// Creates an empty store.
    fn store(&self) -> Arc<dyn KeyValueStore>;

    /// Closes a store and opens it again, with the same content.
    ///
    /// It is called while no call is under way. The given `Arc` is the only one. A store that forgets its content
    /// when it is closed is returned unchanged.
    fn restart(&self, store: Arc<dyn KeyValueStore>) -> Arc<dyn KeyValueStore> {
        store
    }
}

/// The harness of the in-memory key-value store.
#[derive(Default)]
pub struct MemoryKeyValues;

impl MemoryKeyValues {
    /// Creates the harness.
    #[must_use]
    pub fn new() -> Self {
        Self
    }
}

impl KeyValueHarness for MemoryKeyValues {
    fn store(&self) -> Arc<dyn KeyValueStore> {
        Arc::new(MemoryKeyValueStore::new())
    }
}

/// A harness that restarts another harness's store at a fixed interval of calls.
///
/// Under it, each law also checks that its facts survive a restart. No restart happens while another call is under
/// way.
pub struct RestartingKeyValues<H> {
    harness: Arc<H>,
    calls: u32,
}

impl<H: KeyValueHarness> RestartingKeyValues<H> {
    /// Restarts the store before every `calls`-th call.
    ///
    /// # Panics
    /// If `calls` is 0.
    #[must_use]
    pub fn every(calls: u32, harness: H) -> Self {
        assert!(calls > 0, "the interval is at least one call");
        Self { harness: Arc::new(harness), calls }
    }
}

impl<H: KeyValueHarness> KeyValueHarness for RestartingKeyValues<H> {
    fn store(&self) -> Arc<dyn KeyValueStore> {
        let current = Current { store: Some(self.harness.store()), under_way: 0, calls: 0 };
        let harness = Arc::clone(&self.harness);
        Arc::new(RestartingStore { harness, every: self.calls, current: Mutex::new(current) })
    }
}

struct RestartingStore {
    harness: Arc<dyn KeyValueHarness>,
    every: u32,
    current: Mutex<Current>,
}

struct Current {
    /// Absent only during a restart.
    store: Option<Arc<dyn KeyValueStore>>,
    under_way: usize,
    calls: u32,
}

/// A call under way: no restart happens while it lives.
struct Call<'a> {
    owner: &'a RestartingStore,
    store: Option<Arc<dyn KeyValueStore>>,
}

impl RestartingStore {
    fn call(&self) -> Call<'_> {
        let mut current = self.lock();
        current.calls += 1;
        if current.under_way == 0 && current.calls.is_multiple_of(self.every) {
            let store = current.store.take().expect("a store between restarts");
            current.store = Some(self.harness.restart(store));
        }
        current.under_way += 1;
        Call { owner: self, store: current.store.clone() }
    }

    fn lock(&self) -> MutexGuard<'_, Current> {
        self.current.lock().expect("no restart has panicked")
    }
}

impl Call<'_> {
    fn store(&self) -> &dyn KeyValueStore {
        self.store.as_deref().expect("a call holds its store until it is dropped")
    }
}

impl Drop for Call<'_> {
    fn drop(&mut self) {
        // The store is dropped before the call counts as over, so a restart holds the only reference. A poisoned lock
        // is left alone, because a second panic here would hide the first.
        if let Ok(mut current) = self.owner.current.lock() {
            self.store = None;
            current.under_way -= 1;
        }
    }
}

impl KeyValueStore for RestartingStore {
    fn get(&self, key: KeyName) -> BoxFuture<'_, Result<Option<Entry>, KeyValueError>> {
        Box::pin(async move { self.call().store().get(key).await })
    }

    fn put(
        &self,
        key: KeyName,
        value: Bytes,
        expect: Option<Revision>,
    ) -> BoxFuture<'_, Result<Revision, KeyValueError>> {
        Box::pin(async move { self.call().store().put(key, value, expect).await })
    }

    fn delete(&self, key: KeyName, expect: Revision) -> BoxFuture<'_, Result<(), KeyValueError>> {
        Box::pin(async move { self.call().store().delete(key, expect).await })
    }

    fn list(
        &self,
        prefix: KeyPrefix,
        after: Option<KeyName>,
        limit: NonZeroU32,
    ) -> BoxFuture<'_, Result<Vec<(KeyName, Entry)>, KeyValueError>> {
        Box::pin(async move { self.call().store().list(prefix, after, limit).await })
    }
}
