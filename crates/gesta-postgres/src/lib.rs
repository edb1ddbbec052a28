//! An event store in a PostgreSQL database: [`PostgresStore`] is an [`EventStore`](gesta_core::EventStore), and
//! [`PostgresValues`] a [`KeyValueStore`](gesta_core::KeyValueStore) and [`PostgresSnapshots`] a
//! [`SnapshotStore`](gesta_core::SnapshotStore) in the same schema.
//!
//! Several processes may share one store. The tables are only ever added to; the database refuses every change of an event.
//!
//! [`PostgresCopy`] fills a schema with what another store has recorded.
//!
//! Where to look: `schema` has the tables, `session` a connection and its settings, `write` the life of an append, `read` pages,
//! `listen` wake-ups, `shared` what all of them know of the head.

mod address;
mod copy;
mod error;
mod fault;
mod limits;
mod line;
mod listen;
mod marks;
mod options;
mod pool;
mod read;
mod runtime;
mod schema;
mod session;
mod shared;
mod snapshots;
mod store;
mod values;
mod write;

pub use address::{PostgresUrl, PostgresUrlParseError};
pub use copy::PostgresCopy;
pub use error::OpenError;
pub use options::{Clock, Options};
pub use snapshots::PostgresSnapshots;
pub use store::PostgresStore;
pub use values::PostgresValues;
