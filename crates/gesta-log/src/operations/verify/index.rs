//! Compares the index with the log: each table from a scan of the log with the run that covers it, in bounded memory.

use std::sync::Arc;

use gesta_core::EventId;

use crate::index::{
    IndexSnapshot, IndexedEvent, Key, Kind, LookupError, MemTable, PartRef, ReadMode, Run, State,
};
use crate::recover::Tables;
use crate::segment::LogPoint;

/// A table of this size is compared and dropped.
const TABLE_BYTES: usize = 64 << 20;
/// The most errors in a report.
const ERRORS_MAX: usize = 20;

/// Compares the tables of a scan with the runs of the log.
pub(crate) struct IndexCheck {
    snapshot: IndexSnapshot,
    /// Positions in the lists of the tables within the current run.
    postings: u64,
    found: Found,
    /// Tables after the last run, to find ids that a stream holds twice.
    behind: Vec<State>,
}

/// The result of the comparison.
#[derive(Default)]
pub(crate) struct Found {
    pub(crate) runs: usize,
    pub(crate) streams: u64,
    pub(crate) repeated_ids: u64,
    pub(crate) errors: Vec<String>,
}

impl IndexCheck {
    /// `runs` are the usable ones of `listed` runs.
    pub(crate) fn new(runs: Vec<Arc<Run>>, listed: usize) -> Self {
        let mut found = Found { runs: runs.len(), ..Found::default() };
        if runs.len() < listed {
            let errors = format!("{} of {listed} index files are of no use", listed - runs.len());
            found.errors.push(errors);
        }
        // Look-ups do without a damaged filter, so the comparison does not find the damage.
        let filters = runs.iter().filter_map(|run| run.prove_filters().err());
        found.errors.extend(filters.map(|fault| fault.to_string()).take(ERRORS_MAX));
        Self {
            snapshot: IndexSnapshot { runs, ..IndexSnapshot::default() },
            postings: 0,
            found,
            behind: Vec::new(),
        }
    }

    /// Compares the remaining tables.
    pub(crate) fn finish(mut self, tables: &[Arc<MemTable>]) -> Found {
        tables.iter().for_each(|table| self.check(&table.read()));
        self.found
    }

    fn run_of(&self, position: u64) -> Option<&Arc<Run>> {
        let at = self.snapshot.runs.partition_point(|run| run.footer.last < position);
        self.snapshot.runs.get(at).filter(|run| run.footer.first <= position)
    }

    fn check(&mut self, state: &State) {
        if state.len() == 0 {
            return;
        }
        let created = state.find(Kind::Created, &[]);
        self.found.streams += created.map_or(0, |(positions, _)| positions.len() as u64);
        let Some(run) = self.run_of(state.first).map(Arc::clone) else { return };
        let compared = compare(state, &run);
        self.note(run.footer.id, compared);
        self.postings += state.postings();
        if state.last() == run.footer.last {
            let postings = std::mem::take(&mut self.postings);
            if postings != run.footer.postings {
                let what = format!("it holds {} positions, the log has {postings}", run.footer.postings);
                self.note(run.footer.id, Ok(Some(what)));
            }
        }
    }

    fn note(&mut self, run: u64, compared: Result<Option<String>, LookupError>) {
        let error = match compared {
            Ok(None) => return,
            Ok(Some(what)) => format!("index file {run}: {what}"),
            Err(fault) => fault.to_string(),
        };
        if self.found.errors.len() < ERRORS_MAX {
            self.found.errors.push(error);
        }
    }

    /// Whether the stream holds the id at another position too.
    fn stands_elsewhere(
        &self,
        stream: &str,
        id: EventId,
        own: u64,
        table: &State,
    ) -> Result<bool, LookupError> {
        if table.find_id(stream, id).is_some() {
            return Ok(true);
        }
        if self.behind.iter().any(|table| table.find_id(stream, id).is_some()) {
            return Ok(true);
        }
        let found = self.snapshot.find_in_runs(&[(stream, id)], ReadMode::Disk)?;
        Ok(found.iter().any(|found| found.place.1 != own))
    }
}

impl Tables for IndexCheck {
    fn is_full(&self, bytes: usize, _log_bytes: u64, position: u64) -> bool {
        bytes >= TABLE_BYTES || self.run_of(position).is_some_and(|run| run.footer.last == position)
    }

    fn take(&mut self, table: State, _end: &LogPoint) -> Option<State> {
        self.check(&table);
        if self.run_of(table.first).is_none() {
            self.behind.push(table);
        }
        None
    }

    fn see(&mut self, event: &IndexedEvent<'_>, position: u64, table: &State) {
        // If the look-up fails, the comparison of the id's table reports it.
        let twice = self.stands_elsewhere(event.stream, event.id, position, table).unwrap_or(false);
        self.found.repeated_ids += u64::from(twice);
    }
}

/// A key of a table, its kind first.
fn key_of(key: &[u8]) -> Key {
    let kind = Kind::ALL.into_iter().find(|kind| *kind as u8 == key[0]).expect("a table knows its kinds");
    Key::new(kind, &key[1..])
}

/// The first difference between a run and a table within it.
fn compare(table: &State, run: &Run) -> Result<Option<String>, LookupError> {
    let part = PartRef::Run(run, ReadMode::Disk);
    let shift = part.relative(table.first);
    let mut offsets = run.offsets(ReadMode::Disk);
    for (position, offset) in (shift..).zip(&table.offsets) {
        if offsets.get(position)? != *offset {
            return Ok(Some(format!(
                "position {} has another offset",
                run.footer.first + u64::from(position)
            )));
        }
    }
    for extent in table.extents.iter().filter(|extent| extent.first <= table.last()) {
        let location = part.locator().location(part.relative(extent.first))?;
        if location.segment.id != extent.segment.id {
            return Ok(Some(format!("position {} lies in another segment", extent.first)));
        }
    }
    let compared = table.visit_sorted(|key, positions, base| {
        let differs = compare_key(run, table.first, key, (positions, base)).transpose();
        differs.map_or(Ok(()), Err)
    });
    compared.map_or_else(|differs| differs.map(Some), |()| Ok(None))
}

/// The first difference between a run and a table in one key.
fn compare_key(
    run: &Run,
    first: u64,
    key: &[u8],
    (positions, base): (&[u32], u64),
) -> Result<Option<String>, LookupError> {
    let shift = PartRef::Run(run, ReadMode::Disk).relative(first);
    let Some(list) = run.find(&key_of(key), ReadMode::Disk)? else {
        return Ok(Some(format!("the key {} is missing", key.escape_ascii())));
    };
    let is_stream = key[0] == Kind::Stream as u8;
    let first_version = list.base;
    let mut cursor = run.cursor(list, ReadMode::Disk);
    let index = cursor.lower_bound(shift + positions[0])?;
    for (index, position) in (index..).zip(positions) {
        if index >= cursor.list.count || cursor.at(index)? != shift + position {
            let position = first + u64::from(*position);
            return Ok(Some(format!("the key {} lacks position {position}", key.escape_ascii())));
        }
    }
    if is_stream && first_version + index as u64 != base {
        return Ok(Some(format!("the stream {} has other versions", key[1..].escape_ascii())));
    }
    Ok(None)
}
