//! The Gesta event store over HTTP, as a library for hosts and tests. It serves any [`EventStore`](gesta_core::EventStore).
//!
//! [`Server`] has the routes. [`wire`] and [`cloudevents`] read and write events, for the server and for clients.

mod accept;
mod answer;
mod body;
pub mod cloudevents;
mod hosts;
mod idempotency;
mod incoming;
mod limits;
mod panics;
mod precondition;
mod principal;
mod routes;
mod serve;
mod server;
mod stall;
mod state;
mod time;
pub mod wire;

pub use gesta::http::Problem;
pub use gesta::http::{TimeError, format_time, parse_time};
pub use limits::Limits;
pub use server::{Builder, Server};
pub use time::now;
