//! Connections to PostgreSQL, for every part of Gesta that has one: what an address says, where passwords and certificates come
//! from, TLS, and time limits.
//!
//! [`Address`] is the one type to start with. It reads `postgres://USER@HOST/DATABASE?…` as libpq does, and connects.
//!
//! *Choice:* a crate, not a module of the store or of views. Both are published and neither may bring the other, and TLS stays out of
//! builds that have no database.
//!
//! *Invariant:* no message contains a password.

mod address;
mod cancel;
mod connect;
mod error;
mod files;
mod hosts;
mod limits;
mod passwords;
mod socket;
mod times;
mod tls;

pub use address::{Address, AddressError};
pub use cancel::Canceller;
pub use connect::{Connected, Connection, Wrap};
pub use error::{ConnectError, words};
pub use files::FileError;
pub use socket::Stream;
pub use tls::TlsStream;
