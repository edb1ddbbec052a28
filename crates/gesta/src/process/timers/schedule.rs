//! The timers that may be pending, by the time at which they are due. Pure.
//!
//! Memory is bounded: the earliest timers are kept, and the first one that was left out is the *horizon*. Of those at and
//! beyond it only the lowest positions are known. When the horizon comes near, or half the room is free, the log is read again
//! from there, for timers at or beyond the old horizon. Those before it were kept: taken again, they would push out the rest
//! for ever.
//!
//! *Invariants:* every timer up to the scanned place is kept, settled, or at or beyond the horizon and after the far place.
//! [`Schedule::place`] is before every timer that is not settled.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use gesta_core::{Checkpoint, Position, Timestamp};

use crate::process::planted::{Bug, planted};

/// A timer that may be pending, ordered by the time at which it is due.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Entry {
    due: Timestamp,
    partition: u16,
    sequence: u64,
}

impl Entry {
    pub(crate) const fn new(due: Timestamp, position: Position) -> Self {
        Self { due, partition: position.partition, sequence: position.sequence }
    }

    pub(crate) const fn due(&self) -> Timestamp {
        self.due
    }

    /// The position of its `timer-set`.
    pub(crate) const fn position(&self) -> Position {
        Position { partition: self.partition, sequence: self.sequence }
    }
}

/// The timers of one process, as far as the log was scanned.
#[derive(Debug)]
pub(crate) struct Schedule {
    kept: BTreeSet<Entry>,
    kept_max: usize,
    /// The first timer that was left out.
    horizon: Option<Entry>,
    /// The lowest sequence that was left out, by partition.
    far: BTreeMap<u16, u64>,
    scanned: Checkpoint,
    widening: Option<Widening>,
}

/// The log is read again for timers at or beyond the old horizon.
#[derive(Debug)]
struct Widening {
    from: Entry,
    at: Checkpoint,
    until: Checkpoint,
}

/// The part of the log to read again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Gap {
    pub(crate) after: Checkpoint,
    pub(crate) until: Checkpoint,
}

impl Schedule {
    /// No timers yet: the log is scanned from that place on. `kept_max` is at least 1.
    pub(crate) fn new(at: Checkpoint, kept_max: usize) -> Self {
        assert!(kept_max > 0, "a schedule keeps at least one timer");
        let (kept, far) = (BTreeSet::new(), BTreeMap::new());
        Self { kept, kept_max, horizon: None, far, scanned: at, widening: None }
    }

    /// Notes a timer that the scan came by, or one that was read again.
    pub(crate) fn note(&mut self, entry: Entry) {
        if self.horizon.is_some_and(|horizon| entry >= horizon) {
            self.leave_out(entry);
            return;
        }
        self.kept.insert(entry);
        if self.kept.len() > self.kept_max {
            let last = self.kept.pop_last().expect("it is over full");
            self.horizon = Some(last);
            self.leave_out(last);
        }
        assert!(self.kept.len() <= self.kept_max, "the room is bounded");
    }

    /// The scan has reached that place.
    pub(crate) fn scanned(&mut self, to: Checkpoint) {
        assert!(to.at_least(&self.scanned), "a scan never goes back");
        self.scanned = to;
    }

    pub(crate) const fn scanned_to(&self) -> &Checkpoint {
        &self.scanned
    }

    /// The earliest timers that are due, at most `count`.
    pub(crate) fn due(&self, now: Timestamp, count: usize) -> Vec<Entry> {
        self.kept.iter().take_while(|entry| entry.due <= now).take(count).copied().collect()
    }

    /// The time of the earliest timer.
    pub(crate) fn next_due(&self) -> Option<Timestamp> {
        self.kept.first().map(Entry::due)
    }

    /// The timer fired, or will not fire.
    pub(crate) fn forget(&mut self, entry: Entry) {
        self.kept.remove(&entry);
    }

    /// The timer is looked at again at that time.
    pub(crate) fn set_aside(&mut self, entry: Entry, until: Timestamp) {
        if self.kept.remove(&entry) {
            self.note(Entry { due: until, ..entry });
        }
    }

    /// The number of timers that are kept.
    pub(crate) fn pending(&self) -> usize {
        self.kept.len()
    }

