//! The judge of deliveries: what they may hold, to whom they go, and when.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use gesta_consumer::group::{Delivery, DeliveryId, GroupSettings, Order, Taken};
use gesta_core::Position;

use super::Wrong;
use super::log::{Known, Log};
use super::target::{Target, key};

/// The longest time between two steps that is no stall.
const STALL: Duration = Duration::from_secs(1);

/// What one dealer has dealt.
#[derive(Debug, Default)]
pub(super) struct Deals {
    /// Deliveries that may be in flight, by sequence of events: to whom, and when it was last renewed.
    in_flight: BTreeMap<String, InFlight>,
    /// The last delivery of each sequence of events.
    last: BTreeMap<String, DeliveryId>,
    /// The time that passed for the dealer, without its stalls.
    active: Duration,
    stepped: Duration,
    /// The member that had the last delivery of a partition, in the order of the log.
    holders: BTreeMap<u16, String>,
    /// The open calls.
    calls: BTreeMap<u64, Open>,
    /// The member that each delivery was given to.
    owners: BTreeMap<DeliveryId, String>,
    /// Deliveries whose events were given again.
    stale: BTreeSet<DeliveryId>,
    /// When each member was last seen; `None` while a call is open.
    seen: BTreeMap<String, Option<Duration>>,
    /// The first acknowledgement that is in no durable row.
    pub(super) unsaved: Option<Duration>,
    /// The first that came after the put on its way was made.
    unsaved_since_put: Option<Duration>,
    /// Sequences of events that were dealt since the last resume of a stopped group; `None` without one.
    since_resume: Option<BTreeSet<String>>,
}

/// An open call.
#[derive(Debug)]
struct Open {
    member: String,
    /// The most events that it asked for.
    max: u32,
    /// What it settles and must not count.
    must_refuse: Vec<DeliveryId>,
}

#[derive(Debug, Clone)]
struct InFlight {
    id: DeliveryId,
    member: String,
    renewed: Duration,
}

/// What is known around a delivery.
pub(super) struct Around<'a> {
    pub(super) settings: &'a GroupSettings,
    pub(super) log: &'a Log,
    pub(super) target: &'a Target,
    pub(super) reply_bytes_max: u64,
    /// True if the row in the store is this dealer's.
    pub(super) owns_row: bool,
    /// True after a pause was answered, until a resume is asked for.
    pub(super) is_paused: bool,
}

impl Deals {
    /// Begins another life of the dealer: nothing is in flight, and nobody was given anything.
    pub(super) fn begin(&mut self) {
        self.stale.clear();
        self.owners.clear();
        self.in_flight.clear();
        self.holders.clear();
        self.last.clear();
    }

    /// Notes a step of the dealer.
    pub(super) fn step(&mut self, elapsed: Duration) {
        let gap = elapsed.saturating_sub(self.stepped);
        if gap <= STALL {
            self.active += gap;
        }
        self.stepped = elapsed;
    }

    /// Notes a call of a member that settles some deliveries.
    pub(super) fn called(&mut self, call: u64, member: &str, max: u32, settled: &[DeliveryId]) {
        let is_wrong = |id: &&DeliveryId| {
            self.stale.contains(*id) || self.owners.get(*id).is_none_or(|owner| owner != member)
        };
        let must_refuse = settled.iter().filter(is_wrong).copied().collect();
        self.calls.insert(call, Open { member: member.to_owned(), max, must_refuse });
        self.seen.insert(member.to_owned(), None);
    }

    /// Notes the end of a call. Returns its member, and the most events that it asked for.
    pub(super) fn call_ended(&mut self, call: u64, taken: Option<&Taken>) -> Result<(String, u32), Wrong> {
        let open = self.calls.remove(&call).ok_or("a call was answered that is not open")?;
        if !self.calls.values().any(|other| other.member == open.member) {
            self.seen.insert(open.member.clone(), Some(self.stepped));
        }
        let is_refused =
            |id: &DeliveryId| taken.is_none_or(|taken| taken.refused.iter().any(|refused| refused.id == *id));
        match open.must_refuse.iter().find(|id| !is_refused(id)) {
            Some(id) => Err(format!("`{}` settled {id}, which is stale or not its own", open.member)),
            None => Ok((open.member, open.max)),
        }
    }

    /// Notes deliveries that a member renews, `None` for all that it has. One that may have expired is not counted as renewed.
    pub(super) fn renewed(&mut self, member: &str, ids: Option<&[DeliveryId]>, ack_time: Duration) {
        for flight in self.in_flight.values_mut().filter(|flight| flight.member == member) {
            let is_named = ids.is_none_or(|ids| ids.contains(&flight.id));
            if is_named && self.active.saturating_sub(flight.renewed) < ack_time {
                flight.renewed = self.active;
            }
        }
    }

    /// Notes that deliveries may be over: they were settled, or not written.
    pub(super) fn may_be_over(&mut self, is_over: impl Fn(&str, DeliveryId) -> bool) {
        self.in_flight.retain(|_, flight| !is_over(&flight.member, flight.id));
    }

    /// Notes the deliveries that a member lists. Others of it that have not expired were lost, and are given again.
    pub(super) fn holds(&mut self, member: &str, holds: &[DeliveryId], ack_time: Duration) {
        let is_lost = |flight: &&InFlight| {
            let is_in_time = self.active.saturating_sub(flight.renewed) < ack_time;
            flight.member == member && is_in_time && !holds.contains(&flight.id)
        };
        self.stale.extend(self.in_flight.values().filter(is_lost).map(|flight| flight.id));
        self.may_be_over(|of, id| of == member && !holds.contains(&id));
    }

