//! The trait of every key-value store: small values by key, with revisions and compare-and-set.
//!
//! It holds what is not an event: progress and settings of consumer groups, pauses, places of timers. Facts belong in
//! the log. Whatever is lost here costs repeated work, never an event.
//!
//! A value that holds places of a log is a JSON object with a member `store`, the id of the log. A restore gives the log a
//! new id, and replaces the id in these values.
//!
//! *Choice:* every write names the revision that it replaces. There is no blind put, because two writers that do not
//! know of each other would undo each other's progress. The cost: a writer reads a key before its first put.

mod error;
mod memory;
mod name;

use std::fmt;
use std::num::NonZeroU32;

use bytes::Bytes;

use crate::store::BoxFuture;
pub use error::KeyValueError;
pub use memory::MemoryKeyValueStore;
pub use name::{KeyName, KeyNameError, KeyPrefix};

/// A store of small values by key.
///
/// Every store guarantees, with any backend:
///
/// - **One winner.** Of writes that expect the same revision of a key, at most one is accepted.
/// - **Durability before visibility.** An accepted write, and every value that an answer shows, has been synced.
/// - **Own writes.** A `get` or `list` that begins after a write was acknowledged shows it, or a newer one.
/// - **Growing revisions.** Each write gets a revision higher than those of all writes of the store that were
///   acknowledged before it began, deletes included. So a revision never comes back.
/// - **Exact bytes.** A value is returned as it was put.
///
/// Nothing spans two keys: there is no transaction, and no order between writes to different keys that are under way
/// at the same time.
///
/// The futures need no particular runtime, and never block a thread for longer than a memory access.
pub trait KeyValueStore: Send + Sync {
    /// Returns the value of a key with its revision; `None` if the key has no value.
    ///
    /// # Errors
    /// [`KeyValueError`], but neither `Changed`, `TooLarge` nor `InDoubt`.
    fn get(&self, key: KeyName) -> BoxFuture<'_, Result<Option<Entry>, KeyValueError>>;

    /// Sets the value of a key, and returns its new revision. After `Ok` it is durable.
    ///
    /// `expect` is the revision that the value replaces; `None` means that the key has no value. A value has at most
    /// [`VALUE_BYTES_MAX`](crate::VALUE_BYTES_MAX) bytes.
    ///
    /// # Errors
    /// [`KeyValueError::Changed`] if the key has another revision, and nothing was written. After
    /// [`KeyValueError::InDoubt`] the value may be there, or may still come, as long as the key has the expected
    /// revision. A `get` shows whether it is there, if the caller can tell its values apart: put a number into each
    /// one that is used for one attempt only. The next accepted write with the same expectation ends the doubt.
    ///
    /// # Cancel safety
    /// Dropping the future leaves the put in doubt.
    fn put(
        &self,
        key: KeyName,
        value: Bytes,
        expect: Option<Revision>,
    ) -> BoxFuture<'_, Result<Revision, KeyValueError>>;

    /// Removes the value of a key. After `Ok` the removal is durable.
    ///
    /// # Errors
    /// As [`Self::put`]. For a key without a value it is `Changed { actual: None }`.
    ///
    /// # Cancel safety
    /// Dropping the future leaves the delete in doubt.
    fn delete(&self, key: KeyName, expect: Revision) -> BoxFuture<'_, Result<(), KeyValueError>>;

    /// Returns keys that begin with `prefix` and are greater than `after`, with their entries, sorted by bytes.
    ///
    /// A page holds at most `limit` entries. It is cut earlier once its values exceed
    /// [`LIST_BYTES_MAX`](crate::LIST_BYTES_MAX), but holds at least one entry if there is any. Go on after its last
    /// key; only an empty page is the end. `after` need not exist, nor begin with the prefix.
    ///
    /// A key that exists from the first page to the last is listed exactly once. A page is no snapshot: each entry was
    /// the key's at some moment of the call.
    ///
    /// # Errors
    /// As [`Self::get`].
    fn list(
        &self,
        prefix: KeyPrefix,
        after: Option<KeyName>,
        limit: NonZeroU32,
    ) -> BoxFuture<'_, Result<Vec<(KeyName, Entry)>, KeyValueError>>;
}

/// The value of a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// The bytes that were put.
    pub value: Bytes,
    /// The revision of the put that wrote them.
    pub revision: Revision,
}

/// The number of a write to a key-value store, at least 1. Revisions grow over all keys, with gaps.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Revision(u64);

impl Revision {
    /// Creates a revision from its number.
    #[must_use]
    pub const fn new(number: u64) -> Self {
        Self(number)
    }

    /// Returns the number.
    #[must_use]
    pub const fn get(self) -> u64 {
        self.0
    }
}

impl fmt::Display for Revision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
