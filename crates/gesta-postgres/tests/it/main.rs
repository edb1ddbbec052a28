//! Tests on a real server. Without one they say so and pass; see `database`.
#![expect(clippy::unwrap_used, reason = "a helper that fails fails its test")]
#![expect(clippy::print_stdout, reason = "a test that is passed over says so")]

mod access;
mod database;
mod failover;
mod faults;
mod laws;
mod plans;
mod proxy;
mod speed;
