//! Batches that wait for the writer, in the order in which they are decided.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

use gesta_core::{AppendError, Appended, Batch};

use super::PANICKED;
use super::prior::Prior;
use crate::format::Prepared;
use crate::limits::{IDLE_AFTER, QUEUE_BATCHES_MAX, QUEUE_BYTES_MAX};

/// What an append is answered with.
pub(crate) type Answer = Result<Appended, AppendError>;

/// A batch on its way to the writer. Dropped without an answer, it is in doubt.
pub(crate) struct Ticket {
    pub(crate) batch: Batch,
    pub(crate) prior: Prior,
    pub(crate) prepared: Prepared,
    pub(crate) reply: oneshot::Sender<Answer>,
}

/// Batches that wait, bounded in number and bytes, and the one thread that waits for them.
#[derive(Default)]
pub(crate) struct Queue {
    state: Mutex<State>,
    changed: Condvar,
    /// Whether nobody is left to commit anything. Set under the lock, and looked at without it by every append.
    abandoned: AtomicBool,
}

#[derive(Default)]
struct State {
    waiting: VecDeque<Ticket>,
    bytes: usize,
    closing: bool,
    /// Whether batches are gathered, or the gathering is halted: the writer has something to do.
    gathered: bool,
    /// Whether the writer's thread sleeps. Only then is it worth a system call to wake it.
    sleeping: bool,
    /// Whether a group was written of which no synced frame says that it is durable.
    uncovered: bool,
    /// Groups so far: one that does not grow means that nothing is going on.
    groups: u64,
}

/// Why the writer's thread wakes up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wake {
    /// Batches wait.
    Arrived,
    /// Something is uncovered, and nothing was written for a while.
    Idle,
    /// Nothing waits, and nothing will come.
    Closed,
}

impl Queue {
    /// Puts a batch in line, and wakes nobody: see [`Self::wake`].
    pub(crate) fn push(&self, ticket: Ticket) -> Result<(), AppendError> {
        let mut state = self.lock();
        if state.closing {
            return Err(AppendError::Closed);
        }
        if self.is_abandoned() {
            return Err(AppendError::ReadOnly { reason: PANICKED.to_owned() });
        }
        let bytes = state.bytes + ticket.prepared.len();
        if state.waiting.len() >= QUEUE_BATCHES_MAX || (bytes > QUEUE_BYTES_MAX && !state.waiting.is_empty())
        {
            return Err(AppendError::Overloaded);
        }
        state.bytes = bytes;
        state.waiting.push_back(ticket);
        Ok(())
    }

    /// Wakes the writer's thread if it sleeps and there is something for it to do: batches wait, or, as the caller knows, are gathered.
    /// Whoever pushed calls it, unless the batch was committed since.
    pub(crate) fn wake(&self, gathered: bool) {
        let mut state = self.lock();
        state.gathered |= gathered;
        if state.sleeping && state.has_work() {
            self.changed.notify_one();
        }
    }

    /// Waits until there is something to do.
    pub(crate) fn wait(&self) -> Wake {
        let is_ending = |state: &State| state.closing || self.is_abandoned();
        let mut state = self.lock();
        state.sleeping = true;
        let wake = loop {
            if state.has_work() {
                break Wake::Arrived;
            }
            if is_ending(&state) {
                break Wake::Closed;
            }
            if !state.uncovered {
                state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
                continue;
            }
            let groups = state.groups;
            let waited = self.changed.wait_timeout(state, IDLE_AFTER).unwrap_or_else(PoisonError::into_inner);
            state = waited.0;
            if waited.1.timed_out() && !state.has_work() && state.groups == groups && !is_ending(&state) {
                break Wake::Idle;
            }
        };
        state.sleeping = false;
        wake
    }

    /// Takes the batch that came first. Only whoever gathers does.
    pub(crate) fn pop(&self) -> Option<Ticket> {
        let mut state = self.lock();
        let ticket = state.waiting.pop_front()?;
        state.bytes -= ticket.prepared.len();
        Some(ticket)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.lock().waiting.is_empty()
    }

    /// Says that the writer takes what is gathered by now.
    pub(crate) fn begin_group(&self) {
        self.lock().gathered = false;
    }

    /// Says what the writer has left behind: whether something is uncovered, and whether it wrote anything.
    pub(crate) fn note_group(&self, uncovered: bool, wrote: bool) {
        let mut state = self.lock();
        state.groups += u64::from(wrote);
        let begins = uncovered && !state.uncovered;
        state.uncovered = uncovered;
        drop(state);
        if begins {
            // The thread waits without an end, and has to count the time now.
            self.changed.notify_one();
        }
    }

    /// Lets nothing more in. What waits is still decided.
    pub(crate) fn close(&self) {
        self.lock().closing = true;
        self.changed.notify_one();
    }

    /// Lets nothing more in for want of a writer, and drops what waits: whoever waits for it learns that it is in doubt.
    pub(crate) fn abandon(&self) {
        let mut state = self.lock();
        self.abandoned.store(true, Ordering::Release);
        let waiting = std::mem::take(&mut state.waiting);
        drop(state);
        // Whoever is woken by that may look into the line.
        drop(waiting);
        self.changed.notify_one();
    }

    /// Whether it takes nothing more in for want of a writer.
    pub(crate) fn is_abandoned(&self) -> bool {
        self.abandoned.load(Ordering::Acquire)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing under this lock can stop half way.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn has_work(&self) -> bool {
        self.gathered || !self.waiting.is_empty()
    }
}
