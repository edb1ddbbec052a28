//! A clock that stands still until a test moves it.

use std::sync::{Arc, Mutex, PoisonError};
use std::task::Waker;
use std::time::Duration;

use gesta_core::{BoxFuture, Timestamp};

use super::Clock;
use super::waits::{Timer, Wait, Waits, lock};

/// A clock for tests. It starts at a given wall time, with [`Clock::elapsed`] at zero. Clones share their time.
///
/// # Example
/// ```
/// # use std::time::Duration;
/// # use gesta_core::Timestamp;
/// # use gesta_consumer::{Clock, TestClock};
/// let clock = TestClock::new(Timestamp::from_nanos(0));
/// let wait = clock.wait(Duration::from_secs(60));
/// clock.advance(Duration::from_secs(60));
/// pollster::block_on(wait);
/// assert_eq!(clock.now(), Timestamp::from_nanos(60_000_000_000));
/// ```
#[derive(Clone)]
pub struct TestClock(Arc<ManualTimer>);

#[derive(Default)]
struct ManualTimer {
    /// Changed only while the lock of `waits` is held.
    time: Mutex<Time>,
    waits: Mutex<Waits>,
}

#[derive(Clone, Copy, Default)]
struct Time {
    now: Timestamp,
    elapsed: Duration,
}

impl TestClock {
    /// Creates a clock with this wall time.
    #[must_use]
    pub fn new(now: Timestamp) -> Self {
        let time = Time { now, elapsed: Duration::ZERO };
        Self(Arc::new(ManualTimer { time: Mutex::new(time), waits: Mutex::default() }))
    }

    /// Lets time pass: both readings move by `by`, and every wait that is over by then ends.
    pub fn advance(&self, by: Duration) {
        let mut waits = lock(&self.0.waits);
        let elapsed = self.0.change(|time| {
            let nanos = i64::try_from(by.as_nanos()).unwrap_or(i64::MAX);
            time.now = Timestamp::from_nanos(time.now.as_nanos().saturating_add(nanos));
            time.elapsed = time.elapsed.saturating_add(by);
            time.elapsed
        });
        let due = waits.take_due(elapsed);
        drop(waits);
        due.into_iter().for_each(Waker::wake);
    }

    /// Sets the wall time, as an operator or a time server does. [`Clock::elapsed`] does not move.
    pub fn jump_wall(&self, to: Timestamp) {
        self.0.change(|time| time.now = to);
    }

    /// Returns the earliest deadline that a future waits for.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Duration> {
        lock(&self.0.waits).first()
    }
}

impl Default for TestClock {
    /// A clock whose wall time is 2025-01-01T00:00:00 UTC.
    fn default() -> Self {
        Self::new(Timestamp::from_nanos(1_735_689_600_000_000_000))
    }
}

impl Clock for TestClock {
    fn now(&self) -> Timestamp {
        self.0.change(|time| time.now)
    }

    fn elapsed(&self) -> Duration {
        self.0.change(|time| time.elapsed)
    }

    fn wait(&self, until: Duration) -> BoxFuture<'static, ()> {
        Box::pin(Wait::new(Arc::clone(&self.0), until))
    }
}

impl ManualTimer {
    fn change<T>(&self, change: impl FnOnce(&mut Time) -> T) -> T {
        change(&mut self.time.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Timer for ManualTimer {
    fn elapsed(&self, _: &Waits) -> Duration {
        self.change(|time| time.elapsed)
    }

    fn waits(&self) -> &Mutex<Waits> {
        &self.waits
    }

    /// Nothing sleeps: the next [`TestClock::advance`] sees the wait.
    fn added(&self, _: bool, _: &Waker) {}
}

#[cfg(test)]
mod tests {
    use std::pin::pin;
    use std::task::Context;

    use super::*;

    fn is_over(wait: &mut BoxFuture<'static, ()>) -> bool {
        wait.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_ready()
    }

    #[test]
    fn a_wait_ends_when_the_clock_has_reached_it_and_not_before() {
        let clock = TestClock::default();
        let mut wait = clock.wait(Duration::from_secs(2));
        assert!(!is_over(&mut wait));
        clock.advance(Duration::from_nanos(1_999_999_999));
        assert!(!is_over(&mut wait));
        clock.advance(Duration::from_nanos(1));
        assert!(is_over(&mut wait));
    }

    #[test]
    fn a_thread_that_waits_is_woken_by_the_advance() {
        let clock = TestClock::default();
        let wait = clock.wait(Duration::from_secs(1));
        let thread = std::thread::spawn(move || pollster::block_on(wait));
        // Before or after the thread polls: both must end the wait.
        clock.advance(Duration::from_secs(1));
        thread.join().unwrap();
    }

    #[test]
    fn a_jump_of_the_wall_moves_no_wait() {
        let clock = TestClock::new(Timestamp::from_nanos(5));
        let mut wait = clock.wait(Duration::from_secs(1));
        clock.jump_wall(Timestamp::MAX);
        assert!(!is_over(&mut wait));
        assert_eq!((clock.now(), clock.elapsed()), (Timestamp::MAX, Duration::ZERO));
        clock.jump_wall(Timestamp::MIN);
        clock.advance(Duration::from_secs(1));
        assert!(is_over(&mut wait));
        let expected = i64::MIN + 1_000_000_000;
        assert_eq!(clock.now(), Timestamp::from_nanos(expected));
    }

    #[test]
    fn a_dropped_wait_leaves_nothing_behind() {
        let clock = TestClock::default();
        {
            let mut far = pin!(clock.wait(Duration::from_secs(9)));
            let mut near = pin!(clock.wait(Duration::from_secs(3)));
            let mut context = Context::from_waker(Waker::noop());
            assert!(far.as_mut().poll(&mut context).is_pending());
            assert!(near.as_mut().poll(&mut context).is_pending());
            assert_eq!(clock.next_deadline(), Some(Duration::from_secs(3)));
        }
        assert_eq!(clock.next_deadline(), None);
    }
}
