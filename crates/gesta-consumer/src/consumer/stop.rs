//! The signal that reaches into a consumer's thread, and the waits that it ends: all of a runtime that the thread needs.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::Poll;

use event_listener::Event;

/// Ends a call that blocks. Calling it while nothing blocks does nothing.
pub type Interrupter = Box<dyn Fn() + Send + Sync>;

/// Asks a consumer's thread to leave what it is doing. Clones are the same signal.
///
/// Each run of a consumer has one. It is raised to stop the run, or by [`Self::reopen`].
#[derive(Clone, Default)]
pub struct Stop(Arc<Signal>);

#[derive(Default)]
struct Signal {
    stop: AtomicBool,
    reopen: AtomicBool,
    pause: AtomicBool,
    changed: Event,
}

impl Stop {
    /// Creates a signal that is not raised.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Returns true if the thread must leave the page that it is handling, without a commit.
    #[must_use]
    pub fn is_raised(&self) -> bool {
        self.is_stopping() || self.0.reopen.load(Ordering::SeqCst)
    }

    /// Asks the run to open its handler again, because what it writes to was found unusable.
    ///
    /// The page under way is left, and [`Opener::recover`](crate::Opener::recover) decides what follows.
    pub fn reopen(&self) {
        self.set(&self.0.reopen, true);
    }

    /// Takes back [`Self::reopen`]. For a handler that opens something new anyway.
    pub fn clear_reopen(&self) {
        self.0.reopen.store(false, Ordering::SeqCst);
    }

    /// Runs a future on this thread until it is ready. Returns `None` as soon as the signal is raised.
    pub fn or<T>(&self, future: impl Future<Output = T>) -> Option<T> {
        self.until(Self::is_raised, future)
    }

    /// As [`Self::or`], and returns `None` for a pause too.
    pub(super) fn or_pause<T>(&self, future: impl Future<Output = T>) -> Option<T> {
        self.until(|stop| stop.is_raised() || stop.is_paused(), future)
    }

    /// Asks the run to stop. Cannot be taken back.
    pub fn stop(&self) {
        self.set(&self.0.stop, true);
    }

    pub(super) fn is_stopping(&self) -> bool {
        self.0.stop.load(Ordering::SeqCst)
    }

    /// Asks the run to wait between two pages, or to go on.
    pub(super) fn set_paused(&self, is_paused: bool) {
        self.set(&self.0.pause, is_paused);
    }

    pub(super) fn is_paused(&self) -> bool {
        self.0.pause.load(Ordering::SeqCst)
    }

    /// Waits for the end of a pause, or for a stop. A wish to reopen waits until the pause is over.
    pub(super) fn while_paused(&self) {
        let _: Option<()> =
            self.until(|stop| stop.is_stopping() || !stop.is_paused(), std::future::pending());
    }

    fn set(&self, flag: &AtomicBool, value: bool) {
        flag.store(value, Ordering::SeqCst);
        self.0.changed.notify(usize::MAX);
    }

    /// Runs a future until it is ready, or returns `None` as soon as `leave` is true.
    fn until<T>(&self, leave: impl Fn(&Self) -> bool, future: impl Future<Output = T>) -> Option<T> {
        let mut future = pin!(future);
        let mut left = pin!(self.left(leave));
        pollster::block_on(poll_fn(|context| {
            if left.as_mut().poll(context).is_ready() {
                return Poll::Ready(None);
            }
            future.as_mut().poll(context).map(Some)
        }))
    }

    async fn left(&self, leave: impl Fn(&Self) -> bool) {
        loop {
            // Listen first, look second: a change in between is not missed.
            let listener = self.0.changed.listen();
            if leave(self) {
                return;
            }
            listener.await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stop_ends_every_wait() {
        let stop = Stop::new();
        assert_eq!(stop.or(async { 1 }), Some(1));
        let other = stop.clone();
        let waiting = std::thread::spawn(move || {
            other.set_paused(true);
            other.while_paused();
            other.or(std::future::pending::<()>())
        });
        stop.stop();
        assert_eq!(waiting.join().unwrap(), None);
    }

    #[test]
    fn a_wish_to_reopen_ends_waits_until_it_is_taken_back() {
        let stop = Stop::new();
        stop.reopen();
        assert_eq!(stop.or(std::future::pending::<()>()), None);
        stop.clear_reopen();
        assert_eq!(stop.or(async { 1 }), Some(1));
        assert!(!stop.is_stopping());
    }

    #[test]
    fn a_pause_ends_the_waits_between_pages_and_no_others() {
        let stop = Stop::new();
        stop.set_paused(true);
        assert!(!stop.is_raised());
        assert_eq!(stop.or(async { 1 }), Some(1));
        assert_eq!(stop.or_pause(async { 1 }), None);
        stop.set_paused(false);
        stop.while_paused();
        assert_eq!(stop.or_pause(async { 1 }), Some(1));
    }
}
