//! What a call of a member does: settle, renew, deal.

use std::time::Duration;

use gesta_consumer::group::{
    Delivery, DeliveryId, MemberName, OnPoison, Order, Refused, RefusedWhy, Settlement, Take, TakeError, Then,
};
use gesta_core::StoreId;

use super::group::Group;
use super::stream::{Failed, InFlight, Stream, counts};
use super::{GroupBug, LONG_AGO};

/// A call that has settled.
pub(super) struct Call {
    pub(super) number: u64,
    pub(super) refused: Vec<Refused>,
}

impl Group {
    /// Settles and renews.
    pub(super) fn begin(&mut self, take: &Take, now: Duration) -> Call {
        let member = self.members.entry(take.member.clone()).or_default();
        member.call += 1;
        (member.is_open, member.seen) = (true, now);
        let number = member.call;
        let mut refused = Vec::new();
        for settlement in &take.settle {
            let is_refused = self.is_paused() && self.has(GroupBug::RefusesSettlementsWhilePaused);
            let why = match is_refused {
                true => Some(RefusedWhy::Stale),
                false => self.settle(&take.member, settlement, now),
            };
            refused.extend(why.map(|why| Refused { id: settlement.id, why }));
        }
        if let Some(holds) = &take.holds {
            for id in holds.iter().filter(|id| self.of(**id, &take.member).is_none()) {
                refused.push(Refused { id: *id, why: RefusedWhy::Stale });
            }
        }
        self.renew(take, now);
        Call { number, refused }
    }

    /// Ends a call.
    pub(super) fn close(&mut self, member: &MemberName, call: u64) {
        if let Some(member) =
            self.members.get_mut(member).filter(|member| member.call == call || call == u64::MAX)
        {
            member.is_open = false;
        }
    }

    /// The stream of a delivery that a member has in hand.
    fn of(&self, id: DeliveryId, member: &MemberName) -> Option<String> {
        let any = self.has(GroupBug::TakesIdsOfOthers);
        let is_it = |delivery: &InFlight| delivery.id == id && (delivery.member == *member || any);
        let mut streams = self.streams.iter();
        streams.find(|(_, stream)| stream.delivery.as_ref().is_some_and(is_it)).map(|(name, _)| name.clone())
    }

    fn settle(&mut self, member: &MemberName, settlement: &Settlement, now: Duration) -> Option<RefusedWhy> {
        let Some(name) = self.of(settlement.id, member) else {
            self.settled.stale += 1;
            return Some(RefusedWhy::Stale);
        };
        let (bug, outage) = (self.bug, self.is_outage());
        let stream = self.streams.get_mut(&name).expect("it was found");
        let delivery = stream.delivery.clone().expect("it was found");
        if delivery.expired && bug == Some(GroupBug::DropsLateSettlements) {
            return Some(RefusedWhy::Stale);
        }
        let handled = settlement.handled.unwrap_or(delivery.events);
        if handled > delivery.events && bug != Some(GroupBug::TakesAnyCount) {
            return Some(RefusedWhy::TooMany);
        }
        stream.delivery = None;
        let handled = handled.min(delivery.events);
        stream.pass(handled);
        if handled > 0 {
            self.failed.clear();
            self.settled.handled += handled as u64;
        }
        let then = settlement.then.as_ref().filter(|_| handled < delivery.events)?;
        self.fate(&name, then, settlement, member, now, outage);
        None
    }

