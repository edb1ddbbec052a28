//! Members: they die, answer late, partly, never, or under ids of an earlier life.

use std::time::Duration;

use gesta_consumer::group::{Delivery, DeliveryId, RefusedWhy, Settlement, Take, Taken, Then};
use gesta_core::{EventId, Position};

use super::Wrong;
use super::world::{Poison, World};

/// A process that handles events.
#[derive(Debug, Clone)]
pub(super) struct Member {
    pub(super) name: String,
    /// True if it knows events of kind `b`.
    pub(super) is_new: bool,
    /// Deliveries that it works on.
    pub(super) holds: Vec<Held>,
    /// Deliveries that come late, and that it does not list.
    pub(super) delayed: Vec<Held>,
    /// What it has to tell.
    pub(super) answers: Vec<Settlement>,
    pub(super) is_dead: bool,
    /// Its open call: the number, and the machine.
    pub(super) call: Option<(u64, u64)>,
}

/// A delivery in the hands of a member.
#[derive(Debug, Clone)]
pub(super) struct Held {
    pub(super) id: DeliveryId,
    events: Vec<(Position, EventId)>,
}

impl Held {
    fn of(delivery: &Delivery) -> Self {
        let events = delivery.events.iter().map(|event| (event.position(), event.id())).collect();
        Self { id: delivery.id, events }
    }
}

/// How work on a delivery ends.
enum End {
    Handled,
    Failed,
    Unknown,
    Died,
}

impl Member {
    /// Gives up everything that it has in hand.
    pub(super) fn forget(&mut self) {
        self.holds.clear();
        self.delayed.clear();
    }

    pub(super) fn new(number: u64, is_new: bool) -> Self {
        let name = format!("m{number}");
        Self {
            name,
            is_new,
            holds: Vec::new(),
            delayed: Vec::new(),
            answers: Vec::new(),
            is_dead: false,
            call: None,
        }
    }
}

impl World {
    /// A member works on one delivery.
    pub(super) fn work(&mut self, index: usize) -> Result<(), Wrong> {
        if self.members[index].is_dead || self.members[index].holds.is_empty() {
            return Ok(());
        }
        let is_delayed = !self.members[index].delayed.is_empty() && self.random.chance(20);
        let member = &mut self.members[index];
        let holds = if is_delayed { &mut member.delayed } else { &mut member.holds };
        let at = self.random.index(holds.len());
        let held = holds.swap_remove(at);
        let (end, handled) = self.act(index, &held)?;
        let then = match end {
            End::Died => {
                self.members[index].is_dead = true;
                return Ok(());
            }
            End::Handled => None,
            End::Unknown => Some(Then::Release { after: None }),
            End::Failed => Some(self.fate(&held, handled)),
        };
        self.note(|| format!("{held:?} handled {handled}, then {then:?}"));
        let is_all = then.is_none();
        let error = (!is_all).then(|| "it failed".to_owned());
        let handled = if is_all && self.random.chance(70) { None } else { Some(handled) };
        self.members[index].answers.push(Settlement { id: held.id, handled, then, error });
        Ok(())
    }

    /// The fate of an event that failed.
    fn fate(&mut self, held: &Held, handled: usize) -> Then {
        let after = self.random.chance(30).then(|| Duration::from_millis(self.random.below(4_000)));
        match self.random.below(20) {
            0..10 => Then::Retry { after },
            10..13 => Then::Retry { after: None },
            13..17 => Then::Park,
            17 => Then::Release { after },
            18 if self.random.chance(30) => Then::Stop,
            _ => {
                let (_, id) = held.events[handled];
                self.target.skipped.insert(uid(id));
                Then::Skip { reason: "it is in the way".to_owned() }
            }
        }
    }

