//! The pages of the scan: when they are read, and what of them is kept.

use std::num::{NonZeroU32, NonZeroU64};

use gesta_core::{Limit, Page, ReadError, RecordedEvent};

use super::deadlines::Due;
use super::live::{Live, passes};
use super::message::Output;
use super::scan::Activity;
use super::window::copied;
use crate::back_off::pause_after;

impl Live {
    /// Reads the next page if there is room, or waits at the head.
    pub(super) fn scan_on(&mut self) {
        if self.scan.activity != Activity::Idle || !self.can_read() {
            return;
        }
        if self.scan.is_at_head() {
            self.scan.activity = Activity::Waiting;
            self.scan.number += 1;
            self.out.push(Output::Wait(self.scan.number, self.scan.at().clone()));
        } else if self.has_room() {
            let (events, bytes) = self.streams.window.room();
            let events = events.min(self.bounds.page_events_max);
            let read = self.scan.read(self.selection.query(), limit(events, bytes));
            self.scan.activity = Activity::Reading;
            self.scan.number += 1;
            self.out.push(Output::Read(self.scan.number, read));
        }
    }

    /// Returns true if the window has room for a page.
    pub(super) fn has_room(&self) -> bool {
        !self.streams.window.is_full() && self.streams.hungry() < self.bounds.hungry_streams_max
    }

    /// Takes a page.
    pub(super) fn page(&mut self, number: u64, result: Result<Page, ReadError>) {
        if number != self.scan.number {
            return;
        }
        assert_eq!(self.scan.activity, Activity::Reading, "a page comes after its read");
        self.scan.activity = Activity::Idle;
        match result {
            Ok(page) => self.keep(&page),
            Err(error) => self.scan_failed(&error),
        }
    }

    /// Records that the log has grown, or that waiting for it failed.
    pub(super) fn grown(&mut self, number: u64, result: Result<(), ReadError>) {
        if number != self.scan.number {
            return;
        }
        assert_eq!(self.scan.activity, Activity::Waiting, "the log grows during a wait");
        self.scan.activity = Activity::Idle;
        match result {
            Ok(()) => self.scan.has_grown(),
            Err(error) => self.scan_failed(&error),
        }
    }

    fn keep(&mut self, page: &Page) {
        self.unreadable = None;
        let is_selected = self.selection.is_decided_by_query(self.scan.at());
        for event in &page.events {
            if is_selected || self.selection.selects(event) {
                self.keep_event(event);
            }
        }
        let was_again = self.is_scanning_again();
        self.scan.moved(page);
        self.streams.scanned = self.scan.at().sequences().collect();
        if was_again && !self.is_scanning_again() {
            self.forget_idle_streams();
            self.progress.changed(self.now);
        }
    }

    /// Keeps an event of the scan, or leaves it to the log.
    fn keep_event(&mut self, event: &RecordedEvent) {
        let position = event.position();
        let lane = self.streams.lane_of(event);
        if self.scan.was_finished(lane, position.partition, position.sequence) {
            let is_apart = |slot| self.streams.get(slot).apart.is_some();
            if !self.streams.find_of(event).is_some_and(is_apart) {
                return;
            }
        }
        let slot = self.streams.slot_of(event);
        let has_room = self.streams.room(slot) > 0 && !self.streams.window.is_full();
        let (stream, window) = self.streams.with_window(slot);
        if !stream.is_news(position.sequence) {
            return;
        }
        if stream.rest().is_some() || !has_room {
            stream.spill(position.sequence);
        } else {
            stream.push(copied(event), window);
        }
        self.streams.list(slot, false);
    }

    fn is_scanning_again(&self) -> bool {
        self.scan.horizon() != self.scan.at()
    }

    /// Forgets the streams that had to be remembered for the scan again.
    fn forget_idle_streams(&mut self) {
        let slots = self.streams.iter().map(|(slot, _)| slot).collect::<Vec<_>>();
        slots.into_iter().for_each(|slot| self.streams.forget_if_idle(slot));
    }

    fn scan_failed(&mut self, error: &ReadError) {
        if !passes(error.retry()) {
            return self.halt(error.to_string());
        }
        self.unreadable = Some(error.to_string());
        self.scan.failures += 1;
        self.scan.activity = Activity::Pausing;
        self.deadlines.add(self.now + pause_after(self.scan.failures), Due::Scan);
    }

    /// Tries the scan again after a pause.
    pub(super) fn scan_again(&mut self) {
        if self.scan.activity == Activity::Pausing {
            self.scan.activity = Activity::Idle;
        }
    }
}

/// The limit of a page of a number of events and bytes. Zero counts as one.
pub(super) fn limit(events: usize, bytes: u64) -> Limit {
    let events = u32::try_from(events).ok().and_then(NonZeroU32::new).unwrap_or(NonZeroU32::MIN);
    Limit { events, bytes: NonZeroU64::new(bytes).unwrap_or(NonZeroU64::MIN), ..Limit::default() }
}
