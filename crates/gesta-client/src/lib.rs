//! An event store over HTTP: [`RemoteStore`] is an [`EventStore`](gesta_core::EventStore) behind a server.
//! [`RemoteGroups`] are the consumer groups of that server, [`RemoteServer`] reaches its other routes.
//!
//! The crate keeps every promise of a local store over a network that loses connections. What it decides stands apart
//! from the network, in pure parts: which outcome is the answer to an append (`settle`), the order of appends that
//! share a stream (`order`), the shared wait for new events (`waiting`), and the store that answers (`identity`).

mod address;
mod answer;
mod append;
mod ask;
mod backlog;
mod call;
mod connect;
mod exchange;
mod groups;
mod identity;
mod limits;
mod options;
mod order;
mod poll;
mod pool;
#[cfg(test)]
mod random;
mod request;
mod server;
mod settle;
mod shared;
mod store;
mod thread;
mod turns;
mod waiting;

pub use connect::{ConnectError, check_address};
pub use groups::RemoteGroups;
pub use options::ClientOptions;
pub use server::{RemoteServer, RequestError};
pub use store::RemoteStore;
