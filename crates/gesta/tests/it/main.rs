//! What the library promises, through its public surface.
#![expect(clippy::unwrap_used, reason = "the helpers of tests fail as tests do")]

mod app;
mod compile_fail;
mod decisions;
mod derive;
mod domain;
mod doubt;
mod http;
mod load;
mod send;
