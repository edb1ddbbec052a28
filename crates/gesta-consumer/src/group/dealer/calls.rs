//! The calls of members: settle, then renew, then deal.

use std::collections::HashSet;

use super::deadlines::Due;
use super::live::Live;
use super::members::Waiting;
use super::message::{CallId, Output};
use super::setbacks::Setback;
use crate::bugs::{Bug, planted};
use crate::group::delivery::{Delivery, DeliveryId};
use crate::group::error::TakeError;
use crate::group::limits::MEMBERS_MAX;
use crate::group::name::MemberName;
use crate::group::take::{Refused, RefusedWhy, Take, Taken};

impl Live {
    /// Takes a call of a member. Its form is right.
    pub(super) fn take(&mut self, call: CallId, take: Take) {
        if !self.members.knows(&take.member) && self.members.len() >= MEMBERS_MAX {
            self.members.forget_dead(self.now, self.settings.ack_time);
        }
        if !self.members.knows(&take.member) && self.members.len() >= MEMBERS_MAX {
            let reason = format!("the group has {MEMBERS_MAX} members, the most that it takes");
            return self.out.push(Output::Taken(call, Err(TakeError::Unavailable { reason })));
        }
        if let Some((older, waiting)) = self.members.call(&take.member, self.now) {
            self.deadlines.remove(waiting.deadline, Due::Call(older));
            self.answer(older, Vec::new(), waiting.refused);
        }
        let refused = self.settle_and_renew(&take);
        if take.max == 0 {
            return self.answer(call, Vec::new(), refused);
        }
        if let Some(reason) = self.stopped.as_ref().or(self.halted.as_ref()) {
            let error = TakeError::Stopped { group: self.name.clone(), reason: reason.clone() };
            return self.out.push(Output::Taken(call, Err(error)));
        }
        let deadline = self.now + take.wait;
        self.members.wait(call, Waiting { member: take.member, max: take.max, deadline, refused });
        self.deadlines.add(deadline, Due::Call(call));
        self.serve();
        if take.wait.is_zero() {
            self.end_call(call);
        }
    }

    /// Settles what the call settles, and renews or gives up what the member has besides.
    fn settle_and_renew(&mut self, take: &Take) -> Vec<Refused> {
        let mut refused = Vec::new();
        let mut named = HashSet::new();
        for settlement in &take.settle {
            if let Err(why) = self.settle(&take.member, settlement) {
                self.settled.stale += 1;
                refused.push(Refused { id: settlement.id, why });
                named.insert(settlement.id);
            }
        }
        let Some(holds) = &take.holds else {
            self.held_by(&take.member).into_iter().for_each(|number| self.renew(number));
            return refused;
        };
        for id in holds {
            match self.held_number(&take.member, *id) {
                Some(number) => self.renew(number),
                None => refused.push(Refused { id: *id, why: RefusedWhy::Stale }),
            }
        }
        named.extend(holds);
        for number in self.held_by(&take.member) {
            if !named.contains(&self.deliveries.id(number)) {
                self.give_again(number);
            }
        }
        refused
    }

    /// Returns the deliveries that a member has, oldest first.
    fn held_by(&mut self, member: &MemberName) -> Vec<u64> {
        let member = self.members.get_mut(member);
        member.map(|member| member.deliveries.iter().copied().collect()).unwrap_or_default()
    }

    /// Returns the number of a delivery that is in the hands of a member.
    fn held_number(&self, member: &MemberName, id: DeliveryId) -> Option<u64> {
        let number = self.deliveries.number_of(id)?;
        let delivery = self.deliveries.get(number)?;
        (delivery.member == *member && delivery.deadline.is_some()).then_some(number)
    }

    /// Lets the time of a delivery begin again.
    fn renew(&mut self, number: u64) {
        let deadline = self.now + self.settings.ack_time;
        let delivery = self.deliveries.get_mut(number).expect("a held delivery is in flight");
        let earlier = delivery.deadline.replace(deadline).expect("a held delivery has not expired");
        self.deadlines.remove(earlier, Due::Delivery(number));
        self.deadlines.add(deadline, Due::Delivery(number));
    }

    /// Takes back a delivery that its member does not know of: the reply was lost.
    fn give_again(&mut self, number: u64) {
        let Some(delivery) = self.end_delivery(number) else { return };
        self.settled.again += 1;
        let last = delivery.events.last().expect("a delivery has an event").0;
        let slot = delivery.slot;
        if planted(Bug::OldIdCounts) {
            self.deliveries.put_back(number, delivery);
        }
        self.set_back(slot, Setback::Again { last });
    }

    /// Deals to the calls that wait, the oldest first.
    pub(super) fn serve(&mut self) {
        if !self.can_deal() || !self.streams.has_ready() {
            return;
        }
        let calls =
            self.members.calls().iter().map(|(call, waiting)| (*call, waiting.member.clone(), waiting.max));
        for (call, member, max) in calls.collect::<Vec<_>>() {
            if !self.streams.has_ready() {
                break;
            }
            let deliveries = self.deal(&member, max);
            if !deliveries.is_empty() {
                let waiting = self.members.end(call, self.now).expect("the call waits");
                self.deadlines.remove(waiting.deadline, Due::Call(call));
                self.answer(call, deliveries, waiting.refused);
            }
        }
    }

    /// Ends a call that waits, without deliveries.
    pub(super) fn end_call(&mut self, call: CallId) {
        let Some(waiting) = self.members.end(call, self.now) else { return };
        self.deadlines.remove(waiting.deadline, Due::Call(call));
        match self.stopped.as_ref().or(self.halted.as_ref()) {
            None => self.answer(call, Vec::new(), waiting.refused),
            Some(reason) => {
                let error = TakeError::Stopped { group: self.name.clone(), reason: reason.clone() };
                self.out.push(Output::Taken(call, Err(error)));
            }
        }
    }

    /// Ends a call whose member no longer waits.
    pub(super) fn cancel(&mut self, call: CallId) {
        if let Some(waiting) = self.members.end(call, self.now) {
            self.deadlines.remove(waiting.deadline, Due::Call(call));
        }
    }

    fn answer(&mut self, call: CallId, deliveries: Vec<Delivery>, refused: Vec<Refused>) {
        self.out.push(Output::Taken(call, Ok(Taken { deliveries, refused })));
    }
}
