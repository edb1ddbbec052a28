//! The snapshots of a handle: what loads ask, and the thread that takes them.

use std::future::{Future, poll_fn};
use std::num::NonZeroU32;
use std::pin::pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError};
use std::task::Poll;
use std::thread::JoinHandle;
use std::time::Duration;

use event_listener::Event;
use gesta_consumer::{Clock, SystemClock};
use gesta_core::{EventStore, ReadError, SnapshotError, SnapshotStore, StoreId, StreamName, Version, When};

use super::back_off::BackOff;
use super::declared::Declared;
use super::kinds::{Kind, Kinds, SnapshotMetrics};
use super::limits::{PAGE_KEYS, TAKE_WAIT};
use super::line::{Due, Line};
use super::take::is_due;
use super::verify::Verify;

/// How snapshots are used and taken.
#[derive(Clone)]
pub struct SnapshotOptions {
    verify: Verify,
    clock: Arc<dyn Clock>,
}

impl Default for SnapshotOptions {
    fn default() -> Self {
        Self { verify: Verify::default(), clock: Arc::new(SystemClock) }
    }
}

impl std::fmt::Debug for SnapshotOptions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SnapshotOptions").field("verify", &self.verify).finish_non_exhaustive()
    }
}

impl SnapshotOptions {
    /// Sets which snapshots are compared with a fold from the start.
    #[must_use]
    pub fn verify(self, verify: Verify) -> Self {
        Self { verify, ..self }
    }

    /// Sets the clock for waits and pauses.
    #[must_use]
    pub fn clock(self, clock: Arc<dyn Clock>) -> Self {
        Self { clock, ..self }
    }
}

/// A snapshot store in use, with its thread. Dropping it ends the thread.
pub(crate) struct SnapshotService {
    shared: Arc<Shared>,
    /// Absent once it was joined, and where the system has no thread left.
    thread: Option<JoinHandle<()>>,
}

impl SnapshotService {
    pub(crate) fn start(
        events: Arc<dyn EventStore>,
        snapshots: Arc<dyn SnapshotStore>,
        options: SnapshotOptions,
    ) -> Self {
        let SnapshotOptions { verify, clock } = options;
        let shared = Arc::new(Shared {
            events,
            snapshots,
            store_id: OnceLock::new(),
            clock,
            verify,
            kinds: Kinds::default(),
            back_off: Mutex::default(),
            due: Mutex::default(),
            has_due: Condvar::new(),
            is_stopped: AtomicBool::new(false),
            stopped: Event::new(),
            settled: Event::new(),
        });
        let thread = std::thread::Builder::new().name("gesta-snapshotter".to_owned());
        let thread = thread.spawn({
            let shared = Arc::clone(&shared);
            move || shared.take_all()
        });
        let thread =
            thread.map_err(|error| tracing::error!(%error, "no snapshots are taken: no thread")).ok();
        Self { shared, thread }
    }
}

impl std::ops::Deref for SnapshotService {
    type Target = Shared;

    fn deref(&self) -> &Shared {
        &self.shared
    }
}

impl Drop for SnapshotService {
    fn drop(&mut self) {
        self.shared.stop();
        // What it was doing is dropped: snapshots may be lost at any time. A panic was its own.
        drop(self.thread.take().map(JoinHandle::join));
    }
}

/// What loads and the thread share.
pub(crate) struct Shared {
    pub(super) events: Arc<dyn EventStore>,
    pub(super) snapshots: Arc<dyn SnapshotStore>,
    /// Asked once: a handle on a store keeps its identity.
    store_id: OnceLock<StoreId>,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) verify: Verify,
    pub(super) kinds: Kinds,
    back_off: Mutex<BackOff>,
    due: Mutex<DueState>,
    has_due: Condvar,
    is_stopped: AtomicBool,
    /// Notified at the stop.
    stopped: Event,
    /// Notified whenever the thread has nothing to do.
    settled: Event,
}

#[derive(Default)]
struct DueState {
    line: Line,
    /// True while the thread takes a snapshot.
    is_taking: bool,
}

/// The questions of one load: all of them end at one moment.
#[derive(Clone, Copy)]
pub(super) struct Asking {
    until: Duration,
}

impl Shared {
    pub(super) fn asking(&self, wait: Duration) -> Asking {
        Asking { until: self.clock.elapsed() + wait }
    }

    /// The id of the event store.
    pub(super) async fn store_id(&self) -> Result<StoreId, ReadError> {
        if let Some(id) = self.store_id.get() {
            return Ok(*id);
        }
        let id = self.events.locate(When::Start).await?.store();
        Ok(*self.store_id.get_or_init(|| id))
    }

