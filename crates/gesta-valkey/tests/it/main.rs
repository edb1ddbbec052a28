//! The snapshot store on a real server: laws, also on a cluster; users and databases; and a server that is emptied, killed
//! and paused under load.
//!
//! The tests start `redis-server` or `valkey-server` on free ports. Without one they say so and pass, unless
//! `GESTA_SERVERS=required` is set.
#![expect(clippy::unwrap_used, reason = "a helper that fails fails its test")]

mod access;
mod cluster;
mod harm;
mod laws;
mod server;
