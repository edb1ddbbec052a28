//! The handle of the store.

use std::num::NonZeroU32;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use bytes::Bytes;
use gesta_core::{
    BoxFuture, Entry, KeyName, KeyPrefix, KeyValueError, KeyValueStore, Revision, VALUE_BYTES_MAX,
};

use crate::backup::StateCopy;
use crate::error::StateError;
use crate::queue::{Queue, Read, Reply, Write};
use crate::worker::Worker;

/// A key-value store in one SQLite file, with a thread of its own.
///
/// The file is made by the first write. Dropping the store closes it, after it has answered what waits.
pub struct StateStore {
    queue: Arc<Queue>,
    /// Absent once it was joined.
    thread: Mutex<Option<JoinHandle<()>>>,
    /// The answer to everything, of a store whose file cannot be opened.
    refused: Option<KeyValueError>,
}

impl StateStore {
    /// Opens the store in `file`, and checks the structure of the file if it exists.
    ///
    /// # Errors
    /// [`StateError`], if the file is in use, damaged, of a newer version, or cannot be read.
    pub fn open(file: &Path) -> Result<Self, StateError> {
        let worker = Worker::open(file)?;
        let queue = Arc::new(Queue::default());
        let thread = std::thread::Builder::new().name("gesta-state".to_owned());
        let thread = thread.spawn({
            let queue = Arc::clone(&queue);
            move || worker.run(&queue)
        });
        let thread = thread.map_err(|error| StateError::io("start the thread of", file, &error))?;
        Ok(Self { queue, thread: Mutex::new(Some(thread)), refused: None })
    }

    /// Returns a store that refuses everything with the reason why its file could not be opened.
    ///
    /// A server uses it to serve a log whose key-value store is damaged.
    #[must_use]
    pub fn refusing(error: &StateError) -> Self {
        let refused = Some(KeyValueError::from(error));
        Self { queue: Arc::default(), thread: Mutex::new(None), refused }
    }

    /// Writes a copy beside `to`, while the store goes on, and verifies it. [`StateCopy::keep`] puts it in place.
    ///
    /// In a backup, make the copy first, then back up the log, then keep the copy: all its places are in the log's
    /// backup then. The caller waits on its own thread.
    ///
    /// # Errors
    /// [`StateError`]. Nothing was changed.
    pub fn copy_to(&self, to: &Path) -> Result<StateCopy, StateError> {
        StateCopy::make(to, |copy| {
            let (reply, answer) = oneshot::channel();
            if self.refused.is_some() || self.queue.push_read(Read::Copy(copy.to_owned(), reply)).is_err() {
                return Err(StateError::Closed);
            }
            answer.recv().unwrap_or(Err(StateError::Closed))
        })
    }

    /// Refuses new requests, answers those that wait, and closes the file.
    pub fn close(&self) {
        self.queue.close();
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        // A thread that panicked has dropped its requests. Their callers know.
        let _ = thread.map(JoinHandle::join);
    }

    /// Sends a read and waits for its answer.
    async fn read<T>(&self, read: impl FnOnce(Reply<T>) -> Read) -> Result<T, KeyValueError> {
        self.refused.clone().map_or(Ok(()), Err)?;
        let (reply, answer) = oneshot::channel();
        self.queue.push_read(read(reply))?;
        answer.await.unwrap_or(Err(KeyValueError::Closed))
    }

    /// Sends a write and waits for its answer.
    async fn write<T>(&self, write: impl FnOnce(Reply<T>) -> Write) -> Result<T, KeyValueError> {
        self.refused.clone().map_or(Ok(()), Err)?;
        let (reply, answer) = oneshot::channel();
        self.queue.push_write(write(reply))?;
        let lost = || KeyValueError::InDoubt { reason: "the thread of the key-value store ended".to_owned() };
        answer.await.unwrap_or_else(|_| Err(lost()))
    }
}

impl KeyValueStore for StateStore {
    fn get(&self, key: KeyName) -> BoxFuture<'_, Result<Option<Entry>, KeyValueError>> {
        Box::pin(self.read(|reply| Read::Get(key, reply)))
    }

    fn put(
        &self,
        key: KeyName,
        value: Bytes,
        expect: Option<Revision>,
    ) -> BoxFuture<'_, Result<Revision, KeyValueError>> {
        Box::pin(async move {
            if value.len() > VALUE_BYTES_MAX {
                return Err(KeyValueError::TooLarge { bytes: value.len() });
            }
            self.write(|reply| Write::Put(key, value, expect, reply)).await
        })
    }

    fn delete(&self, key: KeyName, expect: Revision) -> BoxFuture<'_, Result<(), KeyValueError>> {
        Box::pin(self.write(move |reply| Write::Delete(key, expect, reply)))
    }

    fn list(
        &self,
        prefix: KeyPrefix,
        after: Option<KeyName>,
        limit: NonZeroU32,
    ) -> BoxFuture<'_, Result<Vec<(KeyName, Entry)>, KeyValueError>> {
        Box::pin(self.read(move |reply| Read::List(prefix, after, limit, reply)))
    }
}

impl Drop for StateStore {
    fn drop(&mut self) {
        self.close();
    }
}
