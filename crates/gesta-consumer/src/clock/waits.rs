//! The waits for a clock: which wakers are due, in the order of their deadlines.

use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

/// The wakers of the waits that are not over, by deadline.
///
/// The map is bounded by its callers: each entry belongs to one [`Wait`], which removes it when dropped.
#[derive(Default)]
pub(super) struct Waits {
    next_id: u64,
    wakers: BTreeMap<(Duration, u64), Waker>,
}

impl Waits {
    /// Removes and returns the wakers of all waits that end at or before `elapsed`.
    pub(super) fn take_due(&mut self, elapsed: Duration) -> Vec<Waker> {
        let mut due = Vec::new();
        while let Some(first) = self.wakers.first_entry() {
            if first.key().0 > elapsed {
                break;
            }
            due.push(first.remove());
        }
        due
    }

    /// The earliest deadline.
    pub(super) fn first(&self) -> Option<Duration> {
        self.wakers.first_key_value().map(|((until, _), _)| *until)
    }
}

/// A clock's time together with its waits. One lock covers both, so that no wake-up is lost between them.
pub(super) trait Timer: Send + Sync {
    /// The clock's time. Callers hold the lock of [`Self::waits`].
    fn elapsed(&self, waits: &Waits) -> Duration;

    fn waits(&self) -> &Mutex<Waits>;

    /// A wait was added, with this waker. `is_first`: its deadline is the earliest.
    fn added(&self, is_first: bool, waker: &Waker);
}

pub(super) fn lock(waits: &Mutex<Waits>) -> MutexGuard<'_, Waits> {
    waits.lock().unwrap_or_else(PoisonError::into_inner)
}

/// One wait for a clock.
pub(super) struct Wait<T: Timer> {
    timer: Arc<T>,
    until: Duration,
    /// The key of its waker, once it was polled.
    id: Option<u64>,
}

impl<T: Timer> Wait<T> {
    pub(super) fn new(timer: Arc<T>, until: Duration) -> Self {
        Self { timer, until, id: None }
    }
}

impl<T: Timer> Future for Wait<T> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let timer = Arc::clone(&self.timer);
        let mut waits = lock(timer.waits());
        if timer.elapsed(&waits) >= self.until {
            return Poll::Ready(());
        }
        let id = *self.id.get_or_insert_with(|| {
            waits.next_id += 1;
            waits.next_id
        });
        let replaced = waits.wakers.insert((self.until, id), context.waker().clone());
        let is_first = waits.first() == Some(self.until);
        drop(waits);
        // Dropping a waker may run code of its owner, so it goes after the lock.
        drop(replaced);
        timer.added(is_first, context.waker());
        Poll::Pending
    }
}

impl<T: Timer> Drop for Wait<T> {
    fn drop(&mut self) {
        let Some(id) = self.id else { return };
        let removed = lock(self.timer.waits()).wakers.remove(&(self.until, id));
        // After the lock, as above.
        drop(removed);
    }
}
