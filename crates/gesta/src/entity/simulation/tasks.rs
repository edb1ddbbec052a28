//! Callers as tasks that are polled only when they were woken: a lost wake-up shows as a world that stands still.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};

use crate::testing::luck::Luck;
use gesta_core::BoxFuture;

/// One task with what it belongs to.
struct Task<K, T> {
    key: K,
    future: BoxFuture<'static, T>,
    woken: Arc<Woken>,
    /// Alive, and polled by nobody.
    is_forgotten: bool,
}

struct Woken(AtomicBool);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// All tasks that are not over.
pub(super) struct Tasks<K, T>(Vec<Task<K, T>>);

/// The end of a task.
pub(super) enum End<T> {
    Answer(T),
    Panic(Box<dyn std::any::Any + Send>),
}

impl<K: Copy, T> Tasks<K, T> {
    pub(super) const fn new() -> Self {
        Self(Vec::new())
    }

    pub(super) fn spawn(&mut self, key: K, future: BoxFuture<'static, T>) {
        let woken = Arc::new(Woken(AtomicBool::new(true)));
        self.0.push(Task { key, future, woken, is_forgotten: false });
    }

    /// The tasks that somebody polls.
    pub(super) fn polled(&self) -> usize {
        self.0.iter().filter(|task| !task.is_forgotten).count()
    }

    pub(super) fn has_woken(&self) -> bool {
        self.0.iter().any(|task| !task.is_forgotten && task.woken.0.load(Ordering::Relaxed))
    }

    /// Polls one of the woken tasks. Returns it if it is over.
    pub(super) fn poll_any(&mut self, luck: &mut Luck) -> Option<(K, End<T>)> {
        let is_woken = |task: &Task<K, T>| !task.is_forgotten && task.woken.0.load(Ordering::Relaxed);
        let woken = (0..self.0.len()).filter(|at| is_woken(&self.0[*at])).collect::<Vec<_>>();
        if woken.is_empty() {
            return None;
        }
        let at = woken[luck.below(woken.len())];
        let task = &mut self.0[at];
        task.woken.0.store(false, Ordering::Relaxed);
        let waker = Waker::from(Arc::clone(&task.woken));
        let future = task.future.as_mut();
        let polled = catch_unwind(AssertUnwindSafe(|| future.poll(&mut Context::from_waker(&waker))));
        let end = match polled {
            Ok(Poll::Pending) => return None,
            Ok(Poll::Ready(answer)) => End::Answer(answer),
            Err(panic) => End::Panic(panic),
        };
        Some((self.0.swap_remove(at).key, end))
    }

    /// Drops one task.
    pub(super) fn drop_any(&mut self, luck: &mut Luck) -> Option<K> {
        let at = (!self.0.is_empty()).then(|| luck.below(self.0.len()))?;
        Some(self.0.swap_remove(at).key)
    }

    /// Drops the task that was spawned first.
    pub(super) fn drop_first(&mut self) {
        self.0.remove(0);
    }

    /// Nobody polls one of the tasks any more.
    pub(super) fn forget_any(&mut self, luck: &mut Luck) -> bool {
        let Some(at) = (!self.0.is_empty()).then(|| luck.below(self.0.len())) else { return false };
        !std::mem::replace(&mut self.0[at].is_forgotten, true)
    }

    /// Everybody polls again.
    pub(super) fn remember_all(&mut self) {
        for task in &mut self.0 {
            task.is_forgotten = false;
            task.woken.0.store(true, Ordering::Relaxed);
        }
    }

    /// Drops the tasks for which `is_gone` holds, and returns their keys.
    pub(super) fn drop_where(&mut self, is_gone: impl Fn(K) -> bool) -> Vec<K> {
        let gone = self.0.extract_if(.., |task| is_gone(task.key));
        gone.map(|task| task.key).collect()
    }
}
