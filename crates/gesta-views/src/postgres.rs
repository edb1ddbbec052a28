//! Views in PostgreSQL: a schema for each version, in one database.
//!
//! - `PREFIX.view` has a row for each version: its place in the log, its owner and the owner's fence. A page is one transaction
//!   of rows and this row, which must still have the place and the fence that the runner left there.
//! - A version is the schema `PREFIX_VIEW_HASH`. Readers use views of the same names in the schema `PREFIX_VIEW`; a new
//!   version takes over when one transaction makes these views anew.
//! - Two logins: the runner owns the schemas; the reader may select from what serves.

mod check;
mod clock;
#[cfg(feature = "postgres")]
mod database;
#[cfg(feature = "postgres")]
mod error;
#[cfg(feature = "postgres")]
mod install;
#[cfg(feature = "postgres")]
mod lease;
#[cfg(feature = "postgres")]
mod make;
#[cfg(feature = "postgres")]
mod metered;
#[cfg(feature = "postgres")]
mod names;
#[cfg(feature = "postgres")]
mod parked;
#[cfg(feature = "postgres")]
mod pool;
#[cfg(feature = "postgres")]
mod pure;
#[cfg(feature = "postgres")]
mod reader;
#[cfg(feature = "postgres")]
mod roles;
#[cfg(feature = "postgres")]
mod rows;
#[cfg(feature = "postgres")]
mod scratch;
#[cfg(feature = "postgres")]
mod serve;
#[cfg(feature = "postgres")]
mod session;
#[cfg(feature = "postgres")]
mod target;
#[cfg(feature = "postgres")]
mod url;
#[cfg(feature = "postgres")]
mod values;
#[cfg(feature = "postgres")]
mod version;
#[cfg(feature = "postgres")]
mod writer;

pub(crate) use check::check;
#[cfg(feature = "postgres")]
pub(crate) use database::Database;
#[cfg(feature = "postgres")]
pub(crate) use names::excess_bytes;
#[cfg(feature = "postgres")]
pub use roles::{RolesError, check_roles};
#[cfg(feature = "postgres")]
pub(crate) use scratch::PostgresScratch;
#[cfg(feature = "postgres")]
pub(crate) use target::Postgres;
#[cfg(feature = "postgres")]
pub use url::{PostgresUrl, PostgresUrlError};