    /// Notes an acknowledgement.
    pub(super) fn acknowledged(&mut self) {
        self.unsaved.get_or_insert(self.active);
        self.unsaved_since_put.get_or_insert(self.active);
    }

    /// Notes a put: it holds what was acknowledged up to now.
    pub(super) fn put(&mut self) {
        self.unsaved_since_put = None;
    }

    /// Notes that the dealer knows of a durable put.
    pub(super) fn put_succeeded(&mut self) {
        self.unsaved = self.unsaved_since_put;
    }

    /// Notes the resume of a stopped group.
    pub(super) fn resumed(&mut self) {
        // What is in flight may fail after the resume.
        self.since_resume = Some(self.in_flight.keys().cloned().collect());
    }

    /// Looks at what a member is given.
    pub(super) fn dealt(
        &mut self,
        member: &str,
        max: u32,
        taken: &Taken,
        around: &Around<'_>,
    ) -> Result<(), Wrong> {
        if taken.deliveries.is_empty() {
            return Ok(());
        }
        if around.is_paused && around.owns_row {
            return Err("a paused group delivered".into());
        }
        if self.unsaved.is_some_and(|unsaved| self.active > unsaved + Duration::from_millis(5_600)) {
            return Err("a group delivered though its progress could not be put".into());
        }
        let events = taken.deliveries.iter().map(|delivery| delivery.events.len()).sum::<usize>();
        if events > max as usize {
            return Err(format!("{events} events were dealt to a member that asked for {max}"));
        }
        let bytes = taken.deliveries.iter().flat_map(|delivery| &delivery.events);
        let bytes = bytes.map(|event| event.as_bytes().len() as u64).sum::<u64>();
        if bytes > around.reply_bytes_max && events > 1 {
            return Err(format!("a reply has {events} events of {bytes} bytes"));
        }
        taken.deliveries.iter().try_for_each(|delivery| self.dealt_one(member, delivery, around))
    }

    fn dealt_one(&mut self, member: &str, delivery: &Delivery, around: &Around<'_>) -> Result<(), Wrong> {
        let order = around.settings.order;
        let known = known(delivery, around.log)?;
        let (name, _) = key(known[0], order);
        if known.len() > around.settings.run_max.get() as usize {
            return Err(format!("a delivery has {} events", known.len()));
        }
        for (index, event) in known.iter().enumerate() {
            if key(event, order).0 != name {
                return Err(format!("a delivery has events of `{name}` and of {event:?}"));
            }
            if !around.target.is_wanted(event) {
                return Err(format!("{event:?} was dealt though the group does not select it"));
            }
            if around.owns_row && around.target.skipped_for_good.contains(&event.uid) {
                return Err(format!("{event:?} was dealt though it was skipped for good"));
            }
            let earlier = around.target.first_left_before(event, order, around.log);
            if let Some(earlier) = earlier.filter(|earlier| !known[..index].contains(earlier)) {
                return Err(format!("{event:?} was dealt before {earlier:?}"));
            }
        }
        self.check_time(&name, member, around)?;
        self.check_holder(member, known[0].position, around)?;
        if let Some(dealt) = &mut self.since_resume
            && dealt.insert(name.clone())
            && delivery.attempt != 1
        {
            let attempt = delivery.attempt;
            return Err(format!("after a resume `{name}` was dealt with attempt {attempt}"));
        }
        let flight = InFlight { id: delivery.id, member: member.to_owned(), renewed: self.active };
        self.owners.insert(delivery.id, member.to_owned());
        if let Some(earlier) = self.last.insert(name.clone(), delivery.id) {
            self.stale.insert(earlier);
        }
        self.in_flight.insert(name, flight);
        Ok(())
    }

    /// Events are dealt again only if the member that has them was given its time.
    fn check_time(&self, name: &str, member: &str, around: &Around<'_>) -> Result<(), Wrong> {
        let Some(flight) = self.in_flight.get(name) else { return Ok(()) };
        let had = self.active.saturating_sub(flight.renewed);
        if had < around.settings.ack_time {
            let other = &flight.member;
            return Err(format!("`{name}` was dealt to `{member}` after `{other}` had it for {had:?}"));
        }
        Ok(())
    }

    /// In the order of the log the member that had the last events gets the next, while it lives.
    fn check_holder(&mut self, member: &str, at: Position, around: &Around<'_>) -> Result<(), Wrong> {
        if around.settings.order != Order::Log {
            return Ok(());
        }
        if let Some(holder) = self.holders.insert(at.partition, member.to_owned())
            && holder != member
        {
            let is_alive = match self.seen.get(&holder) {
                Some(None) => true,
                Some(Some(seen)) => self.stepped < *seen + around.settings.ack_time,
                None => false,
            };
            if is_alive {
                return Err(format!(
                    "partition {} went from `{holder}`, which lives, to `{member}`",
                    at.partition
                ));
            }
        }
        Ok(())
    }
}

/// The events of a delivery as the judges know them.
fn known<'a>(delivery: &Delivery, log: &'a Log) -> Result<Vec<&'a Known>, Wrong> {
    let events = delivery.events.iter().map(|event| {
        let known =
            log.find(event.position()).ok_or_else(|| format!("{event:?} was dealt and does not exist"))?;
        let is_same = known.stream.as_str() == event.stream() && known.version == event.version().get();
        if is_same { Ok(known) } else { Err(format!("{event:?} was dealt in place of {known:?}")) }
    });
    let events = events.collect::<Result<Vec<_>, Wrong>>()?;
    if events.is_empty() { Err("a delivery is empty".into()) } else { Ok(events) }
}
