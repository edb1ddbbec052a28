//! One sequence of events that are delivered in order: a stream, or a partition in the order of the log.
//!
//! *Invariants*
//! - The queue is ascending. Everything unfinished up to the scan is in the queue or after `rest` in the log.
//! - While a delivery is in flight, its events are the front of the queue.

use std::collections::VecDeque;
use std::time::Duration;

use gesta_core::{Lane, RecordedEvent, StreamName, Version};

use super::window::Window;
use crate::bugs::{Bug, planted};
use crate::group::name::MemberName;

/// A sequence of events, as far as they are not finished.
#[derive(Debug)]
pub(super) struct Stream {
    pub(super) name: StreamName,
    pub(super) lane: Lane,
    pub(super) partition: u16,
    /// The first unfinished events.
    queue: VecDeque<RecordedEvent>,
    /// Unfinished events after this sequence are not in the queue; they are read from the log.
    rest: Option<u64>,
    /// The last event that a scan left to the log.
    spilled_to: u64,
    /// Events up to here were read from the log or finished. A scan that meets them again passes them.
    read_to: u64,
    /// The version of the first unfinished event, or a lower one.
    pub(super) next_version: Version,
    /// The delivery in flight.
    pub(super) delivery: Option<u64>,
    /// An expired delivery whose settlement still counts.
    pub(super) late: Option<u64>,
    /// The read that fills the queue.
    pub(super) refill: Option<u64>,
    /// Positions that the next such read covers; `None` means all up to the scan.
    pub(super) reach: Option<u64>,
    /// Attempts to handle the first event that failed and count.
    pub(super) attempts: u32,
    /// Attempts and releases since the last event that was handled. They lengthen the pause.
    pub(super) setbacks: u32,
    /// Events up to here are delivered alone, to tell poison from its neighbours.
    pub(super) alone_to: u64,
    pub(super) waits_until: Option<Duration>,
    /// The first expiry of an event waits for nothing.
    pub(super) has_expired: bool,
    /// The first giving again of an event waits for nothing.
    pub(super) was_given_again: bool,
    pub(super) apart: Option<Apart>,
    pub(super) is_parked: bool,
    /// True while the stream is in the list of those that can be delivered.
    pub(super) is_listed: bool,
    /// True while the stream is in the list of those that need a read.
    pub(super) is_hungry: bool,
    /// The member that had the last delivery. In the order of the log it gets the next one too.
    pub(super) holder: Option<MemberName>,
    /// The last error that a member reported.
    pub(super) error: Option<String>,
}

/// A stream with a place of its own in the group's progress.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Apart {
    /// The put whose row has no entry of the stream. Once it succeeds, the stream is no longer apart.
    pub(super) gone_with: Option<u64>,
}

impl Stream {
    pub(super) const fn new(name: StreamName, lane: Lane, partition: u16) -> Self {
        Self {
            name,
            lane,
            partition,
            queue: VecDeque::new(),
            rest: None,
            spilled_to: 0,
            read_to: 0,
            next_version: Version::FIRST,
            delivery: None,
            late: None,
            refill: None,
            reach: None,
            attempts: 0,
            setbacks: 0,
            alone_to: 0,
            waits_until: None,
            has_expired: false,
            was_given_again: false,
            apart: None,
            is_parked: false,
            is_listed: false,
            is_hungry: false,
            holder: None,
            error: None,
        }
    }

    pub(super) const fn queue(&self) -> &VecDeque<RecordedEvent> {
        &self.queue
    }

    pub(super) const fn rest(&self) -> Option<u64> {
        self.rest
    }

    pub(super) const fn read_to(&self) -> u64 {
        self.read_to
    }

    /// Returns the first sequence that may be unfinished, up to the scan; `None` if everything is finished.
    pub(super) fn low(&self) -> Option<u64> {
        let queued = self.queue.front().map(|event| event.position().sequence);
        queued.or(self.rest.map(|rest| rest + 1))
    }

    /// Returns true if its first event can be delivered now.
    pub(super) fn is_ready(&self) -> bool {
        (self.delivery.is_none() || planted(Bug::TwoInFlight))
            && !self.is_parked
            && self.waits_until.is_none()
            && !self.queue.is_empty()
    }

