//! Operators: pause, resume, replay, skip, settings, reset, removal.

use gesta_consumer::group::{ChangeError, GroupState, SettingsVersion};
use gesta_consumer::sim::{Change, Changed, MoveTo, Row};
use gesta_core::{Checkpoint, Retry, Timestamp, Version};

use super::Wrong;
use super::log::Known;
use super::member::Member;
use super::plan::kinds;
use super::rows::is_passed;
use super::world::World;

/// What an operator waits for.
#[derive(Debug, Clone)]
pub(super) enum Asked {
    Pause,
    Resume,
    Replay,
    Skip(Vec<u64>),
    Settings,
    Narrow,
    Reset,
    Remove,
}

impl World {
    /// An operator does something to the group of a machine.
    pub(super) fn operate(&mut self, machine: usize) -> Result<(), Wrong> {
        let Some(status) = self.machines[machine].dealer.status() else { return Ok(()) };
        match status.state {
            GroupState::Stopped { .. } if self.random.chance(60) => return self.resume(machine, true),
            GroupState::Paused { .. } if self.random.chance(60) => return self.resume(machine, false),
            GroupState::Paused { .. } | GroupState::Stopped { .. } => return self.move_or_change(machine),
            _ => {}
        }
        match self.random.below(10) {
            0..4 if !status.parked.is_empty() => {
                let stream = status.parked[self.random.index(status.parked.len())].stream.clone();
                let streams = if self.random.chance(30) { Vec::new() } else { vec![stream] };
                self.ask(machine, Change::Replay(streams), Asked::Replay)
            }
            4..7 => self.skip(machine),
            7 if !self.is_calm => {
                self.ask(machine, Change::Pause { by: "ops".into(), at: Timestamp::MIN }, Asked::Pause)
            }
            8 | 9 if !self.is_calm => {
                let mut settings = status.settings.clone();
                settings.in_flight_max = self.random.up_to(12);
                if self.is_widened && self.random.chance(80) {
                    settings.query = kinds(&["a", "b"]);
                }
                self.put_settings(machine, settings, status.settings_version)
            }
            _ => Ok(()),
        }
    }

    fn resume(&mut self, machine: usize, was_stopped: bool) -> Result<(), Wrong> {
        self.is_paused = false;
        self.resumed = self.next_call + 1;
        if was_stopped {
            self.machines[machine].deals.resumed();
        }
        self.ask(machine, Change::Resume, Asked::Resume)
    }

    fn put_settings(
        &mut self,
        machine: usize,
        settings: gesta_consumer::group::GroupSettings,
        expect: SettingsVersion,
    ) -> Result<(), Wrong> {
        if self.machines.len() > 1 && settings.query != kinds(&["a"]) {
            // Only a dealer that is alone may take a wider query.
            return Ok(());
        }
        let head = self.some_head(machine);
        let settings = Box::new(settings);
        self.ask(machine, Change::Settings { settings, expect, head }, Asked::Settings)?;
        self.append_meanwhile();
        Ok(())
    }

    /// The head as a call finds it: after the start of the dealer, and perhaps before some events that the dealer knows.
    pub(super) fn some_head(&mut self, machine: usize) -> Checkpoint {
        let heads = self.log.heads();
        let newer = heads.len() - self.machines[machine].first_head;
        let back = self.random.index(newer.min(3));
        heads[heads.len() - 1 - back].clone()
    }

    /// Skips the first events of a stream, up to one that is left.
    fn skip(&mut self, machine: usize) -> Result<(), Wrong> {
        let stuck = self.stuck();
        if stuck.is_empty() {
            return Ok(());
        }
        let event = stuck[self.random.index(stuck.len())].clone();
        let (name, number) = super::target::key(&event, self.order);
        let is_passed = |other: &&Known| {
            let (other_name, other_number) = super::target::key(other, self.order);
            other_name == name && other_number <= number && !self.target.is_over(other)
        };
        let passed = self.log.events.iter().filter(is_passed).map(|event| event.uid).collect::<Vec<_>>();
        let change = Change::Skip {
            stream: name.parse().expect("a stream"),
            through: Version::new(number),
            position: event.position,
        };
        self.target.skipped.extend(&passed);
        self.ask(machine, change, Asked::Skip(passed))
    }

