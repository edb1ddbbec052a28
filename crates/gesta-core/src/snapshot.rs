//! The trait of every snapshot store: states as bytes, by stream, kind and version.
//!
//! A snapshot saves a fold. The log stays the only truth: a snapshot may vanish at any time, and every answer is the
//! same without it, only later.
//!
//! *Choice:* a store knows bytes only. Which snapshot may be used, which is kept and when one is taken is decided above
//! it, once for all stores. The cost: a reader checks the anchor of a snapshot against the log at each use.

mod error;
mod fingerprint;
mod memory;
mod queue;
mod threads;
mod value;

use std::num::NonZeroU32;

use bytes::Bytes;

use crate::checkpoint::{StoreId, Version};
use crate::event::EventId;
use crate::name::StreamName;
use crate::store::BoxFuture;
use crate::time::Timestamp;
pub use error::SnapshotError;
pub use fingerprint::{Fingerprint, FingerprintParseError};
pub use memory::MemorySnapshotStore;
pub use threads::{BlockingSnapshots, SnapshotThreads};

/// A store of states that were folded from streams.
///
/// Every store guarantees, with any backend:
///
/// - **Exact bytes, or nothing.** A snapshot is returned as it was put. A torn or damaged one is absent.
/// - **Apart.** Snapshots of other event stores, streams and kinds are never returned.
/// - **Own writes.** A read that begins after a `put` or `remove` was acknowledged shows it, unless the snapshot has
///   vanished since.
///
/// Nothing is durable. A store may lose any snapshot at any time: in a crash, to make room, or because somebody
/// emptied it.
///
/// The futures need no particular runtime, and never block a thread for longer than a memory access. A store that does
/// I/O has threads of its own, and answers over channels. Dropping a future leaves it open whether a `put` or `remove`
/// happens.
pub trait SnapshotStore: Send + Sync {
    /// Returns the snapshot with the greatest version, not greater than `at_most`; `None` if there is none.
    ///
    /// # Errors
    /// [`SnapshotError`], but neither `TooLarge` nor `StorageFull`.
    fn newest(
        &self,
        of: SnapshotKey,
        at_most: Option<Version>,
    ) -> BoxFuture<'_, Result<Option<Snapshot>, SnapshotError>>;

    /// Keeps a snapshot. It replaces one of the same version.
    ///
    /// After concurrent puts of one version, one of them stays, whole.
    ///
    /// # Errors
    /// [`SnapshotError`]. After `Unavailable` the snapshot may be there.
    fn put(&self, of: SnapshotKey, snapshot: Snapshot) -> BoxFuture<'_, Result<(), SnapshotError>>;

    /// Returns the snapshots of a key, oldest first. A listed snapshot may turn out to be damaged when it is read.
    ///
    /// # Errors
    /// As [`Self::newest`].
    fn list(&self, of: SnapshotKey) -> BoxFuture<'_, Result<Vec<SnapshotInfo>, SnapshotError>>;

    /// Removes snapshots of a key. A version without one is passed over.
    ///
    /// # Errors
    /// As [`Self::newest`]. After `Unavailable` some may be gone.
    fn remove(&self, of: SnapshotKey, versions: Vec<Version>) -> BoxFuture<'_, Result<(), SnapshotError>>;

    /// Returns one page of the keys that have snapshots, greater than `after`, sorted.
    ///
    /// `within` leaves out the keys of other event stores. A page examines at most `limit` keys, so it may be empty; go
    /// on from its `next`. A key that has snapshots from the first page to the last is listed exactly once.
    ///
    /// # Errors
    /// As [`Self::newest`].
    fn streams(
        &self,
        within: Option<StoreId>,
        after: Option<SnapshotKey>,
        limit: NonZeroU32,
    ) -> BoxFuture<'_, Result<SnapshotPage, SnapshotError>>;
}

/// What a snapshot is of: one kind of state of one stream of one event store. Ordered by store, kind and stream.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SnapshotKey {
    /// The event store.
    pub store: StoreId,
    /// The kind of state. Another way to fold or to write the state is another kind.
    pub kind: Fingerprint,
    /// The stream.
    pub stream: StreamName,
}

/// A state, as it is after one event of a stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Snapshot {
    /// The version of the last event that was folded in.
    pub version: Version,
    /// The id of that event. A stream with another event at the version has another history.
    pub anchor: EventId,
    /// When it was taken.
    pub taken_at: Timestamp,
    /// The state. At most [`SNAPSHOT_BYTES_MAX`](crate::SNAPSHOT_BYTES_MAX) bytes; a store may take less.
    pub state: Bytes,
}

/// A snapshot in a list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SnapshotInfo {
    /// The version of the last event that was folded in.
    pub version: Version,
    /// Bytes of the state.
    pub state_bytes: u64,
}

/// One page of the keys of a snapshot store.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct SnapshotPage {
    /// The keys, sorted.
    pub streams: Vec<SnapshotStream>,
    /// The key to go on after; `None` at the end.
    pub next: Option<SnapshotKey>,
}

/// A key with the sum of its snapshots.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SnapshotStream {
    /// The key.
    pub key: SnapshotKey,
    /// The number of its snapshots, at least 1.
    pub snapshots: u64,
    /// Bytes of their states.
    pub state_bytes: u64,
    /// The version of the newest one.
    pub newest: Version,
}