    fn fate(
        &mut self,
        name: &str,
        then: &Then,
        settlement: &Settlement,
        member: &MemberName,
        now: Duration,
        outage: bool,
    ) {
        let (bug, back_off) = (self.bug, self.settings.back_off);
        let stream = self.streams.get_mut(name).expect("it was found");
        let doubled = back_off.first * 2_u32.pow(stream.failures.min(10));
        let after = match then {
            Then::Retry { after } | Then::Release { after } => *after,
            _ => None,
        };
        let failed = Failed {
            counts: counts(then) && !outage,
            waits: true,
            pause: after.unwrap_or(doubled.min(back_off.max)),
            attempts_max: self.settings.attempts_max.map(std::num::NonZeroU32::get),
            error: settlement.error.as_deref(),
            by: member.as_str(),
            at: LONG_AGO,
        };
        match then {
            Then::Skip { .. } if bug == Some(GroupBug::SkipsOnlyInMemory) => {}
            Then::Skip { .. } => stream.pass(1),
            Then::Stop if bug == Some(GroupBug::StopsForNobody) => {}
            Then::Stop => self.stop(name, &failed),
            Then::Retry { .. } | Then::Release { .. } | Then::Park => {
                let is_poison = stream.fail(now, &failed, bug);
                if matches!(then, Then::Park) || is_poison {
                    self.poison(name, &failed);
                } else if failed.counts || outage {
                    self.failed.insert(name.to_owned());
                }
            }
        }
    }

    fn poison(&mut self, name: &str, failed: &Failed<'_>) {
        let bug = self.bug;
        let stops = self.settings.on_poison == OnPoison::Stop && bug != Some(GroupBug::ParksDespiteStop);
        if stops || self.settings.order == Order::Log {
            return self.stop(name, failed);
        }
        let stream = self.streams.get_mut(name).expect("it was found");
        stream.park(failed, bug);
        if bug == Some(GroupBug::GoesOnPastParked) {
            stream.pass(1);
            stream.parked = None;
        }
    }

    /// Stops the group at the first event of a stream.
    fn stop(&mut self, name: &str, failed: &Failed<'_>) {
        let first = &self.streams[name].events[0];
        let error = failed.error.unwrap_or("no error was given");
        self.stopped = Some(format!("`{}` at version {}: {error}", first.stream(), first.version()));
    }

    /// Renews what the member holds, and takes back what it does not know of.
    fn renew(&mut self, take: &Take, now: Duration) {
        let (bug, ack_time, back_off) = (self.bug, self.settings.ack_time, self.settings.back_off);
        for stream in self.streams.values_mut() {
            let Some(delivery) = stream.delivery.as_mut().filter(|delivery| delivery.member == take.member)
            else {
                continue;
            };
            let is_settled = take.settle.iter().any(|settlement| settlement.id == delivery.id);
            let is_held = is_settled || take.holds.as_ref().is_none_or(|holds| holds.contains(&delivery.id));
            if is_held || (take.holds.is_some() && bug == Some(GroupBug::NeverGivesAgain)) {
                if bug != Some(GroupBug::ExpiresWhatIsHeld) {
                    (delivery.deadline, delivery.expired) = (now + ack_time, false);
                }
                continue;
            }
            // Its reply was lost.
            stream.delivery = None;
            lose(stream, now, back_off.first, bug);
            self.settled.again += 1;
        }
    }

    /// Marks what was not settled in time. It can be settled until it is delivered again.
    pub(super) fn expire(&mut self, now: Duration) {
        let (bug, back_off) = (self.bug, self.settings.back_off);
        if bug == Some(GroupBug::NeverExpires) {
            return;
        }
        for stream in self.streams.values_mut() {
            let is_late = |delivery: &InFlight| !delivery.expired && delivery.deadline <= now;
            if stream.delivery.as_ref().is_some_and(is_late) {
                stream.delivery.as_mut().expect("it is there").expired = true;
                lose(stream, now, back_off.first, bug);
                self.settled.expired += 1;
            }
        }
    }

