//! The signal that interrupts a view's thread, and the waits that it ends: all of a runtime that the thread needs.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::task::Poll;
use std::time::{Duration, Instant};

use event_listener::{Event, Listener};

/// Interrupts a view's thread: to stop it for good, or because its database was found damaged.
#[derive(Default)]
pub(crate) struct Signal {
    stop: AtomicBool,
    damaged: AtomicBool,
    damage: Mutex<Option<String>>,
    event: Event,
}

impl Signal {
    /// Asks the view to stop. Cannot be taken back.
    pub(crate) fn stop(&self) {
        self.stop.store(true, Ordering::SeqCst);
        self.event.notify(usize::MAX);
    }

    pub(crate) fn is_stopping(&self) -> bool {
        self.stop.load(Ordering::SeqCst)
    }

    /// Reports damage in the view's database. The first report counts until it is taken.
    pub(crate) fn report_damage(&self, message: &str) {
        let mut damage = self.damage.lock().unwrap_or_else(PoisonError::into_inner);
        damage.get_or_insert_with(|| message.to_owned());
        self.damaged.store(true, Ordering::SeqCst);
        drop(damage);
        self.event.notify(usize::MAX);
    }

    pub(crate) fn take_damage(&self) -> Option<String> {
        let mut damage = self.damage.lock().unwrap_or_else(PoisonError::into_inner);
        self.damaged.store(false, Ordering::SeqCst);
        damage.take()
    }

    /// Whether the view must leave what it is doing.
    pub(crate) fn is_raised(&self) -> bool {
        self.stop.load(Ordering::SeqCst) || self.damaged.load(Ordering::SeqCst)
    }

    /// Runs a future on this thread until it is ready, or gives `None` as soon as the signal is raised.
    pub(crate) fn or<T>(&self, future: impl Future<Output = T>) -> Option<T> {
        let mut future = pin!(future);
        let mut raised = pin!(self.raised());
        pollster::block_on(poll_fn(|context| {
            if raised.as_mut().poll(context).is_ready() {
                return Poll::Ready(None);
            }
            future.as_mut().poll(context).map(Some)
        }))
    }

    /// Waits for `duration`, or until the signal is raised.
    pub(crate) fn pause(&self, duration: Duration) {
        let deadline = Instant::now() + duration;
        loop {
            // Listen first, look second: a signal in between is not missed.
            let listener = self.event.listen();
            if self.is_raised() || listener.wait_deadline(deadline).is_none() {
                return;
            }
        }
    }

    async fn raised(&self) {
        loop {
            let listener = self.event.listen();
            if self.is_raised() {
                return;
            }
            listener.await;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    #[test]
    fn a_stop_ends_every_wait() {
        let signal = Arc::new(Signal::default());
        assert_eq!(signal.or(async { 1 }), Some(1));
        let other = Arc::clone(&signal);
        let waiting = std::thread::spawn(move || {
            other.pause(Duration::from_secs(3_600));
            other.or(std::future::pending::<()>())
        });
        signal.stop();
        assert_eq!(waiting.join().unwrap(), None);
    }

    #[test]
    fn damage_ends_waits_until_it_is_taken() {
        let signal = Signal::default();
        signal.report_damage("first");
        signal.report_damage("second");
        assert_eq!(signal.or(std::future::pending::<()>()), None);
        assert_eq!(signal.take_damage().as_deref(), Some("first"));
        assert_eq!(signal.or(async { 1 }), Some(1));
        assert!(!signal.is_stopping());
    }
}
