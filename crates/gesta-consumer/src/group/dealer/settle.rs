//! Settlements: what was handled, and the fate of the event after it.

use gesta_core::Version;

use super::deadlines::Due;
use super::live::Live;
use super::message::{Output, Words};
use super::setbacks::Setback;
use super::streams::Slot;
use crate::bugs::{Bug, planted};
use crate::group::name::MemberName;
use crate::group::settings::Order;
use crate::group::take::{RefusedWhy, Settlement, Then};

impl Live {
    /// Settles one delivery of a member, in flight or late.
    pub(super) fn settle(&mut self, member: &MemberName, settlement: &Settlement) -> Result<(), RefusedWhy> {
        let number = self.deliveries.number_of(settlement.id).ok_or(RefusedWhy::Stale)?;
        let delivery = self.deliveries.get(number).expect("a known number is a delivery");
        if delivery.member != *member && !planted(Bug::AnyMemberSettles) {
            return Err(RefusedWhy::Stale);
        }
        let all = delivery.events.len();
        let handled = settlement.handled.unwrap_or(all);
        let handled = if planted(Bug::PartialIsAll) && handled > 0 { all } else { handled };
        if handled > delivery.events.len() {
            return Err(RefusedWhy::TooMany);
        }
        let delivery = self.end_delivery(number).expect("a known number is a delivery");
        let slot = delivery.slot;
        if self.streams.get(slot).is_parked {
            return Err(RefusedWhy::Stale);
        }
        if let Some((sequence, version)) = handled.checked_sub(1).map(|last| delivery.events[last]) {
            self.settled.handled += handled as u64;
            self.failing.clear();
            self.finish(slot, sequence, version);
            self.progress.acknowledged(handled, self.now);
        }
        if let (Some(then), Some((next, version))) = (&settlement.then, delivery.events.get(handled))
            && self.is_next(slot, *next)
        {
            self.streams.get_mut(slot).error = settlement.error.as_deref().map(cut);
            self.then(slot, *next, *version, then, member);
        }
        self.streams.list(slot, false);
        self.streams.forget_if_idle(slot);
        Ok(())
    }

    /// Returns true if an event is the first unfinished one of its stream.
    fn is_next(&self, slot: Slot, sequence: u64) -> bool {
        let stream = self.streams.get(slot);
        match stream.queue().front() {
            Some(first) => first.position().sequence == sequence,
            None => stream.rest().is_some_and(|rest| rest < sequence),
        }
    }

    fn then(&mut self, slot: Slot, sequence: u64, version: Version, then: &Then, member: &MemberName) {
        match then {
            Then::Retry { after } => {
                self.settled.retry += 1;
                self.set_back(slot, Setback::Retry { sequence, after: *after });
            }
            Then::Release { after } => {
                self.settled.release += 1;
                self.set_back(slot, Setback::Release { after: *after });
            }
            Then::Park => self.set_back(slot, Setback::Park { sequence, by: member.to_string() }),
            Then::Skip { reason } => {
                if !self.set_apart_if_room(slot) {
                    // Without an entry the skip would not be for good. The event comes again.
                    self.settled.release += 1;
                    return self.set_back(slot, Setback::Release { after: None });
                }
                self.skip_to(slot, sequence, version);
                let stream = self.streams.get(slot).name.clone();
                let (by, reason) = (member.to_string(), cut(reason));
                self.out.push(Output::Words(Words::Skipped { stream, version, by, reason }));
            }
            Then::Stop => {
                let error = self.streams.get(slot).error.clone();
                let by = format!("member `{member}` stopped it");
                self.stop(error.map_or(by.clone(), |error| format!("{by}: {error}")));
            }
        }
    }

    /// Records that everything of a stream up to an event is finished.
    pub(super) fn finish(&mut self, slot: Slot, sequence: u64, version: Version) {
        let version = match self.settings.order {
            Order::Stream => version,
            Order::Log => Version::new(sequence),
        };
        let (stream, window) = self.streams.with_window(slot);
        let waited = stream.waits_until;
        stream.finish(sequence, version, window);
        if let Some(until) = waited {
            self.deadlines.remove(until, Due::Stream(slot));
        }
        let late = self.streams.get(slot).late;
        let is_past = |number: &u64| self.deliveries.get(*number).is_some_and(|late| late.is_up_to(sequence));
        if let Some(late) = late.filter(is_past) {
            self.end_delivery(late);
        }
    }
}

/// The beginning of a text that a caller gave.
pub(crate) fn cut(text: &str) -> String {
    let end = crate::group::limits::WORDS_BYTES_MAX;
    text.char_indices()
        .take_while(|(at, character)| at + character.len_utf8() <= end)
        .map(|(_, c)| c)
        .collect()
}
