//! A gap between two steps of a broken write, in which all writers of a race meet.

use std::sync::Barrier;
use std::sync::atomic::{AtomicBool, Ordering};

/// The writers of each law of races.
const WRITERS: usize = 4;

/// Where the first write of every writer waits for those of the others, whatever the scheduler does.
pub(crate) struct Gap {
    writers: Barrier,
    is_over: AtomicBool,
}

impl Default for Gap {
    fn default() -> Self {
        Self { writers: Barrier::new(WRITERS), is_over: AtomicBool::new(false) }
    }
}

impl Gap {
    /// Waits until all writers are here. Returns whether they met now: they meet once.
    pub(crate) fn meet(&self) -> bool {
        if self.is_over.load(Ordering::SeqCst) {
            return false;
        }
        self.writers.wait();
        self.is_over.store(true, Ordering::SeqCst);
        true
    }
}
