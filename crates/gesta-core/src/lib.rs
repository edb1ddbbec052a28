//! The contract of the Gesta event store: types, rules, errors, subscriptions, and an in-memory store.
//!
//! This crate has no runtime, does no I/O, reads no clock, draws no entropy, and never reads a payload.
//!
//! - [`EventStore`] is the trait of every store, used as `Arc<dyn EventStore>`. A [`StoreLayer`] is one in front of another.
//! - [`Batch`] is the unit of an append: events, expectations of their streams, conditions on the log.
//! - [`Read`] asks for events and [`Page`] returns them. [`Subscription`] is a read without end.
//! - [`KeyValueStore`] is the trait of small values by key, with revisions, beside the log.
//! - [`SnapshotStore`] is the trait of states that were folded from streams, as bytes.
//! - [`CopySource`] and [`CopyTarget`] copy a store, with places, times and command keys.
//! - [`MemoryStore`] is small, slow and simple. All other stores are tested against it.
//!
//! # Example
//! ```
//! # use gesta_core::*;
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let store = MemoryStore::new(StoreId::from_bytes([7; 16]), 1, || Timestamp::from_nanos(1));
//! let event = NewEvent::json(EventId::from_u128(1), "account-42".parse()?, "account.opened".parse()?, Timestamp::from_nanos(1), "{}");
//! let appended = store.append_now(Batch::new([event]).expect("account-42".parse()?, Expected::None))?;
//! assert_eq!(appended.places[0].version, Version::FIRST);
//! # Ok(())
//! # }
//! ```

mod batch;
mod canonical;
mod capabilities;
mod checkpoint;
mod copy;
mod decide;
mod error;
mod event;
mod excerpt;
mod form;
mod key_value;
mod lane;
mod layer;
mod limits;
mod memory;
mod name;
mod query;
mod read;
mod snapshot;
mod store;
mod subscription;
mod time;

pub use batch::{Appended, Batch, CommandKey, Condition, Expected, Placed};
pub use canonical::{CanonicalError, EventDigest};
pub use capabilities::{AtomicScope, Capabilities, Limits};
pub use checkpoint::{Checkpoint, CheckpointParseError, Position, StoreId, StoreIdParseError, Version};
pub use copy::{
    CopyError, CopySource, CopyTarget, LogDigest, RecordedBatch, RecordedBatchError, RecordedBatches,
};
pub use decide::{CommandRecord, Facts, RefusedBatch, Repeat, check, repeat_of};
pub use error::{AppendError, Diverged, ReadError, Retry, with_causes};
pub use event::{
    ContentKind, EventBytes, EventId, EventIdParseError, NewEvent, RecordedEvent, TagsIter, mark_of,
};
pub use excerpt::excerpt;
pub use form::{
    FormError, check_batch, check_checkpoint, check_command, check_marks, check_query, check_read,
};
pub use key_value::{
    Entry, KeyName, KeyNameError, KeyPrefix, KeyValueError, KeyValueStore, MemoryKeyValueStore, Revision,
};
pub use lane::{LANES, Lane, Lanes, LanesParseError};
pub use layer::StoreLayer;
pub use limits::*;
pub use memory::MemoryStore;
pub use name::{Category, EventType, NameError, StreamName, Tag};
pub use query::{Item, Query};
pub use read::{
    Direction, Limit, ListToken, Listing, Page, Place, Read, Select, StreamInfo, StreamPage, When,
};
pub use snapshot::{
    BlockingSnapshots, Fingerprint, FingerprintParseError, MemorySnapshotStore, Snapshot, SnapshotError,
    SnapshotInfo, SnapshotKey, SnapshotPage, SnapshotStore, SnapshotStream, SnapshotThreads,
};
pub use store::{BoxFuture, EventStore};
pub use subscription::Subscription;
pub use time::Timestamp;
