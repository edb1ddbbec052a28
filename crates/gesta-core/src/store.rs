//! The trait of every event store.

use std::future::Future;
use std::pin::Pin;

use crate::batch::{Appended, Batch, CommandKey};
use crate::capabilities::Capabilities;
use crate::checkpoint::Checkpoint;
use crate::error::{AppendError, ReadError};
use crate::name::StreamName;
use crate::read::{Listing, Page, Read, StreamInfo, StreamPage, When};

/// A boxed future. It allows the trait to be used as `Arc<dyn EventStore>`.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// An append-only event store.
///
/// Every store guarantees, with any backend:
///
/// - **Order.** Sequences only grow within a partition. No new event appears before one that a reader has seen.
/// - **Atomicity.** A batch is present or absent as a whole, for every reader and after every crash.
/// - **Durability before visibility.** Everything that an answer acknowledges, returns or mentions has been synced.
/// - **Exact idempotency.** Event ids within a stream, and command keys, decide repeats over the whole history.
/// - **Progress.** Every read returns the place that it reached, even if no event matched.
///
/// The futures need no particular runtime, and never block a thread for longer than a memory access. A store that needs
/// a runtime, such as one over a network, owns it and answers over channels.
pub trait EventStore: Send + Sync {
    /// Returns the capabilities of this store, with its limits.
    fn capabilities(&self) -> &Capabilities;

    /// Appends a batch. After `Ok` it is durable as a whole; after an error it is not written, or in doubt.
    ///
    /// A batch is a repeat if all its ids are in their streams already, in order, or if its command key was used with
    /// the same request. A repeat gets the first answer, and writes nothing.
    ///
    /// # Errors
    /// [`AppendError`]; its `retry()` gives the advice. After [`AppendError::InDoubt`], send the same batch again.
    ///
    /// # Cancel safety
    /// A future that is dropped before the batch is queued has no effect. After that, the batch may be written. Send
    /// it again to settle it.
    fn append(&self, batch: Batch) -> BoxFuture<'_, Result<Appended, AppendError>>;

    /// Returns the first answer to a command, if its key is recorded.
    ///
    /// Ask before deciding a command that may be a repeat. `near` is any stream that the command would write to; it
    /// selects the partition.
    ///
    /// # Errors
    /// [`AppendError::KeyReused`] if the key was used with another request; otherwise as for a read.
    fn repeat_of(
        &self,
        command: CommandKey,
        near: StreamName,
    ) -> BoxFuture<'_, Result<Option<Appended>, AppendError>>;

    /// Reads one page.
    ///
    /// # Errors
    /// [`ReadError`]. A checkpoint beyond the head is refused at once: the read does not wait for it.
    fn read(&self, read: Read) -> BoxFuture<'_, Result<Page, ReadError>>;

    /// Returns the last version of a stream; `None` if it has no event.
    ///
    /// # Errors
    /// [`ReadError`]; [`ReadError::DataLoss`] if damage may hide events of this stream.
    fn stream(&self, name: StreamName) -> BoxFuture<'_, Result<Option<StreamInfo>, ReadError>>;

    /// Returns one page of the streams of a category, or of all streams.
    ///
    /// # Errors
    /// [`ReadError`]; [`ReadError::Invalid`] for a token from elsewhere.
    fn streams(&self, listing: Listing) -> BoxFuture<'_, Result<StreamPage, ReadError>>;

    /// Returns the checkpoint of a place, given by name or by time.
    ///
    /// # Errors
    /// [`ReadError`].
    fn locate(&self, at: When) -> BoxFuture<'_, Result<Checkpoint, ReadError>>;

    /// Returns the end of the log, no older than the call, even if another process wrote the last events.
    ///
    /// The default is [`When::Head`], for stores that all appends pass through. A store that caches its head must ask
    /// its backend.
    ///
    /// # Errors
    /// [`ReadError`].
    fn head_now(&self) -> BoxFuture<'_, Result<Checkpoint, ReadError>> {
        self.locate(When::Head)
    }

    /// Waits until an event after the checkpoint is durable, in any partition, and returns the head.
    ///
    /// The append wakes the waiter. Nothing polls.
    ///
    /// # Errors
    /// [`ReadError::CheckpointAhead`] at once for a checkpoint beyond the head: the log may never reach it.
    ///
    /// # Cancel safety
    /// Dropping the future has no effect.
    fn wait_past(&self, after: Checkpoint) -> BoxFuture<'_, Result<Checkpoint, ReadError>>;
}
