//! Event sourcing for Rust: the crate that application authors import.
//!
//! - [`Event`]: an enum of events with stable names, schema versions and upcasters.
//! - [`State`] and [`Decider`]: one entity, as two pure functions, `evolve` and `decide`.
//! - [`Decision`], [`macro@decision`]: a rule over several entities, or over all events with a tag.
//! - [`Gesta`]: the handle that loads, decides and appends, and decides again after a conflict.
//! - [`macro@snapshot`]: states that are kept, so that a load does not fold a whole history.
//! - [`Process`]: a long-running workflow that reacts to events with effects and timers.
//! - [`HostedGroup`]: a consumer group with a handler, for effects outside of the store.
//! - [`causes`]: why an event was recorded, and what followed from it.
//! - [`App`]: deciders and decisions by name, for the HTTP router (feature `http`) and the command line.
//! - `RowView` (feature `views`): a read model whose rows are structs, queried with SQL.
//! - [`testing`]: given, when, then.
//!
//! An entity is a stream, named `category-id`, with dense versions. The events of a command are appended only if the
//! stream has not changed since it was read. The library runs on any [`EventStore`] and needs no particular async runtime.
//!
//! # Example
//! ```
//! use gesta::{Command, Decider, Event, Gesta, Key, Refusal, State};
//!
//! #[derive(Debug, Clone, Key)]
//! #[key("light")]
//! struct LightId(String);
//!
//! #[derive(Debug, PartialEq, Event)]
//! #[event(prefix = "home.light")]
//! enum LightEvent {
//!     Dimmed { percent: u8 },
//! }
//!
//! #[derive(Debug, Clone, Command)]
//! enum LightCommand {
//!     Dim { percent: u8 },
//! }
//!
//! #[derive(Debug, PartialEq, Refusal)]
//! enum Refused {
//!     /// A light has no more than 100 percent.
//!     TooBright,
//! }
//!
//! #[derive(Debug, Default)]
//! struct Light {
//!     percent: u8,
//! }
//!
//! impl State for Light {
//!     type Event = LightEvent;
//!
//!     fn evolve(&mut self, event: LightEvent) {
//!         match event {
//!             LightEvent::Dimmed { percent } => self.percent = percent,
//!         }
//!     }
//! }
//!
//! impl Decider for Light {
//!     type Id = LightId;
//!     type Command = LightCommand;
//!     type Error = Refused;
//!
//!     fn decide(&self, command: LightCommand) -> Result<Vec<LightEvent>, Refused> {
//!         match command {
//!             LightCommand::Dim { percent } if percent > 100 => Err(Refused::TooBright),
//!             LightCommand::Dim { percent } if percent == self.percent => Ok(vec![]),
//!             LightCommand::Dim { percent } => Ok(vec![LightEvent::Dimmed { percent }]),
//!         }
//!     }
//! }
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> { gesta::testing::block_on(async {
//! # let store = std::sync::Arc::new(gesta::testing::memory());
//! let gesta = Gesta::new(store); // any `Arc<dyn EventStore>`
//! let hall = LightId("hall".to_owned());
//! let committed = gesta.send::<Light>(&hall, LightCommand::Dim { percent: 40 }).await?;
//! assert_eq!(committed.events, [LightEvent::Dimmed { percent: 40 }]);
//! assert_eq!(gesta.load::<Light>(&hall).await?.state.percent, 40);
//! # Ok(()) }) }
//! ```

// The derives name this crate by its name, also in its unit tests.
#[cfg(test)]
extern crate self as gesta;

#[doc(hidden)]
#[path = "private.rs"]
pub mod __private;
mod answer;
mod app;
mod boundary;
mod canonical;
pub mod causes;
mod command;
mod compensation;
mod decider;
mod decision;
mod entity;
mod environment;
mod error;
mod event;
mod fact;
mod group;
mod halt;
mod handle;
mod hex;
#[cfg(feature = "http")]
pub mod http;
mod idempotency;
mod introspect;
mod key;
mod load;
mod meta;
mod pages;
pub mod past;
mod planted;
pub mod process;
mod random;
mod refusal;
#[cfg(feature = "schema")]
pub mod schema;
mod snapshot;
mod state;
pub mod testing;
#[cfg(feature = "views")]
pub mod view;
mod words;

pub use app::{
    App, AppError, CommandOptions, DeciderInfo, DecisionInfo, HostedEvent, Outcome, OutcomeEvent, StateView,
};
pub use boundary::{At, Boundary};
pub use bytes::Bytes;
pub use command::{Command, CommandInfo, FieldInfo, InputError};
pub use compensation::{Compensated, EventRef, event_id};
pub use decider::Decider;
pub use decision::Decision;
pub use entity::{Cache, CacheMetrics};
pub use environment::{ClockEnvironment, Environment, SystemEnvironment};
pub use error::{DecodeError, EncodeError, LoadError, SendError};
pub use event::{Event, EventTypeInfo, Piece, Recorded, TagValue, query};
pub use fact::NewFact;
pub use gesta_consumer::group::{GroupName, GroupNameError, GroupSettings};
pub use gesta_core::{
    AppendError, Appended, Batch, BoxFuture, Capabilities, Category, Checkpoint, CommandKey, Condition,
    ContentKind, EventId, EventStore, EventType, Expected, Fingerprint, Item, Limit, ListToken, Listing,
    MemoryStore, NameError, NewEvent, Page, Place, Placed, Position, Query, Read, ReadError, RecordedEvent,
    Retry, Select, SnapshotStore, StoreId, StoreLayer, StreamInfo, StreamName, StreamPage, Subscription, Tag,
    Timestamp, Version, When,
};
pub use gesta_macros::{Command, Event, Key, Refusal, decision, snapshot};
pub use group::{GroupContext, HostedGroup};
pub use handle::{Call, Committed, Gesta};
pub use idempotency::Idempotency;
pub use key::{Key, KeyError};
pub use load::{AsOf, Loaded};
pub use meta::Meta;
pub use process::{EffectContext, Failure, Perform, Process, Reaction, Trigger};
pub use refusal::{Refusal, RefusalInfo};
#[cfg(feature = "schema")]
pub use schemars;
pub use snapshot::{SnapshotMetrics, SnapshotOptions, Snapshots, Verify};
pub use state::State;
#[cfg(feature = "views")]
pub use {
    gesta_macros::Row,
    view::{Column, OnError, Row, RowView, Rows, ViewError, row_view},
};
