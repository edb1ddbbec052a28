//! The limits of the server, each with its unit and reason.

use std::time::Duration;

/// The limits of the server. A slow or hostile client runs into them without harm to others.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of one request body. Default 96 MiB: a batch of 64 MiB as base64 in JSON.
    pub body_bytes_max: usize,
    /// Bytes of all request bodies held at once. Default 256 MiB. Beyond it requests are refused as `overloaded`.
    pub bodies_bytes_max: usize,
    /// Bytes of all large answers held for their clients. Default 512 MiB. Beyond it requests are refused as `overloaded`.
    pub answers_bytes_max: usize,
    /// Time for a client to send a body. Default 2 minutes.
    pub body_time_max: Duration,
    /// Time for a client to send the head of a request, and for a connection to be idle. Default 30 s.
    pub head_time_max: Duration,
    /// Time in which a client must take at least a byte of an answer. Default 1 minute.
    pub write_stall_max: Duration,
    /// Connections at once; further ones wait to be accepted. Default 4,096.
    pub connections_max: usize,
    /// Open subscriptions (server-sent events). Default 1,024.
    pub subscriptions_max: usize,
    /// Interval of the comments that keep a quiet subscription alive. Default 15 s.
    pub heartbeat: Duration,
    /// Time for a query of a view. Default 5 s.
    pub query_time_max: Duration,
    /// Time for which a query waits while too many others run, before it is refused as `overloaded`. Default 1 s.
    pub query_wait_max: Duration,
    /// Rows in the answer to a query of a view. Default 10,000.
    pub query_rows_max: usize,
    /// Time for which a request waits for a view to reach a checkpoint. Default 10 s.
    pub wait_time_max: Duration,
    /// Time for open requests to end when the server stops. Default 5 s: half the grace period of `docker stop`.
    pub shutdown_time_max: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            body_bytes_max: 96 * MIB,
            bodies_bytes_max: 256 * MIB,
            answers_bytes_max: 512 * MIB,
            body_time_max: Duration::from_secs(120),
            head_time_max: Duration::from_secs(30),
            write_stall_max: Duration::from_secs(60),
            connections_max: 4_096,
            subscriptions_max: 1_024,
            heartbeat: Duration::from_secs(15),
            query_time_max: Duration::from_secs(5),
            query_wait_max: Duration::from_secs(1),
            query_rows_max: 10_000,
            wait_time_max: Duration::from_secs(10),
            shutdown_time_max: Duration::from_secs(5),
        }
    }
}

const MIB: usize = 1024 * 1024;

/// Events in a page without `limit`.
pub(crate) const PAGE_EVENTS_DEFAULT: u32 = 100;
/// The largest `limit` of a page: the events of the largest batch.
pub(crate) const PAGE_EVENTS_MAX: u32 = 10_000;
/// Events that a subscription reads at once: few, so that a slow client holds little memory.
pub(crate) const FEED_EVENTS_MAX: u32 = 256;
/// Bytes of events that a subscription reads at once. A single batch may be larger.
pub(crate) const FEED_BYTES_MAX: u64 = 256 * 1024;
/// Queries of views that run at once. Further ones wait, for at most `Limits::query_wait_max`.
pub(crate) const QUERIES_MAX: usize = 16;
/// Attributes of one CloudEvent, so that a hostile event cannot take many times its size in memory.
pub(crate) const CLOUD_EVENT_ATTRIBUTES_MAX: usize = 128;
/// Depth of the JSON data of an event: the limit of common parsers.
pub(crate) const JSON_DEPTH_MAX: usize = 128;
