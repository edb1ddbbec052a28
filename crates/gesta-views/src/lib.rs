//! Read models in SQL for the Gesta event store: declared in `.sql` files or in code, kept in SQLite or (with the feature `postgres`) in
//! PostgreSQL, and rebuilt from the log when their definition changes or their database is damaged.
//!
//! - [`Definition`] is a parsed and checked `.sql` file: a schema, and statements for each type of event. Or it is code that changes
//!   rows, [`RowDefinition`], which `gesta::RowView` makes typed.
//! - [`Views`] runs definitions on a store: they catch up, then follow the log. Rows and checkpoint are one transaction.
//! - [`Views::query`] answers read-only SQL within [`QueryLimits`], with the place in the log that the rows show.
//! - [`Views::wait_for`] waits until a view shows your own write.
//! - [`Evaluation`] folds a view up to an earlier moment, or shows it at many, or after each run of events.
//!
//! # Guarantees
//! Every event counts exactly once, in the order of the log, also after a crash: the runner goes on from the checkpoint that
//! was committed with the rows. No event is skipped: a view that cannot apply one stops and reports the event, the reason and
//! what helps. With [`OnError::Park`] it holds the stream of that event back instead, and shows all others. The same log and the same definition give the same rows: handlers cannot use clock or chance.
//!
//! A damaged structure of a view's database is found and the view rebuilt. A changed value in an intact row is not found.
//!
//! # Example
//! ```
//! # use std::sync::Arc;
//! # use gesta_core::*;
//! # use gesta_views::{Definition, QueryLimits, SqlValue, Views};
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let folder = tempfile::tempdir()?;
//! let store = Arc::new(MemoryStore::new(StoreId::from_bytes([7; 16]), 1, || Timestamp::from_nanos(1)));
//! let balances = Definition::parse(
//!     "balances",
//!     "-- dialect: sqlite
//!      create table balances (account text primary key, amount integer not null);
//!      -- on account.deposited
//!      insert into balances values ($entity, :amount)
//!      on conflict do update set amount = amount + excluded.amount;",
//! )?;
//! let views = Views::open(store.clone(), folder.path().join("views"), vec![balances])?;
//!
//! let event = |id, data| {
//!     let (stream, event_type) = ("account-42".parse()?, "account.deposited".parse()?);
//!     Ok::<_, NameError>(NewEvent::json(EventId::from_u128(id), stream, event_type, Timestamp::from_nanos(1), data))
//! };
//! let appended = store.append_now(Batch::new([event(1, r#"{"amount": 40}"#)?, event(2, r#"{"amount": 2}"#)?]))?;
//! pollster::block_on(views.wait_for("balances", &appended.checkpoint))?;
//!
//! let answer = views.query("balances", "select amount from balances", &[], &QueryLimits::default())?;
//! assert_eq!(answer.rows, [[SqlValue::Integer(42)]]);
//! assert_eq!(answer.checkpoint, appended.checkpoint);
//! # Ok(())
//! # }
//! ```

mod as_of;
mod catalog;
mod consumer;
mod damage;
mod definition;
mod dialect;
mod envelope;
mod fields;
mod gate;
mod hosted;
mod kept;
mod lexer;
mod limits;
mod operate;
mod options;
mod parked;
mod parse;
mod parts;
mod plan;
mod postgres;
mod problem;
mod query;
mod reload;
mod replay;
mod rows;
mod run_error;
mod runner;
mod scratch;
mod sqlite;
mod statements;
mod status;
mod target;
pub mod testing;
mod text;
mod value;
mod view;
mod views;

pub use as_of::{EvaluateError, Evaluation, EvaluationLimits, Moment, SeriesQuery, SeriesTimes, ViewAsOf};
pub use catalog::{DefinitionWarning, KnownEvent, UnknownName};
pub use definition::{Definition, LoadError};
pub use dialect::Dialect;
pub use fields::FieldProblem;
pub use limits::VIEW_NAME_BYTES_MAX;
pub use operate::{DropOldError, RollBackError, RolledBack};
pub use options::Options;
pub use parked::{OnError, ParkedStream};
#[cfg(feature = "postgres")]
pub use postgres::{PostgresUrl, PostgresUrlError, RolesError, check_roles};
pub use problem::{DefinitionError, DefinitionProblem};
pub use query::{Cancel, QueryError, QueryLimits, Rows, SqlValue};
pub use reload::{RefusedDefinition, Reloaded};
pub use replay::{HeldStream, ParkedError, Replayed};
pub use rows::{
    Column, ColumnType, RowApplier, RowChange, RowDefinition, RowDefinitionError, RowFailure, RowHandler,
    Step, Table, TableChanges,
};
pub use run_error::{DatabaseErrorKind, EventPlace, RunError};
pub use status::{OldVersion, Progress, State, Status};
pub use views::{OpenError, RestartError, UnknownView, Views, WaitError};
