//! The interface between a backend and the laws, and harnesses for the in-memory store and for restarts.

use std::any::Any;
use std::sync::atomic::{AtomicI64, AtomicU8, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use gesta_core::{
    AppendError, Appended, Batch, BoxFuture, Capabilities, Checkpoint, CommandKey, EventStore, Listing,
    MemoryStore, Page, Read, ReadError, StoreId, StreamInfo, StreamName, StreamPage, Timestamp, When,
};

/// The setup of one backend for a law.
///
/// Each law gets a new harness and takes one store from it.
pub trait Harness: Send + Sync + 'static {
    /// Creates an empty store that reads the time from [`Self::clock`].
    fn store(&self) -> Arc<dyn EventStore>;

    /// Returns the clock of the stores. The laws set it.
    fn clock(&self) -> &Clock;

    /// Closes a store and opens it again, with the same content.
    ///
    /// It is called while no call is under way. The given `Arc` is the only one. A store that forgets its content
    /// when it is closed is returned unchanged.
    fn restart(&self, store: Arc<dyn EventStore>) -> Arc<dyn EventStore> {
        store
    }

    /// Opens a second handle of a store, as another process would. `None` if a store can have only one.
    fn second(&self, store: &Arc<dyn EventStore>) -> Option<Arc<dyn EventStore>> {
        let _ = store;
        None
    }

    /// Keeps a store's current content for [`Self::put_back`], and returns the store.
    ///
    /// It is called while no call is under way. The given `Arc` is the only one.
    fn snapshot(&self, store: Arc<dyn EventStore>) -> (Arc<dyn EventStore>, Snapshot) {
        (store, Box::new(()))
    }

    /// Restores a snapshot: all later appends are lost. The store id stays the same.
    ///
    /// The store was dropped before. Returns `None` if the store cannot lose anything.
    fn put_back(&self, snapshot: Snapshot) -> Option<Arc<dyn EventStore>> {
        drop(snapshot);
        None
    }

    /// Returns true if the store takes appends to system streams (`$…`).
    ///
    /// A store behind a server may refuse them to its users. The laws then check that it refuses.
    fn takes_system_streams(&self) -> bool {
        true
    }

    /// Returns true if the store may have to send an append twice, because an answer was lost.
    ///
    /// Such a store may answer a new batch as a repeat. It may also report an append as in doubt. The laws then send
    /// it again, as every caller must.
    fn resends(&self) -> bool {
        false
    }
}

/// The content of a store at one moment. Only the harness that made it looks inside.
pub type Snapshot = Box<dyn Any + Send>;

/// A clock that shows the time it was set to. Clones show the same time.
#[derive(Clone, Default)]
pub struct Clock(Arc<Hands>);

#[derive(Default)]
struct Hands {
    nanos: AtomicI64,
    step_nanos: AtomicU8,
}

impl Clock {
    /// Returns the time.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        let step = i64::from(self.0.step_nanos.load(Ordering::SeqCst));
        Timestamp::from_nanos(self.0.nanos.fetch_add(step, Ordering::SeqCst))
    }

    /// Sets the time, forward or back, to `nanos` nanoseconds since 1970.
    pub fn set(&self, nanos: i64) {
        self.0.nanos.store(nanos, Ordering::SeqCst);
    }

    /// Makes every later reading of the clock move it on by one nanosecond.
    pub fn tick(&self) {
        self.0.step_nanos.store(1, Ordering::SeqCst);
    }
}

/// The harness of the in-memory store, with any number of partitions.
pub struct Memory {
    partitions: u16,
    clock: Clock,
    /// The store that was created last.
    made: Mutex<Weak<MemoryStore>>,
}

impl Memory {
    /// Creates a harness for stores with `partitions` partitions.
    #[must_use]
    pub fn new(partitions: u16) -> Self {
        Self { partitions, clock: Clock::default(), made: Mutex::default() }
    }

    fn given(&self, store: MemoryStore) -> Arc<dyn EventStore> {
        let store = Arc::new(store);
        *self.made.lock().unwrap_or_else(PoisonError::into_inner) = Arc::downgrade(&store);
        store
    }
}

impl Harness for Memory {
    fn store(&self) -> Arc<dyn EventStore> {
        let clock = self.clock.clone();
        self.given(MemoryStore::new(StoreId::from_bytes([7; 16]), self.partitions, move || clock.now()))
    }

    fn clock(&self) -> &Clock {
        &self.clock
    }

    fn snapshot(&self, store: Arc<dyn EventStore>) -> (Arc<dyn EventStore>, Snapshot) {
        let made = self.made.lock().unwrap_or_else(PoisonError::into_inner).upgrade();
        let copy = made.expect("the given store is the one that was created last").copy();
        (store, Box::new(copy))
    }

