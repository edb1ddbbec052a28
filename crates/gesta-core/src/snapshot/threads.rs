//! A snapshot store over a backend whose calls block: requests wait for threads, and are answered over channels.
//!
//! One thread writes, so that puts and removes of a store are in order. Others read, so that a load does not wait for a
//! put.

use std::io;
use std::num::NonZeroU32;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use super::queue::{Question, Queue, Reply};
use super::{Snapshot, SnapshotError, SnapshotInfo, SnapshotKey, SnapshotPage, SnapshotStore};
use crate::checkpoint::{StoreId, Version};
use crate::limits::SNAPSHOT_BYTES_MAX;
use crate::store::BoxFuture;

/// The calls of a [`SnapshotStore`], of a backend that blocks. Each has the meaning of its namesake.
#[expect(missing_docs, reason = "the trait `SnapshotStore` documents each call")]
#[expect(clippy::missing_errors_doc, reason = "the trait `SnapshotStore` documents each call")]
pub trait BlockingSnapshots: Send + 'static {
    fn newest(
        &mut self,
        of: &SnapshotKey,
        at_most: Option<Version>,
    ) -> Result<Option<Snapshot>, SnapshotError>;

    /// The state has at most [`SNAPSHOT_BYTES_MAX`] bytes.
    fn put(&mut self, of: &SnapshotKey, snapshot: &Snapshot) -> Result<(), SnapshotError>;

    fn list(&mut self, of: &SnapshotKey) -> Result<Vec<SnapshotInfo>, SnapshotError>;

    fn remove(&mut self, of: &SnapshotKey, versions: &[Version]) -> Result<(), SnapshotError>;

    fn streams(
        &mut self,
        within: Option<StoreId>,
        after: Option<&SnapshotKey>,
        limit: NonZeroU32,
    ) -> Result<SnapshotPage, SnapshotError>;
}

/// A [`SnapshotStore`] whose requests are answered by threads, each with a backend of its own.
///
/// Dropping it ends the threads, after they have answered what waits.
pub struct SnapshotThreads {
    reads: Arc<Queue>,
    writes: Arc<Queue>,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

impl SnapshotThreads {
    /// Starts a thread that writes, and one for each reader.
    ///
    /// # Errors
    /// If the system has no thread left.
    pub fn start<B: BlockingSnapshots>(
        name: &str,
        writer: B,
        readers: impl IntoIterator<Item = B>,
    ) -> io::Result<Self> {
        let store = Self { reads: Arc::default(), writes: Arc::default(), threads: Mutex::default() };
        store.spawn(name, writer, &store.writes)?;
        readers.into_iter().try_for_each(|reader| store.spawn(name, reader, &store.reads))?;
        Ok(store)
    }

    fn spawn(&self, name: &str, backend: impl BlockingSnapshots, queue: &Arc<Queue>) -> io::Result<()> {
        let queue = Arc::clone(queue);
        let thread = std::thread::Builder::new().name(name.to_owned()).spawn(move || run(backend, &queue))?;
        self.threads.lock().unwrap_or_else(PoisonError::into_inner).push(thread);
        Ok(())
    }

    /// Refuses new requests, answers those that wait, and ends the threads.
    pub fn close(&self) {
        self.reads.close();
        self.writes.close();
        let threads = std::mem::take(&mut *self.threads.lock().unwrap_or_else(PoisonError::into_inner));
        // A thread that panicked has dropped its requests. Their callers know.
        threads.into_iter().for_each(|thread| drop(thread.join()));
    }
}

impl Drop for SnapshotThreads {
    fn drop(&mut self) {
        self.close();
    }
}

/// Sends a question and waits for its answer.
async fn ask<T>(queue: &Queue, question: impl FnOnce(Reply<T>) -> Question) -> Result<T, SnapshotError> {
    let (reply, answer) = oneshot::channel();
    queue.push(question(reply))?;
    answer.await.unwrap_or(Err(SnapshotError::Closed))
}

impl SnapshotStore for SnapshotThreads {
    fn newest(
        &self,
        of: SnapshotKey,
        at_most: Option<Version>,
    ) -> BoxFuture<'_, Result<Option<Snapshot>, SnapshotError>> {
        Box::pin(ask(&self.reads, move |reply| Question::Newest(of, at_most, reply)))
    }

    fn put(&self, of: SnapshotKey, snapshot: Snapshot) -> BoxFuture<'_, Result<(), SnapshotError>> {
        Box::pin(async move {
            let bytes = snapshot.state.len();
            if bytes > SNAPSHOT_BYTES_MAX {
                return Err(SnapshotError::TooLarge { bytes, bytes_max: SNAPSHOT_BYTES_MAX });
            }
            ask(&self.writes, move |reply| Question::Put(of, snapshot, reply)).await
        })
    }

    fn list(&self, of: SnapshotKey) -> BoxFuture<'_, Result<Vec<SnapshotInfo>, SnapshotError>> {
        Box::pin(ask(&self.reads, move |reply| Question::List(of, reply)))
    }

    fn remove(&self, of: SnapshotKey, versions: Vec<Version>) -> BoxFuture<'_, Result<(), SnapshotError>> {
        Box::pin(ask(&self.writes, move |reply| Question::Remove(of, versions, reply)))
    }

    fn streams(
        &self,
        within: Option<StoreId>,
        after: Option<SnapshotKey>,
        limit: NonZeroU32,
    ) -> BoxFuture<'_, Result<SnapshotPage, SnapshotError>> {
        Box::pin(ask(&self.reads, move |reply| Question::Streams(within, after, limit, reply)))
    }
}

/// A thread: answers one request after the other, until the queue is closed and empty.
fn run(mut backend: impl BlockingSnapshots, queue: &Queue) {
    let _abandoned = Abandons(queue);
    while let Some(question) = queue.take() {
        match question {
            Question::Newest(of, at_most, reply) => answer(reply, backend.newest(&of, at_most)),
            Question::List(of, reply) => answer(reply, backend.list(&of)),
            Question::Streams(within, after, limit, reply) => {
                answer(reply, backend.streams(within, after.as_ref(), limit));
            }
            Question::Put(of, snapshot, reply) => answer(reply, backend.put(&of, &snapshot)),
            Question::Remove(of, versions, reply) => answer(reply, backend.remove(&of, &versions)),
        }
    }
}

/// Sends an answer. A caller that is gone does not need it.
fn answer<T>(reply: Reply<T>, answer: Result<T, SnapshotError>) {
    let _ = reply.send(answer);
}

/// Drops waiting requests when the thread ends, so that no caller waits for ever.
struct Abandons<'a>(&'a Queue);

impl Drop for Abandons<'_> {
    fn drop(&mut self) {
        self.0.abandon();
    }
}
