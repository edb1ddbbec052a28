//! How many events a consumer passes each second.

use std::time::Duration;

use crate::limits;

const RATE_SECONDS: u64 = limits::RATE_SECONDS as u64;
const SLOTS: usize = limits::RATE_SECONDS as usize;

/// Counts over the last [`limits::RATE_SECONDS`], in steps of a second.
pub(super) struct Rate {
    started: Duration,
    /// The second that `counts` ends with.
    second: u64,
    /// The count of each second, at its number modulo the length.
    counts: [u64; SLOTS],
}

impl Rate {
    pub(super) const fn new(elapsed: Duration) -> Self {
        Self { started: elapsed, second: elapsed.as_secs(), counts: [0; SLOTS] }
    }

    /// Counts `events` at a time that is not before any earlier one.
    pub(super) fn count(&mut self, elapsed: Duration, events: u64) {
        self.move_to(elapsed.as_secs());
        let count = &mut self.counts[slot(self.second)];
        *count = count.saturating_add(events);
    }

    /// Events in each second, on average over the time that is counted.
    #[expect(clippy::cast_precision_loss, reason = "a rate for people")]
    pub(super) fn per_second(&mut self, elapsed: Duration) -> f64 {
        self.move_to(elapsed.as_secs());
        let events = self.counts.iter().fold(0_u64, |sum, count| sum.saturating_add(*count));
        let running = elapsed.saturating_sub(self.started).as_secs_f64();
        // The last second is not over.
        let counted = (RATE_SECONDS - 1) as f64 + elapsed.as_secs_f64().fract();
        events as f64 / running.clamp(1.0, counted.max(1.0))
    }

    /// Forgets the seconds that are too long ago.
    fn move_to(&mut self, second: u64) {
        let first_new = self.second.saturating_add(1).max(second.saturating_sub(RATE_SECONDS - 1));
        for new in first_new..=second {
            self.counts[slot(new)] = 0;
        }
        self.second = self.second.max(second);
    }
}

fn slot(second: u64) -> usize {
    usize::try_from(second % RATE_SECONDS).expect("less than the length of the counts")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(counted: &[(u64, u64)], at_millis: u64, expected: f64) {
        let mut rate = Rate::new(Duration::from_secs(100));
        for (millis, events) in counted {
            rate.count(Duration::from_millis(100_000 + millis), *events);
        }
        let found = rate.per_second(Duration::from_millis(100_000 + at_millis));
        assert!((found - expected).abs() < 1e-9, "{counted:?} at {at_millis}: {found}, not {expected}");
    }

    #[test]
    fn the_rate_is_the_average_of_the_last_ten_seconds() {
        check(&[], 5_000, 0.0);
        check(&[(0, 7)], 0, 7.0);
        check(&[(0, 10), (1_500, 10)], 2_000, 10.0);
        check(&[(0, 100), (9_999, 90)], 9_999, 190.0 / 9.999);
        // The first second has left the window.
        check(&[(0, 100), (9_999, 90)], 10_500, 90.0 / 9.5);
        check(&[(0, 100), (9_999, 90)], 60_000, 0.0);
        check(&[(0, 1), (3_600_000, 18)], 3_600_000, 2.0);
    }
}
