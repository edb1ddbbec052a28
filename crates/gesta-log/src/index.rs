//! The index: where every event lies, and which events a query means. Runs on the disk for what is old, tables in memory for what is
//! new.
//!
//! *Invariants*
//! - The parts follow one another: runs from position 1 on, then tables. Between two parts nothing is missing but reported damage.
//! - Positions are dense within a part. What is beyond the durable position is there for the writer alone; readers clip.
//! - Nothing here is needed for correctness after a restart: it is a function of the log.
//! - No lock is held across I/O: a view is taken, then looked into.

mod fault;
mod heads;
mod key;
mod lost;
mod part;
mod postings;
mod run;
mod runs;
mod table;
#[cfg(test)]
mod tests;

use std::sync::{Arc, OnceLock, PoisonError, RwLock};

use gesta_core::EventId;

use crate::bugs::{Bug, planted};
use crate::damage::Damage;
pub(crate) use fault::{Fault, Reach};
use heads::Heads;
use key::id_number;
pub(crate) use key::{Key, Kind};
pub(crate) use part::{Location, Locator, Part, PartRef};
use run::SoughtId;
#[cfg(feature = "fuzzing")]
pub(crate) use run::fuzzing;
pub(crate) use run::{BlockCache, FrameName, Merge, MergeError, Run};
pub(crate) use runs::{MissingFile, RunFiles, folder as run_folder, remove_unlisted as remove_unlisted_runs};
pub(crate) use table::{CommandEntry, IndexedEvent, State, Table};

/// Everything that is looked up.
pub(crate) struct Index {
    view: RwLock<Arc<View>>,
    damage: OnceLock<Vec<Damage>>,
}

/// The parts of the index at one moment. Whoever holds it finds everything that it held then, and, through the last table, what was
/// added since.
#[derive(Clone, Default)]
pub(crate) struct View {
    pub(crate) runs: Vec<Arc<Run>>,
    /// At least one; the last one grows.
    pub(crate) tables: Vec<Arc<Table>>,
    /// What is in memory of the runs' streams.
    pub(crate) heads: Arc<Heads>,
}

/// An event that stands in its stream already, of several that are sought by their ids.
pub(crate) struct FoundId {
    /// Which of them.
    pub(crate) at: usize,
    /// Its version and position.
    pub(crate) place: (u64, u64),
}

impl Index {
    /// The index of a log of which only some runs are there. Nobody looks into it before it is filled.
    pub(crate) fn in_part(runs: Vec<Arc<Run>>, next: u64) -> Self {
        let view = View { runs, tables: vec![Table::new(next)], heads: Arc::default() };
        Self { view: RwLock::new(Arc::new(view)), damage: OnceLock::new() }
    }

    /// Makes it whole, once.
    ///
    /// Up to so many bytes of memory are for the last events of streams.
    pub(crate) fn fill(&self, mut view: View, damage: Vec<Damage>, heads_bytes: usize) {
        assert!(!view.tables.is_empty(), "there is a table to grow");
        assert!(!damage.is_empty() || view.is_dense(), "the parts of the index follow one another");
        assert!(self.damage.set(damage).is_ok(), "an index is filled once");
        view.heads = Arc::new(Heads::new(heads_bytes, view.tables[0].first));
        self.change(|own| *own = view);
    }

