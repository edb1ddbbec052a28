//! The kinds of states of a process: fingerprint, health and counters of each.

use std::any::TypeId;
use std::collections::HashMap;
use std::num::NonZeroU64;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use gesta_core::{Fingerprint, Version};

use super::declared::Declared;

/// The kinds that were met so far.
#[derive(Default)]
pub(super) struct Kinds {
    kinds: Mutex<HashMap<TypeId, Arc<Kind>>>,
}

impl Kinds {
    pub(super) fn of(&self, declared: &Declared) -> Arc<Kind> {
        let mut kinds = self.kinds.lock().unwrap_or_else(PoisonError::into_inner);
        let kind = kinds.entry(declared.type_id).or_insert_with(|| Arc::new(Kind::new(declared)));
        Arc::clone(kind)
    }

    /// What happened to each kind, sorted by name.
    pub(super) fn metrics(&self) -> Vec<SnapshotMetrics> {
        let kinds = self.kinds.lock().unwrap_or_else(PoisonError::into_inner);
        let mut metrics = kinds.values().map(|kind| kind.metrics()).collect::<Vec<_>>();
        metrics.sort_by_key(|metrics| (metrics.name, metrics.kind));
        metrics
    }
}

/// A kind of state.
pub(super) struct Kind {
    name: &'static str,
    pub(super) every: NonZeroU64,
    pub(super) fingerprint: Fingerprint,
    is_disused: AtomicBool,
    pub(super) counters: Counters,
}

impl Kind {
    fn new(declared: &Declared) -> Self {
        Self {
            name: declared.name,
            every: declared.every,
            fingerprint: (declared.fingerprint)(),
            is_disused: AtomicBool::new(false),
            counters: Counters::default(),
        }
    }

    pub(super) fn is_usable(&self) -> bool {
        !self.is_disused.load(Ordering::Relaxed)
    }

    /// Does not use the kind until the process ends. Returns true the first time.
    pub(super) fn disuse(&self) -> bool {
        !self.is_disused.swap(true, Ordering::Relaxed)
    }

    fn metrics(&self) -> SnapshotMetrics {
        let Counters { loads, hits, saved, foreign, undecodable, taken, failed, left_out, verified } =
            &self.counters;
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        SnapshotMetrics {
            name: self.name,
            kind: self.fingerprint,
            is_used: self.is_usable(),
            loads: read(loads),
            hits: read(hits),
            events_saved: read(saved),
            foreign: read(foreign),
            undecodable: read(undecodable),
            taken: read(taken),
            failed: read(failed),
            left_out: read(left_out),
            verified: read(verified),
        }
    }
}

/// What happened to a kind of state since the start of the process.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct SnapshotMetrics {
    /// The name of the type of state.
    pub name: &'static str,
    /// The kind, as the snapshot store has it.
    pub kind: Fingerprint,
    /// False if its snapshots are not used until a restart: a state was not read back as it was, or a comparison failed.
    pub is_used: bool,
    /// Loads that asked for a snapshot.
    pub loads: u64,
    /// Loads that began from one.
    pub hits: u64,
    /// Events that those loads did not fold.
    pub events_saved: u64,
    /// Snapshots of another history of their stream, which were removed.
    pub foreign: u64,
    /// Snapshots that could not be decoded, which were removed.
    pub undecodable: u64,
    /// Snapshots taken.
    pub taken: u64,
    /// Snapshots that were due and not taken: the stream could not be loaded, or the snapshot store failed.
    pub failed: u64,
    /// Snapshots that were due and left out, because too many streams waited.
    pub left_out: u64,
    /// Snapshots that were compared with a fold from the start.
    pub verified: u64,
}

#[derive(Default)]
pub(super) struct Counters {
    loads: AtomicU64,
    hits: AtomicU64,
    saved: AtomicU64,
    foreign: AtomicU64,
    undecodable: AtomicU64,
    taken: AtomicU64,
    failed: AtomicU64,
    left_out: AtomicU64,
    verified: AtomicU64,
}

impl Counters {
    /// Notes a load, and the version of the snapshot that it began from.
    pub(super) fn searched(&self, found: Option<Version>) {
        add(&self.loads, 1);
        if let Some(version) = found {
            add(&self.hits, 1);
            add(&self.saved, version.get() + 1);
        }
    }

    pub(super) fn foreign(&self) {
        add(&self.foreign, 1);
    }

    pub(super) fn undecodable(&self) {
        add(&self.undecodable, 1);
    }

    pub(super) fn failed(&self) {
        add(&self.failed, 1);
    }

    pub(super) fn left_out(&self) {
        add(&self.left_out, 1);
    }

    pub(super) fn verified(&self) {
        add(&self.verified, 1);
    }

    /// Notes a taking. Returns its number, from 0.
    pub(super) fn taken(&self) -> u64 {
        self.taken.fetch_add(1, Ordering::Relaxed)
    }

    /// The number of takings so far.
    pub(super) fn takings(&self) -> u64 {
        self.taken.load(Ordering::Relaxed)
    }
}

fn add(counter: &AtomicU64, number: u64) {
    counter.fetch_add(number, Ordering::Relaxed);
}
