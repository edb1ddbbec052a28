//! What the cache and the queue do, in numbers.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Why a command was decided again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Again {
    /// Another writer's event came first.
    Conflict,
    /// A batch that it rested on was not written.
    Predecessor,
    /// An answer without events was wrong when it was verified.
    Verified,
    /// Its gate was opened by others while it read.
    GateLost,
}

impl Again {
    /// True if others went on meanwhile. They may do so again and again, so that counts as a failed attempt.
    pub(super) const fn is_by_others(self) -> bool {
        matches!(self, Self::Conflict | Self::GateLost)
    }
}

/// The counters of one handle and its clones.
#[derive(Debug, Default)]
pub(super) struct Metrics {
    hits: AtomicU64,
    loads: AtomicU64,
    events_loaded: AtomicU64,
    in_flight: AtomicU64,
    conflicts: AtomicU64,
    predecessors: AtomicU64,
    wrong_answers: AtomicU64,
    gates_lost: AtomicU64,
    early: AtomicU64,
    evicted: AtomicU64,
}

/// What the state cache and the queue of a [`Gesta`](crate::Gesta) have done since it was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct CacheMetrics {
    /// Entities whose states are kept now.
    pub entities: usize,
    /// Bytes of the kept states, by [`State::weight`](crate::State::weight).
    pub bytes: usize,
    /// Decisions on a state that was kept.
    pub hits: u64,
    /// Loads: of a whole history, or of the events since a kept state.
    pub loads: u64,
    /// Events that loads folded.
    pub events_loaded: u64,
    /// Batches that are in flight now.
    pub in_flight: u64,
    /// Commands decided again because another writer's event came first.
    pub conflicts: u64,
    /// Commands decided again because a batch that they rested on was not written.
    pub predecessors: u64,
    /// Answers without events that were wrong when they were verified, and decided again.
    pub wrong_answers: u64,
    /// Decisions at one place in the log that took too long, so that others went on.
    pub gates_lost: u64,
    /// Batches that reached the store before those that they rest on, and were sent again.
    pub early: u64,
    /// States dropped because the cache was full.
    pub evicted: u64,
}

/// Counts one batch in flight until it is dropped.
pub(super) struct InFlight(Arc<Metrics>);

impl Metrics {
    pub(super) fn hit(&self) {
        add(&self.hits, 1);
    }

    pub(super) fn loaded(&self, events: usize) {
        add(&self.loads, 1);
        add(&self.events_loaded, events as u64);
    }

    pub(super) fn again(&self, why: Again) {
        add(
            match why {
                Again::Conflict => &self.conflicts,
                Again::Predecessor => &self.predecessors,
                Again::Verified => &self.wrong_answers,
                Again::GateLost => &self.gates_lost,
            },
            1,
        );
    }

    fn early(&self) {
        add(&self.early, 1);
    }

    pub(super) fn evicted(&self, lines: usize) {
        add(&self.evicted, lines as u64);
    }

    pub(super) fn in_flight(self: &Arc<Self>) -> InFlight {
        add(&self.in_flight, 1);
        InFlight(Arc::clone(self))
    }

    pub(super) fn read(&self, entities: usize, bytes: usize) -> CacheMetrics {
        let get = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        CacheMetrics {
            entities,
            bytes,
            hits: get(&self.hits),
            loads: get(&self.loads),
            events_loaded: get(&self.events_loaded),
            in_flight: get(&self.in_flight),
            conflicts: get(&self.conflicts),
            predecessors: get(&self.predecessors),
            wrong_answers: get(&self.wrong_answers),
            gates_lost: get(&self.gates_lost),
            early: get(&self.early),
            evicted: get(&self.evicted),
        }
    }
}

impl InFlight {
    /// Notes that the batch came too early.
    pub(super) fn early(&self) {
        self.0.early();
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.in_flight.fetch_sub(1, Ordering::Relaxed);
    }
}

fn add(counter: &AtomicU64, number: u64) {
    counter.fetch_add(number, Ordering::Relaxed);
}
