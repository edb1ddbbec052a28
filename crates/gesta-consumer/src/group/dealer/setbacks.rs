//! Events that were not handled: attempts, pauses, outages, poison.

use std::time::Duration;

use super::deadlines::Due;
use super::live::Live;
use super::streams::Slot;
use crate::bugs::{Bug, planted};
use crate::group::settings::{OnPoison, Order};

/// The reason why the first event of a stream was not handled.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Setback {
    /// A member failed at the event with this sequence.
    Retry { sequence: u64, after: Option<Duration> },
    /// A member cannot handle it now.
    Release { after: Option<Duration> },
    /// A delivery with events up to `last` expired.
    Expired { last: u64 },
    /// A delivery with events up to `last` was lost on its way.
    Again { last: u64 },
    /// A member can never handle the event with this sequence.
    Park { sequence: u64, by: String },
}

impl Live {
    /// Marks a delivery as expired. Its settlement counts until its events are dealt again.
    pub(super) fn expire(&mut self, number: u64) {
        let Some(_) = self.deliveries.expire(number) else { return };
        let delivery = self.deliveries.get(number).expect("an expired delivery is kept");
        let (slot, member) = (delivery.slot, delivery.member.clone());
        let last = delivery.events.last().expect("a delivery has an event").0;
        if let Some(member) = self.members.get_mut(&member) {
            member.deliveries.remove(&number);
        }
        let stream = self.streams.get_mut(slot);
        assert_eq!(stream.delivery.take(), Some(number), "a delivery in flight is its stream's");
        assert_eq!(stream.late.replace(number), None, "an earlier delivery ended when this one was dealt");
        self.settled.expired += 1;
        self.set_back(slot, Setback::Expired { last });
    }

    /// Records that the first event of a stream was not handled.
    pub(super) fn set_back(&mut self, slot: Slot, setback: Setback) {
        let counts = self.counts_attempt(slot, &setback);
        let scan_to = self.scan.again_to(self.streams.get(slot).partition);
        let scan_to = scan_to.filter(|_| !planted(Bug::ScanAgainForgotten));
        let back_off = self.settings.back_off;
        let (stream, window) = self.streams.with_window(slot);
        assert!(
            !stream.is_parked && stream.delivery.is_none(),
            "only a delivery that ended sets a stream back"
        );
        stream.keep_first(scan_to, window);
        stream.attempts += u32::from(counts);
        stream.setbacks = stream.setbacks.saturating_add(1);
        let back_off = back_off.pause(stream.setbacks);
        let pause = match setback {
            Setback::Retry { after, .. } | Setback::Release { after } => after.unwrap_or(back_off),
            Setback::Expired { .. } if !std::mem::replace(&mut stream.has_expired, true) => Duration::ZERO,
            Setback::Again { .. } if !std::mem::replace(&mut stream.was_given_again, true) => Duration::ZERO,
            Setback::Expired { .. } | Setback::Again { .. } => back_off,
            Setback::Park { .. } => Duration::ZERO,
        };
        match setback {
            Setback::Release { .. } => return self.wait(slot, pause),
            Setback::Retry { sequence: last, .. }
            | Setback::Park { sequence: last, .. }
            | Setback::Expired { last }
            | Setback::Again { last } => stream.alone_to = stream.alone_to.max(last),
        }
        let attempts = stream.attempts;
        let is_poison = self.settings.attempts_max.is_some_and(|max| attempts >= max.get());
        self.progress.changed(self.now);
        match setback {
            Setback::Park { by, .. } => return self.poison(slot, format!("member `{by}`")),
            _ if is_poison => return self.poison(slot, format!("{attempts} failed attempts")),
            _ => {}
        }
        self.set_apart_if_room(slot);
        self.wait(slot, pause);
    }

    /// Returns true if a setback counts as an attempt: not a release, and not while so much fails that a target must be down.
    fn counts_attempt(&mut self, slot: Slot, setback: &Setback) -> bool {
        if matches!(setback, Setback::Release { .. }) {
            return false;
        }
        if self.failing.len() < self.bounds.outage_streams {
            self.failing.insert(slot);
        }
        matches!(setback, Setback::Park { .. }) || !self.is_outage()
    }

    /// Returns true while the streams that failed since the last success are an outage: a target must be down.
    pub(super) fn is_outage(&self) -> bool {
        self.failing.len() >= self.bounds.outage_streams
    }

    /// Lets a stream wait. Without a pause it is the next to be dealt.
    fn wait(&mut self, slot: Slot, pause: Duration) {
        if pause.is_zero() {
            return self.streams.list(slot, true);
        }
        let until = self.now + pause;
        let stream = self.streams.get_mut(slot);
        if let Some(earlier) = stream.waits_until.replace(until) {
            self.deadlines.remove(earlier, Due::Stream(slot));
        }
        self.deadlines.add(until, Due::Stream(slot));
    }

    /// Lets a stream go on after its pause.
    pub(super) fn wait_is_over(&mut self, slot: Slot) {
        self.streams.get_mut(slot).waits_until = None;
        self.streams.list(slot, false);
    }

    /// Parks a stream, or stops the group.
    fn poison(&mut self, slot: Slot, by: String) {
        let stream = self.streams.get(slot);
        let name = stream.name.clone();
        let error = stream.error.as_ref().map(|error| format!(": {error}")).unwrap_or_default();
        if self.settings.on_poison == OnPoison::Stop || self.settings.order == Order::Log {
            self.set_apart_if_room(slot);
            return self.stop(format!("an event of stream `{name}` counts as poison after {by}{error}"));
        }
        if !self.can_park(slot) {
            self.set_apart_if_room(slot);
            let parked = self.apart_counts().parked;
            return self
                .stop(format!("there is no room to park stream `{name}` beside {parked} others{error}"));
        }
        self.park(slot, by);
    }

    /// Lets all streams begin anew: no attempts, no pauses.
    pub(super) fn clear_attempts(&mut self) {
        self.failing.clear();
        let slots = self.streams.iter().map(|(slot, _)| slot).collect::<Vec<_>>();
        for slot in slots {
            let stream = self.streams.get_mut(slot);
            if stream.is_parked || planted(Bug::ResumeKeepsAttempts) {
                continue;
            }
            (stream.attempts, stream.setbacks) = (0, 0);
            if let Some(until) = stream.waits_until.take() {
                self.deadlines.remove(until, Due::Stream(slot));
            }
            self.streams.list(slot, false);
            self.streams.forget_if_idle(slot);
        }
    }
}
