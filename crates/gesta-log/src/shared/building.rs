//! An index that is built after open: its progress, and the threads that wait for it.

use std::ops::ControlFlow;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard};

use crate::index::LookupError;
use crate::limits::retry_pause;
use crate::locks;
use crate::recover::Frames;

/// The progress of an index rebuild.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IndexProgress {
    /// Events indexed since the log was opened.
    pub done: u64,
    /// Events that were not indexed when the log was opened.
    pub of: u64,
    /// The error of the last attempt, if it failed. The next one follows after a pause.
    pub failure: Option<String>,
}

/// An index that is built after open, as other threads see it.
pub(crate) struct Building {
    pub(crate) frames: Frames,
    /// The last position that runs covered when the log was opened.
    pub(crate) known: u64,
    pub(crate) done: AtomicU64,
    pub(crate) is_done: AtomicBool,
    pub(crate) stop: AtomicBool,
    pub(crate) state: Mutex<State>,
    pub(crate) changed: Condvar,
}

#[derive(Default)]
pub(crate) struct State {
    pub(crate) failure: Option<String>,
    pub(crate) failures: u64,
    /// True once no further attempt follows.
    pub(crate) is_over: bool,
}

impl Building {
    /// Fails with the progress until the index is complete.
    pub(crate) fn check_done(&self) -> Result<(), LookupError> {
        match self.progress() {
            None => Ok(()),
            Some(IndexProgress { done, of, failure }) => Err(LookupError::Building { done, of, failure }),
        }
    }

    /// The progress; `None` once the index is complete.
    pub(crate) fn progress(&self) -> Option<IndexProgress> {
        if self.is_done.load(Ordering::Acquire) {
            return None;
        }
        let failure = self.lock().failure.clone();
        let of = self.frames.last_position() - self.known;
        Some(IndexProgress { done: self.done.load(Ordering::Relaxed).min(of), of, failure })
    }

    /// Marks the index as complete: look-ups use it from now on.
    pub(crate) fn finish(&self) {
        self.is_done.store(true, Ordering::Release);
        self.end();
    }

    /// Stops the work soon.
    pub(crate) fn stop(&self) {
        self.stop.store(true, Ordering::Relaxed);
        self.end();
    }

    /// Marks the work as ended.
    pub(crate) fn end(&self) {
        self.lock().is_over = true;
        self.changed.notify_all();
    }

    pub(crate) fn is_stopped(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }

    /// Counts `events` more events in runs.
    pub(crate) fn note_built(&self, events: u64) {
        self.done.fetch_add(events, Ordering::Relaxed);
    }

    /// Records the error of a failed attempt.
    pub(crate) fn fail(&self, failure: String) {
        tracing::warn!(failure, "the index could not be rebuilt");
        let mut state = self.lock();
        state.failure = Some(failure);
        state.failures += 1;
        drop(state);
        self.changed.notify_all();
    }

    /// Waits before the next attempt; breaks if there is none.
    pub(crate) fn pause(&self, failures: u32) -> ControlFlow<()> {
        let is_going_on = |state: &mut State| !state.is_over;
        let pause = retry_pause(failures);
        match locks::wait_timeout_while(&self.changed, self.lock(), pause, is_going_on).is_over {
            true => ControlFlow::Break(()),
            false => ControlFlow::Continue(()),
        }
    }

    /// Waits until the index is complete, another attempt failed, or the work ended.
    pub(crate) fn wait(&self) {
        let state = self.lock();
        let failures = state.failures;
        let is_going_on = |state: &mut State| state.failures == failures && !state.is_over;
        drop(locks::wait_while(&self.changed, state, is_going_on));
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, State> {
        locks::lock(&self.state)
    }
}