    /// Handles the events of a delivery, one after the other.
    fn act(&mut self, index: usize, held: &Held) -> Result<(End, usize), Wrong> {
        let order = self.order;
        for (handled, (position, id)) in held.events.iter().enumerate() {
            let Some(event) = self.log.find(*position).filter(|event| event.uid == uid(*id)).cloned() else {
                // The log was restored to before this event. Its worker is gone too.
                return Ok((End::Died, handled));
            };
            if event.kind == "b" && !self.members[index].is_new {
                return Ok((End::Unknown, handled));
            }
            match self.poison.get(&event.uid) {
                Some(Poison::Kills) if !self.is_calm => return Ok((End::Died, handled)),
                Some(Poison::Fails) if !self.is_calm => return Ok((End::Failed, handled)),
                _ => {}
            }
            if !self.is_calm && self.random.chance(8) {
                return Ok((End::Failed, handled));
            }
            self.note(|| format!("the effect of {event:?}"));
            self.target.handle(&event, order, &self.log)?;
            if !self.is_calm && self.random.chance(4) {
                return Ok((End::Died, handled));
            }
        }
        Ok((End::Handled, held.events.len()))
    }

    /// A member calls a dealer: it tells what it has done, and asks for more.
    pub(super) fn call(&mut self, index: usize, machine: usize) -> Result<(), Wrong> {
        if self.members[index].is_dead {
            return Ok(());
        }
        let mut settle = std::mem::take(&mut self.members[index].answers);
        if !self.is_calm && self.random.chance(6) {
            // The request is lost: what it told is sent later, under ids that may be stale.
            self.members[index].answers.append(&mut settle);
        } else if !self.is_calm && self.random.chance(5) {
            return Ok(());
        }
        if !self.is_calm && self.random.chance(2) {
            // A wrong program settles what another member has in hand.
            let others = self.members.iter().enumerate().filter(|(other, _)| *other != index);
            let held = others.flat_map(|(_, member)| &member.holds).next();
            settle.extend(held.map(|held| Settlement::handled(held.id)));
        }
        settle.sort_by_key(|settlement| settlement.id);
        settle.dedup_by_key(|settlement| settlement.id);
        let member = &self.members[index];
        let mut holds = member.holds.iter().map(|held| held.id).collect::<Vec<_>>();
        holds.extend(member.answers.iter().map(|answer| answer.id));
        holds.sort_unstable();
        holds.dedup();
        holds.retain(|id| !settle.iter().any(|settlement| settlement.id == *id));
        let max = if self.random.chance(15) { 0 } else { self.random.up_to(4).get() };
        let holds = (max > 0 || self.random.chance(50)).then_some(holds);
        let wait = if self.random.chance(50) { Duration::ZERO } else { Duration::from_secs(2) };
        let name = member.name.parse().expect("a name");
        let take = Take { member: name, max, wait, holds, settle };
        take.check().map_err(|error| format!("the simulation made a wrong call: {error}"))?;
        self.next_call += 1;
        self.members[index].call = Some((self.next_call, self.machines[machine].number));
        self.give_call(machine, self.next_call, take)
    }

    /// A member gets the answer to a call.
    pub(super) fn answered(&mut self, index: usize, machine: usize, taken: &Taken) {
        let member = &mut self.members[index];
        let refused = taken.refused.iter().filter(|refused| refused.why == RefusedWhy::Stale);
        let refused = refused.map(|refused| refused.id).collect::<Vec<_>>();
        let ids = taken.deliveries.iter().map(|delivery| delivery.id).collect::<Vec<_>>();
        let fate = if self.is_calm { 100 } else { self.random.below(100) };
        if member.is_dead {
            return;
        }
        if fate < 6 {
            // The reply is lost, or it comes much later, to a worker that has given up.
            member.delayed.extend(taken.deliveries.iter().map(Held::of));
            return;
        }
        if fate < 10 {
            if !ids.is_empty() {
                self.give_unwritten(machine, ids);
            }
            return;
        }
        for id in refused {
            // Some work on, though they know better.
            if self.random.chance(70) {
                self.members[index].holds.retain(|held| held.id != id);
            }
        }
        let held = taken.deliveries.iter().map(Held::of);
        self.members[index].holds.extend(held);
    }
}

/// The number of an event.
fn uid(id: EventId) -> u64 {
    u64::try_from(u128::from_be_bytes(*id.as_bytes())).expect("a small id")
}
