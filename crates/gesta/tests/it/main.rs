//! Tests of the library through its public interface.
#![expect(clippy::unwrap_used, reason = "a helper that fails fails its test")]

mod app;
mod compensation;
mod decisions;
mod derive;
mod domain;
mod doubt;
mod entity;
mod fulfilment;
mod http;
mod kit;
mod laws;
mod load;
mod past;
mod pieces;
mod process_kit;
mod processes;
mod send;
mod snapshots;
mod timers;
mod years;
