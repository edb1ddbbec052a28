//! The steps of a simulation: trouble first, then calm, then everything must be done.

use std::time::Duration;

use gesta_consumer::group::GroupState;
use gesta_consumer::sim::{Change, Input, Row};

use super::machine::{Machine, Pending};
use super::member::Member;
use super::operator::Asked;
use super::world::{Mistake, Poison, World};
use super::{Groups, Wrong};

/// Steps without trouble before the end.
const CALM_STEPS: u32 = 150;
/// Rounds in which everything that is left must be done.
const LAST_ROUNDS: u32 = 600;

impl World {
    /// Runs the simulation.
    pub(super) fn run(mut self) -> Result<Groups, Wrong> {
        for step in 0..self.plan.steps {
            self.trouble(step)?;
        }
        self.is_calm = true;
        self.key_value.is_away = false;
        self.plan.doubt = 0;
        self.members.retain(|member| !member.is_dead && member.is_new);
        self.add_member(true);
        for _ in 0..CALM_STEPS {
            self.one_step(0)?;
        }
        self.finish()?;
        self.forget_machines(|_| true);
        self.counts.effects = self.target.effects;
        self.counts.dropped = self.target.dropped;
        Ok(self.counts)
    }

    /// One step in which anything may fail.
    fn trouble(&mut self, step: u32) -> Result<(), Wrong> {
        if self.random.chance(22) {
            self.append();
            return Ok(());
        }
        if self.random.chance(10)
            && let Some(row) = self.key_value.arrive_late(&mut self.random)
        {
            self.stored(&row)?;
        }
        if self.plan.has_outages && self.random.chance(3) {
            self.key_value.is_away = !self.key_value.is_away;
            self.note(|| "the key-value store goes or comes".to_owned());
        }
        if self.random.chance(1) {
            self.back_up();
        }
        if self.backup.is_some() && self.stores < 3 && self.random.chance(2) {
            return self.restore();
        }
        if self.moves < 3 && self.random.below(1_000) < 3 {
            return self.lose_row();
        }
        self.one_step(step)
    }

    fn one_step(&mut self, step: u32) -> Result<(), Wrong> {
        self.bury()?;
        // Two dealers go on side by side for a while: only then does an older one do harm.
        let starts = if self.machines.len() > 1 { 1 } else { self.plan.starts };
        if self.machines.is_empty() || (!self.is_calm && self.random.chance(starts)) {
            self.start_again(step);
            return Ok(());
        }
        // Beside a newer dealer, an older one does not last long: it is asked more often.
        let is_older = self.machines.len() > 1 && self.random.chance(50);
        let machine = if is_older { 0 } else { self.random.index(self.machines.len()) };
        for _ in 0..self.random.below(8) {
            self.perform_any(machine)?;
        }
        self.host(machine)?;
        match self.random.below(100) {
            0..18 if is_older => self.append(),
            0..18 => self.pass_time()?,
            18..27 => self.operate(machine)?,
            27..30 if !self.is_calm => {
                let is_new = self.is_widened && self.random.chance(60);
                self.add_member(is_new);
                self.members.retain(|member| !member.is_dead);
                let excess = self.members.len().saturating_sub(4);
                self.members.drain(..excess);
            }
            30..33 if !self.is_calm => self.hang_up(machine)?,
            33..66 if !self.members.is_empty() => {
                let member = self.random.index(self.members.len());
                self.call(member, machine)?;
            }
            _ if !self.members.is_empty() => {
                let member = self.random.index(self.members.len());
                self.work(member)?;
            }
            _ => {}
        }
        Ok(())
    }

    /// Appends while a page may be on its way that was asked for with an older query.
    pub(super) fn append_meanwhile(&mut self) {
        if !self.is_calm && self.random.chance(50) {
            self.append();
        }
    }

    fn append(&mut self) {
        let (streams, poison) = (self.plan.streams.clone(), self.plan.poison);
        for uid in self.log.append(&streams, &mut self.next_uid, &mut self.random) {
            if self.random.chance(poison) {
                let poison = if self.random.chance(50) { Poison::Fails } else { Poison::Kills };
                self.poison.insert(uid, poison);
            }
        }
        let last = self.log.events.last().cloned();
        self.note(|| format!("appended up to {last:?}"));
        if self.random.chance(30) {
            self.key_value.other_key();
        }
    }

    fn add_member(&mut self, is_new: bool) {
        self.members.push(Member::new(self.next_member, is_new));
        self.next_member += 1;
    }