    /// Events of the row's streams that are apart, which are left.
    fn stuck(&self) -> Vec<Known> {
        let Some(entry) = self.key_value.row() else { return Vec::new() };
        let Ok(row) = Row::decode(&entry.value) else { return Vec::new() };
        let is_stuck = |event: &&Known| {
            let (name, _) = super::target::key(event, self.order);
            row.apart.contains_key(name.as_str()) && !self.target.is_over(event)
        };
        self.log.events.iter().filter(is_stuck).take(4).cloned().collect()
    }

    /// What needs a quiet group: another place, fewer items.
    fn move_or_change(&mut self, machine: usize) -> Result<(), Wrong> {
        if self.is_calm || self.machines.len() > 1 {
            return Ok(());
        }
        match self.random.below(6) {
            0 if self.moves < 3 => {
                self.moves += 1;
                let heads = self.log.heads();
                let to = heads[self.random.index(heads.len())].clone();
                // No old worker is left: they would do again what the target no longer knows.
                self.members.iter_mut().for_each(Member::forget);
                let reset = MoveTo { to, head: self.log.head(), at: Timestamp::MIN };
                self.ask(machine, Change::Reset(reset), Asked::Reset)
            }
            1 if self.moves < 3 && !self.is_removing => {
                self.moves += 1;
                self.is_removing = true;
                self.members.iter_mut().for_each(Member::forget);
                self.ask(machine, Change::Remove, Asked::Remove)
            }
            2 | 3 if self.target.must.len() > 1 => {
                self.may_narrow = true;
                let mut settings = self.plan.settings.clone();
                settings.query = kinds(&["a"]);
                let version = status_version(self, machine);
                match version.filter(|_| self.random.chance(50)) {
                    Some(version) => self.put_settings(machine, settings, version),
                    None => self.ask(machine, Change::Narrow(Box::new(settings)), Asked::Narrow),
                }
            }
            _ => Ok(()),
        }
    }

    /// The row in the store, if it is that of a machine.
    fn row_of(&self, machine: usize) -> Option<Row> {
        let row = Row::decode(&self.key_value.row()?.value).ok()?;
        (row.epoch == self.machines[machine].epoch).then_some(row)
    }

    fn ask(&mut self, machine: usize, change: Change, asked: Asked) -> Result<(), Wrong> {
        self.next_call += 1;
        self.note(|| format!("an operator asks for {change:?}"));
        self.asked.insert(self.next_call, asked);
        self.give_change(machine, self.next_call, change)
    }

    /// An operator gets an answer.
    pub(super) fn operator_answered(
        &mut self,
        machine: usize,
        call: u64,
        result: &Result<Changed, ChangeError>,
    ) -> Result<(), Wrong> {
        let Some(asked) = self.asked.remove(&call) else {
            return Err("an operator was answered twice".into());
        };
        self.note(|| format!("the answer to {asked:?} is {result:?}"));
        match (asked, result) {
            (Asked::Pause, Ok(_)) => {
                self.is_paused = call > self.resumed;
                let row = self.row_of(machine).filter(|_| self.is_paused);
                if row.is_some_and(|row| row.paused.is_none()) {
                    return Err("a pause was answered and is not durable".into());
                }
            }
            (Asked::Skip(passed), Ok(_)) => {
                if let Some(row) = self.row_of(machine) {
                    let events = self.log.events.iter().filter(|event| passed.contains(&event.uid));
                    let not_passed = |event: &&Known| !is_passed(&row, event, self.order, &self.log);
                    if let Some(event) = events.into_iter().find(not_passed) {
                        return Err(format!("the skip of {event:?} was answered and is not durable"));
                    }
                }
                self.target.skipped_for_good.extend(passed);
            }
            (Asked::Skip(passed), Err(error)) if error.retry() != Retry::Unknown => {
                passed.iter().for_each(|uid| {
                    self.target.skipped.remove(uid);
                });
            }
            (Asked::Remove, Ok(_)) if !self.key_value.is_gone() => {
                return Err("a group was removed and its row is there".into());
            }
            (Asked::Remove, Err(_)) => self.is_removing = false,
            _ => {}
        }
        Ok(())
    }
}

fn status_version(world: &World, machine: usize) -> Option<SettingsVersion> {
    Some(world.machines[machine].dealer.status()?.settings_version)
}
