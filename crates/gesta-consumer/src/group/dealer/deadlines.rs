//! The deadlines of a dealer, and what a stall does to them.
//!
//! All times inside a dealer are those of its own clock, which stands still during a stall. So a stall moves every deadline by its length,
//! and a member does not lose its deliveries because the dealer was not running.

use std::collections::BTreeSet;
use std::time::Duration;

use super::message::CallId;
use super::streams::Slot;
use crate::bugs::{Bug, planted};
use crate::group::limits::{HEARTBEAT, STALL_MIN};

/// What is due at a deadline.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Due {
    /// A delivery expires.
    Delivery(u64),
    /// A stream has waited long enough.
    Stream(Slot),
    /// A member's call has waited long enough.
    Call(CallId),
    /// Progress may be put, or is late.
    Put,
    /// The scan is tried again.
    Scan,
    /// The reads of streams are tried again.
    Refills,
}

/// The deadlines, and the clock that they are for.
#[derive(Debug, Default)]
pub(super) struct Deadlines {
    due: BTreeSet<(Duration, Due)>,
    /// The time of the last step, as the caller counts it.
    stepped: Duration,
    /// The length of all stalls.
    stalled: Duration,
}

impl Deadlines {
    /// Notes a step. Returns the dealer's time.
    pub(super) fn step(&mut self, elapsed: Duration) -> Duration {
        let elapsed = elapsed.max(self.stepped);
        let gap = elapsed - self.stepped;
        // Without a deadline nobody had to step the dealer, and there is nothing to move.
        if gap > STALL_MIN && !self.due.is_empty() && !planted(Bug::StallCounts) {
            self.stalled += gap;
        }
        self.stepped = elapsed;
        elapsed - self.stalled
    }

    pub(super) fn add(&mut self, at: Duration, due: Due) {
        self.due.insert((at, due));
    }

    pub(super) fn remove(&mut self, at: Duration, due: Due) {
        self.due.remove(&(at, due));
    }

    /// Removes all deadlines.
    pub(super) fn clear(&mut self) {
        self.due.clear();
    }

    /// Takes the first deadline that has passed.
    pub(super) fn next_due(&mut self, now: Duration) -> Option<Due> {
        let first = self.due.first().filter(|(at, _)| *at <= now)?;
        let due = first.1;
        self.due.pop_first();
        Some(due)
    }

    /// Returns the time, as the caller counts it, at which the dealer must be stepped.
    pub(super) fn next_step(&self) -> Option<Duration> {
        let (first, _) = self.due.first()?;
        Some((*first + self.stalled).min(self.stepped + HEARTBEAT))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stall_moves_every_deadline_by_its_length() {
        let seconds = Duration::from_secs;
        let mut deadlines = Deadlines::default();
        deadlines.step(seconds(100));
        deadlines.add(seconds(100) + seconds(30), Due::Put);
        assert_eq!(deadlines.next_step(), Some(seconds(100) + HEARTBEAT));
        let now = deadlines.step(seconds(101));
        assert_eq!(now, seconds(101), "a second is no stall");
        let now = deadlines.step(seconds(301));
        assert_eq!((now, deadlines.next_due(now)), (seconds(101), None));
        let due = (0..=60).find_map(|half| {
            let now = deadlines.step(seconds(301) + half * HEARTBEAT);
            deadlines.next_due(now)
        });
        assert_eq!((due, deadlines.stepped), (Some(Due::Put), seconds(330)));
    }

    #[test]
    fn a_pause_without_deadlines_is_no_stall() {
        let mut deadlines = Deadlines::default();
        assert_eq!(
            (deadlines.step(Duration::from_secs(9)), deadlines.next_step()),
            (Duration::from_secs(9), None)
        );
    }
}
