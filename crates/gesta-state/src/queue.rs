//! Requests that wait for the store's thread, bounded in number and bytes.

use std::collections::VecDeque;
use std::num::NonZeroU32;
use std::path::PathBuf;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use gesta_core::{Entry, KeyName, KeyPrefix, KeyValueError, Revision};

use crate::error::StateError;
use crate::limits::{QUEUE_BYTES_MAX, QUEUE_REQUESTS_MAX, TRANSACTION_BYTES_MAX, TRANSACTION_WRITES_MAX};

/// Where an answer goes. A request that is dropped without one was lost with the thread.
pub(crate) type Reply<T, E = KeyValueError> = oneshot::Sender<Result<T, E>>;

/// A request that reads.
pub(crate) enum Read {
    Get(KeyName, Reply<Option<Entry>>),
    List(KeyPrefix, Option<KeyName>, NonZeroU32, Reply<Vec<(KeyName, Entry)>>),
    /// Writes a copy of the file. Answers `false` if there is none.
    Copy(PathBuf, Reply<bool, StateError>),
}

/// A request that writes.
pub(crate) enum Write {
    Put(KeyName, Bytes, Option<Revision>, Reply<Revision>),
    Delete(KeyName, Revision, Reply<()>),
}

impl Write {
    fn bytes(&self) -> usize {
        match self {
            Self::Put(_, value, ..) => value.len(),
            Self::Delete(..) => 0,
        }
    }
}

/// Requests that the thread takes at once. All of them were waiting at the same time, so their order is free.
#[derive(Default)]
pub(crate) struct Batch {
    pub(crate) reads: Vec<Read>,
    pub(crate) writes: Vec<Write>,
}

#[derive(Default)]
pub(crate) struct Queue {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    reads: Vec<Read>,
    writes: VecDeque<Write>,
    /// Bytes of the values that wait.
    bytes: usize,
    closed: bool,
}

impl Queue {
    pub(crate) fn push_read(&self, read: Read) -> Result<(), KeyValueError> {
        let mut state = self.open()?;
        state.reads.push(read);
        self.changed.notify_one();
        Ok(())
    }

    pub(crate) fn push_write(&self, write: Write) -> Result<(), KeyValueError> {
        let mut state = self.open()?;
        let bytes = state.bytes + write.bytes();
        if bytes > QUEUE_BYTES_MAX {
            return Err(full());
        }
        state.bytes = bytes;
        state.writes.push_back(write);
        self.changed.notify_one();
        Ok(())
    }

    /// Waits for requests and takes them. Returns `None` once the queue is closed and empty.
    pub(crate) fn take(&self) -> Option<Batch> {
        let mut state = self.lock();
        while state.reads.is_empty() && state.writes.is_empty() {
            if state.closed {
                return None;
            }
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        let mut batch = Batch { reads: std::mem::take(&mut state.reads), writes: Vec::new() };
        let mut bytes = 0;
        while batch.writes.len() < TRANSACTION_WRITES_MAX {
            let Some(next) = state.writes.front().map(Write::bytes) else { break };
            if bytes + next > TRANSACTION_BYTES_MAX {
                break;
            }
            bytes += next;
            batch.writes.extend(state.writes.pop_front());
        }
        state.bytes -= bytes;
        Some(batch)
    }

    /// Refuses new requests. Waiting ones are still answered.
    pub(crate) fn close(&self) {
        self.lock().closed = true;
        self.changed.notify_one();
    }

    /// Drops the waiting requests and refuses new ones: the thread is gone.
    pub(crate) fn abandon(&self) {
        let mut state = self.lock();
        state.closed = true;
        let lost = (std::mem::take(&mut state.reads), std::mem::take(&mut state.writes));
        drop(state);
        drop(lost);
    }

    fn open(&self) -> Result<MutexGuard<'_, State>, KeyValueError> {
        let state = self.lock();
        if state.closed {
            return Err(KeyValueError::Closed);
        }
        if state.reads.len() + state.writes.len() >= QUEUE_REQUESTS_MAX {
            return Err(full());
        }
        Ok(state)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // A poisoned lock is safe to use: no outside cause can stop a change half way.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn full() -> KeyValueError {
    KeyValueError::Unavailable { reason: "too many requests wait for the disk".to_owned() }
}

#[cfg(test)]
mod tests {
    use gesta_core::VALUE_BYTES_MAX;

    use super::*;

    fn put(bytes: usize) -> Write {
        let key = KeyName::new("k").unwrap();
        Write::Put(key, Bytes::from(vec![0; bytes]), None, oneshot::channel().0)
    }

    fn get() -> Read {
        Read::Get(KeyName::new("k").unwrap(), oneshot::channel().0)
    }

    #[test]
    fn waiting_requests_are_limited_in_number() {
        let queue = Queue::default();
        for _ in 0..QUEUE_REQUESTS_MAX / 2 {
            queue.push_write(put(0)).unwrap();
            queue.push_read(get()).unwrap();
        }
        assert_eq!(queue.push_write(put(0)), Err(full()));
        assert_eq!(queue.push_read(get()), Err(full()));
        let batch = queue.take().unwrap();
        assert_eq!((batch.reads.len(), batch.writes.len()), (QUEUE_REQUESTS_MAX / 2, TRANSACTION_WRITES_MAX));
        queue.push_write(put(0)).unwrap();
    }

    #[test]
    fn waiting_values_are_limited_in_bytes() {
        let queue = Queue::default();
        let value = Bytes::from(vec![0; VALUE_BYTES_MAX]);
        let key = KeyName::new("k").unwrap();
        let put = || Write::Put(key.clone(), value.clone(), None, oneshot::channel().0);
        for _ in 0..QUEUE_BYTES_MAX / VALUE_BYTES_MAX {
            queue.push_write(put()).unwrap();
        }
        assert_eq!(queue.push_write(put()), Err(full()));
        let taken = queue.take().unwrap().writes.len();
        assert_eq!(taken, TRANSACTION_BYTES_MAX / VALUE_BYTES_MAX);
        for _ in 0..taken {
            queue.push_write(put()).unwrap();
        }
        assert_eq!(queue.push_write(put()), Err(full()));
    }

    #[test]
    fn a_closed_queue_gives_what_waits_and_takes_nothing_more() {
        let queue = Queue::default();
        queue.push_write(put(1)).unwrap();
        queue.close();
        assert_eq!(queue.push_write(put(1)), Err(KeyValueError::Closed));
        assert_eq!(queue.push_read(get()), Err(KeyValueError::Closed));
        assert_eq!(queue.take().unwrap().writes.len(), 1);
        assert!(queue.take().is_none());
    }

    #[test]
    fn an_abandoned_queue_drops_what_waits() {
        let queue = Queue::default();
        let (reply, answer) = oneshot::channel();
        queue.push_read(Read::Get(KeyName::new("k").unwrap(), reply)).unwrap();
        queue.abandon();
        assert!(answer.recv().is_err());
        assert!(queue.take().is_none());
    }
}
