//! The Gesta event store over HTTP: a library, so that tests and hosts embed it. It does not know which store it serves.
//!
//! [`Server`] has the routes; [`wire`] and [`cloudevents`] are the forms that events have on them, for clients as well.

mod answer;
mod body;
pub mod cloudevents;
mod hosts;
mod idempotency;
mod limits;
mod panics;
mod precondition;
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
