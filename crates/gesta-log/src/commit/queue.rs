//! Batches that wait for the writer, in the order in which they are decided.

use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use gesta_core::{AppendError, Appended, Batch};

use crate::format::Prepared;
use crate::limits::{GROUP_BYTES_MAX, QUEUE_BATCHES_MAX, QUEUE_BYTES_MAX};

/// What an append is answered with.
pub(crate) type Answer = Result<Appended, AppendError>;

/// A batch on its way to the writer. Dropped without an answer, it is in doubt.
pub(crate) struct Ticket {
    pub(crate) batch: Batch,
    pub(crate) prepared: Prepared,
    pub(crate) reply: oneshot::Sender<Answer>,
}

/// Batches that wait, bounded in number and bytes.
#[derive(Default)]
pub(crate) struct Queue {
    state: Mutex<State>,
    arrived: Condvar,
}

#[derive(Default)]
struct State {
    waiting: VecDeque<Ticket>,
    bytes: usize,
    closing: bool,
}

/// What the writer is woken with.
pub(crate) enum Taken {
    Batches(Vec<Ticket>),
    /// Nothing came for as long as the writer was willing to wait.
    Idle,
    /// Nothing waits, and nothing will come.
    Closed,
}

impl Queue {
    /// Puts a batch in line.
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
        drop(state);
        self.arrived.notify_one();
        Ok(())
    }

    /// Waits for batches, at most that long if there is a limit, and takes what makes up a group.
    pub(crate) fn take(&self, patience: Option<Duration>) -> Taken {
        let mut state = self.lock();
        while state.waiting.is_empty() {
            if state.closing {
                return Taken::Closed;
            }
            state = match patience {
                None => self.arrived.wait(state).unwrap_or_else(PoisonError::into_inner),
                Some(patience) => {
                    let (state, timeout) =
                        self.arrived.wait_timeout(state, patience).unwrap_or_else(PoisonError::into_inner);
                    if timeout.timed_out() && state.waiting.is_empty() && !state.closing {
                        return Taken::Idle;
                    }
                    state
                }
            };
        }
        Taken::Batches(state.take_group())
    }

    /// Lets nothing more in. What waits is still decided.
    pub(crate) fn close(&self) {
        self.lock().closing = true;
        self.arrived.notify_one();
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