    pub(crate) fn view(&self) -> Arc<View> {
        Arc::clone(&self.view.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Changes the parts, for everybody who looks from now on.
    pub(crate) fn change(&self, change: impl FnOnce(&mut View)) {
        let mut view = self.view.write().unwrap_or_else(PoisonError::into_inner);
        change(Arc::make_mut(&mut view));
    }

    /// Takes back everything after a position: what was decided and never became durable.
    pub(crate) fn truncate(&self, last: u64) {
        // Only durable positions stand in a table that has ended.
        self.view().active().write().truncate(last);
    }

    /// Damage that was found when the log was loaded.
    pub(crate) fn damage(&self) -> &[Damage] {
        self.damage.get().map_or(&[], Vec::as_slice)
    }
}

impl View {
    /// The table that grows.
    pub(crate) fn active(&self) -> &Arc<Table> {
        self.tables.last().expect("there is a table to grow")
    }

    /// Whether every part begins right behind the one before.
    fn is_dense(&self) -> bool {
        let mut next = 1;
        self.parts().iter().all(|part| {
            let held = part.look(Reach::Memory);
            let follows = part.first() == next;
            next = held.part().last() + 1;
            follows
        })
    }

    /// The parts that it knows, from the first position to the last.
    pub(crate) fn parts(&self) -> Vec<Part> {
        let runs = self.runs.iter().map(|run| Part::Run(Arc::clone(run)));
        runs.chain(self.newest().into_iter().map(Part::Table)).collect()
    }

    /// Its tables, and those that were begun since.
    pub(crate) fn newest(&self) -> Vec<Arc<Table>> {
        self.and_begun_since(self.tables.clone())
    }

    /// Its tables that have ended: they never change.
    pub(crate) fn ended(&self) -> &[Arc<Table>] {
        self.tables.split_last().map_or(&[], |(_, ended)| ended)
    }

    /// The table that grew when it was taken, and those that were begun since.
    pub(crate) fn growing(&self) -> Vec<Arc<Table>> {
        self.and_begun_since(vec![Arc::clone(self.active())])
    }

    fn and_begun_since(&self, mut tables: Vec<Arc<Table>>) -> Vec<Arc<Table>> {
        while let Some(next) = tables.last().and_then(|last| last.next()) {
            let next = Arc::clone(next);
            tables.push(next);
        }
        tables
    }

    /// The part that holds a position. `None` for one that is damaged or not there.
    pub(crate) fn part_of(&self, position: u64) -> Option<Part> {
        let mut parts = self.parts();
        parts.truncate(parts.partition_point(|part| part.first() <= position));
        parts.pop().filter(|part| part.look(Reach::Memory).part().last() >= position)
    }

    /// The end of the batch that holds a position.
    pub(crate) fn batch_end(&self, position: u64, reach: Reach) -> Result<u64, Fault> {
        self.part_of(position).map_or(Ok(position), |part| part.look(reach).part().batch_end(position))
    }

    /// The first position of the batch that holds a position.
    pub(crate) fn batch_start(&self, position: u64, reach: Reach) -> Result<u64, Fault> {
        self.part_of(position).map_or(Ok(position), |part| part.look(reach).part().batch_start(position))
    }

    /// The last event of a stream at a position or before: its version and position.
    pub(crate) fn head(&self, stream: &str, up_to: u64, reach: Reach) -> Result<Option<(u64, u64)>, Fault> {
        let stream = Key::stream(stream);
        for table in self.newest().iter().rev() {
            let head = PartRef::Table(&table.read()).head(&stream, up_to)?;
            if head.is_some() {
                return Ok(head);
            }
        }
        let (known, from) = {
            let known = self.heads.read();
            (known.find(stream.name()), known.from)
        };
        match known {
            Some((_, position)) if position <= up_to => Ok(known),
            // It has gone on since the view was taken, or since that position.
            Some(_) => self.head_in_runs(&stream, up_to, u64::MAX, reach),
            None => self.head_in_runs(&stream, up_to, from, reach),
        }
    }

    /// The last event of a stream at a position or before, in the runs that begin before another: its version and position.
    pub(crate) fn head_in_runs(
        &self,
        stream: &Key,
        up_to: u64,
        begin_before: u64,
        reach: Reach,
    ) -> Result<Option<(u64, u64)>, Fault> {
        for run in self.runs.iter().rev().filter(|run| run.facts.first < begin_before) {
            let head = PartRef::Run(run, reach).head(stream, up_to)?;
            if head.is_some() {
                return Ok(head);
            }
        }
        Ok(None)
    }

    /// Which events, of those with these ids in these streams, runs know.
    pub(crate) fn find_in_runs(
        &self,
        events: &[(&str, EventId)],
        reach: Reach,
    ) -> Result<Vec<FoundId>, Fault> {
        let mut found = Vec::new();
        let mut sought = self.ids_to_seek(events);
        let mut held = Vec::new();
        for run in self.runs.iter().rev() {
            if sought.is_empty() {
                break;
            }
            run.may_hold_ids(&sought, reach, &mut held);
            for at in held.drain(..) {
                let (stream, id) = events[at];
                if let Some(place) = PartRef::Run(run, reach).find_id(&Key::stream(stream), &Key::id(id))? {
                    found.push(FoundId { at, place });
                    sought.retain(|id| id.at != at);
                }
            }
            if planted(Bug::IdsOfNewestRun) {
                break;
            }
        }
        Ok(found)
    }

    /// The ids that lie between those of any run: with ids in the order of time there are none.
    fn ids_to_seek(&self, events: &[(&str, EventId)]) -> Vec<SoughtId> {
        let Some(first) = self.runs.first() else { return Vec::new() };
        let is_within = |id: &EventId| {
            let id = id_number(id.as_bytes());
            self.runs.iter().any(|run| run.may_hold_id(id))
        };
        let within = events.iter().enumerate().filter(|(_, (_, id))| is_within(id));
        within.map(|(at, (_, id))| SoughtId::new(at, *id, first.secret)).collect()
    }
}
