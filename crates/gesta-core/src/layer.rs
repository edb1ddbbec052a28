//! A store in front of another one.

use crate::batch::{Appended, Batch, CommandKey};
use crate::capabilities::Capabilities;
use crate::checkpoint::Checkpoint;
use crate::error::{AppendError, ReadError};
use crate::name::StreamName;
use crate::read::{Listing, Page, Read, StreamInfo, StreamPage, When};
use crate::store::{BoxFuture, EventStore};

/// A store in front of another one, such as one that counts or limits calls.
///
/// A layer is an [`EventStore`]. It passes on every call that it has no method for, also those whose default in `EventStore` would do less than
/// the store behind it, such as [`EventStore::head_now`].
///
/// It owes its callers the guarantees of an event store: it may refuse calls, but not answer them otherwise than the store behind it would.
///
/// # Example
/// ```
/// use std::sync::atomic::{AtomicU64, Ordering};
/// use gesta_core::{BoxFuture, EventStore, Page, Read, ReadError, StoreLayer};
///
/// struct CountsReads<S> {
///     store: S,
///     reads: AtomicU64,
/// }
///
/// impl<S: EventStore> StoreLayer for CountsReads<S> {
///     fn inner(&self) -> &dyn EventStore {
///         &self.store
///     }
///
///     fn read(&self, read: Read) -> BoxFuture<'_, Result<Page, ReadError>> {
///         self.reads.fetch_add(1, Ordering::Relaxed);
///         self.store.read(read)
///     }
/// }
/// ```
pub trait StoreLayer: Send + Sync {
    /// Returns the store behind the layer.
    fn inner(&self) -> &dyn EventStore;

    /// As [`EventStore::capabilities`].
    fn capabilities(&self) -> &Capabilities {
        self.inner().capabilities()
    }

    /// As [`EventStore::append`].
    fn append(&self, batch: Batch) -> BoxFuture<'_, Result<Appended, AppendError>> {
        self.inner().append(batch)
    }

    /// As [`EventStore::repeat_of`].
    fn repeat_of(
        &self,
        command: CommandKey,
        near: StreamName,
    ) -> BoxFuture<'_, Result<Option<Appended>, AppendError>> {
        self.inner().repeat_of(command, near)
    }

    /// As [`EventStore::read`].
    fn read(&self, read: Read) -> BoxFuture<'_, Result<Page, ReadError>> {
        self.inner().read(read)
    }

    /// As [`EventStore::stream`].
    fn stream(&self, name: StreamName) -> BoxFuture<'_, Result<Option<StreamInfo>, ReadError>> {
        self.inner().stream(name)
    }

    /// As [`EventStore::streams`].
    fn streams(&self, listing: Listing) -> BoxFuture<'_, Result<StreamPage, ReadError>> {
        self.inner().streams(listing)
    }

    /// As [`EventStore::locate`].
    fn locate(&self, at: When) -> BoxFuture<'_, Result<Checkpoint, ReadError>> {
        self.inner().locate(at)
    }

    /// As [`EventStore::head_now`].
    fn head_now(&self) -> BoxFuture<'_, Result<Checkpoint, ReadError>> {
        self.inner().head_now()
    }

    /// As [`EventStore::wait_past`].
    fn wait_past(&self, after: Checkpoint) -> BoxFuture<'_, Result<Checkpoint, ReadError>> {
        self.inner().wait_past(after)
    }
}

impl<L: StoreLayer> EventStore for L {
    fn capabilities(&self) -> &Capabilities {
        StoreLayer::capabilities(self)
    }

    fn append(&self, batch: Batch) -> BoxFuture<'_, Result<Appended, AppendError>> {
        StoreLayer::append(self, batch)
    }

    fn repeat_of(
        &self,
        command: CommandKey,
        near: StreamName,
    ) -> BoxFuture<'_, Result<Option<Appended>, AppendError>> {
        StoreLayer::repeat_of(self, command, near)
    }

    fn read(&self, read: Read) -> BoxFuture<'_, Result<Page, ReadError>> {
        StoreLayer::read(self, read)
    }

    fn stream(&self, name: StreamName) -> BoxFuture<'_, Result<Option<StreamInfo>, ReadError>> {
        StoreLayer::stream(self, name)
    }

    fn streams(&self, listing: Listing) -> BoxFuture<'_, Result<StreamPage, ReadError>> {
        StoreLayer::streams(self, listing)
    }

    fn locate(&self, at: When) -> BoxFuture<'_, Result<Checkpoint, ReadError>> {
        StoreLayer::locate(self, at)
    }

    fn head_now(&self) -> BoxFuture<'_, Result<Checkpoint, ReadError>> {
        StoreLayer::head_now(self)
    }

    fn wait_past(&self, after: Checkpoint) -> BoxFuture<'_, Result<Checkpoint, ReadError>> {
        StoreLayer::wait_past(self, after)
    }
}
