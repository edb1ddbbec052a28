//! The events of a group that are in memory, within bounds.

use bytes::Bytes;
use gesta_core::{EventBytes, RecordedEvent};

use crate::bugs::{Bug, planted};

/// The events in memory, counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Window {
    events: usize,
    bytes: u64,
    pub(super) events_max: usize,
    pub(super) bytes_max: u64,
}

impl Window {
    pub(super) const fn new(events_max: usize, bytes_max: u64) -> Self {
        Self { events: 0, bytes: 0, events_max, bytes_max }
    }

    pub(super) const fn events(&self) -> usize {
        self.events
    }

    pub(super) const fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Returns true if no further event may be kept. The last one may exceed the limit of bytes, so that each event fits alone.
    pub(super) fn is_full(&self) -> bool {
        !planted(Bug::WindowIgnored) && (self.events >= self.events_max || self.bytes >= self.bytes_max)
    }

    /// Returns the events and bytes that still fit, at least 1 if it is not full.
    pub(super) const fn room(&self) -> (usize, u64) {
        (self.events_max.saturating_sub(self.events), self.bytes_max.saturating_sub(self.bytes))
    }

    pub(super) fn add(&mut self, event: &RecordedEvent) {
        self.events += 1;
        self.bytes += size(event);
    }

    pub(super) fn remove(&mut self, event: &RecordedEvent) {
        assert!(self.events > 0 && self.bytes >= size(event), "only kept events leave the window");
        self.events -= 1;
        self.bytes -= size(event);
    }
}

fn size(event: &RecordedEvent) -> u64 {
    event.as_bytes().len() as u64
}

/// Copies an event out of its page.
///
/// The events of a page share one buffer. A kept event would hold all of it in memory.
pub(super) fn copied(event: &RecordedEvent) -> RecordedEvent {
    let bytes = EventBytes::parse(Bytes::copy_from_slice(event.as_bytes()));
    let bytes = bytes.expect("a recorded event has canonical bytes");
    RecordedEvent::new(event.position(), event.version(), event.recorded_at(), bytes)
}
