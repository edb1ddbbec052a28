//! The snapshot store on a real server: laws, also on a cluster; users and databases; and a server that is emptied, killed
//! and paused under load.
//!
//! The tests start `redis-server` or `valkey-server` on free ports. Without one they say so and pass, unless
//! `GESTA_REDIS=required` is set.
#![expect(clippy::unwrap_used, reason = "a helper that fails fails its test")]
#![expect(clippy::print_stdout, reason = "a test that is skipped says so")]

mod access;
mod cluster;
mod harm;
mod laws;
mod server;
