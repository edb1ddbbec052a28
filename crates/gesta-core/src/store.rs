//! The one trait that everything above a store holds.

use std::future::Future;
use std::pin::Pin;

use crate::batch::{Appended, Batch, CommandKey};
use crate::capabilities::Capabilities;
use crate::checkpoint::Checkpoint;
use crate::error::{AppendError, ReadError};
use crate::name::StreamName;
use crate::read::{Listing, Page, Read, StreamInfo, StreamPage, When};

/// A boxed future: what lets the trait be used as `Arc<dyn EventStore>`.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// An append-only event store.
///
/// What every store promises, whatever its backend:
///
/// - **Order.** Within a partition sequences only grow, and nothing new ever appears below what a reader was shown.
/// - **Whole batches.** A batch is there or not, for every reader, after every crash.
/// - **Durable before visible.** What is acknowledged, read or spoken of in an answer has been synced.
/// - **Exact idempotency**, for the whole history, by event id within a stream and by command key.
/// - **Every read says where it got to**, even when nothing matched.
///
/// No future here needs a particular runtime, and none blocks its thread for longer than a look at memory.
pub trait EventStore: Send + Sync {
    /// What this store can do, and its limits.
    fn capabilities(&self) -> &Capabilities;

    /// Appends a batch: whole and durable when this returns `Ok`, or not at all.
    ///
    /// A batch whose ids all stand in their streams already, in order, is a repeat: it is answered with the first
    /// answer, and nothing is written. So is one whose command key was used with the same request.
    ///
    /// # Errors
    /// [`AppendError`]; its `retry()` says what helps. [`AppendError::InDoubt`] is settled by the same call.
    ///
    /// # Cancel safety
    /// Dropped before it was queued, it has no effect; later the batch may be written. Sending it again settles it.
    fn append(&self, batch: Batch) -> BoxFuture<'_, Result<Appended, AppendError>>;

    /// The first answer to a command, if its key was recorded: what to ask before deciding a command that may be a
    /// repeat. `near` is any stream the command would write to; it says which partition to ask.
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
    /// [`ReadError`]. A checkpoint beyond the head is refused and never waited for.
    fn read(&self, read: Read) -> BoxFuture<'_, Result<Page, ReadError>>;

    /// What is known of a stream; `None` if it has no event.
    ///
    /// # Errors
    /// [`ReadError`]; [`ReadError::DataLoss`] where damage may hide events of this stream.
    fn stream(&self, name: StreamName) -> BoxFuture<'_, Result<Option<StreamInfo>, ReadError>>;

    /// One page of the streams of a category, or of all.
    ///
    /// # Errors
    /// [`ReadError`]; [`ReadError::Invalid`] for a token that this store did not give.
    fn streams(&self, listing: Listing) -> BoxFuture<'_, Result<StreamPage, ReadError>>;

    /// A place in the log, by name or time.
    ///
    /// # Errors
    /// [`ReadError`].
    fn locate(&self, at: When) -> BoxFuture<'_, Result<Checkpoint, ReadError>>;

    /// The end of the log, no older than the call, even if another process wrote what is there. Where all appends pass
    /// through this store, that is [`When::Head`]; a store that caches its head must ask its backend.
    ///
    /// # Errors
    /// [`ReadError`].
    fn head_now(&self) -> BoxFuture<'_, Result<Checkpoint, ReadError>> {
        self.locate(When::Head)
    }

    /// Waits until something is durable after the checkpoint, in any partition, and gives the head. Woken by the append
    /// itself: nothing polls.
    ///
    /// # Errors
    /// [`ReadError::CheckpointAhead`] for a checkpoint beyond the head, at once: it may never be reached.
    ///
    /// # Cancel safety
    /// Dropping it has no effect.
    fn wait_past(&self, after: Checkpoint) -> BoxFuture<'_, Result<Checkpoint, ReadError>>;
}
