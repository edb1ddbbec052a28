//! The newest events, as a reader at the head fetched and verified them. Other readers at the head share them without
//! a read.
//!
//! *Invariants*
//! - Callers clip positions to the durable one, and an event at a durable position never changes. So the event at a
//!   position is the right one.
//! - A read far behind the head does not use this: it would find nothing, and evict what others wait for.

use std::sync::RwLock;

use gesta_core::RecordedEvent;

use crate::index::Location;
use crate::limits::{RECENT_EVENTS, RECENT_READ_BYTES_MAX};
use crate::locks;

/// The newest events, each in the slot of its position.
pub(crate) struct Recent(RwLock<Box<[Option<RecordedEvent>]>>);

impl Recent {
    pub(crate) fn new() -> Self {
        Self(RwLock::new(vec![None; RECENT_EVENTS].into()))
    }

    /// The events at these locations, if all of them are held.
    pub(crate) fn get(&self, locations: &[Location], durable: u64) -> Option<Vec<RecordedEvent>> {
        if !locations.iter().all(|location| is_recent(location.position, durable)) {
            return None;
        }
        let slots = locks::read(&self.0);
        let event = |location: &Location| {
            let found = slots[slot(location.position)].as_ref();
            found.filter(|event| event.position().sequence == location.position).cloned()
        };
        locations.iter().map(event).collect()
    }

    /// Keeps events for the next readers.
    pub(crate) fn put(&self, locations: &[Location], events: &[RecordedEvent], durable: u64) {
        // An event keeps the whole buffer that it was read into, so a small event must not keep a large buffer.
        let bytes = locations.iter().map(Location::len).sum::<u64>();
        if bytes > RECENT_READ_BYTES_MAX || !locations.iter().all(|at| is_recent(at.position, durable)) {
            return;
        }
        let mut slots = locks::write(&self.0);
        for event in events {
            let (own, position) = (&mut slots[slot(event.position().sequence)], event.position());
            if own.as_ref().is_none_or(|held| held.position() < position) {
                *own = Some(event.clone());
            }
        }
    }
}

/// Whether a position is among the newest, which have a slot each.
const fn is_recent(position: u64, durable: u64) -> bool {
    position + RECENT_EVENTS as u64 > durable
}

fn slot(position: u64) -> usize {
    usize::try_from(position % RECENT_EVENTS as u64).expect("there are few slots")
}
