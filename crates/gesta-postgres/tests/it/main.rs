//! Tests on a real server. Without one they say so and pass; see `database`.
#![expect(clippy::unwrap_used, reason = "a helper that fails fails its test")]

mod access;
mod copies;
mod database;
mod failover;
mod faults;
mod laws;
mod plans;
mod pooler;
mod proxy;
mod speed;
