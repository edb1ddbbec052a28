//! Reads of single streams: what was spilled, or lies after the place of a stream that is apart.

use std::collections::HashMap;
use std::time::Duration;

use gesta_core::{Direction, Page, Place, Query, Read, ReadError, RecordedEvent, Select};

use super::deadlines::Due;
use super::live::{Live, passes};
use super::message::Output;
use super::pages::limit;
use super::streams::Slot;
use super::window::copied;
use crate::back_off::pause_after;
use crate::group::limits::REFILLS_MAX;
use crate::group::settings::Order;

/// The reads that are on their way.
#[derive(Debug)]
pub(super) struct Refilling {
    pub(super) by_number: HashMap<u64, Refill>,
    pub(super) number: u64,
    /// Failed reads in a row.
    pub(super) failures: u32,
    pub(super) pauses_until: Option<Duration>,
}

/// One read of a stream.
#[derive(Debug, Clone, Copy)]
pub(super) struct Refill {
    slot: Slot,
    /// The end of the read.
    to: u64,
    /// True if that was the horizon.
    is_to_horizon: bool,
}

impl Live {
    /// Reads streams that can go on and have little in their queue.
    pub(super) fn refill(&mut self) {
        while self.can_read()
            && self.refilling.pauses_until.is_none()
            && self.refilling.by_number.len() < REFILLS_MAX
            && !self.streams.window.is_full()
            && let Some(slot) = self.streams.next_hungry()
        {
            self.refill_stream(slot);
        }
    }

    fn refill_stream(&mut self, slot: Slot) {
        let (room_events, room_bytes) = self.streams.window.room();
        let events = self.streams.room(slot).min(room_events);
        let horizon = self.scan.horizon().clone();
        let stream = self.streams.get_mut(slot);
        let rest = stream.rest().expect("a hungry stream has a rest");
        let horizon_to = horizon.sequence(stream.partition);
        let query = match self.streams.order {
            Order::Stream => self.selection.query_of(&self.streams.get(slot).name),
            Order::Log => Some(self.selection.query()),
        };
        let stream = self.streams.get_mut(slot);
        let Some(query) = query.filter(|_| rest < horizon_to) else {
            stream.read_up_to(horizon_to.max(rest), true);
            self.streams.forget_if_idle(slot);
            return;
        };
        let to = stream.reach.map_or(horizon_to, |reach| horizon_to.min(rest.saturating_add(reach)));
        self.refilling.number += 1;
        let number = self.refilling.number;
        stream.refill = Some(number);
        let partition = stream.partition;
        let until = if to == horizon_to { horizon.clone() } else { horizon.clone().with(partition, to) };
        let read = read_after(
            query,
            Place::At(until.clone().with(partition, rest)),
            until,
            limit(events, room_bytes),
        );
        self.refilling.by_number.insert(number, Refill { slot, to, is_to_horizon: to == horizon_to });
        self.out.push(Output::Refill(number, read));
    }

    /// Takes the events of a stream.
    pub(super) fn refilled(&mut self, number: u64, result: Result<Page, ReadError>) {
        let Some(refill) = self.refilling.by_number.remove(&number) else { return };
        if !self.streams.is_refilled_by(refill.slot, number) {
            return;
        }
        let stream = self.streams.get_mut(refill.slot);
        stream.refill = None;
        match result {
            Ok(page) => {
                self.refilling.failures = 0;
                self.keep_refill(refill, &page);
                if self.streams.get(refill.slot).low().is_none() {
                    // Nothing is left of it: the row need not hold its place any more.
                    self.progress.changed(self.now);
                }
                self.streams.list(refill.slot, false);
                self.streams.forget_if_idle(refill.slot);
            }
            Err(error) if passes(error.retry()) => {
                self.unreadable = Some(error.to_string());
                self.refilling.failures += 1;
                let until = self.now + pause_after(self.refilling.failures);
                self.refilling.pauses_until = Some(until);
                self.deadlines.add(until, Due::Refills);
                self.streams.list(refill.slot, false);
            }
            Err(error) => self.halt(error.to_string()),
        }
    }

    fn keep_refill(&mut self, refill: Refill, page: &Page) {
        let rest = self.streams.get(refill.slot).rest().expect("a stream that is read has a rest");
        let is_wanted =
            |event: &&RecordedEvent| event.position().sequence > rest && self.selection.selects(event);
        let wanted = page.events.iter().filter(is_wanted).collect::<Vec<_>>();
        let mut kept_to = rest;
        for event in &wanted {
            if self.streams.room(refill.slot) == 0 || self.streams.window.is_full() {
                // A batch is larger than the room: read less of it next time.
                let stream = self.streams.get_mut(refill.slot);
                stream.reach = Some(2 * (kept_to - rest).max(1));
                stream.read_up_to(kept_to, false);
                return;
            }
            let (stream, window) = self.streams.with_window(refill.slot);
            stream.push(copied(event), window);
            kept_to = event.position().sequence;
        }
        let stream = self.streams.get_mut(refill.slot);
        stream.reach = None;
        match page.end {
            true => stream.read_up_to(refill.to, refill.is_to_horizon),
            false => stream.read_up_to(page.scanned_to.sequence(stream.partition), false),
        }
    }
}

fn read_after(query: Query, from: Place, until: gesta_core::Checkpoint, limit: gesta_core::Limit) -> Read {
    let select = Select::Log { query, from, lanes: None };
    Read { select, direction: Direction::Forward, until: Some(until), limit }
}
