//! The world of one simulation: log, row, dealers, members, operators, and what is on its way between them.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use gesta_consumer::group::{DeliveryId, Order, Take, Taken};
use gesta_consumer::sim::{Change, Ended, Input, Output, Row, Words};
use gesta_core::{Entry, ReadError};

use super::deals::Around;
use super::key_value::KeyValue;
use super::log::Log;
use super::machine::{Machine, Pending};
use super::member::Member;
use super::operator::Asked;
use super::plan::{Plan, kinds};
use super::rows::Rows;
use super::target::Target;
use super::{Groups, Wrong};
use crate::random::Random;

/// A mistake of an operator or of a target, which the judges must find.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mistake {
    /// A target does not lower what it has seen after a reset.
    ResetKeepsSeen,
    /// A target's `seen` is keyed by the store's id, which a restore changes.
    SeenKeyedByStore,
    /// A target does not lower what it has seen after a restore.
    RestoreKeepsSeen,
}

impl Mistake {
    /// All mistakes.
    pub const ALL: &[Self] = &[Self::ResetKeepsSeen, Self::SeenKeyedByStore, Self::RestoreKeepsSeen];
}

/// What a poisonous event does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Poison {
    Fails,
    Kills,
}

/// Everything.
pub(super) struct World {
    pub(super) random: Random,
    pub(super) plan: Plan,
    pub(super) order: Order,
    pub(super) mistake: Option<Mistake>,
    is_shown: bool,
    pub(super) log: Log,
    pub(super) key_value: KeyValue,
    pub(super) machines: Vec<Machine>,
    pub(super) members: Vec<Member>,
    pub(super) target: Target,
    pub(super) rows: Rows,
    pub(super) poison: BTreeMap<u64, Poison>,
    /// Every id that a dealer ever gave.
    given: BTreeSet<DeliveryId>,
    /// Epoch and number of the puts of resets.
    resets: BTreeSet<(u64, u64)>,
    pub(super) asked: BTreeMap<u64, Asked>,
    pub(super) elapsed: Duration,
    pub(super) next_call: u64,
    pub(super) next_uid: u64,
    pub(super) next_member: u64,
    /// The number of the last dealer.
    pub(super) starts: u64,
    /// The boot epoch of the log.
    pub(super) boots: u64,
    pub(super) stores: u8,
    /// True while nothing fails.
    pub(super) is_calm: bool,
    /// True once new hosts, which name kind `b` too, are there.
    pub(super) is_widened: bool,
    /// True after a pause was answered, until a resume is asked for.
    pub(super) is_paused: bool,
    /// The call of the last resume.
    pub(super) resumed: u64,
    pub(super) may_narrow: bool,
    pub(super) is_removing: bool,
    /// Resets, removals and losses so far.
    pub(super) moves: u32,
    /// A backup: the row, the batches in the log, its boot epoch.
    pub(super) backup: Option<(Entry, usize, u64)>,
    pub(super) counts: Groups,
}

impl World {
    pub(super) fn new(seed: u64, plan: Plan, mistake: Option<Mistake>, is_shown: bool) -> Self {
        let log = Log::new(1, plan.partitions);
        let mut key_value = KeyValue::default();
        key_value.set(Row::new(plan.settings.clone(), &log.head()).encode());
        let mut world = Self {
            random: Random::of(&[seed, 2]),
            order: plan.settings.order,
            plan,
            mistake,
            is_shown,
            log,
            key_value,
            machines: Vec::new(),
            members: vec![Member::new(0, false), Member::new(1, false)],
            target: Target::default(),
            rows: Rows::default(),
            poison: BTreeMap::new(),
            given: BTreeSet::new(),
            resets: BTreeSet::new(),
            asked: BTreeMap::new(),
            elapsed: Duration::from_secs(100),
            next_call: 0,
            next_uid: 0,
            next_member: 2,
            starts: 0,
            boots: 0,
            stores: 1,
            is_calm: false,
            is_widened: false,
            is_paused: false,
            resumed: 0,
            may_narrow: false,
            is_removing: false,
            moves: 0,
            backup: None,
            counts: Groups { runs: 1, ..Groups::default() },
        };
        world.start(false, true);
        world
    }

    /// Adds to the trace, and prints if somebody looks.
    #[expect(clippy::print_stdout, reason = "`--seed` prints the steps")]
    pub(super) fn note(&mut self, what: impl FnOnce() -> String) {
        let hash = |trace: u64, byte: u64| (trace ^ byte).wrapping_mul(0x0100_0000_01b3);
        let draw = self.random.clone().next();
        self.counts.trace = hash(self.counts.trace.wrapping_add(1), draw);
        if self.is_shown {
            println!("{:?}: {}", self.elapsed, what());
        }
    }

