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
    /// Events that a view as of an earlier moment is built from. Default 10 million.
    pub evaluation_events_max: u64,
    /// Time for building a view as of an earlier moment. Default 60 s.
    pub evaluation_time_max: Duration,
    /// Time for which a request waits for a view to reach a checkpoint. Default 10 s.
    pub wait_time_max: Duration,
    /// Time for which a request waits for a new event past a checkpoint, at most. Default 60 s, in whole seconds.
    pub checkpoint_wait_max: Duration,
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
            evaluation_events_max: 10_000_000,
            evaluation_time_max: Duration::from_secs(60),
            wait_time_max: Duration::from_secs(10),
            checkpoint_wait_max: Duration::from_secs(60),
            shutdown_time_max: Duration::from_secs(5),
        }
    }
}

const MIB: usize = 1024 * 1024;

/// Events in a page without `limit`.
pub(crate) const PAGE_EVENTS_DEFAULT: u32 = 100;
/// The largest `limit` of a page: the events of the largest batch.
pub(crate) const PAGE_EVENTS_MAX: u32 = 10_000;
/// The largest `limit_bytes` of a page: what one large event has. A larger one counts as this.
pub(crate) const PAGE_BYTES_MAX: u64 = 16 * 1024 * 1024;
/// The largest `limit_examined` of a page, so that no page reads for long. A larger one counts as this.
pub(crate) const PAGE_EXAMINED_MAX: u64 = 1_000_000;
/// Partitions of a store that clients can use: a checkpoint grows by up to 30 bytes for each, and stands in headers and addresses.
pub(crate) const PARTITIONS_MAX: u16 = 64;
/// Events that a subscription reads at once: few, so that a slow client holds little memory.
pub(crate) const FEED_EVENTS_MAX: u32 = 256;
/// Bytes of events that a subscription reads at once. A single batch may be larger.
pub(crate) const FEED_BYTES_MAX: u64 = 256 * 1024;
/// Queries of views that run at once. Further ones wait, for at most `Limits::query_wait_max`.
pub(crate) const QUERIES_MAX: usize = 16;
/// Views as of earlier moments that are built at once: each uses a core. Further ones wait, for at most `Limits::query_wait_max`.
pub(crate) const EVALUATIONS_MAX: usize = 2;
/// Cuts in a series of a view.
pub(crate) const SERIES_CUTS_MAX: usize = 10_000;
/// Bytes of events in the reply to a member. A single delivery may be larger. Members work on their replies side by side, so a larger one
/// only delays the first event.
pub(crate) const REPLY_BYTES_MAX: usize = 4 * 1024 * 1024;
