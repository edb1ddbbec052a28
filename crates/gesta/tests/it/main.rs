//! Tests of the library through its public interface.
#![expect(clippy::unwrap_used, reason = "a helper that fails fails its test")]

mod app;
mod decisions;
mod derive;
mod domain;
mod doubt;
mod http;
mod load;
mod send;