    fn put_back(&self, snapshot: Snapshot) -> Option<Arc<dyn EventStore>> {
        let copy = snapshot.downcast::<MemoryStore>().expect("the snapshot is of this harness");
        Some(self.given(*copy))
    }
}

/// A harness that restarts another harness's store at a fixed interval of calls.
///
/// Under it, each law also checks that its facts survive a restart. No restart happens while another call is under
/// way.
pub struct Restarting<H> {
    harness: Arc<H>,
    calls: u32,
    /// The store that was created last.
    made: Mutex<Weak<Mutex<Current>>>,
}

impl<H: Harness> Restarting<H> {
    /// Restarts the store before every `calls`-th call.
    ///
    /// # Panics
    /// If `calls` is 0.
    #[must_use]
    pub fn every(calls: u32, harness: H) -> Self {
        assert!(calls > 0, "the interval is at least one call");
        Self { harness: Arc::new(harness), calls, made: Mutex::default() }
    }

    fn given(&self, store: Arc<dyn EventStore>) -> Arc<dyn EventStore> {
        let capabilities = store.capabilities().clone();
        let current = Arc::new(Mutex::new(Current { store: Some(store), under_way: 0, calls: 0 }));
        *self.made.lock().unwrap_or_else(PoisonError::into_inner) = Arc::downgrade(&current);
        Arc::new(RestartingStore { harness: self.harness.clone(), every: self.calls, capabilities, current })
    }
}

impl<H: Harness> Harness for Restarting<H> {
    fn store(&self) -> Arc<dyn EventStore> {
        self.given(self.harness.store())
    }

    fn snapshot(&self, store: Arc<dyn EventStore>) -> (Arc<dyn EventStore>, Snapshot) {
        let current = self.made.lock().unwrap_or_else(PoisonError::into_inner).upgrade();
        let current = current.expect("the given store is the one that was created last");
        let mut current = current.lock().expect("no restart has panicked");
        let inner = current.store.take().expect("a store between restarts");
        let (inner, snapshot) = self.harness.snapshot(inner);
        current.store = Some(inner);
        (store, snapshot)
    }

    fn put_back(&self, snapshot: Snapshot) -> Option<Arc<dyn EventStore>> {
        self.harness.put_back(snapshot).map(|store| self.given(store))
    }

    fn clock(&self) -> &Clock {
        self.harness.clock()
    }

    fn takes_system_streams(&self) -> bool {
        self.harness.takes_system_streams()
    }

    fn resends(&self) -> bool {
        self.harness.resends()
    }
}

struct RestartingStore {
    harness: Arc<dyn Harness>,
    every: u32,
    capabilities: Capabilities,
    current: Arc<Mutex<Current>>,
}

struct Current {
    /// Absent only during a restart.
    store: Option<Arc<dyn EventStore>>,
    under_way: usize,
    calls: u32,
}

/// A call under way: no restart happens while it lives.
struct Call<'a> {
    owner: &'a RestartingStore,
    store: Option<Arc<dyn EventStore>>,
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
    fn store(&self) -> &dyn EventStore {
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

impl EventStore for RestartingStore {
    fn capabilities(&self) -> &Capabilities {
        &self.capabilities
    }

    fn append(&self, batch: Batch) -> BoxFuture<'_, Result<Appended, AppendError>> {
        Box::pin(async move { self.call().store().append(batch).await })
    }

    fn repeat_of(
        &self,
        command: CommandKey,
        near: StreamName,
    ) -> BoxFuture<'_, Result<Option<Appended>, AppendError>> {
        Box::pin(async move { self.call().store().repeat_of(command, near).await })
    }

    fn read(&self, read: Read) -> BoxFuture<'_, Result<Page, ReadError>> {
        Box::pin(async move { self.call().store().read(read).await })
    }

    fn stream(&self, name: StreamName) -> BoxFuture<'_, Result<Option<StreamInfo>, ReadError>> {
        Box::pin(async move { self.call().store().stream(name).await })
    }

    fn streams(&self, listing: Listing) -> BoxFuture<'_, Result<StreamPage, ReadError>> {
        Box::pin(async move { self.call().store().streams(listing).await })
    }

    fn locate(&self, at: When) -> BoxFuture<'_, Result<Checkpoint, ReadError>> {
        Box::pin(async move { self.call().store().locate(at).await })
    }

    fn head_now(&self) -> BoxFuture<'_, Result<Checkpoint, ReadError>> {
        Box::pin(async move { self.call().store().head_now().await })
    }

    fn wait_past(&self, after: Checkpoint) -> BoxFuture<'_, Result<Checkpoint, ReadError>> {
        Box::pin(async move { self.call().store().wait_past(after).await })
    }
}