    /// Asks the snapshot store. `None` if it fails, is too slow, or is left alone after failures.
    pub(super) async fn ask<T, F: Future<Output = Result<T, SnapshotError>>>(
        &self,
        asking: Asking,
        question: impl FnOnce() -> F,
    ) -> Option<T> {
        if !lock(&self.back_off).may_ask(self.clock.elapsed()) {
            return None;
        }
        let reason = match first_of(question(), self.clock.wait(asking.until)).await {
            Some(Ok(answer)) => {
                lock(&self.back_off).succeeded();
                return Some(answer);
            }
            // The store is well: this state does not fit.
            Some(Err(error @ SnapshotError::TooLarge { .. })) => {
                tracing::warn!(%error, "a state is not kept as a snapshot");
                return None;
            }
            Some(Err(error)) => error.to_string(),
            None => "it takes too long".to_owned(),
        };
        let pause = lock(&self.back_off).failed(self.clock.elapsed());
        if let Some(pause) = pause {
            tracing::warn!(%reason, ?pause, "the snapshot store is not asked for a while: states are folded from events");
        }
        None
    }

    /// Notes that a stream went from one version to another. A snapshot is taken if it passed a multiple.
    pub(crate) fn passed(
        &self,
        declared: &Declared,
        stream: &StreamName,
        from: Option<Version>,
        to: Version,
    ) {
        if !is_due(from, to, declared.every) {
            return;
        }
        let kind = self.kinds.of(declared);
        if !kind.is_usable() {
            return;
        }
        let due = Due { declared: *declared, stream: stream.clone() };
        if lock(&self.due).line.push(due) {
            self.has_due.notify_one();
        } else {
            kind.counters.left_out();
        }
    }

    pub(crate) fn metrics(&self) -> Vec<SnapshotMetrics> {
        self.kinds.metrics()
    }

    /// Waits until no snapshot is due.
    pub(crate) async fn settled(&self) {
        loop {
            let settled = self.settled.listen();
            {
                let due = lock(&self.due);
                if (due.line.is_empty() && !due.is_taking) || self.is_stopped.load(Ordering::Relaxed) {
                    return;
                }
            }
            settled.await;
        }
    }

    /// Removes all snapshots of a kind, as far as the store answers.
    pub(super) async fn remove_kind(&self, kind: &Kind) {
        let Ok(store) = self.store_id().await else { return };
        let within = Some(store);
        let limit = NonZeroU32::new(PAGE_KEYS).unwrap_or(NonZeroU32::MIN);
        let mut after = None;
        loop {
            let page = || self.snapshots.streams(within, after, limit);
            let Some(page) = self.ask(self.asking(TAKE_WAIT), page).await else { return };
            let of_kind = page.streams.into_iter().filter(|stream| stream.key.kind == kind.fingerprint);
            for key in of_kind.map(|stream| stream.key) {
                let asking = self.asking(TAKE_WAIT);
                let Some(list) = self.ask(asking, || self.snapshots.list(key.clone())).await else { return };
                let versions = list.iter().map(|info| info.version).collect();
                self.ask(asking, || self.snapshots.remove(key, versions)).await;
            }
            after = page.next;
            if after.is_none() {
                return;
            }
        }
    }

    fn stop(&self) {
        // Under the lock, so that the thread is either before its look at the flag or waits already.
        let due = lock(&self.due);
        self.is_stopped.store(true, Ordering::Relaxed);
        self.has_due.notify_all();
        drop(due);
        self.stopped.notify(usize::MAX);
        self.settled.notify(usize::MAX);
    }

    /// The thread: takes what is due, one stream after the other, until the stop.
    fn take_all(&self) {
        while let Some(due) = self.next_due() {
            let stopped = self.stopped.listen();
            if self.is_stopped.load(Ordering::Relaxed) {
                return;
            }
            let take = (due.declared.take)(self, &due.declared, &due.stream);
            let taken = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
                pollster::block_on(first_of(take, stopped))
            }));
            match taken {
                Ok(Some(Ok(()))) => {}
                Ok(Some(Err(error))) => {
                    self.kinds.of(&due.declared).counters.failed();
                    tracing::debug!(stream = %due.stream, %error, "no snapshot was taken");
                }
                Ok(None) => return,
                Err(_) => {
                    // `evolve` panicked. A command to the entity panics too, and shows it to its caller.
                    self.kinds.of(&due.declared).counters.failed();
                    tracing::error!(stream = %due.stream, "the fold for a snapshot panicked");
                }
            }
        }
    }

    /// Waits for the next stream that is due; `None` at the stop.
    fn next_due(&self) -> Option<Due> {
        let mut due = lock(&self.due);
        due.is_taking = false;
        loop {
            if self.is_stopped.load(Ordering::Relaxed) {
                return None;
            }
            if let Some(next) = due.line.pop() {
                due.is_taking = true;
                return Some(next);
            }
            self.settled.notify(usize::MAX);
            due = self.has_due.wait(due).unwrap_or_else(PoisonError::into_inner);
        }
    }
}

/// Waits for the first of two futures. `None` if the other one was first.
async fn first_of<T>(future: impl Future<Output = T>, other: impl Future<Output = ()>) -> Option<T> {
    let (mut future, mut other) = (pin!(future), pin!(other));
    poll_fn(|context| {
        if let Poll::Ready(output) = future.as_mut().poll(context) {
            return Poll::Ready(Some(output));
        }
        other.as_mut().poll(context).map(|()| None)
    })
    .await
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // A poisoned lock is safe to use: each change is a single step.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