    /// Returns the number of events that the queue may take, out of `kept_max`.
    ///
    /// A stream that waits or is delivered event by event keeps one, or many stuck streams would fill the window.
    pub(super) fn room(&self, kept_max: usize) -> usize {
        let is_alone = self.low().is_some_and(|low| low <= self.alone_to);
        let is_slow = self.waits_until.is_some() || is_alone;
        let kept_max = if is_slow { 1 } else { kept_max };
        if self.is_parked { 0 } else { kept_max.saturating_sub(self.queue.len()) }
    }

    /// Returns true if nothing distinguishes the stream from one that was never seen, for a scan beyond `scanned`.
    pub(super) fn is_forgettable(&self, scanned: u64) -> bool {
        self.queue.is_empty()
            && self.rest.is_none()
            && self.delivery.is_none()
            && self.late.is_none()
            && self.apart.is_none()
            && self.waits_until.is_none()
            && self.setbacks == 0
            && self.holder.is_none()
            && self.read_to.max(self.spilled_to) <= scanned
    }

    /// Returns true if the scan, which met the event, has to care for it.
    pub(super) const fn is_news(&self, sequence: u64) -> bool {
        sequence > self.read_to
    }

    /// Keeps an event that follows all others.
    pub(super) fn push(&mut self, event: RecordedEvent, window: &mut Window) {
        let sequence = event.position().sequence;
        assert!(
            self.queue.back().is_none_or(|last| last.position().sequence < sequence),
            "events of a stream are kept in order"
        );
        if self.queue.is_empty() {
            self.next_version = event.version();
        }
        window.add(&event);
        self.queue.push_back(event);
    }

    /// Leaves an event that the scan met to the log.
    pub(super) fn spill(&mut self, sequence: u64) {
        self.leave_to_log(sequence - 1, sequence);
    }

    /// Notes that everything after `rest`, up to `to`, lies in the log and may be unfinished. An earlier `rest` stays.
    pub(super) fn leave_to_log(&mut self, rest: u64, to: u64) {
        self.rest.get_or_insert(rest);
        self.spilled_to = self.spilled_to.max(to);
    }

    /// Drops all events but the first from the queue, to be read again.
    ///
    /// `scan_to` is the end of a scan under way that will not hand over what it meets. Everything up to there is read from the log too.
    pub(super) fn keep_first(&mut self, scan_to: Option<u64>, window: &mut Window) {
        self.refill = None;
        let first = self.queue.front().map(|event| event.position().sequence);
        if let (Some(first), Some(to)) = (first, scan_to) {
            self.leave_to_log(first, to);
        }
        while self.queue.len() > 1 {
            self.drop_last(window);
        }
    }

    /// Drops all events from the queue, to be read again. See [`Self::keep_first`].
    pub(super) fn keep_none(&mut self, scan_to: Option<u64>, window: &mut Window) {
        self.keep_first(scan_to, window);
        if !self.queue.is_empty() {
            self.drop_last(window);
        }
    }

    /// Drops the last event from the queue. It is read from the log again.
    fn drop_last(&mut self, window: &mut Window) {
        let last = self.queue.pop_back().expect("the queue has an event");
        window.remove(&last);
        let sequence = last.position().sequence;
        self.rest = Some(sequence - 1);
        self.spilled_to = self.spilled_to.max(sequence);
    }

    /// Records that every event up to `sequence` is finished.
    pub(super) fn finish(&mut self, sequence: u64, version: Version, window: &mut Window) {
        while self.queue.front().is_some_and(|event| event.position().sequence <= sequence) {
            window.remove(&self.queue.pop_front().expect("the queue has an event"));
        }
        match &mut self.rest {
            Some(rest) => *rest = sequence.max(*rest),
            None => self.read_to = self.read_to.max(sequence),
        }
        self.next_version = match self.queue.front() {
            Some(first) => first.version(),
            None => self.next_version.max(version.next()),
        };
        self.attempts = 0;
        self.setbacks = 0;
        self.waits_until = None;
        self.has_expired = false;
        self.was_given_again = false;
        self.error = None;
    }

    /// Records the end of a read: everything up to `to` that matches is in the queue or finished.
    pub(super) fn read_up_to(&mut self, to: u64, is_complete: bool) {
        let rest = self.rest.expect("a read fills a rest").max(to);
        if is_complete && (self.spilled_to <= rest || planted(Bug::SpillForgotten)) {
            self.rest = None;
            self.read_to = self.read_to.max(rest);
        } else {
            self.rest = Some(rest);
        }
    }
}
