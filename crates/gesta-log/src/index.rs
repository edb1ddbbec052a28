//! The index: where each event lies, and which events match a query. Runs on the disk hold the old events, tables in
//! memory the new ones.
//!
//! *Invariants*
//! - The parts follow one another: runs from position 1 on, then tables. Only reported damage leaves a gap between
//!   two parts.
//! - Positions are dense within a part. Positions beyond the durable one are for the writer alone; readers clip them.
//! - Nothing here is needed for correctness after a restart: the index is a function of the log.
//! - No lock is held across I/O: a reader takes a view, then looks into it.

mod full_table;
mod heads;
mod key;
mod limits;
mod lookup_error;
mod lost;
mod memtable;
mod part;
mod postings;
mod run;
mod runs;
#[cfg(test)]
mod tests;

use std::sync::{Arc, OnceLock, RwLock};

use gesta_core::EventId;

use crate::bugs::{Bug, planted};
use crate::damage::Damage;
use crate::locks;
pub(crate) use full_table::FullTable;
use heads::Heads;
use key::id_number;
pub(crate) use key::{Key, Kind};
pub(crate) use limits::TableLimits;
#[cfg(feature = "sim")]
pub use lookup_error::IndexFault;
pub(crate) use lookup_error::{LookupError, ReadMode};
pub(crate) use memtable::{CommandEntry, Contents, IndexedEvent, MemTable, State};
pub(crate) use part::{Location, Locator, Part, PartRef};
use run::SoughtId;
#[cfg(feature = "fuzzing")]
pub(crate) use run::fuzzing;
pub(crate) use run::{BlockCache, Merge, MergeError, Run};
#[cfg(feature = "fuzzing")]
pub use run::{blocks, file, patched};
pub(crate) use runs::{RunFiles, remove_unlisted as remove_unlisted_runs};

/// The index of one log. Readers take a view of it.
pub(crate) struct Index {
    snapshot: RwLock<Arc<IndexSnapshot>>,
    damage: OnceLock<Vec<Damage>>,
}

/// The parts of the index at one moment. Its holder finds everything that was indexed then and, through the last
/// table, what was added since.
#[derive(Clone, Default)]
pub(crate) struct IndexSnapshot {
    pub(crate) runs: Vec<Arc<Run>>,
    /// At least one. The last one is active: it still grows.
    pub(crate) tables: Vec<Arc<MemTable>>,
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
        let snapshot = IndexSnapshot { runs, tables: vec![MemTable::new(next)], heads: Arc::default() };
        Self { snapshot: RwLock::new(Arc::new(snapshot)), damage: OnceLock::new() }
    }

    /// Completes the index, once. The last events of streams may take up to `heads_bytes` of memory.
    pub(crate) fn fill(&self, mut snapshot: IndexSnapshot, damage: Vec<Damage>, heads_bytes: usize) {
        assert!(!snapshot.tables.is_empty(), "there is a table to grow");
        assert!(!damage.is_empty() || snapshot.is_dense(), "the parts of the index follow one another");
        assert!(self.damage.set(damage).is_ok(), "an index is filled once");
        snapshot.heads = Arc::new(Heads::new(heads_bytes, snapshot.tables[0].first));
        self.change(|own| *own = snapshot);
    }

    pub(crate) fn snapshot(&self) -> Arc<IndexSnapshot> {
        Arc::clone(&locks::read(&self.snapshot))
    }

    /// Changes the parts for every view that is taken from now on.
    pub(crate) fn change(&self, change: impl FnOnce(&mut IndexSnapshot)) {
        let mut snapshot = locks::write(&self.snapshot);
        change(Arc::make_mut(&mut snapshot));
    }

    /// Removes everything after a position: it was decided and never became durable.
    pub(crate) fn truncate(&self, last: u64) {
        // Full tables hold durable positions only, so the active one is enough.
        self.snapshot().active().write().truncate(last);
    }

    /// Damage that was found when the log was loaded.
    pub(crate) fn damage(&self) -> &[Damage] {
        self.damage.get().map_or(&[], Vec::as_slice)
    }
}

