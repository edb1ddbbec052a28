//! The Gesta event store over HTTP, as a library for hosts and tests. It serves any [`EventStore`](gesta_core::EventStore).
//!
//! [`Server`] has the routes. [`gesta_wire`] reads and writes their JSON, for the server and for clients.

mod accept;
mod answer;
mod asyncapi;
mod binary;
mod body;
mod cause;
mod closed;
mod evaluations;
mod hosts;
mod idempotency;
mod identity;
mod incoming;
mod limits;
mod moment;
mod panics;
mod precondition;
mod principal;
mod routes;
mod rows;
mod serve;
mod server;
mod stall;
mod state;
mod time;
mod view_series;

pub use gesta::http::Problem;
pub use limits::Limits;
pub use moment::{MomentError, moment_at, moment_by_time};
pub use rows::rows_json;
pub use server::{Builder, Server};
pub use time::now;
pub use view_series::{SeriesError, SeriesLimits, ViewSeries};