    /// Starts a dealer. `is_new`: its host names kind `b` too. `is_alone`: no other dealer can be at work.
    pub(super) fn start(&mut self, is_new: bool, is_alone: bool) {
        self.boots += 1;
        self.starts += 1;
        self.counts.starts += 1;
        let number = self.starts;
        self.note(|| format!("dealer {number} starts, new {is_new}, alone {is_alone}"));
        let (mut machine, out) = Machine::new(number, self.boots, self.plan.bounds, self.elapsed);
        machine.hosts = Some((is_new, is_alone));
        machine.first_head = self.log.heads().len() - 1;
        machine.keep(out);
        self.machines.push(machine);
    }

    /// The host of a dealer names its settings, as soon as the dealer is there.
    pub(super) fn host(&mut self, machine: usize) -> Result<(), Wrong> {
        if !self.machines[machine].dealer.is_live() {
            return Ok(());
        }
        let Some((is_new, is_alone)) = self.machines[machine].hosts.take() else { return Ok(()) };
        let mut settings = self.plan.settings.clone();
        if is_new {
            settings.query = kinds(&["a", "b"]);
        }
        self.next_call += 1;
        self.asked.insert(self.next_call, Asked::Settings);
        let (settings, head) = (Box::new(settings), self.some_head(machine));
        self.give_change(machine, self.next_call, Change::Host { settings, head, is_alone })?;
        self.append_meanwhile();
        Ok(())
    }

    /// Gives a dealer something, and does what it says.
    pub(super) fn step(&mut self, machine: usize, input: Input) -> Result<(), Wrong> {
        let number = self.machines[machine].number;
        self.note(|| format!("dealer {number}: {}", brief(&input)));
        let elapsed = self.elapsed;
        let was_live = self.machines[machine].dealer.is_live();
        let settles = matches!(&input, Input::Take(_, take) if !take.settle.is_empty());
        let handled = |world: &Self| {
            let status = world.machines[machine].dealer.status().filter(|_| settles && was_live);
            status.map(|status| status.settled.handled)
        };
        let before = handled(self);
        let out = self.machines[machine].step(input, elapsed);
        if handled(self) > before {
            self.machines[machine].deals.acknowledged();
        }
        let epoch = self.machines[machine].epoch;
        for output in &out {
            if let Output::Put { value, .. } = output {
                let row = Row::decode(value).map_err(|error| error.to_string())?;
                self.note(|| format!("puts {row:?}"));
                if row.epoch < epoch {
                    return Err(format!("a dealer of epoch {epoch} puts epoch {}", row.epoch));
                }
                // A live dealer puts another epoch only to reset the group.
                if was_live && row.epoch > epoch {
                    self.resets.insert((row.epoch, row.put));
                }
            }
        }
        let others = self.machines[machine].keep(out);
        if self.machines[machine].row_operations() > 1 {
            return Err("two operations on the row are on their way".into());
        }
        for output in others {
            self.output(machine, output)?;
        }
        self.check_window(machine)?;
        if let Some(ended) = self.machines[machine].ended {
            self.ended(machine, ended)?;
        }
        Ok(())
    }

    fn output(&mut self, machine: usize, output: Output) -> Result<(), Wrong> {
        match output {
            Output::Taken(call, result) => self.taken(machine, call, result.ok()),
            Output::Changed(call, result) => self.operator_answered(machine, call, &result),
            Output::SettingsPut(call, result) => {
                self.note(|| format!("settings: {result:?}"));
                self.asked.remove(&call).map(|_| ()).ok_or_else(|| "an operator was answered twice".into())
            }
            Output::Words(words) => {
                self.counts.parked += u64::from(matches!(words, Words::Parked(_)));
                Ok(())
            }
            other => Err(format!("an output was not kept: {other:?}")),
        }
    }

    /// A call of a member is answered.
    fn taken(&mut self, machine: usize, call: u64, taken: Option<Taken>) -> Result<(), Wrong> {
        let number = self.machines[machine].number;
        let caller = self
            .members
            .iter()
            .position(|member| member.call.is_some_and(|(open, at)| open == call && at == number));
        caller.into_iter().for_each(|index| self.members[index].call = None);
        let (name, max) = self.machines[machine].deals.call_ended(call, taken.as_ref())?;
        let Some(taken) = taken else { return Ok(()) };
        if !taken.deliveries.is_empty() {
            self.dealt(machine, &name, max, &taken)?;
        }
        // A member that is gone, or calls elsewhere by now, never gets the answer.
        caller.into_iter().for_each(|index| self.answered(index, machine, &taken));
        Ok(())
    }

