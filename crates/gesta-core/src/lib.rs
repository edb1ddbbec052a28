//! The contract of the Gesta event store: its types, rules and errors, the generic subscription, and the
//! in-memory store that is the oracle of every other one.
//!
//! Nothing here knows a runtime, does I/O, reads a clock, draws entropy or looks into a payload.
//!
//! - [`EventStore`] is the one trait that everything above holds, as `Arc<dyn EventStore>`.
//! - [`Batch`] is what an append writes: events, what they expect of their streams, conditions on the log.
//! - [`Read`] and [`Page`] are how events come back; [`Subscription`] is a read that does not end.
//! - [`MemoryStore`] is small, slow and obviously right.
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
mod error;
mod event;
mod form;
mod lane;
mod limits;
mod memory;
mod name;
mod query;
mod read;
mod store;
mod subscription;
mod time;

pub use batch::{Appended, Batch, CommandKey, Condition, Expected, Placed};
pub use canonical::{CanonicalError, EventDigest};
pub use capabilities::{AtomicScope, Capabilities, Limits};
pub use checkpoint::{Checkpoint, CheckpointParseError, Position, StoreId, Version};
pub use error::{AppendError, Diverged, ReadError, Retry};
pub use event::{
    ContentKind, EventBytes, EventId, EventIdParseError, NewEvent, RecordedEvent, TagsIter, mark_of,
};
pub use form::{
    FormError, check_batch, check_checkpoint, check_command, check_marks, check_query, check_read,
};
pub use lane::{LANES, Lane, Lanes};
pub use limits::*;
pub use memory::MemoryStore;
pub use name::{Category, EventType, NameError, StreamName, Tag};
pub use query::{Item, Query};
pub use read::{
    Direction, Limit, ListToken, Listing, Page, Place, Read, Select, StreamInfo, StreamPage, When,
};
pub use store::{BoxFuture, EventStore};
pub use subscription::Subscription;
pub use time::Timestamp;
