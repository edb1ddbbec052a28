//! The state cache and the queue of each entity: hot entities are decided on newest state, without a read and without
//! conflicts of one's own.
//!
//! A command takes the *turn* of its entities, decides on their newest states, durable or not, and puts its batch in
//! line behind those that it rests on. It waits for the store without the turn, so one sync of the store serves many
//! commands. The rules, and where they are:
//!
//! - A turn is held for one synchronous step, never across an await ([`step`]).
//! - A batch expects the last event that it was decided on, by version and id. So a batch that rests on another one which
//!   was not written can never be accepted ([`step`], [`settle`]).
//! - An answer without events is checked by nobody but us, so it is verified ([`verify`]).
//! - Nothing waits for a caller that nobody polls: all who wait drive what they wait for ([`drive`]).
//! - A batch that comes before its predecessor halts its entity; then all is sent again in one pass ([`pass`]).
//! - What must be read at one place in the log is read behind a gate ([`gate`]).
//! - Everything is bounded: batches in flight, waiting commands, kept states ([`limits`], [`cache`]).
//!
//! *Choice: turns, not a task or a lock for each entity.* A task needs a runtime. A lock that is held across an await
//! stops its entity for good when its owner is not polled any more, as in a `select!`.
//!
//! *Choice: one batch for each command.* A batch has one command key, and one refusal must not take others along.

mod cache;
mod command;
mod drive;
mod gate;
mod keys;
mod limits;
mod line;
mod load;
mod metrics;
mod outcome;
mod pass;
mod plan;
mod planted;
mod prepare;
mod seen;
mod settle;
#[cfg(test)]
mod simulation;
mod state;
mod step;
mod verify;
mod window;

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use gesta_consumer::Clock;
use gesta_core::EventStore;

use crate::load::Source;
use crate::snapshot::SnapshotService;

pub use cache::Cache;
pub(crate) use command::run;
pub use metrics::CacheMetrics;
pub(crate) use state::{AnyState, Borrower, EncodedEvent, Held};

use cache::Lines;
use keys::Keys;
use limits::COMMANDS_WAITING_MAX;
use metrics::Metrics;

/// The entities of one handle and its clones.
pub(crate) struct Entities {
    store: Arc<dyn EventStore>,
    clock: Arc<dyn Clock>,
    cache: Cache,
    snapshots: Option<Arc<SnapshotService>>,
    lines: Lines,
    keys: Arc<Keys>,
    metrics: Arc<Metrics>,
    /// Counts decisions, loads, arrivals and gates, so that two of them have an order.
    ticks: AtomicU64,
    /// Commands that are not answered.
    waiting: AtomicUsize,
}

impl Entities {
    pub(crate) fn new(
        store: Arc<dyn EventStore>,
        clock: Arc<dyn Clock>,
        cache: Cache,
        snapshots: Option<Arc<SnapshotService>>,
    ) -> Arc<Self> {
        Arc::new(Self {
            store,
            clock,
            cache,
            snapshots,
            lines: Lines::default(),
            keys: Arc::default(),
            metrics: Arc::default(),
            ticks: AtomicU64::new(1),
            waiting: AtomicUsize::new(0),
        })
    }

    pub(crate) const fn store(&self) -> &Arc<dyn EventStore> {
        &self.store
    }

    pub(crate) const fn cache(&self) -> Cache {
        self.cache
    }

    pub(crate) const fn snapshots(&self) -> Option<&Arc<SnapshotService>> {
        self.snapshots.as_ref()
    }

    /// Where states are loaded from.
    pub(crate) fn source(&self) -> Source<'_> {
        Source { events: &*self.store, snapshots: self.snapshots.as_deref().map(|snapshots| &**snapshots) }
    }

    pub(crate) fn metrics(&self) -> CacheMetrics {
        let (entities, bytes) = self.lines.size();
        self.metrics.read(entities, bytes)
    }

    fn tick(&self) -> u64 {
        self.ticks.fetch_add(1, Ordering::Relaxed)
    }

    /// Admits a command; `None` if too many wait.
    fn admit(self: &Arc<Self>) -> Option<Waiting> {
        let waiting = Waiting(Arc::clone(self));
        let before = self.waiting.fetch_add(1, Ordering::Relaxed);
        (before < COMMANDS_WAITING_MAX).then_some(waiting)
    }
}

/// A command that is not answered.
struct Waiting(Arc<Entities>);

impl Drop for Waiting {
    fn drop(&mut self) {
        self.0.waiting.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Locks, also after a panic: each step leaves its data whole, or marks what a panic took.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