impl IndexSnapshot {
    /// The table that still grows.
    pub(crate) fn active(&self) -> &Arc<MemTable> {
        self.tables.last().expect("there is a table to grow")
    }

    /// Whether each part begins directly after the one before.
    fn is_dense(&self) -> bool {
        let mut next = 1;
        self.parts().iter().all(|part| {
            let held = part.look(ReadMode::Memory);
            let follows = part.first() == next;
            next = held.part().last() + 1;
            follows
        })
    }

    /// Its parts, from the first position to the last.
    pub(crate) fn parts(&self) -> Vec<Part> {
        let runs = self.runs.iter().map(|run| Part::Run(Arc::clone(run)));
        runs.chain(self.newest().into_iter().map(Part::MemTable)).collect()
    }

    /// Its tables, and those that were started since.
    pub(crate) fn newest(&self) -> Vec<Arc<MemTable>> {
        self.and_begun_since(self.tables.clone())
    }

    /// Its full tables. They never change.
    pub(crate) fn ended(&self) -> &[Arc<MemTable>] {
        self.tables.split_last().map_or(&[], |(_, ended)| ended)
    }

    /// The table that was active when the view was taken, and those that were started since.
    pub(crate) fn growing(&self) -> Vec<Arc<MemTable>> {
        self.and_begun_since(vec![Arc::clone(self.active())])
    }

    fn and_begun_since(&self, mut tables: Vec<Arc<MemTable>>) -> Vec<Arc<MemTable>> {
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
        parts.pop().filter(|part| part.look(ReadMode::Memory).part().last() >= position)
    }

    /// The end of the batch that holds a position.
    pub(crate) fn batch_end(&self, position: u64, mode: ReadMode) -> Result<u64, LookupError> {
        self.part_of(position).map_or(Ok(position), |part| part.look(mode).part().batch_end(position))
    }

    /// The first position of the batch that holds a position.
    pub(crate) fn batch_start(&self, position: u64, mode: ReadMode) -> Result<u64, LookupError> {
        self.part_of(position).map_or(Ok(position), |part| part.look(mode).part().batch_start(position))
    }

    /// The last event of a stream at a position or before: its version and position.
    pub(crate) fn head(
        &self,
        stream: &str,
        up_to: u64,
        mode: ReadMode,
    ) -> Result<Option<(u64, u64)>, LookupError> {
        let stream = Key::stream(stream);
        for table in self.newest().iter().rev() {
            let head = PartRef::MemTable(&table.read()).head(&stream, up_to)?;
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
            Some(_) => self.head_in_runs(&stream, up_to, u64::MAX, mode),
            None => self.head_in_runs(&stream, up_to, from, mode),
        }
    }

    /// The last event of a stream at `up_to` or before, in the runs that begin before `begin_before`: its version and
    /// position.
    pub(crate) fn head_in_runs(
        &self,
        stream: &Key,
        up_to: u64,
        begin_before: u64,
        mode: ReadMode,
    ) -> Result<Option<(u64, u64)>, LookupError> {
        for run in self.runs.iter().rev().filter(|run| run.footer.first < begin_before) {
            let head = PartRef::Run(run, mode).head(stream, up_to)?;
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
        mode: ReadMode,
    ) -> Result<Vec<FoundId>, LookupError> {
        let mut found = Vec::new();
        let mut sought = self.ids_to_seek(events);
        let mut held = Vec::new();
        for run in self.runs.iter().rev() {
            if sought.is_empty() {
                break;
            }
            run.may_hold_ids(&sought, mode, &mut held);
            for at in held.drain(..) {
                let (stream, id) = events[at];
                if let Some(place) = PartRef::Run(run, mode).find_id(&Key::stream(stream), &Key::id(id))? {
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
