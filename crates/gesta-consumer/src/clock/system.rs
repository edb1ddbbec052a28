//! The clock of the system. One thread serves all waits of the process.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, LazyLock, Mutex, PoisonError};
use std::task::Waker;
use std::thread;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use gesta_core::{BoxFuture, Timestamp};

use super::Clock;
use super::waits::{Timer, Wait, Waits, lock};
use crate::limits::{CLOCK_LOOK_PAUSE, CLOCK_POLL_PAUSE};

/// The system's wall time and monotonic time. On Linux, the monotonic time goes on while the machine is suspended, so a lease ends meanwhile.
///
/// All values share one thread, which starts with the first wait and stays for the life of the process.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        // A clock outside the years 1970 to 2262 is wrong: use the nearest time that can be stored.
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Timestamp::from_nanos(i64::try_from(since.as_nanos()).unwrap_or(i64::MAX))
    }

    fn elapsed(&self) -> Duration {
        elapsed()
    }

    fn wait(&self, until: Duration) -> BoxFuture<'static, ()> {
        Box::pin(Wait::new(Arc::clone(&TIMER), until))
    }
}

/// The time since the machine was started, with the time in which it was suspended.
#[cfg(target_os = "linux")]
fn elapsed() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
    Duration::try_from(time).expect("no time is before the start of the machine")
}

/// The time since the first call.
#[cfg(not(target_os = "linux"))]
fn elapsed() -> Duration {
    static ORIGIN: LazyLock<std::time::Instant> = LazyLock::new(std::time::Instant::now);
    ORIGIN.elapsed()
}

static TIMER: LazyLock<Arc<SystemTimer>> = LazyLock::new(|| Arc::new(SystemTimer::new()));

struct SystemTimer {
    waits: Mutex<Waits>,
    /// Notified when a wait becomes the earliest.
    rearmed: Condvar,
    has_thread: Mutex<bool>,
}

impl SystemTimer {
    fn new() -> Self {
        Self { waits: Mutex::default(), rearmed: Condvar::new(), has_thread: Mutex::new(false) }
    }

    /// Starts the thread, unless it runs. Returns true if it runs.
    fn start(&self) -> bool {
        let mut has_thread = self.has_thread.lock().unwrap_or_else(PoisonError::into_inner);
        if !*has_thread {
            let thread = thread::Builder::new().name("gesta-clock".to_owned());
            *has_thread = thread.spawn(|| TIMER.run()).is_ok();
        }
        *has_thread
    }

    /// The body of the thread: wakes each wait that is due, and sleeps until the next one.
    fn run(&self) {
        let mut waits = lock(&self.waits);
        loop {
            let elapsed = elapsed();
            let due = waits.take_due(elapsed);
            if !due.is_empty() {
                drop(waits);
                due.into_iter().for_each(wake);
                waits = lock(&self.waits);
                continue;
            }
            waits = match waits.first() {
                None => self.rearmed.wait(waits).unwrap_or_else(PoisonError::into_inner),
                Some(until) => {
                    // This wait stands still while the machine is suspended, so it is a short one.
                    let pause = until.saturating_sub(elapsed).min(CLOCK_LOOK_PAUSE);
                    let woken = self.rearmed.wait_timeout(waits, pause);
                    woken.unwrap_or_else(PoisonError::into_inner).0
                }
            };
        }
    }
}

/// Wakes one waiter. A waker that panics is a bug of its owner; the other waits must not suffer for it.
fn wake(waker: Waker) {
    let _ = catch_unwind(AssertUnwindSafe(|| waker.wake()));
}

impl Timer for SystemTimer {
    fn elapsed(&self, _: &Waits) -> Duration {
        elapsed()
    }

    fn waits(&self) -> &Mutex<Waits> {
        &self.waits
    }

    fn added(&self, is_first: bool, waker: &Waker) {
        if self.start() {
            if is_first {
                self.rearmed.notify_one();
            }
        } else {
            // The system has no thread left. Until it has, the waits look at the clock themselves.
            thread::sleep(CLOCK_POLL_PAUSE);
            waker.wake_by_ref();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::pin::pin;
    use std::task::{Context, Poll, Wake};

    use super::*;

    #[test]
    fn waits_end_at_their_time_in_any_order_of_their_start() {
        let clock = SystemClock;
        let start = clock.elapsed();
        let waits = [30, 10, 20].map(|millis| {
            let until = start + Duration::from_millis(millis);
            let wait = clock.wait(until);
            thread::spawn(move || {
                pollster::block_on(wait);
                assert!(SystemClock.elapsed() >= until);
            })
        });
        waits.into_iter().for_each(|thread| thread.join().unwrap());
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn the_time_is_that_of_the_clock_that_counts_the_sleep_of_the_machine() {
        let boottime = || rustix::time::clock_gettime(rustix::time::ClockId::Boottime).try_into().unwrap();
        let (before, elapsed, after): (Duration, _, _) = (boottime(), SystemClock.elapsed(), boottime());
        assert!((before..=after).contains(&elapsed), "{elapsed:?} is not from {before:?} to {after:?}");
    }

    #[test]
    fn a_wait_for_a_time_in_the_past_is_over_at_once() {
        let clock = SystemClock;
        let mut context = Context::from_waker(Waker::noop());
        assert_eq!(pin!(clock.wait(clock.elapsed())).poll(&mut context), Poll::Ready(()));
    }

    #[test]
    fn a_nearer_wait_does_not_wait_for_a_far_one() {
        let far = SystemClock.wait(SystemClock.elapsed() + Duration::from_secs(3_600));
        let mut far = pin!(far);
        let mut context = Context::from_waker(Waker::noop());
        assert!(far.as_mut().poll(&mut context).is_pending());
        // A nearer wait wakes the thread that sleeps for the far one.
        pollster::block_on(SystemClock.wait(SystemClock.elapsed() + Duration::from_millis(5)));
        assert!(far.as_mut().poll(&mut context).is_pending());
    }

    struct Panics;

    impl Wake for Panics {
        fn wake(self: Arc<Self>) {
            panic!("this waker panics");
        }
    }

    #[test]
    fn a_waker_that_panics_ends_no_other_wait() {
        let until = SystemClock.elapsed() + Duration::from_millis(5);
        let mut wait = SystemClock.wait(until);
        let waker = Waker::from(Arc::new(Panics));
        let is_pending = wait.as_mut().poll(&mut Context::from_waker(&waker)).is_pending();
        assert!(is_pending || SystemClock.elapsed() >= until);
        pollster::block_on(SystemClock.wait(until));
        pollster::block_on(SystemClock.wait(until + Duration::from_millis(5)));
    }
}