    /// Does one thing that a dealer has asked for.
    fn perform_any(&mut self, machine: usize) -> Result<(), Wrong> {
        let length = self.machines[machine].pending.len();
        if length == 0 {
            return Ok(());
        }
        let at = self.random.index(length);
        // The puts of an older dealer are slow, or it would not last long enough to do harm.
        let is_put = matches!(self.machines[machine].pending[at], Pending::Put { .. });
        if is_put && machine + 1 < self.machines.len() && !self.is_calm && self.random.chance(95) {
            return Ok(());
        }
        self.perform(machine, at)
    }

    /// Lets time pass. Now and then a dealer is stalled, and gets no tick for some time.
    fn pass_time(&mut self) -> Result<(), Wrong> {
        let by = match self.random.below(10) {
            0..5 => self.random.below(400),
            5..8 => 500 + self.random.below(1_500),
            _ => 3_000 + self.random.below(4_000),
        };
        let until = self.elapsed + Duration::from_millis(by);
        let stalled =
            (!self.is_calm && self.random.chance(15)).then(|| self.random.index(self.machines.len()));
        while self.elapsed < until {
            let steps = self.machines.iter().enumerate().filter(|(index, _)| Some(*index) != stalled);
            let next = steps.filter_map(|(_, machine)| machine.dealer.next_step()).min();
            self.elapsed =
                next.map_or(until, |next| next.clamp(self.elapsed + Duration::from_nanos(1), until));
            for index in 0..self.machines.len() {
                let is_due = self.machines[index].dealer.next_step().is_some_and(|at| at <= self.elapsed);
                if is_due && Some(index) != stalled {
                    self.step(index, Input::Tick)?;
                    self.perform_any(index)?;
                }
            }
        }
        Ok(())
    }

    /// A member no longer waits for its answer.
    fn hang_up(&mut self, machine: usize) -> Result<(), Wrong> {
        let number = self.machines[machine].number;
        let open = self.members.iter().position(|member| member.call.is_some_and(|(_, at)| at == number));
        let Some(member) = open else { return Ok(()) };
        let (call, _) = self.members[member].call.take().expect("the call is open");
        self.machines[machine].deals.call_ended(call, None)?;
        self.step(machine, Input::Cancel(call))
    }

    /// Removes dealers that have ended. A group that is gone is made again.
    fn bury(&mut self) -> Result<(), Wrong> {
        let ended = self.machines.iter().filter(|machine| machine.ended.is_some());
        let ended = ended.map(|machine| machine.number).collect::<Vec<_>>();
        if ended.is_empty() {
            return Ok(());
        }
        self.forget_machines(|machine| ended.contains(&machine));
        if self.key_value.is_gone() {
            self.counts.moves += 1;
            self.make_group();
        }
        Ok(())
    }

    /// Makes the group from the start of the log.
    fn make_group(&mut self) {
        self.forget_machines(|_| true);
        let row = self.new_row();
        self.key_value.set(row.encode());
        self.begin_anew(&row);
    }

    fn new_row(&self) -> Row {
        Row::new(self.plan.settings.clone(), &self.log.heads()[0])
    }

    fn begin_anew(&mut self, row: &Row) {
        self.members.iter_mut().for_each(Member::forget);
        self.is_paused = false;
        self.is_removing = false;
        self.moved(row, true);
    }

    /// The key-value store is lost, and the group made again.
    fn lose_row(&mut self) -> Result<(), Wrong> {
        self.note(|| "the key-value store is lost".to_owned());
        self.moves += 1;
        self.counts.moves += 1;
        self.forget_machines(|_| true);
        let row = self.new_row();
        self.key_value.go_back(0, row.encode());
        self.begin_anew(&row);
        Ok(())
    }

    /// Forgets dealers whose process has ended. What they put may still arrive.
    fn forget_machines(&mut self, is_gone: impl Fn(u64) -> bool) {
        let (gone, left) =
            std::mem::take(&mut self.machines).into_iter().partition(|machine| is_gone(machine.number));
        self.machines = left;
        for machine in gone {
            self.count(&machine);
            for pending in machine.pending {
                if let Pending::Put { value, expect } = pending
                    && self.random.chance(50)
                {
                    self.key_value.sent(value, expect);
                }
            }
            for member in &mut self.members {
                member.call = member.call.filter(|(_, at)| *at != machine.number);
            }
        }
        if self.machines.is_empty() {
            self.asked.clear();
            self.is_removing = false;
        }
    }

