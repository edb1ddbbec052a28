//! Harm to the index of a simulated log, and the checks after it.

use std::sync::Arc;

use gesta_log::sim::{self};

use super::{HEALING_OPENS_MAX, Simulation};
use crate::check::{check_shown, is_index_damage};
use crate::exercise::exercise_index;
use crate::harm::{HarmedIndex, IndexHarm, harm_index, index_files};
use crate::model::Wrong;

/// Batches that are appended while the index files are unlinked.
const BATCHES_WITHOUT_NAMES: u64 = 6;

impl Simulation {
    /// Closes the log and harms its index. Returns `None` if it has no index.
    pub(super) fn harm_index(&mut self, how: IndexHarm) -> Result<Option<HarmedIndex>, Wrong> {
        if how == IndexHarm::FolderUnlinked {
            return self.unlink_index();
        }
        self.close_clean()?;
        Ok(harm_index(&self.machine, how, &self.earlier_index, &mut self.random))
    }

    fn close_clean(&mut self) -> Result<(), Wrong> {
        self.end_process(super::Between::Close)?;
        // A power cut could restore the names of merged runs. Then some files would not be listed.
        self.machine.kill();
        Ok(())
    }

    /// Unlinks all index files while the log uses them.
    fn unlink_index(&mut self) -> Result<Option<HarmedIndex>, Wrong> {
        let harmed =
            harm_index(&self.machine, IndexHarm::FolderUnlinked, &self.earlier_index, &mut self.random);
        let log = Arc::clone(self.log.as_ref().expect("it is open"));
        if !exercise_index(&log, &self.model)? {
            return Err("an unlinked file is reported as damaged".to_owned());
        }
        for _ in 0..BATCHES_WITHOUT_NAMES {
            self.append(1)?;
            log.keep_inline();
        }
        drop(log);
        self.log.take().iter().for_each(|log| log.close());
        self.machine.cut_power();
        // Runs that were merged since then have files again.
        Ok(harmed.map(|_| HarmedIndex::default()))
    }

    /// Checks that a verification reports the harm, that every answer is right or reports damage, and that opening
    /// the log again repairs the index.
    pub(super) fn meet_harmed_index(&mut self, harmed: &HarmedIndex) -> Result<(), Wrong> {
        self.outcome.harms += 1;
        let report =
            sim::verify(&self.machine).map_err(|error| format!("the log cannot be verified: {error:?}"))?;
        let is_told = !report.index_errors.is_empty();
        if harmed.is_told.is_some_and(|expected| expected != is_told) {
            return Err(format!("the verification of the index reports {:?}", report.index_errors));
        }
        if report.events != self.model.log.len() as u64 || !report.recovery.damage.is_empty() {
            return Err(format!("events are reported as lost with the index: {report:?}"));
        }
        for _ in 0..HEALING_OPENS_MAX {
            if self.meet_index()? {
                return self.check_healed(harmed);
            }
        }
        Err("a harmed index is not repaired".to_owned())
    }

    /// Opens the log and looks up everything. Returns `false` if a query was not answered.
    fn meet_index(&mut self) -> Result<bool, Wrong> {
        let log = self.open()?;
        let log = Arc::new(log.map_err(|error| format!("the log does not open: {error:?}"))?);
        let recovery = log.recovery();
        if log.read_only().is_some() || !recovery.damage.is_empty() || !recovery.flaws.is_empty() {
            return Err(format!("damage to the index counts as damage to the log: {recovery:?}"));
        }
        self.log = Some(Arc::clone(&log));
        let mut is_whole = exercise_index(&log, &self.model)?;
        match self.append(1).and_then(|()| check_shown(&log, &self.model, 0)) {
            Err(wrong) if is_index_damage(&wrong) => is_whole = false,
            appended => appended?,
        }
        self.log = None;
        log.close();
        Ok(is_whole)
    }

    fn check_healed(&self, harmed: &HarmedIndex) -> Result<(), Wrong> {
        let report =
            sim::verify(&self.machine).map_err(|error| format!("the log cannot be verified: {error:?}"))?;
        if !report.is_sound() {
            return Err(format!("every query was answered, but a verification reports {report:?}"));
        }
        match harmed.foreign.iter().find(|path| self.machine.content(path).is_none()) {
            Some(path) => Err(format!("the foreign file {} was changed or removed", path.display())),
            None => Ok(()),
        }
    }

    /// Checks that runs that were shown before are not rebuilt: a crash alone costs no index.
    pub(super) fn check_runs_stay(&self) -> Result<(), Wrong> {
        let now = self.log().indexed_to_inline();
        if now >= self.indexed_to {
            return Ok(());
        }
        Err(format!(
            "runs covered positions up to {}, and only up to {now} after the process ended",
            self.indexed_to
        ))
    }

    /// Remembers the index before its process ends.
    pub(super) fn remember_index(&mut self) {
        if let Some(log) = &self.log {
            self.indexed_to = log.indexed_to_inline();
        }
    }

    /// Remembers the current files of the index.
    pub(super) fn remember_index_files(&mut self) {
        self.earlier_index = index_files(&self.machine);
    }
}
