//! Batches that wait for the writer, in the order in which they are decided.

use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

use gesta_core::{AppendError, Appended, Batch};

use super::prior::Prior;
use crate::format::Prepared;
use crate::limits::{GROUP_BYTES_MAX, IDLE_AFTER, QUEUE_BATCHES_MAX, QUEUE_BYTES_MAX};

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
}

#[derive(Default)]
struct State {
    waiting: VecDeque<Ticket>,
    bytes: usize,
    closing: bool,
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
        let bytes = state.bytes + ticket.prepared.len();
        if state.waiting.len() >= QUEUE_BATCHES_MAX || (bytes > QUEUE_BYTES_MAX && !state.waiting.is_empty())
        {
            return Err(AppendError::Overloaded);
        }
        state.bytes = bytes;
        state.waiting.push_back(ticket);
        Ok(())
    }

    /// Wakes the writer's thread if batches wait. Whoever pushed calls it, unless the batch was committed since.
    pub(crate) fn wake(&self) {
        if !self.lock().waiting.is_empty() {
            self.changed.notify_one();
        }
    }

    /// Waits until there is something to do.
    pub(crate) fn wait(&self) -> Wake {
        let mut state = self.lock();
        loop {
            if !state.waiting.is_empty() {
                return Wake::Arrived;
            }
            if state.closing {
                return Wake::Closed;
            }
            if !state.uncovered {
                state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
                continue;
            }
            let groups = state.groups;
            let waited = self.changed.wait_timeout(state, IDLE_AFTER).unwrap_or_else(PoisonError::into_inner);
            state = waited.0;
            if waited.1.timed_out() && state.waiting.is_empty() && state.groups == groups && !state.closing {
                return Wake::Idle;
            }
        }
    }

    /// Takes what makes up a group, in the order of arrival. Only whoever holds the writer does.
    pub(crate) fn take_group(&self) -> Vec<Ticket> {
        self.lock().take_group()
    }

    /// Says what the writer has left behind: whether something is uncovered.
    pub(crate) fn note_group(&self, uncovered: bool) {
        let mut state = self.lock();
        state.groups += 1;
        let begins = uncovered && !state.uncovered;
        state.uncovered = uncovered;
        drop(state);
        if begins {
            self.changed.notify_one();
        }
    }

    /// Lets nothing more in. What waits is still decided.
    pub(crate) fn close(&self) {
        self.lock().closing = true;
        self.changed.notify_one();
    }

    /// Lets nothing more in, and drops what waits: whoever waits for it learns that it is in doubt.
    pub(crate) fn abandon(&self) {
        let mut state = self.lock();
        state.closing = true;
        state.waiting.clear();
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing under this lock can stop half way.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn take_group(&mut self) -> Vec<Ticket> {
        let mut group = Vec::new();
        let mut bytes = 0;
        while bytes < GROUP_BYTES_MAX
            && let Some(ticket) = self.waiting.pop_front()
        {
            bytes += ticket.prepared.len();
            group.push(ticket);
        }
        self.bytes -= bytes;
        group
    }
}
