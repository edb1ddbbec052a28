//! When a snapshot store that is slow or down is asked again. Pure.
//!
//! After [`FAILURES_MAX`] failures in a row it is not asked for [`PAUSE_MIN`]. Then one caller asks. If that fails too,
//! the pause doubles, up to [`PAUSE_MAX`]. One answer ends it.

use std::time::Duration;

use super::limits::{FAILURES_MAX, PAUSE_MAX, PAUSE_MIN};

#[derive(Debug, Default)]
pub(super) struct BackOff {
    failures: u32,
    pause: Option<Pause>,
}

#[derive(Debug)]
struct Pause {
    /// The moment of the clock until which the store is not asked.
    until: Duration,
    length: Duration,
    /// True while a caller asks who came after the pause.
    is_asked: bool,
}

impl BackOff {
    /// Whether a caller may ask the store now. Of those who come after a pause, only the first may.
    pub(super) fn may_ask(&mut self, now: Duration) -> bool {
        match &mut self.pause {
            None => true,
            Some(pause) if now < pause.until => false,
            Some(pause) => {
                pause.until = now + pause.length;
                pause.is_asked = true;
                true
            }
        }
    }

    pub(super) fn succeeded(&mut self) {
        *self = Self::default();
    }

    /// Notes a failure. Returns the pause that begins with it.
    pub(super) fn failed(&mut self, now: Duration) -> Option<Duration> {
        self.failures = self.failures.saturating_add(1);
        if self.failures < FAILURES_MAX {
            return None;
        }
        let length = match &self.pause {
            None => PAUSE_MIN,
            Some(pause) if pause.is_asked => (pause.length * 2).min(PAUSE_MAX),
            // A call that began before the pause.
            Some(_) => return None,
        };
        self.pause = Some(Pause { until: now + length, length, is_asked: false });
        Some(length)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    fn failing(at: Duration) -> BackOff {
        let mut back_off = BackOff::default();
        for _ in 0..FAILURES_MAX {
            back_off.failed(at);
        }
        back_off
    }

    #[test]
    fn a_few_failures_do_not_stop_the_asking() {
        let mut back_off = BackOff::default();
        for _ in 1..FAILURES_MAX {
            assert_eq!(back_off.failed(seconds(7)), None);
            assert!(back_off.may_ask(seconds(7)));
        }
        back_off.succeeded();
        assert_eq!(back_off.failed(seconds(7)), None, "they are counted in a row");
    }

    #[test]
    fn after_a_pause_one_caller_asks() {
        let mut back_off = failing(seconds(10));
        assert!(!back_off.may_ask(seconds(10)));
        assert!(!back_off.may_ask(seconds(11) - Duration::from_nanos(1)));
        assert!(back_off.may_ask(seconds(11)));
        assert!(!back_off.may_ask(seconds(11)), "the second one folds");
        back_off.succeeded();
        assert!(back_off.may_ask(seconds(11)));
    }

    #[test]
    fn pauses_double_up_to_a_minute() {
        let mut now = seconds(10);
        let mut back_off = failing(now);
        for pause in [1, 2, 4, 8, 16, 32, 60, 60] {
            let pause = seconds(pause);
            assert!(!back_off.may_ask(now + pause - Duration::from_nanos(1)));
            now += pause;
            assert!(back_off.may_ask(now));
            now += Duration::from_millis(50);
            back_off.failed(now).expect("another pause");
        }
        back_off.succeeded();
        assert_eq!(back_off.failed(now), None);
    }

    #[test]
    fn failures_of_calls_that_began_before_the_pause_do_not_double_it() {
        let mut back_off = failing(seconds(10));
        for _ in 0..20 {
            assert_eq!(back_off.failed(seconds(10)), None);
        }
        assert!(back_off.may_ask(seconds(11)));
    }
}
