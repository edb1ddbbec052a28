//! Large pages: a thread of the pool that has nothing to do reads the second half, while whoever wants the page reads the first.
//!
//! *Choice: only a thread that is idle, on a core that no other reader needs, and only what it has begun.* A reader never waits for a thread
//! that does something else; and where there are as many readers as cores, halves would only get into each other's way.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::fetch::{Fetched, fetch};
use crate::index::Location;
use crate::limits::HALVES_EVENTS_MIN;
use crate::pool::Idle;

/// A page, and whether somebody has begun with its second half.
struct Page {
    locations: Vec<Location>,
    middle: usize,
    is_taken: AtomicBool,
}

impl Page {
    /// Takes the second half, once.
    fn take(&self) -> bool {
        !self.is_taken.swap(true, Ordering::Relaxed)
    }

    fn second(&self) -> Fetched {
        fetch(&self.locations[self.middle..])
    }
}

/// As [`fetch`], by two threads where the page is large and one of them is idle.
pub(super) fn fetch_in_halves(locations: Vec<Location>, idle: &Idle) -> Fetched {
    if locations.len() < HALVES_EVENTS_MIN {
        return fetch(&locations);
    }
    let _busy = idle.busy();
    let middle = locations.len() / 2;
    let page = Arc::new(Page { locations, middle, is_taken: AtomicBool::new(false) });
    let (send, receive) = oneshot::channel();
    let theirs = Arc::clone(&page);
    idle.offer(move || {
        if theirs.take() {
            // An error here says that the first half failed, and nobody needs the second.
            let _ = send.send(theirs.second());
        }
    });
    let mut fetched = fetch(&page.locations[..middle]);
    let is_left = page.take();
    if fetched.failed.is_some() {
        return fetched;
    }
    let second = if is_left { None } else { receive.recv().ok() };
    // Nobody has begun with it; or whoever did has panicked, and here it is seen why.
    let second = second.unwrap_or_else(|| page.second());
    fetched.events.extend(second.events);
    fetched.failed = second.failed;
    fetched
}
