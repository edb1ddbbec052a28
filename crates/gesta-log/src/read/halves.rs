//! Large pages: an idle thread of the pool reads the second half while the caller reads the first.
//!
//! *Choice: two threads for a page, not one.* An event without a neighbour in the log costs a `pread`, about 1.1 µs of
//! processor, so one thread ends below a million events a second. One reader of one stream among 1,000 got 0.92 M
//! events/s from the page cache before, and 1.46 M since (`reads --only streams` and `bench/umadb`, 2 cores,
//! 26 November 2026, `docs/benchmarks.md`). The visible cost is one wake-up for each page of `HALVES_EVENTS_MIN` events
//! or more.
//!
//! *Choice: only an idle thread, on a core that no other reader needs.* So a reader never waits for a thread with
//! other work. With as many readers as cores, halves would only slow each other down.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::fetch::{Fetched, fetch};
use super::pool::Idle;
use crate::index::Location;
use crate::limits::HALVES_EVENTS_MIN;

/// A page, and whether its second half is taken.
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

/// Like [`fetch`], but with two threads if the page is large and a thread is idle.
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
            // An error here means that the first half failed and the second is not needed.
            let _ = send.send(theirs.second());
        }
    });
    let mut fetched = fetch(&page.locations[..middle]);
    let is_left = page.take();
    if fetched.failed.is_some() {
        return fetched;
    }
    let second = if is_left { None } else { receive.recv().ok() };
    // No thread took the half, or the one that did panicked; reading it here shows why.
    let second = second.unwrap_or_else(|| page.second());
    fetched.events.extend(second.events);
    fetched.failed = second.failed;
    fetched
}
