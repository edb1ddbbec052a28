//! The index: where every event lies, and which events a query means. Runs on the disk for what is old, tables in memory for what is
//! new.
//!
//! *Invariants*
//! - The parts follow one another: runs from position 1 on, then tables. Between two parts nothing is missing but reported damage.
//! - Positions are dense within a part. What is beyond the durable position is there for the writer alone; readers clip.
//! - Nothing here is needed for correctness after a restart: it is a function of the log.
//! - No lock is held across I/O: a view is taken, then looked into.

mod fault;
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

use crate::damage::Damage;
pub(crate) use fault::{Fault, Reach};
pub(crate) use key::{Key, Kind};
pub(crate) use part::{Location, Locator, Part, PartRef};
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
}

impl Index {
    /// The index of a log of which only some runs are there. Nobody looks into it before it is filled.
    pub(crate) fn in_part(runs: Vec<Arc<Run>>, next: u64) -> Self {
        let view = View { runs, tables: vec![Table::new(next)] };
        Self { view: RwLock::new(Arc::new(view)), damage: OnceLock::new() }
    }

    /// Makes it whole, once.
    pub(crate) fn fill(&self, view: View, damage: Vec<Damage>) {
        assert!(!view.tables.is_empty(), "there is a table to grow");
        assert!(!damage.is_empty() || view.is_dense(), "the parts of the index follow one another");
        assert!(self.damage.set(damage).is_ok(), "an index is filled once");
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
        let mut tables = self.tables.clone();
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
        let key = Key::stream(stream);
        for part in self.parts().iter().rev() {
            let held = part.look(reach);
            let part = held.part();
            let Some((mut list, base)) = part.list(&key)? else { continue };
            if up_to < part.first() {
                continue;
            }
            let first = part.first();
            if up_to >= part.last() {
                return Ok(Some((base + list.len() as u64 - 1, first + u64::from(list.last()))));
            }
            let count = list.lower_bound(list.len(), part.relative(up_to + 1))?;
            if let Some(last) = count.checked_sub(1) {
                return Ok(Some((base + last as u64, first + u64::from(list.at(last)?))));
            }
        }
        Ok(None)
    }

    /// Where the event with that id stands in that stream, as far as runs know: its version and position.
    pub(crate) fn find_in_runs(
        &self,
        stream: &str,
        id: EventId,
        reach: Reach,
    ) -> Result<Option<(u64, u64)>, Fault> {
        let mut runs = self.runs.iter().rev().filter(|run| run.may_hold_id(id.as_bytes())).peekable();
        if runs.peek().is_none() {
            return Ok(None);
        }
        let (stream, id) = (Key::stream(stream), Key::id(id));
        for run in runs {
            let found = PartRef::Run(run, reach).find_id(&stream, &id)?;
            if found.is_some() {
                return Ok(found);
            }
        }
        Ok(None)
    }
}
