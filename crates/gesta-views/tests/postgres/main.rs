//! Views on a real PostgreSQL over the in-memory store.
//!
//! `cargo run -p test-servers -- with postgres -- cargo test -p gesta-views --features postgres --test postgres` runs these. Without
//! that server they say so and pass.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking, in its helpers too")]
#![expect(clippy::print_stdout, reason = "a test that is passed over says so")]

mod agree;
#[path = "../common/bank.rs"]
mod bank;
mod faults;
mod full_disk;
mod hostile;
mod kills;
mod loans;
mod parking;
mod parking_kills;
mod past;
mod rows;
mod runners;
#[path = "../common/versions.rs"]
mod shared;
mod speed;
mod support;
mod switch;
mod tls;
mod versions;
