//! A signal to stop, and a wait that it ends: the little of a runtime that a view's thread needs.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::Poll;
use std::time::{Duration, Instant};

use event_listener::{Event, Listener};

/// Says once and for all that a view is to stop.
#[derive(Default)]
pub(crate) struct Stop {
    requested: AtomicBool,
    event: Event,
}

impl Stop {
    pub(crate) fn request(&self) {
        self.requested.store(true, Ordering::SeqCst);
        self.event.notify(usize::MAX);
    }

    pub(crate) fn is_requested(&self) -> bool {
        self.requested.load(Ordering::SeqCst)
    }

    /// Runs a future on this thread until it is ready, or gives `None` as soon as a stop is requested.
    pub(crate) fn or<T>(&self, future: impl Future<Output = T>) -> Option<T> {
        let mut future = pin!(future);
        let mut stopped = pin!(self.requested());
        pollster::block_on(poll_fn(|context| {
            if stopped.as_mut().poll(context).is_ready() {
                return Poll::Ready(None);
            }
            future.as_mut().poll(context).map(Some)
        }))
    }

    /// Waits that long, or less when a stop is requested.
    pub(crate) fn pause(&self, duration: Duration) {
        let deadline = Instant::now() + duration;
        loop {
            // Listen first, look second: a request in between is then not missed.
            let listener = self.event.listen();
            if self.is_requested() || listener.wait_deadline(deadline).is_none() {
                return;
            }
        }
    }

    async fn requested(&self) {
        loop {
            let listener = self.event.listen();
            if self.is_requested() {
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
        let stop = Arc::new(Stop::default());
        assert_eq!(stop.or(async { 1 }), Some(1));
        let other = Arc::clone(&stop);
        let waiting = std::thread::spawn(move || {
            other.pause(Duration::from_secs(3_600));
            other.or(std::future::pending::<()>())
        });
        stop.request();
        assert_eq!(waiting.join().unwrap(), None);
    }
}
