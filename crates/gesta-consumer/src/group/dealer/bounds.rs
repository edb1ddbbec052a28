//! The bounds of one dealer. A simulation makes them small.

use crate::group::limits;

/// The bounds of a dealer. The default is what every group has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bounds {
    /// See [`limits::WINDOW_EVENTS_MAX`].
    pub window_events_max: usize,
    /// See [`limits::WINDOW_BYTES_MAX`].
    pub window_bytes_max: u64,
    /// See [`limits::STREAM_EVENTS_MAX`].
    pub stream_events_max: usize,
    /// See [`limits::HUNGRY_STREAMS_MAX`].
    pub hungry_streams_max: usize,
    /// See [`limits::PAGE_EVENTS_MAX`].
    pub page_events_max: usize,
    /// See [`limits::REPLY_BYTES_MAX`].
    pub reply_bytes_max: u64,
    /// See [`limits::PARKED_STREAMS_MAX`].
    pub parked_max: usize,
    /// See [`limits::APART_STREAMS_MAX`].
    pub apart_max: usize,
    /// See [`limits::APART_BYTES_MAX`].
    pub apart_bytes_max: usize,
    /// See [`limits::OUTAGE_STREAMS`].
    pub outage_streams: usize,
    /// See [`limits::ACKNOWLEDGED_MAX`].
    pub acknowledged_max: u32,
}

impl Default for Bounds {
    fn default() -> Self {
        Self {
            window_events_max: limits::WINDOW_EVENTS_MAX,
            window_bytes_max: limits::WINDOW_BYTES_MAX,
            stream_events_max: limits::STREAM_EVENTS_MAX,
            hungry_streams_max: limits::HUNGRY_STREAMS_MAX,
            page_events_max: limits::PAGE_EVENTS_MAX,
            reply_bytes_max: limits::REPLY_BYTES_MAX,
            parked_max: limits::PARKED_STREAMS_MAX,
            apart_max: limits::APART_STREAMS_MAX,
            apart_bytes_max: limits::APART_BYTES_MAX,
            outage_streams: limits::OUTAGE_STREAMS,
            acknowledged_max: limits::ACKNOWLEDGED_MAX,
        }
    }
}
