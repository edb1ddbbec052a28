//! Views on real SQLite files over the in-memory store.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking, in its helpers too")]

mod as_of;
#[path = "../common/bank.rs"]
mod bank;
mod definitions;
mod kills;
mod loans;
mod parked_versions;
mod parking;
mod pausing;
mod properties;
mod rebuild;
mod rows;
mod runner;
mod sandbox;
#[path = "../common/versions.rs"]
mod shared;
mod support;
mod versions;
mod waiting;
mod wal;
