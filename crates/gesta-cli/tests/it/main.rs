//! The `gesta` binary as its users run it.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod data;
mod demo;
mod docs;
mod harness;
mod import;
mod local;
mod operations;
mod readme;
mod real_data;
mod served;
