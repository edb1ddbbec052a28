//! Dealing: which events go into which delivery.

use super::deadlines::Due;
use super::deliveries::InFlight;
use super::live::Live;
use super::streams::Slot;
use crate::bugs::{Bug, planted};
use crate::group::delivery::{Delivery, DeliveryId};
use crate::group::name::MemberName;
use crate::group::settings::Order;

impl Live {
    /// Deals to a member: at most `max` events, within the limits of the group and of one reply.
    pub(super) fn deal(&mut self, member: &MemberName, max: u32) -> Vec<Delivery> {
        let in_flight_max = self.settings.in_flight_max.get() as usize;
        let mut room = in_flight_max.saturating_sub(self.deliveries.in_flight_events()).min(max as usize);
        let mut bytes_left = self.bounds.reply_bytes_max;
        let (mut deliveries, mut passed_over) = (Vec::new(), Vec::new());
        while room > 0
            && let Some(slot) = self.streams.next_ready()
        {
            if self.belongs_to_another(slot, member) {
                passed_over.push(slot);
                continue;
            }
            let Some(count) = self.run(slot, room, bytes_left, deliveries.is_empty()) else {
                passed_over.push(slot);
                break;
            };
            let delivery = self.deliver(slot, count, member);
            room -= count;
            bytes_left = bytes_left.saturating_sub(bytes(&delivery));
            deliveries.push(delivery);
        }
        passed_over.into_iter().rev().for_each(|slot| self.streams.list(slot, true));
        deliveries
    }

    /// Returns true if another member that is alive had the last events, in the order of the log.
    fn belongs_to_another(&self, slot: Slot, member: &MemberName) -> bool {
        let holder = self.streams.get(slot).holder.as_ref();
        self.settings.order == Order::Log
            && !planted(Bug::LogGoesToAny)
            && holder.is_some_and(|holder| {
                holder != member && self.members.is_alive(holder, self.now, self.settings.ack_time)
            })
    }

    /// Returns the number of events of a stream for the next delivery; `None` if the reply has no room for the first.
    fn run(&self, slot: Slot, room: usize, bytes_left: u64, is_first: bool) -> Option<usize> {
        let stream = self.streams.get(slot);
        let mut run_max = room.min(self.settings.run_max.get() as usize);
        let first = stream.queue().front().expect("a ready stream has an event");
        if first.position().sequence <= stream.alone_to {
            run_max = 1;
        }
        let mut used = 0;
        let fits = |event: &&gesta_core::RecordedEvent| {
            used += event.as_bytes().len() as u64;
            used <= bytes_left
        };
        match stream.queue().iter().take(run_max).take_while(fits).count() {
            0 if is_first => Some(1),
            0 => None,
            count => Some(count),
        }
    }

    /// Delivers the first events of a stream.
    fn deliver(&mut self, slot: Slot, count: usize, member: &MemberName) -> Delivery {
        let stream = self.streams.get_mut(slot);
        assert!(
            stream.is_ready() || planted(Bug::TwoInFlight),
            "a stream has at most one delivery in flight"
        );
        if let Some(late) = stream.late.take()
            && !planted(Bug::LateCounts)
        {
            // Its events are dealt again: from now on it changes nothing.
            self.deliveries.remove(late);
        }
        let events = stream.queue().iter().take(count).cloned().collect::<Vec<_>>();
        let places = events.iter().map(|event| (event.position().sequence, event.version())).collect();
        let deadline = self.now + self.settings.ack_time;
        let delivery = InFlight { slot, member: member.clone(), events: places, deadline: Some(deadline) };
        let number = self.deliveries.add(delivery);
        stream.delivery = Some(number);
        if self.settings.order == Order::Log {
            stream.holder = Some(member.clone());
        }
        let attempt = stream.attempts + 1;
        self.deadlines.add(deadline, Due::Delivery(number));
        let member = self.members.get_mut(member).expect("a member that gets deliveries is known");
        member.deliveries.insert(number);
        Delivery { id: self.deliveries.id(number), attempt, ack_time: self.settings.ack_time, events }
    }

    /// Takes back deliveries that did not reach their member. They count no attempt.
    pub(super) fn unwritten(&mut self, ids: &[DeliveryId]) {
        for id in ids {
            let number = self.deliveries.number_of(*id);
            let Some(number) = number.filter(|number| self.is_in_flight(*number)) else { continue };
            let delivery = self.end_delivery(number).expect("the delivery is in flight");
            self.settled.unwritten += 1;
            self.streams.list(delivery.slot, true);
        }
    }

    /// Returns true if a delivery has not expired.
    pub(super) fn is_in_flight(&self, number: u64) -> bool {
        self.deliveries.get(number).is_some_and(|delivery| delivery.deadline.is_some())
    }

    /// Removes a delivery, in flight or expired, from wherever it is known.
    pub(super) fn end_delivery(&mut self, number: u64) -> Option<InFlight> {
        let delivery = self.deliveries.remove(number)?;
        if let Some(deadline) = delivery.deadline {
            self.deadlines.remove(deadline, Due::Delivery(number));
        }
        if let Some(member) = self.members.get_mut(&delivery.member) {
            member.deliveries.remove(&number);
        }
        let stream = self.streams.get_mut(delivery.slot);
        if stream.delivery == Some(number) {
            stream.delivery = None;
        } else {
            assert!(stream.late == Some(number) || planted_in_deliveries(), "a stream knows its deliveries");
            stream.late = None;
        }
        Some(delivery)
    }
}

fn bytes(delivery: &Delivery) -> u64 {
    delivery.events.iter().map(|event| event.as_bytes().len() as u64).sum()
}

/// Returns true if a bug is planted that the asserts would find at once. The simulation must find it by itself.
fn planted_in_deliveries() -> bool {
    [Bug::LateCounts, Bug::TwoInFlight, Bug::OldIdCounts].into_iter().any(planted)
}
