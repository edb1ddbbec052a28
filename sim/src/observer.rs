//! A reader during commits: whenever the log reads the clock or syncs, it checks what the log shows.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError, Weak};

use gesta_core::{Checkpoint, Place, Query, Read};
use gesta_log::LogStore;
use gesta_log::sim::Machine;

use crate::model::Wrong;

/// No expectation: the observer does not look.
const NOTHING: u64 = u64::MAX;
/// The number of newest events that it checks.
const LOOKS_BACK: u64 = 48;

/// A reader that runs inside calls of the log. It sees what another thread could see at that moment.
pub(crate) struct Observer {
    log: OnceLock<Weak<LogStore>>,
    /// The number of events that may be shown now.
    expected: AtomicU64,
    wrong: Mutex<Option<Wrong>>,
}

impl Observer {
    /// A reader that checks at every sync of `machine`, as soon as it has a log.
    pub(crate) fn of(machine: &Machine) -> Arc<Self> {
        let own = Self { log: OnceLock::new(), expected: AtomicU64::new(NOTHING), wrong: Mutex::new(None) };
        let own = Arc::new(own);
        let weak = Arc::downgrade(&own);
        machine.before_sync(Some(Arc::new(move || weak.upgrade().iter().for_each(|own| own.look()))));
        own
    }

    pub(crate) fn watch(&self, log: &Arc<LogStore>) {
        self.log.get_or_init(|| Arc::downgrade(log));
    }

    /// Checks during `run` that exactly `shown` events are shown. Returns the failed check.
    pub(crate) fn during<T>(&self, shown: u64, run: impl FnOnce() -> T) -> Result<T, Wrong> {
        self.expected.store(shown, Ordering::Relaxed);
        let done = run();
        self.expected.store(NOTHING, Ordering::Relaxed);
        match self.wrong.lock().unwrap_or_else(PoisonError::into_inner).take() {
            None => Ok(done),
            Some(wrong) => Err(wrong),
        }
    }

    pub(crate) fn look(&self) {
        let expected = self.expected.load(Ordering::Relaxed);
        let Some(log) = self.log.get().and_then(Weak::upgrade).filter(|_| expected != NOTHING) else {
            return;
        };
        let from = expected.saturating_sub(LOOKS_BACK);
        let place = Place::At(Checkpoint::new(log.id(), [from]));
        // The checks between steps handle errors. Here an error may come from the injected fault.
        let Ok(page) = log.read_blocking(&Read::log_from(Query::All, place)) else { return };
        let head = page.head.sequence(0);
        let found = page.events.iter().map(|event| event.position().sequence);
        let wrong = if head != expected || page.events.len() as u64 > expected - from {
            format!("{head} is shown as the head before it is durable; {expected} is")
        } else if !found.eq(from + 1..=from + page.events.len() as u64)
            || page.end && page.events.len() as u64 != expected - from
        {
            format!("{expected} events are durable, and some after {from} are not shown")
        } else {
            return;
        };
        self.wrong.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(wrong);
    }
}
