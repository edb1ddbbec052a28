//! What the server takes at the most, each with its unit and reason.

use std::time::Duration;

/// What the server takes at the most. A slow or hostile client reaches these bounds and costs itself only.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of one request body. By default 96 MiB: a batch of 64 MiB, and what JSON adds to it.
    pub body_bytes_max: usize,
    /// Bytes of all request bodies held at once. By default 256 MiB: beyond it, requests are asked to come again.
    pub bodies_bytes_max: usize,
    /// Bytes of all large answers that wait for their clients. By default 512 MiB: beyond it, requests are asked to come again.
    pub answers_bytes_max: usize,
    /// How long a client may take to send a body. By default 2 minutes.
    pub body_time_max: Duration,
    /// How long a client may take to send the head of a request, and how long a connection may idle. By default 30 s.
    pub head_time_max: Duration,
    /// How long a client may take no byte of an answer. By default 1 minute.
    pub write_stall_max: Duration,
    /// Connections held at once; further ones wait to be taken. By default 4,096.
    pub connections_max: usize,
    /// Open subscriptions (server-sent events). By default 1,024.
    pub subscriptions_max: usize,
    /// How often a quiet subscription says that it is alive. By default 15 s.
    pub heartbeat: Duration,
    /// How long a query of a view may run. By default 5 s.
    pub query_time_max: Duration,
    /// How long a query of a view may wait while too many others run, before it is refused as `overloaded`. By default 1 s.
    pub query_wait_max: Duration,
    /// Rows that a query of a view may give. By default 10,000.
    pub query_rows_max: usize,
    /// How long a request may wait for a view to reach a checkpoint. By default 10 s.
    pub wait_time_max: Duration,
    /// How long open requests may take to end when the server stops. By default 10 s.
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
            shutdown_time_max: Duration::from_secs(10),
        }
    }
}

const MIB: usize = 1024 * 1024;

/// Events that one page gives when the request does not say.
pub(crate) const PAGE_EVENTS_DEFAULT: u32 = 100;
/// Events that one page gives at the most: as many as one batch may hold.
pub(crate) const PAGE_EVENTS_MAX: u32 = 10_000;
/// Events that a subscription reads at once: small, so that a slow client holds little.
pub(crate) const FEED_EVENTS_MAX: u32 = 256;
/// Bytes of events that a subscription reads at once, but for one batch.
pub(crate) const FEED_BYTES_MAX: u64 = 256 * 1024;
/// Bytes of an `Idempotency-Key`: a few times a UUID.
pub(crate) const IDEMPOTENCY_KEY_BYTES_MAX: usize = 256;
/// Queries of views that run at once. Further ones wait, for at most `Limits::query_wait_max`.
pub(crate) const QUERIES_MAX: usize = 16;
/// Attributes of one CloudEvent, so that a hostile one cannot be many times its own size in memory.
pub(crate) const CLOUD_EVENT_ATTRIBUTES_MAX: usize = 128;
/// How deep the JSON data of an event may nest: what common parsers take.
pub(crate) const JSON_DEPTH_MAX: usize = 128;
