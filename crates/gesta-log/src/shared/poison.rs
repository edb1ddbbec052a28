//! Why a log takes no writes. All parts of the log ask here, and nowhere else.
//!
//! *Invariants*
//! - A poison is for good, and its first cause stays. Only the next open can lift it.
//! - It is visible only after the index has lost everything that never becomes durable.
//! - After a failed write, batches are still decided: a repeat gets its answer, a new batch is refused. After a panic no
//!   thread decides any more, and the queue takes nothing.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};

use event_listener::Event;

use crate::read_only::{ReadOnly, ReadOnlyCause};

/// Why a log takes no writes, if it does not.
#[derive(Default)]
pub(crate) struct Poison {
    cause: OnceLock<ReadOnly>,
    /// Why the folder at the log's path is not the log's any more. The writer makes it the cause before its next group.
    displaced: OnceLock<String>,
    /// The cause, if there is no earlier one.
    has_panicked: AtomicBool,
    /// Notified when writes stop.
    stopped: Event,
}

impl Poison {
    /// Why the log takes no writes; `None` if it does.
    pub(crate) fn cause(&self) -> Option<ReadOnly> {
        let panicked = || ReadOnly::new(ReadOnlyCause::Panicked, "the writer panicked: open the log again");
        self.cause.get().cloned().or_else(|| self.has_panicked().then(panicked))
    }

    pub(crate) fn is_set(&self) -> bool {
        self.cause.get().is_some() || self.has_panicked()
    }

    /// True if a panic has ended all decisions.
    pub(crate) fn has_panicked(&self) -> bool {
        self.has_panicked.load(Ordering::Acquire)
    }

    /// Sets the cause of a log that was opened read-only. It has no writer.
    pub(crate) fn set_at_open(&self, cause: ReadOnly) {
        assert!(self.cause.set(cause).is_ok(), "a log is loaded once");
    }

    /// Records that the folder at the log's path is not the log's any more. The writer stops before its next group.
    pub(crate) fn note_displaced(&self, why: String) {
        let _ = self.displaced.set(why);
    }

    /// Why the folder at the log's path is not the log's any more; `None` if it was at the last look.
    pub(crate) fn displaced(&self) -> Option<&str> {
        self.displaced.get().map(String::as_str)
    }

    /// Sets the cause after a failed write, or because the folder is displaced.
    pub(super) fn set_by_failure(&self, reason: &str) {
        tracing::error!(reason, "the log is read-only from now on");
        // An earlier cause stays.
        let cause = match self.displaced.get() {
            Some(why) => ReadOnly::new(ReadOnlyCause::Displaced, why),
            None => ReadOnly::new(ReadOnlyCause::WriteFailed, reason),
        };
        let _ = self.cause.set(cause);
        self.stopped.notify(usize::MAX);
    }

    /// Sets the cause after a panic, and ends all decisions.
    pub(super) fn set_by_panic(&self) {
        tracing::error!("the writer panicked: the log is read-only from now on");
        self.has_panicked.store(true, Ordering::Release);
        self.stopped.notify(usize::MAX);
    }

    /// Waits until writes stop, and returns the cause. Never returns for a log that was opened read-only.
    pub(crate) async fn stopped(&self) -> ReadOnly {
        loop {
            // Listen first, look second, so that a failure in between is not missed.
            let listener = self.stopped.listen();
            let stops = [ReadOnlyCause::WriteFailed, ReadOnlyCause::Displaced, ReadOnlyCause::Panicked];
            if let Some(cause) = self.cause().filter(|own| stops.contains(&own.cause)) {
                return cause;
            }
            listener.await;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::pin::pin;
    use std::task::{Context, Waker};

    use super::*;

    fn cause(poison: &Poison) -> Option<ReadOnlyCause> {
        poison.cause().map(|own| own.cause)
    }

    #[test]
    fn the_first_cause_stays_and_a_later_panic_still_ends_all_decisions() {
        let poison = Poison::default();
        assert_eq!((cause(&poison), poison.is_set(), poison.has_panicked()), (None, false, false));
        poison.set_by_failure("the disk is gone");
        poison.set_by_failure("the disk is gone again");
        let first = ReadOnly::new(ReadOnlyCause::WriteFailed, "the disk is gone");
        assert_eq!((poison.cause(), poison.has_panicked()), (Some(first.clone()), false));
        poison.set_by_panic();
        assert_eq!((poison.cause(), poison.has_panicked()), (Some(first), true));

        let poison = Poison::default();
        poison.set_by_panic();
        assert_eq!((cause(&poison), poison.is_set()), (Some(ReadOnlyCause::Panicked), true));
    }

    #[test]
    fn a_displaced_folder_is_the_cause_once_writes_stop() {
        let poison = Poison::default();
        poison.note_displaced("`log` was moved".to_owned());
        assert_eq!((cause(&poison), poison.displaced()), (None, Some("`log` was moved")));
        poison.set_by_failure("writing segment 3 failed");
        assert_eq!(poison.cause(), Some(ReadOnly::new(ReadOnlyCause::Displaced, "`log` was moved")));
        let mut context = Context::from_waker(Waker::noop());
        assert!(pin!(poison.stopped()).poll(&mut context).is_ready());
    }

    #[test]
    fn a_log_that_was_opened_read_only_never_stops_writing() {
        let poison = Poison::default();
        poison.set_at_open(ReadOnly::new(ReadOnlyCause::Damaged, "a damaged log"));
        assert!(poison.is_set());
        let mut context = Context::from_waker(Waker::noop());
        assert!(pin!(poison.stopped()).poll(&mut context).is_pending());
    }
}
