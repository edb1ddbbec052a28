//! A reader in the midst of commits: whenever the log asks for the time or for a sync, it looks at what is shown.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError, Weak};

use gesta_core::{Checkpoint, Place, Query, Read};
use gesta_log::LogStore;
use gesta_log::sim::Machine;

use crate::model::Wrong;

/// What it expects while it is not told: it does not look.
const NOTHING: u64 = u64::MAX;
/// So many of the newest events it looks at.
const LOOKS_BACK: u64 = 48;

/// A reader that the log itself calls. It sees what any other thread could see at that moment.
pub(crate) struct Observer {
    log: OnceLock<Weak<LogStore>>,
    /// How many events may be shown now.
    expected: AtomicU64,
    wrong: Mutex<Option<Wrong>>,
}

impl Observer {
    /// A reader that looks at every sync of that machine, once it has a log to look at.
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

    /// While something runs, so many events are shown and no others. Gives what was wrong.
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
        // An error is for the checks between steps: here it may be the fault that is under way.
        let Ok(page) = log.read_blocking(&Read::log_from(Query::All, place)) else { return };
        let head = page.head.sequence(0);
        let found = page.events.iter().map(|event| event.position().sequence);
        let wrong = if head != expected || page.events.len() as u64 > expected - from {
            format!("{head} is shown as the head before it is durable; {expected} is")
        } else if !found.eq(from + 1..=from + page.events.len() as u64)
            || page.end && page.events.len() as u64 != expected - from
        {
            format!("of {expected} events that are durable, some after {from} are not shown")
        } else {
            return;
        };
        self.wrong.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(wrong);
    }
}
