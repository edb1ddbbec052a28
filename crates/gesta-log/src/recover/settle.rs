//! Settles the tail of a log: the remains of a crash become durable, or move to quarantine.

use std::io;

use super::error::{RecoverError, io_error as recover_io_error};
use super::load::load;
use super::rescue::Rescue;
use super::resume::spare_among;
use super::runs::{ForgetTables, run_files};
use super::settled::{Beyond, Settled};
use super::tail::{TailState, TailSurvey, survey_tail};
use super::unlisted::{UnlistedEnd, find_unlisted};
use super::{Listed, Recovery, open_listed};
use crate::bugs::{Bug, planted};
use crate::env::Mode;
use crate::error::{OpenError, io_error};
use crate::folder::{Folder, segment_path};
use crate::format::{DurableMark, Manifest, SegmentState};
use crate::index::{IndexSnapshot, RunFiles};
use crate::limits::INDEX_CACHE_BYTES_DEFAULT;
use crate::read_only::{ReadOnly, ReadOnlyCause};
use crate::segment::LogPoint;

impl Folder<'_> {
    /// Inspects a log that may not be written to, for the reason given. Frames that are not known to be synced are left
    /// out and reported.
    pub(crate) fn look_at(
        &self,
        manifest: &Manifest,
        recovery: &mut Recovery,
        files: &RunFiles,
        mut why: ReadOnly,
    ) -> Result<Settled, OpenError> {
        let listed = open_listed(self.env, self.root, manifest, Mode::Read, &mut recovery.flaws);
        let listed = listed.map_err(self.recover_error())?;
        self.find_stale(manifest, &listed, recovery)?;
        let (runs, known) = self.open_runs(manifest, &listed, files)?;
        let survey = survey_tail(manifest, &listed, &known).map_err(self.recover_error())?;
        recovery.note_unproven(&survey);
        recovery.left_out = left_out(&survey);
        recovery.may_miss_events |= recovery.left_out.is_some();
        if let Some((from, to)) = recovery.left_out {
            why.reason += &format!(
                "; events {from} to {to} are valid but not known to be on the disk; they are not shown until the log is opened with write access"
            );
        }
        recovery.read_only = Some(match recovery.read_only.take() {
            Some(first) => first.and(why),
            None => why,
        });
        Ok(Settled::new(listed, survey, (runs, known), Beyond::LeftOut, true))
    }

    /// Settles the tail. If that is impossible, frames that were not synced are left out.
    pub(crate) fn recover(
        &self,
        manifest: &mut Manifest,
        recovery: &mut Recovery,
        files: &RunFiles,
    ) -> Result<Settled, OpenError> {
        // The names that were read, above all the manifest's, may be in memory only. Recovery must not act on them
        // before they are durable.
        for folder in [self.root, &self.root.join("segments")] {
            if planted(Bug::NamesTrusted) {
                break;
            }
            self.env.sync_dir(folder).map_err(io_error("syncing the folder"))?;
        }
        let flaws = &mut recovery.flaws;
        let listed =
            open_listed(self.env, self.root, manifest, Mode::Write, flaws).map_err(self.recover_error())?;
        let unlisted = self.find_stale(manifest, &listed, recovery)?;
        let (runs, known) = self.open_runs(manifest, &listed, files)?;
        let mut survey = survey_tail(manifest, &listed, &known).map_err(self.recover_error())?;
        survey.unlisted = unlisted;
        let is_stale = recovery.read_only.is_some();
        recovery.note_unproven(&survey);
        if is_stale {
            return Ok(Settled::new(listed, survey, (runs, known), Beyond::LeftOut, true));
        }
        let before = manifest.segments.clone();
        let beyond = match self.settle(manifest, &listed, &survey, recovery) {
            Ok(()) => Beyond::Settled,
            // Until the next open. With space, the end would have to be settled again, which may move the last frames to
            // another segment: readers of the open log hold their places in this one.
            Err(error) if error.is_storage_full() => {
                let reason = "the disk is full: free some space, then open it again";
                recovery.read_only = Some(ReadOnly::new(ReadOnlyCause::StorageFull, reason));
                *manifest =
                    self.manifest()?.ok_or_else(|| OpenError::NotALog { path: self.root.to_owned() })?;
                match planted(Bug::FullDiskHides) {
                    true => Beyond::LeftOut,
                    false => self.settle_in_place(manifest, recovery, &known)?,
                }
            }
            Err(error) => return Err(self.recover_error()(error)),
        };
        // The manifest proves the loss of acknowledged events, so it stays as it is.
        let is_read_only = recovery.read_only.is_some() || survey.state == TailState::Corrupt;
        let is_unchanged = !is_read_only && manifest.segments == before && !survey.is_torn();
        if is_unchanged {
            return Ok(Settled::new(listed, survey, (runs, known), beyond, is_read_only));
        }
        // Recovery reads its changes again, so that the log is loaded from the files and from nothing else.
        let listed = open_listed(self.env, self.root, manifest, Mode::Write, &mut Vec::new());
        let listed = listed.map_err(self.recover_error())?;
        let (runs, known) = self.open_runs(manifest, &listed, files)?;
        let survey = survey_tail(manifest, &listed, &known).map_err(self.recover_error())?;
        Ok(Settled::new(listed, survey, (runs, known), beyond, is_read_only))
    }

    /// Makes the tail durable, and removes leftovers of interrupted work. In a log that stays read-only, it only
    /// writes the same bytes again.
    pub(crate) fn settle(
        &self,
        manifest: &mut Manifest,
        listed: &[Listed],
        survey: &TailSurvey,
        recovery: &mut Recovery,
    ) -> Result<(), RecoverError> {
        let is_read_only = recovery.read_only.is_some() || survey.state == TailState::Corrupt;
        let mut rescue = Rescue { env: self.env, root: self.root, manifest, report: recovery };
        if is_read_only {
            return rescue.write_beyond_again(listed, survey);
        }
        rescue.settle(listed, survey)?;
        for (at, to) in &survey.torn_spares {
            rescue.quarantine_spare(listed[*at].segment.as_ref().expect("the survey opened it"), *to)?;
        }
        // Every remaining frame is synced.
        manifest.durable.raise(DurableMark::of(&survey.end()));
        self.tidy_unused(manifest, listed, survey)
    }

    /// Makes the tail durable in place, which needs no space. The tail may have been acknowledged, so it must be
    /// shown.
    pub(crate) fn settle_in_place(
        &self,
        manifest: &mut Manifest,
        recovery: &mut Recovery,
        known: &LogPoint,
    ) -> Result<Beyond, OpenError> {
        let listed = open_listed(self.env, self.root, manifest, Mode::Write, &mut Vec::new());
        let listed = listed.map_err(self.recover_error())?;
        let survey = survey_tail(manifest, &listed, known).map_err(self.recover_error())?;
        let rescue = Rescue { env: self.env, root: self.root, manifest, report: recovery };
        rescue.write_beyond_again(&listed, &survey).map_err(self.recover_error())?;
        Ok(Beyond::Settled)
    }

    /// The report that an open would give. Changes nothing, and reads the part that no run covers.
    pub(crate) fn examine(&self, manifest: &Manifest) -> Result<Recovery, OpenError> {
        let mut recovery = Recovery::default();
        let listed = open_listed(self.env, self.root, manifest, Mode::Read, &mut recovery.flaws);
        let listed = listed.map_err(self.recover_error())?;
        let unlisted = self.find_stale(manifest, &listed, &mut recovery)?;
        let files = run_files(self.root, manifest, INDEX_CACHE_BYTES_DEFAULT);
        let (runs, known) = self.open_runs(manifest, &listed, &files)?;
        let mut survey = survey_tail(manifest, &listed, &known).map_err(self.recover_error())?;
        survey.unlisted = unlisted;
        recovery.note_unproven(&survey);
        let snapshot = IndexSnapshot { runs, ..IndexSnapshot::default() };
        let loaded = load(manifest, &listed, &survey, snapshot, &known, &mut ForgetTables, None);
        recovery.note_damage(&survey, &loaded.map_err(self.recover_error())?.damage);
        Ok(recovery)
    }

    /// Looks for segments that the manifest should list and does not. Returns the last event in them.
    pub(crate) fn find_stale(
        &self,
        manifest: &Manifest,
        listed: &[Listed],
        recovery: &mut Recovery,
    ) -> Result<Option<UnlistedEnd>, OpenError> {
        let unlisted = find_unlisted(self.env, self.root, manifest, listed).map_err(self.recover_error())?;
        if !unlisted.valuable.is_empty() {
            recovery.may_miss_events = true;
            let reason = format!(
                "the manifest is stale and does not list {}: put the newest manifest back, or rebuild it with `gesta repair --manifest`",
                unlisted.valuable.join(", ")
            );
            recovery.read_only = Some(ReadOnly::new(ReadOnlyCause::StaleManifest, reason));
        }
        Ok(unlisted.end)
    }

    /// Keeps one spare, and removes the other unused segments and the files of interrupted work. The manifest that it
    /// writes also makes the boot epoch durable.
    pub(crate) fn tidy_unused(
        &self,
        manifest: &mut Manifest,
        listed: &[Listed],
        survey: &TailSurvey,
    ) -> Result<(), RecoverError> {
        let what = || recover_io_error(format!("tidying up `{}`", self.root.join("segments").display()));
        let unlisted = find_unlisted(self.env, self.root, manifest, listed)?;
        let used = survey.at.map_or(0, |at| at + 1);
        let is_missing_spare =
            |own: &&Listed| own.segment.is_none() && own.entry.state == SegmentState::Spare;
        let missing = listed[..used].iter().filter(is_missing_spare);
        let (spare, unclean) = spare_among(listed, survey).map_err(what())?;
        let unclean = missing.chain(unclean).map(|own| own.entry.header.id).collect::<Vec<_>>();
        manifest.segments.retain(|entry| !unclean.contains(&entry.header.id));
        // Nothing was written to the spare, and nothing will be before the manifest lists it as active.
        let last_used = used.checked_sub(1).map(|at| (&listed[at], SegmentState::Active));
        let spare = spare.map(|own| (own, SegmentState::Spare));
        for (own, state) in last_used.into_iter().chain(spare) {
            let mut entries = manifest.segments.iter_mut();
            let entry = entries.find(|entry| entry.header.id == own.entry.header.id);
            let unsealed = entry.filter(|entry| !matches!(entry.state, SegmentState::Sealed(_)));
            if let Some(entry) = unsealed {
                entry.state = state;
            }
        }
        manifest.replace(self.env, self.root).map_err(what())?;
        for id in unclean {
            match self.env.remove(&segment_path(self.root, id)) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                removed => removed.map_err(what())?,
            }
        }
        for name in unlisted.useless {
            self.env.remove(&self.root.join("segments").join(name)).map_err(what())?;
        }
        self.env.sync_dir(&self.root.join("segments")).map_err(what())
    }

    pub(crate) fn recover_error(&self) -> impl FnOnce(RecoverError) -> OpenError + use<> {
        let path = self.root.to_owned();
        move |error| match error {
            RecoverError::Newer(newer) => OpenError::NewerFormat { path, what: newer.to_string() },
            RecoverError::Walk(crate::segment::WalkError::Io { segment, source }) => {
                OpenError::Io { what: format!("reading segment {segment}"), source }
            }
            RecoverError::Walk(newer) => OpenError::NewerFormat { path, what: newer.to_string() },
            RecoverError::Io { what, source } => OpenError::Io { what, source },
        }
    }
}

/// The first and the last event that are left out because nothing proves that they are on the disk.
fn left_out(survey: &TailSurvey) -> Option<(u64, u64)> {
    let mut beyond = survey.beyond_watermark().iter().filter(|frame| frame.header.events > 0);
    let first = beyond.next()?;
    let last = beyond.next_back().unwrap_or(first);
    Some((first.header.position, last.header.next_position() - 1))
}