    /// Deals to an open call. Returns `None` if it goes on waiting.
    pub(super) fn deal(
        &mut self,
        take: &Take,
        call: u64,
        now: Duration,
        next: &mut u64,
    ) -> Result<Option<Vec<Delivery>>, TakeError> {
        let newest = self.members.get(&take.member).map_or(0, |member| member.call);
        if newest != call && !self.has(GroupBug::LeavesOlderCallsOpen) {
            return Ok(Some(Vec::new()));
        }
        if take.max == 0 {
            return Ok(None);
        }
        if let Some(reason) = &self.stopped {
            return Err(TakeError::Stopped { group: self.name.clone(), reason: reason.clone() });
        }
        if self.is_paused() {
            return Ok(None);
        }
        let mut deliveries = Vec::new();
        let mut left = if self.has(GroupBug::IgnoresMax) { usize::MAX } else { take.max as usize };
        let free = self.streams.iter().filter(|(_, stream)| {
            let is_free =
                stream.is_free(now) || (self.has(GroupBug::DealsStreamsTwice) && stream.events.len() > 1);
            is_free && !self.is_kept_for_another(stream, &take.member, now)
        });
        for name in free.map(|(name, _)| name.clone()).collect::<Vec<_>>() {
            let room = match self.has(GroupBug::IgnoresInFlightMax) {
                true => usize::MAX,
                false => (self.settings.in_flight_max.get() as usize).saturating_sub(self.fresh_in_flight()),
            };
            let most = left.min(room);
            if most == 0 {
                break;
            }
            let delivery = self.deliver(&name, most, &take.member, now, next);
            left = left.saturating_sub(delivery.events.len());
            deliveries.push(delivery);
        }
        Ok((!deliveries.is_empty()).then_some(deliveries))
    }

    /// True in the order of the log, while the member that had the last events of a partition lives and is another one.
    fn is_kept_for_another(&self, stream: &Stream, member: &MemberName, now: Duration) -> bool {
        let last = stream.last.as_ref().filter(|last| *last != member);
        self.settings.order == Order::Log
            && !self.has(GroupBug::DealsAPartitionToAnyMember)
            && last.is_some_and(|last| self.is_alive(last, now))
    }

    /// Events in flight that have not expired.
    fn fresh_in_flight(&self) -> usize {
        let fresh = self.streams.values().filter_map(|stream| stream.delivery.as_ref());
        fresh.filter(|delivery| !delivery.expired).map(|delivery| delivery.events).sum()
    }

    fn deliver(
        &mut self,
        name: &str,
        most: usize,
        member: &MemberName,
        now: Duration,
        next: &mut u64,
    ) -> Delivery {
        let run = match self.has(GroupBug::IgnoresRunMax) {
            true => usize::MAX,
            false => self.settings.run_max.get() as usize,
        };
        let ack_time = self.settings.ack_time;
        let stream = self.streams.get_mut(name).expect("it was found");
        let run = if stream.alone { 1 } else { run };
        let events = stream.events.iter().take(run.min(most)).cloned().collect::<Vec<_>>();
        let id = DeliveryId::new(StoreId::from_bytes([7; 16]), 1, *next);
        self.first.get_or_insert(*next);
        *next += 1;
        stream.last = Some(member.clone());
        stream.delivery = Some(InFlight {
            id,
            member: member.clone(),
            events: events.len(),
            deadline: now + ack_time,
            expired: false,
        });
        Delivery { id, attempt: stream.attempts + 1, ack_time, events }
    }

    /// The next time at which something may become free.
    pub(super) fn next_moment(&self, now: Duration) -> Option<Duration> {
        let deadlines = self.streams.values().filter_map(|stream| Some(stream.delivery.as_ref()?.deadline));
        let ready = self.streams.values().map(|stream| stream.ready);
        deadlines.chain(ready).filter(|moment| *moment > now).min()
    }
}

/// A delivery was lost with its member or its reply: an attempt. The first one waits for nothing.
fn lose(stream: &mut Stream, now: Duration, pause: Duration, bug: Option<GroupBug>) {
    let failed = Failed {
        counts: true,
        waits: stream.forgiven,
        pause,
        attempts_max: None,
        error: None,
        by: "a rule",
        at: LONG_AGO,
    };
    stream.forgiven = true;
    stream.fail(now, &failed, bug);
}
