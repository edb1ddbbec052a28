//! Requests that wait for the writer, in the order of their decisions.

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::time::Instant;

use gesta_core::{AppendError, Appended, Batch};

use super::lookup::Lookup;
use crate::format::{Prepared, mark_len};
use crate::limits::{IDLE_AFTER, QUEUE_BATCHES_MAX, QUEUE_BYTES_MAX};
use crate::locks;
use crate::shared::Shared;

/// The answer to an append.
pub(crate) type Answer = Result<Appended, AppendError>;

/// A queued batch. Dropped without an answer, it is in doubt.
pub(crate) struct Ticket {
    pub(crate) batch: Batch,
    pub(crate) lookup: Lookup,
    pub(crate) prepared: Prepared,
    pub(crate) reply: oneshot::Sender<Answer>,
    /// The place of a batch that another store has recorded; `None` if the writer chooses it.
    pub(crate) recorded: Option<RecordedPlace>,
}

/// A queued request to give all later events a later time than this one. Its answer has no places.
pub(crate) struct Closing {
    pub(crate) time: i64,
    pub(crate) reply: oneshot::Sender<Answer>,
}

/// A queued request.
pub(crate) enum Request {
    Append(Box<Ticket>),
    Close(Closing),
}

/// Where and when another store has recorded a batch.
#[derive(Debug, Clone, Copy)]
pub(crate) struct RecordedPlace {
    pub(crate) first: u64,
    pub(crate) recorded_at: i64,
}

impl Request {
    /// Bytes of its frame.
    pub(crate) fn len(&self) -> usize {
        match self {
            Self::Append(ticket) => ticket.prepared.len(),
            Self::Close(_) => mark_len(0),
        }
    }

    pub(crate) fn into_reply(self) -> oneshot::Sender<Answer> {
        match self {
            Self::Append(ticket) => ticket.reply,
            Self::Close(closing) => closing.reply,
        }
    }
}

impl From<Ticket> for Request {
    fn from(ticket: Ticket) -> Self {
        Self::Append(Box::new(ticket))
    }
}

impl From<Closing> for Request {
    fn from(closing: Closing) -> Self {
        Self::Close(closing)
    }
}

/// The queued requests, bounded in number and bytes, and the signal for the writer's thread.
pub(crate) struct Queue {
    state: Mutex<State>,
    changed: Condvar,
    shared: Arc<Shared>,
}

#[derive(Default)]
struct State {
    waiting: VecDeque<Request>,
    bytes: usize,
    closing: bool,
    /// Whether the writer has work: batches are gathered, or gathering is halted.
    gathered: bool,
    /// Whether the writer's thread sleeps. Only then is a wake-up worth its system call.
    sleeping: bool,
    /// Whether the last group lacks a durable watermark.
    uncovered: bool,
    /// The number of groups so far. If it does not grow, the log is idle.
    groups: u64,
}

/// Why the writer's thread wakes up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wake {
    /// Batches wait.
    Arrived,
    /// A watermark is missing, and nothing was written for a while.
    Idle,
    /// Nothing waits, and it is time to look after the folder.
    Look,
    /// Nothing waits, and the queue is closed.
    Closed,
}

impl Queue {
    pub(crate) fn new(shared: Arc<Shared>) -> Self {
        Self { state: Mutex::default(), changed: Condvar::new(), shared }
    }

    /// Queues a request without waking the writer: see [`Self::wake`].
    pub(crate) fn push(&self, request: impl Into<Request>) -> Result<(), AppendError> {
        let request = request.into();
        let mut state = self.lock();
        if state.closing {
            return Err(AppendError::Closed);
        }
        if self.shared.poison.has_panicked() {
            return Err(self.shared.read_only());
        }
        let bytes = state.bytes + request.len();
        if state.waiting.len() >= QUEUE_BATCHES_MAX || (bytes > QUEUE_BYTES_MAX && !state.waiting.is_empty())
        {
            return Err(AppendError::Overloaded);
        }
        state.bytes = bytes;
        state.waiting.push_back(request);
        Ok(())
    }

    /// Wakes the writer's thread if it sleeps and has work: batches wait or, if `gathered`, a group does. The caller
    /// of `push` calls it, unless the batch was committed since.
    pub(crate) fn wake(&self, gathered: bool) {
        let mut state = self.lock();
        state.gathered |= gathered;
        if state.sleeping && state.has_work() {
            self.changed.notify_one();
        }
    }

    /// Waits for work, at most until `look_at`.
    pub(crate) fn wait(&self, look_at: Instant) -> Wake {
        let is_ending = |state: &State| state.closing || self.shared.poison.has_panicked();
        let mut state = self.lock();
        state.sleeping = true;
        let wake = loop {
            if state.has_work() {
                break Wake::Arrived;
            }
            if is_ending(&state) {
                break Wake::Closed;
            }
            let left = look_at.saturating_duration_since(Instant::now());
            if left.is_zero() {
                break Wake::Look;
            }
            let may_rest = state.uncovered && IDLE_AFTER <= left;
            let groups = state.groups;
            let pause = if may_rest { IDLE_AFTER } else { left };
            let (woken, is_late) = locks::wait_timeout(&self.changed, state, pause);
            state = woken;
            if may_rest && is_late && !state.has_work() && state.groups == groups && !is_ending(&state) {
                break Wake::Idle;
            }
        };
        state.sleeping = false;
        wake
    }

    /// Takes the oldest request. Only the gathering caller does.
    pub(crate) fn pop(&self) -> Option<Request> {
        let mut state = self.lock();
        let request = state.waiting.pop_front()?;
        state.bytes -= request.len();
        Some(request)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.lock().waiting.is_empty()
    }

    /// Records that the writer takes the gathered group.
    pub(crate) fn begin_group(&self) {
        self.lock().gathered = false;
    }

    /// Records the state after a group: whether a watermark is missing, and whether anything was written.
    pub(crate) fn note_group(&self, uncovered: bool, wrote: bool) {
        let mut state = self.lock();
        state.groups += u64::from(wrote);
        let begins = uncovered && !state.uncovered;
        state.uncovered = uncovered;
        drop(state);
        if begins {
            // The thread waits for its next look, and must now wait for a shorter time.
            self.changed.notify_one();
        }
    }

    /// Refuses new batches. Queued ones are still decided.
    pub(crate) fn close(&self) {
        self.lock().closing = true;
        self.changed.notify_one();
    }

    /// Drops the queued batches after a panic: their callers learn that they are in doubt. New ones are refused.
    pub(crate) fn abandon(&self) {
        assert!(self.shared.poison.has_panicked(), "no batch is queued from here on");
        let waiting = std::mem::take(&mut self.lock().waiting);
        // Dropped outside the lock: a caller that wakes up may look into the queue.
        drop(waiting);
        self.changed.notify_one();
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // No code under this lock can stop half way.
        locks::lock(&self.state)
    }
}

impl State {
    fn has_work(&self) -> bool {
        self.gathered || !self.waiting.is_empty()
    }
}