    /// The judge looks at deliveries.
    fn dealt(&mut self, machine: usize, name: &str, max: u32, taken: &Taken) -> Result<(), Wrong> {
        self.counts.deliveries += taken.deliveries.len() as u64;
        for delivery in &taken.deliveries {
            self.note(|| format!("{name} gets {} {:?}", delivery.id, delivery.events));
            if !self.given.insert(delivery.id) {
                return Err(format!("delivery id {} was given twice", delivery.id));
            }
        }
        let row = self.key_value.row().and_then(|entry| Row::decode(&entry.value).ok());
        let owns_row = row.is_some_and(|row| row.epoch == self.machines[machine].epoch);
        let settings = self.machines[machine].dealer.status().map(|status| status.settings);
        let around = Around {
            settings: &settings.ok_or("a dealer that is not live has dealt")?,
            log: &self.log,
            target: &self.target,
            reply_bytes_max: self.plan.bounds.reply_bytes_max,
            owns_row,
            is_paused: self.is_paused,
        };
        self.machines[machine].deals.dealt(name, max, taken, &around)
    }

    /// A member's call reaches a dealer.
    pub(super) fn give_call(&mut self, machine: usize, call: u64, take: Take) -> Result<(), Wrong> {
        let deals = &mut self.machines[machine].deals;
        deals.step(self.elapsed);
        let member = take.member.to_string();
        let settled = take.settle.iter().map(|settlement| settlement.id).collect::<Vec<_>>();
        deals.called(call, &member, take.max, &settled);
        deals.may_be_over(|of, id| settled.contains(&id) && of == member);
        if let Some(holds) = &take.holds {
            deals.holds(&member, holds, self.plan.settings.ack_time);
        }
        deals.renewed(&member, take.holds.as_deref(), self.plan.settings.ack_time);
        self.step(machine, Input::Take(call, take))
    }

    pub(super) fn give_unwritten(&mut self, machine: usize, ids: Vec<DeliveryId>) {
        self.machines[machine].deals.may_be_over(|_, id| ids.contains(&id));
        self.machines[machine].pending.push(Pending::Answer(Box::new(Input::Unwritten(ids)), None));
    }

    pub(super) fn give_change(&mut self, machine: usize, call: u64, change: Change) -> Result<(), Wrong> {
        self.step(machine, Input::Change(call, change))
    }

    /// The window has no more events and bytes than it may have, and one event more.
    fn check_window(&mut self, machine: usize) -> Result<(), Wrong> {
        if !self.random.clone().chance(10) {
            return Ok(());
        }
        let Some(status) = self.machines[machine].dealer.status() else { return Ok(()) };
        let bounds = &self.plan.bounds;
        if status.window_events as usize > bounds.window_events_max {
            return Err(format!(
                "the window has {} events of {}",
                status.window_events, bounds.window_events_max
            ));
        }
        if status.window_bytes > bounds.window_bytes_max + 300 {
            return Err(format!(
                "the window has {} bytes of {}",
                status.window_bytes, bounds.window_bytes_max
            ));
        }
        if status.in_flight_events > 12 * 2 {
            return Err(format!("{} events are in flight", status.in_flight_events));
        }
        Ok(())
    }

    /// A dealer has ended.
    fn ended(&mut self, machine: usize, ended: Ended) -> Result<(), Wrong> {
        let epoch = self.machines[machine].epoch;
        self.note(|| format!("it has ended: {ended:?}"));
        let row =
            self.key_value.row().map(|entry| Row::decode(&entry.value).map_err(|error| error.to_string()));
        let row = row.transpose()?;
        match (ended, row) {
            (Ended::TakenOver, Some(row)) if row.epoch == epoch => {
                Err(format!("a dealer of epoch {epoch} ended as taken over, and the row is its own"))
            }
            (Ended::Removed, Some(_)) if self.machines.len() == 1 && !self.is_removing => {
                Err("a dealer ended as removed, and the row is there".into())
            }
            _ => Ok(()),
        }
    }