    /// The part of the log to read again, if the horizon calls for it. `ahead` is how near the horizon may come.
    pub(crate) fn gap(&mut self, now: Timestamp, ahead: Duration) -> Option<Gap> {
        if self.widening.is_none() && self.must_widen(now, ahead) {
            self.begin_widening();
        }
        let Widening { at, until, .. } = self.widening.as_ref()?;
        Some(Gap { after: at.clone(), until: until.clone() })
    }

    fn must_widen(&self, now: Timestamp, ahead: Duration) -> bool {
        let Some(horizon) = self.horizon.filter(|_| !planted(Bug::HorizonForgotten)) else { return false };
        let free = self.kept_max - self.kept.len();
        let ahead = i64::try_from(ahead.as_nanos()).unwrap_or(i64::MAX);
        let is_near = now.as_nanos().saturating_add(ahead) >= horizon.due.as_nanos();
        // Near the horizon, a little room must be free too: a full schedule has nothing to gain from another look.
        free * 2 > self.kept_max || is_near && free * 16 >= self.kept_max
    }

    fn begin_widening(&mut self) {
        let Some(horizon) = self.horizon.take() else { return };
        let at = lowered(self.scanned.clone(), std::mem::take(&mut self.far));
        let from = if planted(Bug::AllAgain) { Entry { due: Timestamp::MIN, ..horizon } } else { horizon };
        self.widening = Some(Widening { from, at, until: self.scanned.clone() });
    }

    /// A page of the gap was read: its timers, and how far it goes.
    pub(crate) fn widened(&mut self, timers: impl IntoIterator<Item = Entry>, to: Checkpoint) {
        let Some(mut widening) = self.widening.take() else { return };
        for entry in timers {
            if entry >= widening.from {
                self.note(entry);
            }
        }
        widening.at = to;
        if !widening.at.at_least(&widening.until) {
            self.widening = Some(widening);
        }
    }

    /// The place to start from after a restart: before every timer that is not settled. It costs a look at every kept timer.
    pub(crate) fn place(&self) -> Checkpoint {
        if planted(Bug::PlaceAtHead) {
            return self.scanned.clone();
        }
        let kept = self.kept.iter().map(|entry| (entry.partition, entry.sequence));
        let far = self.far.iter().map(|(partition, sequence)| (*partition, *sequence));
        let far = far.filter(|_| !planted(Bug::FarNotCounted));
        let place = lowered(self.scanned.clone(), kept.chain(far));
        match &self.widening {
            Some(widening) => place.meet(&widening.at),
            None => place,
        }
    }

    fn leave_out(&mut self, entry: Entry) {
        let lowest = self.far.entry(entry.partition).or_insert(entry.sequence);
        *lowest = (*lowest).min(entry.sequence);
    }
}

/// The place, lowered to lie before each of these positions.
fn lowered(place: Checkpoint, positions: impl IntoIterator<Item = (u16, u64)>) -> Checkpoint {
    positions.into_iter().fold(place, |place, (partition, sequence)| {
        if place.sequence(partition) < sequence { place } else { place.with(partition, sequence - 1) }
    })
}

#[cfg(test)]
mod tests {
    use gesta_core::StoreId;

    use super::*;

    const HOUR: Duration = Duration::from_hours(1);

    fn at(sequences: [u64; 2]) -> Checkpoint {
        Checkpoint::new(StoreId::from_bytes([1; 16]), sequences)
    }

    fn entry(due_seconds: i64, partition: u16, sequence: u64) -> Entry {
        let due = Timestamp::from_nanos(due_seconds * 1_000_000_000);
        Entry::new(due, Position { partition, sequence })
    }

    fn seconds(seconds: i64) -> Timestamp {
        Timestamp::from_nanos(seconds * 1_000_000_000)
    }

    /// The first timer that is due.
    fn first(schedule: &Schedule, now: i64) -> Entry {
        schedule.due(seconds(now), 1)[0]
    }

    /// A schedule of four with timers due at these seconds, at the sequences 1, 2, 3, … of partition 0.
    fn schedule(dues: &[i64]) -> Schedule {
        let mut schedule = Schedule::new(at([0, 0]), 4);
        for (sequence, due) in (1..).zip(dues) {
            schedule.note(entry(*due, 0, sequence));
            schedule.scanned(at([sequence, 9]));
        }
        schedule
    }

