//! Requests that wait for a thread of the store, bounded in number and bytes.

use std::collections::VecDeque;
use std::num::NonZeroU32;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

use super::{Snapshot, SnapshotError, SnapshotInfo, SnapshotKey, SnapshotPage};
use crate::checkpoint::{StoreId, Version};
use crate::limits::{SNAPSHOT_QUEUE_BYTES_MAX, SNAPSHOT_QUEUE_REQUESTS_MAX};

/// Where an answer goes. A request that is dropped without one was lost with the thread.
pub(super) type Reply<T> = oneshot::Sender<Result<T, SnapshotError>>;

/// One request.
pub(super) enum Question {
    Newest(SnapshotKey, Option<Version>, Reply<Option<Snapshot>>),
    List(SnapshotKey, Reply<Vec<SnapshotInfo>>),
    Streams(Option<StoreId>, Option<SnapshotKey>, NonZeroU32, Reply<SnapshotPage>),
    Put(SnapshotKey, Snapshot, Reply<()>),
    Remove(SnapshotKey, Vec<Version>, Reply<()>),
}

impl Question {
    fn bytes(&self) -> usize {
        match self {
            Self::Put(_, snapshot, _) => snapshot.state.len(),
            _ => 0,
        }
    }

    /// True if nobody waits for the answer any more.
    fn is_abandoned(&self) -> bool {
        match self {
            Self::Newest(.., reply) => reply.is_closed(),
            Self::List(_, reply) => reply.is_closed(),
            Self::Streams(.., reply) => reply.is_closed(),
            // A caller may drop a put or a remove and still count on it.
            Self::Put(..) | Self::Remove(..) => false,
        }
    }
}

#[derive(Default)]
pub(super) struct Queue {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    questions: VecDeque<Question>,
    /// Bytes of the states that wait.
    bytes: usize,
    closed: bool,
}

impl Queue {
    pub(super) fn push(&self, question: Question) -> Result<(), SnapshotError> {
        let mut state = self.lock();
        if state.closed {
            return Err(SnapshotError::Closed);
        }
        let bytes = state.bytes + question.bytes();
        if state.questions.len() >= SNAPSHOT_QUEUE_REQUESTS_MAX || bytes > SNAPSHOT_QUEUE_BYTES_MAX {
            return Err(SnapshotError::Unavailable { reason: "too many requests wait for it".to_owned() });
        }
        state.bytes = bytes;
        state.questions.push_back(question);
        self.changed.notify_one();
        Ok(())
    }

    /// Waits for a request and takes it. Returns `None` once the queue is closed and empty.
    pub(super) fn take(&self) -> Option<Question> {
        let mut state = self.lock();
        loop {
            while let Some(question) = state.questions.pop_front() {
                state.bytes -= question.bytes();
                if !question.is_abandoned() {
                    return Some(question);
                }
            }
            if state.closed {
                return None;
            }
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Refuses new requests. Waiting ones are still answered.
    pub(super) fn close(&self) {
        self.lock().closed = true;
        self.changed.notify_all();
    }

    /// Refuses new requests and drops those that wait: the thread is gone.
    pub(super) fn abandon(&self) {
        self.close();
        let lost = std::mem::take(&mut self.lock().questions);
        drop(lost);
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // A poisoned lock is safe to use: no outside cause can stop a change half way.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::EventId;
    use crate::limits::SNAPSHOT_BYTES_MAX;
    use crate::snapshot::Fingerprint;
    use crate::time::Timestamp;
    use bytes::Bytes;

    fn key() -> SnapshotKey {
        let (store, kind) = (StoreId::from_bytes([1; 16]), Fingerprint::from_bytes([1; 32]));
        SnapshotKey { store, kind, stream: "a-1".parse().unwrap() }
    }

    fn put(state: &Bytes) -> Question {
        let anchor = EventId::from_u128(1);
        let snapshot = Snapshot {
            version: Version::FIRST,
            anchor,
            taken_at: Timestamp::default(),
            state: state.clone(),
        };
        Question::Put(key(), snapshot, oneshot::channel().0)
    }

    #[test]
    fn waiting_requests_are_limited_in_number_and_bytes() {
        let queue = Queue::default();
        for _ in 0..SNAPSHOT_QUEUE_REQUESTS_MAX {
            queue.push(put(&Bytes::new())).unwrap();
        }
        assert!(matches!(queue.push(put(&Bytes::new())), Err(SnapshotError::Unavailable { .. })));
        let queue = Queue::default();
        let state = Bytes::from(vec![0; SNAPSHOT_BYTES_MAX]);
        for _ in 0..SNAPSHOT_QUEUE_BYTES_MAX / SNAPSHOT_BYTES_MAX {
            queue.push(put(&state)).unwrap();
        }
        assert!(matches!(queue.push(put(&state)), Err(SnapshotError::Unavailable { .. })));
        assert!(queue.take().is_some());
        queue.push(put(&state)).unwrap();
    }

    #[test]
    fn a_read_that_nobody_waits_for_is_passed_over() {
        let queue = Queue::default();
        let (reply, answer) = oneshot::channel();
        queue.push(Question::List(key(), reply)).unwrap();
        drop(answer);
        queue.push(put(&Bytes::new())).unwrap();
        assert!(matches!(queue.take(), Some(Question::Put(..))));
    }

    #[test]
    fn a_closed_queue_gives_what_waits_and_takes_nothing_more() {
        let queue = Queue::default();
        queue.push(put(&Bytes::new())).unwrap();
        queue.close();
        assert_eq!(queue.push(put(&Bytes::new())), Err(SnapshotError::Closed));
        assert!(queue.take().is_some());
        assert!(queue.take().is_none());
    }
}