    /// Does one thing that a dealer has asked for, or brings back its answer.
    pub(super) fn perform(&mut self, machine: usize, at: usize) -> Result<(), Wrong> {
        let pending = self.machines[machine].pending.swap_remove(at);
        let (input, row) = match pending {
            Pending::Answer(input, row) => {
                if let Some(row) = row {
                    self.knows_durable(machine, &row);
                }
                return self.step(machine, *input);
            }
            Pending::Get => (Input::Got(self.key_value.get()), None),
            Pending::Put { value, expect } => self.put(value, expect)?,
            Pending::Delete { expect } => {
                let written = self.key_value.write(None, Some(expect), self.plan.doubt, &mut self.random);
                (Input::Deleted(written.answer.map(|_| ())), None)
            }
            Pending::Read(number, read) => (Input::Page(number, self.read(&read)), None),
            Pending::Refill(number, read) => (Input::Refilled(number, self.read(&read)), None),
            Pending::Wait(number, after) => {
                if after.at_least(&self.log.head()) {
                    self.machines[machine].pending.push(Pending::Wait(number, after));
                    return Ok(());
                }
                (Input::Grown(number, Ok(())), None)
            }
        };
        let row = row.or_else(|| self.own_row(machine, &input));
        if !self.is_calm && self.random.chance(25) {
            self.machines[machine].pending.push(Pending::Answer(Box::new(input), row));
            return Ok(());
        }
        if let Some(row) = row {
            self.knows_durable(machine, &row);
        }
        self.step(machine, input)
    }

    /// The row in the answer to a get, if the dealer put it.
    fn own_row(&self, machine: usize, input: &Input) -> Option<Box<Row>> {
        let Input::Got(Ok(Some(entry))) = input else { return None };
        let row = Row::decode(&entry.value).ok()?;
        (row.epoch == self.machines[machine].epoch).then(|| Box::new(row))
    }

    fn knows_durable(&mut self, machine: usize, row: &Row) {
        let machine = &mut self.machines[machine];
        if machine.epoch != row.epoch {
            machine.epoch = row.epoch;
            machine.deals.begin();
        }
        machine.deals.put_succeeded();
    }

    fn put(&mut self, value: bytes::Bytes, expect: u64) -> Result<(Input, Option<Box<Row>>), Wrong> {
        let written =
            self.key_value.write(Some(value.clone()), Some(expect), self.plan.doubt, &mut self.random);
        if written.is_there {
            self.stored(&value)?;
        }
        let row = match &written.answer {
            Ok(_) => Some(Box::new(Row::decode(&value).map_err(|error| error.to_string())?)),
            Err(_) => {
                self.counts.doubts += 1;
                None
            }
        };
        Ok((Input::Put(written.answer), row))
    }

    /// A row is durable.
    pub(super) fn stored(&mut self, value: &[u8]) -> Result<(), Wrong> {
        self.counts.puts += 1;
        let row = Row::decode(value).map_err(|error| error.to_string())?;
        self.note(|| format!("stored: epoch {} put {}", row.epoch, row.put));
        if self.resets.contains(&(row.epoch, row.put)) {
            self.counts.moves += 1;
            let lowers = self.mistake != Some(Mistake::ResetKeepsSeen);
            self.moved(&row, lowers);
        }
        self.rows.stored(&row, &mut self.target, &self.log, self.may_narrow)
    }

    /// The group goes on at another place, on purpose.
    pub(super) fn moved(&mut self, row: &Row, lowers_seen: bool) {
        self.note(|| format!("the group moves to {}", row.scanned));
        self.rows.begin();
        self.backup = None;
        self.target.must.clear();
        for item in &row.items {
            let kind = item.item.as_ref().and_then(|item| item.types.first());
            self.target.must.insert(kind.expect("an item names a kind").to_string(), item.since.clone());
        }
        self.target.move_to(&row.scanned, self.order, &self.log, lowers_seen);
    }

    fn read(&mut self, read: &gesta_core::Read) -> Result<gesta_core::Page, ReadError> {
        if !self.is_calm && self.random.chance(3) {
            return Err(ReadError::Unavailable { reason: "by chance".into() });
        }
        self.log.read(read)
    }
}

/// An input, in few words.
fn brief(input: &Input) -> String {
    match input {
        Input::Page(number, Ok(page)) => format!("page {number} {:?} to {}", page.events, page.scanned_to),
        Input::Refilled(number, Ok(page)) => {
            format!("refill {number} {:?} to {}", page.events, page.scanned_to)
        }
        Input::Got(Ok(Some(entry))) => format!("got {}", entry.revision),
        other => format!("{other:?}"),
    }
}
