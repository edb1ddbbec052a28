//! The index: where each event lies, and which events match a query. Runs on the disk hold the old events, tables in
//! memory the new ones.
//!
//! *Invariants*
//! - The parts follow one another: runs from position 1 on, then tables. Only reported damage leaves a gap between
//!   two parts.
//! - Positions are dense within a part. Positions beyond the durable one are for the writer alone; readers clip them.
//! - Nothing here is needed for correctness after a restart: the index is a function of the log.
//! - No lock is held across I/O: a reader takes a view, then looks into it.

mod ended;
mod fault;
mod heads;
mod key;
mod limits;
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
pub(crate) use ended::Ended;
pub(crate) use fault::{Fault, Reach};
use heads::Heads;
use key::id_number;
pub(crate) use key::{Key, Kind};
pub(crate) use limits::TableLimits;
pub(crate) use part::{Location, Locator, Part, PartRef};
use run::SoughtId;
#[cfg(feature = "fuzzing")]
pub(crate) use run::fuzzing;
pub(crate) use run::{BlockCache, Merge, MergeError, Run};
#[cfg(feature = "fuzzing")]
pub use run::{blocks, file, patched};
pub(crate) use runs::{RunFiles, remove_unlisted as remove_unlisted_runs};
pub(crate) use table::{CommandEntry, IndexedEvent, State, Table};

/// The index of one log. Readers take a view of it.
pub(crate) struct Index {
    view: RwLock<Arc<View>>,
    damage: OnceLock<Vec<Damage>>,
}

/// The parts of the index at one moment. Its holder finds everything that was indexed then and, through the last
/// table, what was added since.
#[derive(Clone, Default)]
pub(crate) struct View {
    pub(crate) runs: Vec<Arc<Run>>,
    /// At least one. The last one is active: it still grows.
    pub(crate) tables: Vec<Arc<Table>>,
    /// The last events of streams in runs, as far as memory holds them.
    pub(crate) heads: Arc<Heads>,
}

/// One of several sought events that its stream already holds.
pub(crate) struct FoundId {
    /// Its index among the sought events.
    pub(crate) at: usize,
    /// Its version and position.
    pub(crate) place: (u64, u64),
}

impl Index {
    /// An index that holds only some runs of its log. No reader looks into it before `fill`.
    pub(crate) fn in_part(runs: Vec<Arc<Run>>, next: u64) -> Self {
        let view = View { runs, tables: vec![Table::new(next)], heads: Arc::default() };
        Self { view: RwLock::new(Arc::new(view)), damage: OnceLock::new() }
    }

    /// Completes the index, once. The last events of streams may take up to `heads_bytes` of memory.
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

    /// Changes the parts for every view that is taken from now on.
    pub(crate) fn change(&self, change: impl FnOnce(&mut View)) {
        let mut view = self.view.write().unwrap_or_else(PoisonError::into_inner);
        change(Arc::make_mut(&mut view));
    }

    /// Removes everything after a position: it was decided and never became durable.
    pub(crate) fn truncate(&self, last: u64) {
        // Full tables hold durable positions only, so the active one is enough.
        self.view().active().write().truncate(last);
    }

    /// Damage that was found when the log was loaded.
    pub(crate) fn damage(&self) -> &[Damage] {
        self.damage.get().map_or(&[], Vec::as_slice)
    }
}

impl View {
    /// The table that still grows.
    pub(crate) fn active(&self) -> &Arc<Table> {
        self.tables.last().expect("there is a table to grow")
    }

    /// Whether each part begins directly after the one before.
    fn is_dense(&self) -> bool {
        let mut next = 1;
        self.parts().iter().all(|part| {
            let held = part.look(Reach::Memory);
            let follows = part.first() == next;
            next = held.part().last() + 1;
            follows
        })
    }

    /// Its parts, from the first position to the last.
    pub(crate) fn parts(&self) -> Vec<Part> {
        let runs = self.runs.iter().map(|run| Part::Run(Arc::clone(run)));
        runs.chain(self.newest().into_iter().map(Part::Table)).collect()
    }

    /// Its tables, and those that were started since.
    pub(crate) fn newest(&self) -> Vec<Arc<Table>> {
        self.and_begun_since(self.tables.clone())
    }

    /// Its full tables. They never change.
    pub(crate) fn ended(&self) -> &[Arc<Table>] {
        self.tables.split_last().map_or(&[], |(_, ended)| ended)
    }

    /// The table that was active when the view was taken, and those that were started since.
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

    /// The part that holds a position. `None` if the position is damaged or absent.
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
            // The stream has gained events since the view was taken, or after `up_to`.
            Some(_) => self.head_in_runs(&stream, up_to, u64::MAX, reach),
            None => self.head_in_runs(&stream, up_to, from, reach),
        }
    }

    /// The last event of a stream at `up_to` or before, in the runs that begin before `begin_before`: its version and
    /// position.
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

    /// Finds the events that runs hold, by stream and id.
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

    /// The ids within the id range of at least one run. Ids that grow with time lie in none.
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