    #[test]
    fn the_earliest_timers_are_kept_and_come_in_the_order_of_their_times() {
        let mut schedule = schedule(&[50, 10, 40, 20, 30]);
        assert_eq!(schedule.pending(), 4);
        assert!(schedule.due(seconds(9), 9).is_empty());
        let dues = schedule.due(seconds(30), 9).iter().map(Entry::due).collect::<Vec<_>>();
        assert_eq!(dues, [10, 20, 30].map(seconds));
        for due in [10, 20, 30, 40] {
            assert_eq!(schedule.next_due(), Some(seconds(due)));
            let entry = first(&schedule, 100);
            assert_eq!(entry.due(), seconds(due));
            schedule.forget(entry);
        }
        assert!(schedule.due(seconds(100), 9).is_empty());
    }

    #[test]
    fn the_place_is_before_every_timer_that_is_kept_or_was_left_out() {
        let mut schedule = schedule(&[90, 80, 10, 20, 30, 40]);
        assert_eq!(schedule.place(), at([0, 9]), "the first one was left out");
        schedule.note(entry(1, 1, 5));
        assert_eq!(schedule.place(), at([0, 4]));
        assert_eq!(super::lowered(at([6, 9]), [(0, 3), (1, 11)]), at([2, 9]));
    }

    #[test]
    fn the_log_is_read_again_when_half_the_room_is_free() {
        let mut schedule = schedule(&[5_000, 10, 6_000, 20, 30, 40]);
        assert_eq!(schedule.gap(seconds(0), HOUR), None, "it is full, and the horizon is far");
        for _ in 0..2 {
            schedule.forget(first(&schedule, 100));
            assert_eq!(schedule.gap(seconds(0), HOUR), None);
        }
        schedule.forget(first(&schedule, 100));
        let gap = schedule.gap(seconds(0), HOUR).unwrap();
        assert_eq!(gap, Gap { after: at([0, 9]), until: at([6, 9]) });
        assert_eq!(schedule.place(), at([0, 9]), "what is not read again yet counts");
        // Timers before the old horizon were kept, and are not taken again.
        schedule.widened([entry(5_000, 0, 1), entry(10, 0, 2)], at([2, 9]));
        assert_eq!(schedule.gap(seconds(0), HOUR).unwrap().after, at([2, 9]));
        schedule.widened([entry(6_000, 0, 3), entry(20, 0, 4)], at([6, 9]));
        assert_eq!(schedule.gap(seconds(0), HOUR), None);
        assert_eq!(schedule.pending(), 3);
    }

    #[test]
    fn the_log_is_read_again_when_the_horizon_is_near_and_there_is_room() {
        let mut schedule = schedule(&[5_000, 10, 20, 30, 40]);
        assert_eq!(schedule.gap(seconds(1_400), HOUR), None, "there is no room");
        schedule.forget(first(&schedule, 10));
        assert_eq!(schedule.gap(seconds(1_399), HOUR), None, "it is more than an hour away");
        assert!(schedule.gap(seconds(1_400), HOUR).is_some());
    }

    #[test]
    fn timers_that_are_left_out_again_get_a_new_horizon() {
        let mut schedule = schedule(&[60, 70, 80, 10, 20, 30, 40]);
        for _ in 0..3 {
            schedule.forget(first(&schedule, 30));
        }
        let gap = schedule.gap(seconds(30), HOUR).unwrap();
        // A new timer while the log is read again.
        schedule.note(entry(65, 0, 8));
        schedule.scanned(at([8, 9]));
        schedule.widened([entry(60, 0, 1), entry(70, 0, 2), entry(80, 0, 3)], gap.until);
        assert_eq!(schedule.pending(), 4);
        assert_eq!(schedule.place(), at([0, 9]));
        for due in [40, 60, 65, 70] {
            let entry = first(&schedule, 100);
            assert_eq!(entry.due(), seconds(due));
            schedule.forget(entry);
        }
        assert_eq!(schedule.gap(seconds(100), HOUR).unwrap().after, at([2, 9]));
    }
}