    fn count(&mut self, machine: &Machine) {
        let Some(status) = machine.dealer.status() else { return };
        self.counts.expired += status.settled.expired;
        self.counts.skipped += status.settled.skip;
    }

    /// Starts a dealer: after the end of all others, or beside one.
    fn start_again(&mut self, step: u32) {
        if !self.is_calm && step > 60 && self.random.chance(50) {
            self.is_widened = true;
        }
        let takes_over = !self.machines.is_empty() && self.machines.len() < 2 && self.random.chance(50);
        if !takes_over {
            self.forget_machines(|_| true);
        }
        let is_new = self.is_widened && self.plan.has_new_hosts && (self.is_calm || self.random.chance(50));
        self.start(is_new, !takes_over);
    }

    /// Takes a backup: the row first, then the cut of the log.
    fn back_up(&mut self) {
        if let Some(entry) = self.key_value.row() {
            self.note(|| "a backup".to_owned());
            self.backup = Some((entry, self.log.heads().len() - 1, self.boots));
        }
    }

    /// Restores the backup: another store, with the row as it was.
    fn restore(&mut self) -> Result<(), Wrong> {
        let Some((entry, batches, boots)) = self.backup.take() else { return Ok(()) };
        self.stores += 1;
        self.counts.moves += 1;
        let cut = (batches + self.random.index(4)).min(self.log.heads().len() - 1);
        self.note(|| format!("a restore, with {cut} batches"));
        self.forget_machines(|_| true);
        let old = self.log.id.to_string();
        self.log = self.log.restored(cut, self.stores);
        let text = String::from_utf8(entry.value.to_vec()).map_err(|error| error.to_string())?;
        let text = text.replacen(&old, &self.log.id.to_string(), 1);
        let row = Row::decode(text.as_bytes()).map_err(|error| error.to_string())?;
        self.key_value.go_back(entry.revision.get() - 1, text.into_bytes().into());
        self.boots = boots;
        self.is_paused = row.paused.is_some();
        for member in &mut self.members {
            member.forget();
            member.is_dead = false;
        }
        match self.mistake {
            Some(Mistake::SeenKeyedByStore) => self.target.forget_seen(),
            Some(Mistake::RestoreKeepsSeen) => {}
            _ => self.target.restored(&self.log, self.order),
        }
        self.rows.begin();
        self.target.must.clear();
        self.rows.stored(&row, &mut self.target, &self.log, true)
    }

    /// Everything that is left must be done, by one member and one dealer.
    fn finish(&mut self) -> Result<(), Wrong> {
        self.poison.clear();
        self.note(|| "the end begins".to_owned());
        for again in [true, self.random.chance(30)] {
            if again {
                self.bury()?;
                self.forget_machines(|_| true);
                self.start(true, true);
            }
        }
        self.members.clear();
        self.add_member(true);
        for _ in 0..LAST_ROUNDS {
            for _ in 0..8 {
                self.perform_any(0)?;
            }
            self.host(0)?;
            self.help()?;
            self.work(0)?;
            self.call(0, 0)?;
            self.elapsed += Duration::from_millis(300);
            self.step(0, Input::Tick)?;
            if self.is_finished() {
                return Ok(());
            }
        }
        let left = self.target.first_left(&self.log);
        let status = self.machines[0].dealer.status();
        Err(format!("not everything was done: {left:?}, {status:?}, {:?}", self.key_value.row()))
    }

    /// The operator lets everything go on.
    fn help(&mut self) -> Result<(), Wrong> {
        let Some(status) = self.machines[0].dealer.status() else { return Ok(()) };
        let is_halted = matches!(status.state, GroupState::Stopped { .. } | GroupState::Paused { .. });
        let change = match is_halted {
            true => (Change::Resume, Asked::Resume),
            false if !status.parked.is_empty() => (Change::Replay(Vec::new()), Asked::Replay),
            false => return Ok(()),
        };
        self.is_paused = false;
        self.next_call += 1;
        self.resumed = self.next_call;
        self.asked.insert(self.next_call, change.1);
        self.give_change(0, self.next_call, change.0)
    }

    /// True if everything is done, and the row says so.
    fn is_finished(&self) -> bool {
        let row = self.key_value.row().and_then(|entry| Row::decode(&entry.value).ok());
        self.target.first_left(&self.log).is_none()
            && row.is_some_and(|row| {
                row.behind.is_empty() && row.apart.is_empty() && row.scanned == self.log.head()
            })
    }
}
