//! The rate of long background tasks, and their cancellation.

use std::num::NonZeroU64;
use std::ops::ControlFlow;
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use crate::locks;

/// The most bytes between two pauses, and so the most that an append waits for at the disk. Low rates use smaller
/// steps.
const STEP_BYTES_MAX: u64 = 256 << 10;
const STEP_BYTES_MIN: u64 = 4 << 10;
/// Pauses a second, unless the step size is clamped.
const STEPS_PER_SECOND: u64 = 16;

/// Ends a long task from another thread. A clone ends the same task.
#[derive(Clone, Default)]
pub struct Cancel(Arc<Cancelled>);

#[derive(Default)]
struct Cancelled {
    is_cancelled: Mutex<bool>,
    changed: Condvar,
}

impl Cancel {
    /// Ends the task soon, also while it waits.
    pub fn cancel(&self) {
        *locks::lock(&self.0.is_cancelled) = true;
        self.0.changed.notify_all();
    }

    pub(crate) fn is_cancelled(&self) -> bool {
        *locks::lock(&self.0.is_cancelled)
    }

    /// Waits. Breaks as soon as the task is cancelled.
    pub(crate) fn pause(&self, pause: Duration) -> ControlFlow<()> {
        let guard = locks::lock(&self.0.is_cancelled);
        match *locks::wait_timeout_while(&self.0.changed, guard, pause, |is_cancelled| !*is_cancelled) {
            true => ControlFlow::Break(()),
            false => ControlFlow::Continue(()),
        }
    }
}

/// The rate of a task, and its cancellation.
#[derive(Clone, Default)]
pub(crate) struct Pace {
    /// `None` means without a limit.
    pub(crate) bytes_per_second: Option<NonZeroU64>,
    pub(crate) cancel: Cancel,
}

impl Pace {
    /// The bytes to process before the next pause.
    pub(crate) fn step_bytes(&self) -> u64 {
        self.bytes_per_second
            .map_or(u64::MAX, |rate| (rate.get() / STEPS_PER_SECOND).clamp(STEP_BYTES_MIN, STEP_BYTES_MAX))
    }

    /// Waits as long as `bytes` may take. The time of the work comes on top: the rate is a ceiling, and no burst
    /// makes up for lost time.
    pub(crate) fn pause_for(&self, bytes: u64) -> ControlFlow<()> {
        let pause = self
            .bytes_per_second
            .map_or(Duration::ZERO, |rate| Duration::from_nanos(bytes.saturating_mul(1_000_000_000) / rate));
        self.cancel.pause(pause)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_are_small_and_smaller_at_low_rates() {
        let step = |rate| Pace { bytes_per_second: NonZeroU64::new(rate), ..Pace::default() }.step_bytes();
        assert_eq!((step(0), step(1), step(1 << 20)), (u64::MAX, 4 << 10, 64 << 10));
        assert_eq!((step(4 << 20), step(1 << 40)), (256 << 10, 256 << 10));
    }

    #[test]
    fn a_pause_ends_when_its_task_is_cancelled() {
        let pace = Pace { bytes_per_second: NonZeroU64::new(1), ..Pace::default() };
        let ended = std::thread::scope(|scope| {
            let waiting = scope.spawn(|| pace.pause_for(3_600));
            pace.cancel.cancel();
            waiting.join().unwrap()
        });
        assert!(ended.is_break() && pace.cancel.is_cancelled());
    }
}
