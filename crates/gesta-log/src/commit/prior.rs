//! What is known of a batch before it is decided: everything that stands on the disk, looked up on the side of whoever sends it, so
//! that the writer never waits for a cold page.
//!
//! *The rule behind the race.* A view is taken; everything in it that has ended, its runs and all tables but the one that grows, is looked
//! up here, since it never changes. The writer looks at the table that grew in that view and at those that were begun since: nothing lies
//! between the two. Conditions are looked up to the durable position, or to the end of what has ended, whichever is further: a table may
//! have ended between the look at the position and the view, and it is none that the writer looks at. All of what has ended is durable.
//! The writer looks at what is newer.

use std::sync::Arc;

use gesta_core::{Batch, CommandKey, Condition, StreamName};

use crate::bugs::{Bug, planted};
use crate::index::{CommandEntry, Fault, FoundId, Key, Kind, PartRef, Reach, Table, View};
use crate::read::command_of;

/// What was looked up for a batch.
pub(crate) struct Prior {
    /// What it was looked up in.
    pub(crate) view: Arc<View>,
    /// The last events of the streams of its events: version and position. Empty where nothing has ended; `None` as well where the table
    /// that grows knows better.
    heads: Vec<Option<(u64, u64)>>,
    /// The same of the streams of which it expects something.
    expected_heads: Vec<Option<(u64, u64)>>,
    /// Where its events stand already, version and position; empty where none does.
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
        let ended = view.active().first - 1;
        let mut prior = Self {
            view,
            heads: Vec::new(),
            expected_heads: Vec::new(),
            found: Vec::new(),
            found_end: 0,
            command: None,
            matches: Vec::new(),
            checked_to: durable.max(ended),
        };
        if ended > 0 {
            prior.look_into_ended(batch, reach)?;
        }
        if !prior.is_repeat() {
            prior.look_at_conditions(batch, reach)?;
        }
        Ok(prior)
    }

    fn look_into_ended(&mut self, batch: &Batch, reach: Reach) -> Result<(), Fault> {
        if let Some(command) = &batch.command {
            let mut ended = self.view.ended().iter().rev();
            self.command = match ended.find_map(|table| table.read().command(&command.key).cloned()) {
                None => command_in_runs(&self.view, command, reach)?,
                found => found,
            };
        }
        self.look_for_ids(batch, reach)?;
        self.heads = self.heads_of(batch.events.iter().map(|event| &event.stream), reach)?;
        self.expected_heads = self.heads_of(batch.expect.iter().map(|(stream, _)| stream), reach)?;
        Ok(())
    }

    fn look_for_ids(&mut self, batch: &Batch, reach: Reach) -> Result<(), Fault> {
        let events = batch.events.iter().map(|event| (event.stream.as_str(), event.id)).collect::<Vec<_>>();
        let mut found = self.view.find_in_runs(&events, reach)?;
        for table in self.view.ended() {
            let table = table.read();
            let find = |(at, (stream, id)): (usize, &(&str, _))| {
                table.find_id(stream, *id).map(|place| FoundId { at, place })
            };
            found.extend(events.iter().enumerate().filter_map(find));
        }
        for FoundId { at, place } in found {
            self.found.resize(batch.events.len(), None);
            self.found[at] = Some(place);
        }
        if let Some(last) = self.found.iter().flatten().map(|(_, position)| *position).max() {
            self.found_end = self.view.batch_end(last, reach)?;
        }
        Ok(())
    }

    /// The last events of streams: of all of them in memory, and then in runs of those that are not there.
    fn heads_of<'b>(
        &self,
        streams: impl Iterator<Item = &'b StreamName>,
        reach: Reach,
    ) -> Result<Vec<Option<(u64, u64)>>, Fault> {
        let streams = streams.map(StreamName::as_str).collect::<Vec<_>>();
        let mut heads = vec![None; streams.len()];
        // Most events of a batch are of the stream of the one before.
        let is_repeated = |at: usize| at > 0 && streams[at] == streams[at - 1];
        let (known_from, tables) = {
            let known = self.view.heads.read();
            for (at, stream) in streams.iter().enumerate() {
                heads[at] = if is_repeated(at) { heads[at - 1] } else { known.find(stream.as_bytes()) };
            }
            let unknown = self.view.ended().iter().filter(|table| !known.covers(table.first));
            (known.from, unknown.collect::<Vec<_>>())
        };
        for table in tables {
            let table = table.read();
            for (head, stream) in heads.iter_mut().zip(&streams) {
                // Either may be newer: a table that is not learned yet, or one that was learned after this one, which is forgotten.
                *head = table.head(stream).max(*head);
            }
        }
        for (at, stream) in streams.iter().enumerate() {
            if heads[at].is_none() {
                heads[at] = match is_repeated(at) {
                    true => heads[at - 1],
                    false => self.head_in_runs(stream, known_from, reach)?,
                };
            }
        }
        Ok(heads)
    }

    /// The last event of a stream in runs that begin before a position. `None` as well where the table that grows knows better: then nobody
    /// asks, and it may be far to seek.
    fn head_in_runs(
        &self,
        stream: &str,
        begin_before: u64,
        reach: Reach,
    ) -> Result<Option<(u64, u64)>, Fault> {
        if self.view.active().read().head(stream).is_some() {
            return Ok(None);
        }
        self.view.head_in_runs(&Key::stream(stream), u64::MAX, begin_before, reach)
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

    /// The version that an event has which is the next of its stream, where the table that grows does not know it. `ended_since` are tables
    /// that ended after what was looked up, from old to new.
    pub(super) fn next_version(&self, event: usize, stream: &StreamName, ended_since: &[Arc<Table>]) -> u64 {
        let in_tables = ended_since.iter().rev().find_map(|table| table.read().head(stream.as_str()));
        let in_ended = || self.heads.get(event).copied().flatten();
        in_tables.or_else(in_ended).map_or(0, |(version, _)| version + 1)
    }

    /// The last event, in what had ended, of a stream of which the batch expects something: version and position.
    pub(super) fn expected_head(&self, at: usize) -> Option<(u64, u64)> {
        self.expected_heads.get(at).copied().flatten()
    }

    /// Where an event of the batch stood already in what had ended: version and position.
    pub(super) fn found(&self, event: usize) -> Option<(u64, u64)> {
        self.found.get(event).copied().flatten()
    }

    /// The end of the batch that holds the last one found.
    pub(super) const fn found_end(&self) -> u64 {
        self.found_end
    }

    /// What was known of the batch's command.
    pub(super) const fn command(&self) -> Option<&CommandEntry> {
        self.command.as_ref()
    }

    /// The last match of a condition up to the position that is given with it.
    pub(super) fn match_of(&self, condition: usize) -> (Option<u64>, u64) {
        let checked_to = match planted(Bug::PriorTakenForNew) {
            true => self.view.growing().last().map_or(0, |newest| newest.read().last()),
            false => self.checked_to,
        };
        (self.matches.get(condition).copied().flatten(), checked_to)
    }
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
