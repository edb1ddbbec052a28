//! The state that the readers and the writer of one log share.

mod building;
mod marks;
mod poison;
mod published;
mod recent;

use std::sync::Arc;

use gesta_core::{AppendError, Capabilities, Checkpoint, Position, StoreId, Timestamp};

use crate::bugs::{Bug, planted};
use crate::index::{Index, IndexSnapshot, LookupError};
use crate::options::Clock;
pub(crate) use building::Building;
pub use building::IndexProgress;
use marks::Marks;
use poison::Poison;
pub(crate) use published::Head;
use published::{Published, Synced};
pub(crate) use recent::Recent;

/// The state that the readers and the writer of one log share.
pub(crate) struct Shared {
    pub(crate) id: StoreId,
    pub(crate) capabilities: Capabilities,
    pub(crate) published: Published,
    pub(crate) synced: Synced,
    pub(crate) clock: Clock,
    pub(crate) poison: Poison,
    /// For the threads that change the index. Look-ups use [`Self::snapshot`].
    pub(crate) index: Index,
    /// Events that readers at the head have read.
    pub(crate) recent: Recent,
    /// Marks of places that were returned or checked.
    pub(crate) marks: Marks,
    /// The rebuild of the index, if the log was opened before its index was complete.
    pub(crate) building: Option<Arc<Building>>,
}

impl Shared {
    pub(crate) fn new(
        id: StoreId,
        capabilities: Capabilities,
        clock: Clock,
        durable: u64,
        index: Index,
        building: Option<Arc<Building>>,
    ) -> Self {
        Self {
            id,
            capabilities,
            published: Published::new(durable),
            synced: Synced::default(),
            clock,
            poison: Poison::default(),
            index,
            recent: Recent::new(),
            marks: Marks::new(),
            building,
        }
    }

    /// The parts of the index, once it is complete: an answer from some of the parts would be wrong.
    pub(crate) fn snapshot(&self) -> Result<Arc<IndexSnapshot>, LookupError> {
        match &self.building {
            Some(building) if !planted(Bug::HalfBuiltIndexAsked) => building.check_done()?,
            _ => {}
        }
        Ok(self.index.snapshot())
    }

    /// Stops all writes after a failed one. Removes events after `last` from the index, which never become durable,
    /// and wakes everyone who waits for them. The caller must hold the group builder, so that nothing is added
    /// meanwhile.
    pub(crate) fn stop_writes(&self, reason: &str, last: u64) {
        self.drop_undurable(last);
        self.poison.set_by_failure(reason);
        self.published.wake();
    }

    /// The same after a panic. No batch is decided from now on.
    pub(crate) fn stop_writes_after_panic(&self, last: u64) {
        self.drop_undurable(last);
        self.poison.set_by_panic();
        self.published.wake();
    }

    /// The answer to an append that a poison refuses.
    pub(crate) fn read_only(&self) -> AppendError {
        AppendError::ReadOnly { reason: self.poison.cause().map(|own| own.reason).unwrap_or_default() }
    }

    fn drop_undurable(&self, last: u64) {
        if !planted(Bug::PoisonKeepsTable) {
            self.index.truncate(last);
        }
    }

    /// The head of the log as a checkpoint.
    pub(crate) fn head(&self) -> Checkpoint {
        self.checkpoint_of(self.published.head())
    }

    /// A checkpoint right after an event, with its mark.
    pub(crate) fn checkpoint_of(&self, Head { position, mark }: Head) -> Checkpoint {
        let checkpoint = self.checkpoint(0);
        match mark {
            Some(mark) => checkpoint.with_mark(Position { partition: 0, sequence: position }, mark),
            None => checkpoint.with(0, position),
        }
    }

    /// A checkpoint without a mark.
    pub(crate) fn checkpoint(&self, sequence: u64) -> Checkpoint {
        Checkpoint::new(self.id, [sequence])
    }

    pub(crate) fn now(&self) -> Timestamp {
        (self.clock)()
    }
}
