//! What is known of a batch before it is decided: everything that stands on the disk, looked up on the side of whoever sends it, so
//! that the writer never waits for a cold page.
//!
//! *The rule behind the race.* A view is taken; everything that its runs cover is looked up here. The writer looks at the tables of
//! that view and at those that were begun since: nothing lies between the two. Conditions are looked up to the durable position, or to
//! the end of the runs, whichever is further: a run may have been shown between the look at the position and the view, and what it
//! covers is in no table that the writer looks at. All of a run is durable. The writer looks at what is newer.

use std::collections::HashMap;
use std::sync::Arc;

use gesta_core::{Batch, CommandKey, Condition, StreamName};

use crate::bugs::{Bug, planted};
use crate::index::{CommandEntry, Fault, Key, Kind, PartRef, Reach, Table, View};
use crate::read::command_of;

/// What was looked up for a batch.
pub(crate) struct Prior {
    /// What it was looked up in.
    pub(crate) view: Arc<View>,
    /// The last events of streams that the runs know: version and position.
    heads: HashMap<StreamName, Option<(u64, u64)>>,
    /// Where the runs have the events of the batch, version and position; empty where they have none of them.
    found: Vec<Option<(u64, u64)>>,
    /// The end of the batch that holds the last one found.
    found_end: u64,
    command: Option<CommandEntry>,
    /// Of each condition the last match that it may not have, up to [`Self::checked_to`].
    matches: Vec<Option<u64>>,
    checked_to: u64,
}

impl Prior {
    /// Looks a batch up.
    pub(crate) fn look_up(view: Arc<View>, durable: u64, batch: &Batch, reach: Reach) -> Result<Self, Fault> {
        let in_runs = view.runs.last().map_or(0, |run| run.facts.last);
        let mut prior = Self {
            view,
            heads: HashMap::new(),
            found: Vec::new(),
            found_end: 0,
            command: None,
            matches: Vec::new(),
            checked_to: durable.max(in_runs),
        };
        if !prior.view.runs.is_empty() {
            prior.look_into_runs(batch, reach)?;
        }
        if !prior.is_repeat() {
            prior.look_at_conditions(batch, reach)?;
        }
        Ok(prior)
    }

    fn look_into_runs(&mut self, batch: &Batch, reach: Reach) -> Result<(), Fault> {
        if let Some(command) = &batch.command {
            self.command = command_in_runs(&self.view, command, reach)?;
        }
        self.look_for_ids(batch, reach)?;
        let own = batch.events.iter().map(|event| &event.stream);
        let expected = batch.expect.iter().map(|(stream, _)| stream);
        let mut before = None;
        for stream in own.chain(expected) {
            // Most events of a batch are of the stream of the one before.
            if before.replace(stream) == Some(stream) {
                continue;
            }
            // What a table knows of a stream is newer than what any run does.
            let in_table = |table: &Arc<Table>| table.read().head(stream.as_str()).is_some();
            if !self.heads.contains_key(stream) && !self.view.tables.iter().any(in_table) {
                let head = head_in_runs(&self.view, stream.as_str(), reach)?;
                self.heads.insert(stream.clone(), head);
            }
        }
        Ok(())
    }

    fn look_for_ids(&mut self, batch: &Batch, reach: Reach) -> Result<(), Fault> {
        for (at, event) in batch.events.iter().enumerate() {
            let found = self.view.find_in_runs(event.stream.as_str(), event.id, reach)?;
            if found.is_some() {
                self.found.resize(batch.events.len(), None);
                self.found[at] = found;
            }
        }
        if let Some(last) = self.found.iter().flatten().map(|(_, position)| *position).max() {
            self.found_end = self.view.batch_end(last, reach)?;
        }
        Ok(())
    }

    fn is_repeat(&self) -> bool {
        self.command.is_some() || !self.found.is_empty()
    }

    fn look_at_conditions(&mut self, batch: &Batch, reach: Reach) -> Result<(), Fault> {
        for condition in &batch.conditions {
            let found = last_match(&self.view, condition, self.checked_to, reach)?;
            self.matches.push(found);
        }
        Ok(())
    }

    /// The tables behind what was looked up that have ended.
    pub(super) fn ended_tables(&self) -> Vec<Arc<Table>> {
        let mut tables = self.view.newest();
        tables.pop();
        tables
    }

    /// The version that the next event of a stream has which the table that grows does not know.
    pub(super) fn next_version(&self, stream: &StreamName, ended: &[Arc<Table>]) -> u64 {
        let in_tables = ended.iter().rev().find_map(|table| table.read().head(stream.as_str()));
        in_tables.or_else(|| self.head(stream)).map_or(0, |(version, _)| version + 1)
    }

    /// The last event of a stream in the runs: version and position.
    pub(super) fn head(&self, stream: &StreamName) -> Option<(u64, u64)> {
        self.heads.get(stream).copied().flatten()
    }

    /// Where the runs have an event of the batch: version and position.
    pub(super) fn found(&self, event: usize) -> Option<(u64, u64)> {
        self.found.get(event).copied().flatten()
    }

    /// The end of the batch that holds the last one found.
    pub(super) const fn found_end(&self) -> u64 {
        self.found_end
    }

    /// What the runs know of the batch's command.
    pub(super) const fn command(&self) -> Option<&CommandEntry> {
        self.command.as_ref()
    }

    /// The last match of a condition up to the position that is given with it.
    pub(super) fn match_of(&self, condition: usize) -> (Option<u64>, u64) {
        let checked_to = match planted(Bug::PriorTakenForNew) {
            true => self.view.newest().last().map_or(0, |newest| newest.read().last()),
            false => self.checked_to,
        };
        (self.matches.get(condition).copied().flatten(), checked_to)
    }
}

fn head_in_runs(view: &View, stream: &str, reach: Reach) -> Result<Option<(u64, u64)>, Fault> {
    let stream = Key::stream(stream);
    for run in view.runs.iter().rev() {
        let head = PartRef::Run(run, reach).head(&stream)?;
        if head.is_some() {
            return Ok(head);
        }
    }
    Ok(None)
}

/// What the runs know of a command: its key, verified where it stands in the log.
pub(crate) fn command_in_runs(
    view: &View,
    command: &CommandKey,
    reach: Reach,
) -> Result<Option<CommandEntry>, Fault> {
    let key = Key::new(Kind::Command, &command.key);
    for run in view.runs.iter().rev() {
        let part = PartRef::Run(run, reach);
        let Some((mut list, _)) = part.list(&key)? else { continue };
        if reach == Reach::Memory {
            return Err(Fault::NotInMemory);
        }
        let first = list.at(0)?;
        let location = part.locator().location(first)?;
        let last = part.batch_end(location.position)?;
        let mut entry = command_of(&location, last)?;
        if planted(Bug::CommandNotProven) {
            entry.request = command.request;
        }
        return Ok(Some(entry));
    }
    Ok(None)
}

/// The last match of a condition behind its `after`, up to a position.
fn last_match(view: &View, condition: &Condition, up_to: u64, reach: Reach) -> Result<Option<u64>, Fault> {
    let after = condition.after.as_ref().map_or(0, |after| after.sequence(0));
    for part in view.parts().iter().rev() {
        let held = part.look(reach);
        let part = held.part();
        if part.first() > up_to {
            continue;
        }
        if part.last() <= after && part.last() >= part.first() {
            break;
        }
        let found = part.plan(&condition.fail_if_any)?.previous(part.relative(up_to))?;
        if let Some(found) = found.map(|found| part.first() + u64::from(found)) {
            return Ok((found > after).then_some(found));
        }
    }
    Ok(None)
}
