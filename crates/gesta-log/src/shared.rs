//! What the readers and the writer of one log share.

use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use gesta_core::{Capabilities, Checkpoint, StoreId, Timestamp};

use crate::index::Index;
use crate::published::Published;

/// Tells the time, for `recorded_at`. A clock that goes back is held at the last time that was recorded.
pub type Clock = Arc<dyn Fn() -> Timestamp + Send + Sync>;

/// What the readers and the writer of one log share.
pub(crate) struct Shared {
    pub(crate) id: StoreId,
    pub(crate) capabilities: Capabilities,
    pub(crate) published: Published,
    pub(crate) clock: Clock,
    /// Why the log was opened read-only, if it was.
    pub(crate) read_only: Option<String>,
    /// Why it stopped taking writes since, if it did.
    pub(crate) poison: RwLock<Option<String>>,
    index: RwLock<Index>,
}

impl Shared {
    pub(crate) fn new(
        id: StoreId,
        capabilities: Capabilities,
        clock: Clock,
        durable: u64,
        index: Index,
        read_only: Option<String>,
    ) -> Self {
        Self {
            id,
            capabilities,
            published: Published::new(durable),
            clock,
            read_only,
            poison: RwLock::new(None),
            index: RwLock::new(index),
        }
    }

    /// Takes no writes from now on: forgets what never became durable, and tells everybody who waits for it.
    pub(crate) fn poison(&self, reason: String) {
        tracing::error!(reason, "the log is read-only from now on");
        self.index_mut().truncate(self.published.position());
        *self.poison.write().unwrap_or_else(PoisonError::into_inner) = Some(reason);
        self.published.wake();
    }

    pub(crate) fn head(&self) -> Checkpoint {
        self.checkpoint(self.published.position())
    }

    pub(crate) fn checkpoint(&self, sequence: u64) -> Checkpoint {
        Checkpoint::new(self.id, [sequence])
    }

    pub(crate) fn now(&self) -> Timestamp {
        (self.clock)()
    }

    /// To look something up. Held for look-ups in memory only, never across I/O.
    pub(crate) fn index(&self) -> RwLockReadGuard<'_, Index> {
        // A panic under this lock is a broken invariant of the index: its writer is poisoned, readers clip what they see.
        self.index.read().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn index_mut(&self) -> RwLockWriteGuard<'_, Index> {
        self.index.write().unwrap_or_else(PoisonError::into_inner)
    }
}
