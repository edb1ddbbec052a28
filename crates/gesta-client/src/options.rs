//! How a client connects and how long it waits.

use std::time::Duration;

/// How a client connects and how long it waits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientOptions {
    /// Time for a connection to be made. Default 5 s.
    pub connect_time: Duration,
    /// Time for a request, from the call to the end of its answer. Default 30 s.
    pub request_time: Duration,
    /// Time in which an append in doubt is sent again, from the moment of the doubt. Default 10 s: a server that is
    /// killed is up again in less.
    pub settle_time: Duration,
    /// Connections at once, at least 1. Further requests wait for one. Default 16. The shared wait for new events has
    /// one more.
    pub connections_max: usize,
    /// Bytes of all answers that are received at once. Default 64 MiB. A larger answer is received alone.
    pub answers_bytes_max: usize,
}

impl Default for ClientOptions {
    fn default() -> Self {
        Self {
            connect_time: Duration::from_secs(5),
            request_time: Duration::from_secs(30),
            settle_time: Duration::from_secs(10),
            connections_max: 16,
            answers_bytes_max: 64 * 1024 * 1024,
        }
    }
}
