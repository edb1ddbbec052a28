//! Tests on real servers. Without them they say so and pass.
#![expect(clippy::unwrap_used, reason = "a helper that fails fails its test")]

mod buckets;
mod cuts;
mod faults;
mod history;
mod laws;
mod opening;
mod partitions;
mod repair;
mod traffic;
