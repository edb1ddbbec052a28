//! A store that records what reaches it and, if a test says so, does not answer.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use event_listener::{Event, Listener as _};
use gesta_core::{
    AppendError, Appended, Batch, BoxFuture, Checkpoint, EventId, EventStore, MemoryStore, NewEvent, Page,
    Read, ReadError, StoreId, StoreLayer, Timestamp,
};

/// How long a wait lasts until it looks again.
const LOOK_AGAIN: Duration = Duration::from_millis(50);

/// What the store does with calls.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Conduct {
    /// It answers.
    Answer,
    /// Appends are written and not answered.
    WriteWithoutAnswer,
    /// Nothing is written and no call is answered, until the conduct changes.
    Hold,
    /// This number of appends is answered, and all reads. Later appends are held.
    HoldAppendsAfter(usize),
}

/// A store that records its calls.
pub(crate) struct Probe {
    store: Arc<dyn EventStore>,
    conduct: Mutex<Conduct>,
    on_change: Event,
    /// The first id of each append, in the order of arrival.
    arrived: Mutex<Vec<EventId>>,
    /// Appends under way, and the most at once.
    appends: Gauge,
    /// Waits under way, and the most at once.
    pub(crate) waits: Gauge,
}

/// Counts what is under way.
#[derive(Default)]
pub(crate) struct Gauge {
    now: AtomicUsize,
    most: AtomicUsize,
    all: AtomicUsize,
}

impl Gauge {
    fn enter(&self) -> Leave<'_> {
        self.all.fetch_add(1, Ordering::SeqCst);
        let now = self.now.fetch_add(1, Ordering::SeqCst) + 1;
        self.most.fetch_max(now, Ordering::SeqCst);
        Leave(self)
    }

    pub(crate) fn most(&self) -> usize {
        self.most.load(Ordering::SeqCst)
    }

    pub(crate) fn all(&self) -> usize {
        self.all.load(Ordering::SeqCst)
    }
}

struct Leave<'a>(&'a Gauge);

impl Drop for Leave<'_> {
    fn drop(&mut self) {
        self.0.now.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Probe {
    /// A store in memory, which answers.
    pub(crate) fn new(id: u8) -> Arc<Self> {
        let store = MemoryStore::new(StoreId::from_bytes([id; 16]), 1, || Timestamp::from_nanos(1_000));
        Self::before(Arc::new(store), Conduct::Answer)
    }

    pub(crate) fn before(store: Arc<dyn EventStore>, conduct: Conduct) -> Arc<Self> {
        Arc::new(Self {
            store,
            conduct: Mutex::new(conduct),
            on_change: Event::new(),
            arrived: Mutex::default(),
            appends: Gauge::default(),
            waits: Gauge::default(),
        })
    }

    pub(crate) fn set(&self, conduct: Conduct) {
        *self.conduct.lock().unwrap() = conduct;
        self.on_change.notify(usize::MAX);
    }

    /// The first id of each append, in the order of arrival.
    pub(crate) fn arrived(&self) -> Vec<EventId> {
        self.arrived.lock().unwrap().clone()
    }

    /// Blocks until this number of appends has arrived.
    pub(crate) fn wait_for_appends(&self, count: usize) {
        while !self.wait_briefly_for_appends(count) {}
    }

    /// Blocks until this number of appends has arrived, but not for long. Returns `true` if they have.
    pub(crate) fn wait_briefly_for_appends(&self, count: usize) -> bool {
        let listener = self.on_change.listen();
        let have_arrived = || self.arrived.lock().unwrap().len() >= count;
        if !have_arrived() {
            listener.wait_timeout(LOOK_AGAIN);
        }
        have_arrived()
    }

    /// The most appends that were under way at once.
    pub(crate) fn most_appends(&self) -> usize {
        self.appends.most()
    }

    /// Waits while a call is held: a read, or the append of a number. Returns the conduct.
    async fn pass(&self, append: Option<usize>) -> Conduct {
        loop {
            let listener = self.on_change.listen();
            let conduct = *self.conduct.lock().unwrap();
            match (conduct, append) {
                (Conduct::Hold, _) => listener.await,
                (Conduct::HoldAppendsAfter(last), Some(number)) if number > last => listener.await,
                (conduct, _) => return conduct,
            }
        }
    }
}

impl StoreLayer for Probe {
    fn inner(&self) -> &dyn EventStore {
        &*self.store
    }

    fn append(&self, batch: Batch) -> BoxFuture<'_, Result<Appended, AppendError>> {
        Box::pin(async move {
            let _leave = self.appends.enter();
            let number = {
                let mut arrived = self.arrived.lock().unwrap();
                arrived.push(batch.events[0].id);
                arrived.len()
            };
            self.on_change.notify(usize::MAX);
            let conduct = self.pass(Some(number)).await;
            let answer = self.store.append(batch).await;
            if conduct == Conduct::WriteWithoutAnswer {
                std::future::pending::<()>().await;
            }
            answer
        })
    }

    fn read(&self, read: Read) -> BoxFuture<'_, Result<Page, ReadError>> {
        Box::pin(async move {
            self.pass(None).await;
            self.store.read(read).await
        })
    }

    fn wait_past(&self, after: Checkpoint) -> BoxFuture<'_, Result<Checkpoint, ReadError>> {
        Box::pin(async move {
            let _leave = self.waits.enter();
            self.store.wait_past(after).await
        })
    }
}

pub(crate) fn id(number: u32) -> EventId {
    EventId::from_u128(number.into())
}

pub(crate) fn event(stream: &str, number: u32) -> NewEvent {
    let kind = "a.b".parse().unwrap();
    NewEvent::json(id(number), stream.parse().unwrap(), kind, Timestamp::from_nanos(0), "{}")
}

pub(crate) fn batch(stream: &str, number: u32) -> Batch {
    Batch::new([event(stream, number)])
}
