//! The client through its public interface, against real servers on free ports.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod connecting;
mod doubt;
mod groups;
mod kills;
mod laws;
mod order;
mod probe;
mod proxy;
mod replaced;
mod server;
mod several;
mod waiters;
