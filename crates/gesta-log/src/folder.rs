//! The folder of a log: its lock, its manifest, and what recovery does in it.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use crate::backup::has_backup;
use crate::bugs::{Bug, planted};
use crate::commit::{ActiveSegment, Tail};
use crate::damage::Damage;
use crate::env::{Env, Lock, Mode};
use crate::format::StartBody;
use crate::index::{Fault, MissingFile, Run, RunFiles, Table, View, remove_unlisted_runs};
use crate::indexer::TableLimits;
use crate::keeper::Spare;
use crate::limits::{INDEX_CACHE_BYTES_DEFAULT, INDEX_RUN_BYTES_DEFAULT};
use crate::manifest::{DurableMark, Manifest, ManifestError, RunEntry, SegmentState, segment_path};
use crate::open::run_files;
use crate::open_error::{OpenError, io_error};
use crate::point::LogPoint;
use crate::recover::{
    Listed, Loaded, RecoverError, Recovery, Rescue, Tables, TailState, TailSurvey, UnlistedEnd,
    find_unlisted, io_error as recover_io_error, is_blank, load, open_listed, survey_tail,
};
use crate::segment::SegmentFile;

/// Stands beside the segments of a log while it is restored, so that a stopped restore is not taken for a log.
pub(crate) const RESTORING: &str = "restoring";

/// The folder of a log, on a machine.
pub(crate) struct Folder<'a> {
    pub(crate) env: &'a dyn Env,
    pub(crate) root: &'a Path,
}

/// Where runs are, and when a table becomes one.
pub(crate) struct RunPolicy<'a> {
    pub(crate) files: &'a RunFiles,
    pub(crate) limits: TableLimits,
}

/// Where the writer goes on.
pub(crate) struct Writable {
    pub(crate) active: ActiveSegment,
    /// What the START of the active segment, or of the next one where there is none, will say. `None` if it has its START.
    pub(crate) start: Option<StartBody>,
    pub(crate) spare: Option<Spare>,
    /// Bytes of the segments before the active one, headers and frames.
    pub(crate) bytes_before: u64,
}

/// A log whose tail was settled, and that is still to be loaded.
pub(crate) struct Settled {
    pub(crate) listed: Vec<Listed>,
    pub(crate) survey: TailSurvey,
    /// Runs that are of use, and where in the log they end.
    pub(crate) runs: Vec<Arc<Run>>,
    pub(crate) known: LogPoint,
    pub(crate) is_read_only: bool,
}

impl Settled {
    fn new(
        listed: Vec<Listed>,
        mut survey: TailSurvey,
        (runs, known): (Vec<Arc<Run>>, LogPoint),
        beyond: Beyond,
        is_read_only: bool,
    ) -> Self {
        if beyond == Beyond::LeftOut {
            survey.clip_to_watermark();
        }
        Self { listed, survey, runs, known, is_read_only }
    }
}

/// What becomes of frames that are not known to be synced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Beyond {
    /// They were written again, or copied, and synced.
    Settled,
    LeftOut,
}

impl Folder<'_> {
    pub(crate) fn lock(&self) -> Result<Box<dyn Lock>, OpenError> {
        let path = self.root.join("LOCK");
        let locked = self.env.lock(&path).map_err(io_error(format!("locking `{}`", path.display())))?;
        if planted(Bug::LockIgnored) && locked.is_err() {
            return Ok(Box::new(NoLock));
        }
        let lock = locked
            .map_err(|holder| OpenError::Locked { path: self.root.to_owned(), holder: named(holder) })?;
        lock.describe(&format!("process {}", std::process::id()))
            .map_err(io_error(format!("writing `{}`", path.display())))?;
        Ok(lock)
    }

    /// Whether this process may write to the log, if there is one.
    pub(crate) fn is_writable(&self) -> bool {
        let is_writable = |folder: &Path| {
            let is_there = self.env.list(folder).is_ok_and(|names| !names.is_empty());
            !is_there || self.env.is_writable(folder)
        };
        is_writable(self.root) && is_writable(&self.root.join("segments"))
    }

    pub(crate) fn manifest(&self) -> Result<Option<Manifest>, OpenError> {
        let path = self.root.to_owned();
        let manifest = Manifest::load(self.env, self.root).map_err(|error| match error {
            ManifestError::Damaged => OpenError::ManifestDamaged { path },
            newer @ (ManifestError::NewerVersion { .. } | ManifestError::Unknown) => {
                OpenError::NewerFormat { path, what: newer.to_string() }
            }
            ManifestError::Io(source) => OpenError::Io { what: "reading the manifest".to_owned(), source },
        })?;
        Ok(manifest)
    }

    /// Refuses a backup in the place of a log, before anything is made in it: it would be in the way of the next backup.
    pub(crate) fn check_is_no_backup(&self) -> Result<(), OpenError> {
        if !has_backup(self.env, self.root) {
            return Ok(());
        }
        let names = self.env.list(self.root).map_err(io_error("listing the folder"))?;
        match names.iter().any(|name| name == "manifest") {
            true => Ok(()),
            false => Err(OpenError::IsABackup { path: self.root.to_owned() }),
        }
    }

    /// Takes the lock of a folder that is there and not empty: looking at a log makes none.
    pub(crate) fn lock_existing(&self) -> Result<Box<dyn Lock>, OpenError> {
        let list = |folder: &Path| self.env.list(folder).map_err(io_error("listing the folder"));
        if list(self.root)?.is_empty() && list(&self.root.join("segments"))?.is_empty() {
            return Err(OpenError::NotALog { path: self.root.to_owned() });
        }
        self.check_is_no_backup()?;
        self.lock()
    }

    /// The manifest, of a log that must have one.
    pub(crate) fn existing_manifest(&self) -> Result<Manifest, OpenError> {
        if let Some(manifest) = self.manifest()? {
            return Ok(manifest);
        }
        let list = |folder: &Path| {
            self.env.list(folder).map_err(io_error(format!("listing `{}`", folder.display())))
        };
        let is_a_log = !list(&self.root.join("segments"))?.is_empty()
            || list(self.root)?.iter().any(|name| name == "manifest.previous");
        let path = self.root.to_owned();
        Err(if is_a_log { self.manifest_missing() } else { OpenError::NotALog { path } })
    }

    /// Why there is no manifest where there are segments.
    fn manifest_missing(&self) -> OpenError {
        let path = self.root.to_owned();
        let is_restoring =
            self.env.list(self.root).is_ok_and(|names| names.iter().any(|name| name == RESTORING));
        if is_restoring { OpenError::RestoreUnfinished { path } } else { OpenError::ManifestMissing { path } }
    }

    /// Makes an empty log. A first segment without a manifest is left of an attempt that a crash stopped: it holds nothing.
    fn create_over(&self, left: &[String]) -> Result<Manifest, OpenError> {
        let what = || io_error(format!("making a log in `{}`", self.root.display()));
        for name in left {
            self.env.remove(&self.root.join("segments").join(name)).map_err(what())?;
        }
        let store = self.env.entropy().map_err(what())?;
        let mut manifest = Manifest::new(store, self.env.entropy().map_err(what())?);
        // The first append makes the first segment.
        manifest.replace(self.env, self.root).map_err(what())?;
        Ok(manifest)
    }

    /// Makes an empty log, unless there is a sign of one that has lost its manifest.
    pub(crate) fn create(&self) -> Result<Manifest, OpenError> {
        let missing = || self.manifest_missing();
        let what = || io_error("looking for a log");
        let names = self.env.list(self.root).map_err(what())?;
        let segments = self.env.list(&self.root.join("segments")).map_err(what())?;
        if names.iter().any(|name| name == "manifest.previous") {
            return Err(missing());
        }
        // What is no segment is somebody else's: it says nothing of a log, and is left alone.
        let segments = segments.into_iter().filter(|name| name.ends_with(".seg")).collect::<Vec<_>>();
        for name in &segments {
            let file = self.env.open(&self.root.join("segments").join(name), Mode::Read).map_err(what())?;
            if !is_blank(file).map_err(self.recover_error())? {
                return Err(missing());
            }
        }
        self.create_over(&segments)
    }

    /// Looks at a log that cannot be written to. What is not known to be synced is left out, and said to be.
    pub(crate) fn look_at(
        &self,
        manifest: &Manifest,
        recovery: &mut Recovery,
        files: &RunFiles,
    ) -> Result<Settled, OpenError> {
        let listed = open_listed(self.env, self.root, manifest, Mode::Read, &mut recovery.flaws);
        let listed = listed.map_err(self.recover_error())?;
        self.find_stale(manifest, &listed, recovery)?;
        let (runs, known) = self.open_runs(manifest, &listed, files)?;
        let survey = survey_tail(manifest, &listed, &known).map_err(self.recover_error())?;
        recovery.note_unproven(&survey);
        let reason = format!(
            "`{}` cannot be written to: mount it writable, or give this user the right to write there, to append{}",
            self.root.display(),
            left_out(&survey)
        );
        recovery.read_only = Some(match recovery.read_only.take() {
            Some(first) => format!("{first}; {reason}"),
            None => reason,
        });
        Ok(Settled::new(listed, survey, (runs, known), Beyond::LeftOut, true))
    }

    /// Settles the tail. Where it cannot be settled, what was not synced is left out.
    pub(crate) fn recover(
        &self,
        manifest: &mut Manifest,
        recovery: &mut Recovery,
        files: &RunFiles,
    ) -> Result<Settled, OpenError> {
        // The names that were read, that of the manifest first, may be in memory alone: nothing is done on their word before.
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
            Err(error) if error.is_storage_full() => {
                recovery.read_only = Some("the disk is full: free some space, then open it again".to_owned());
                *manifest =
                    self.manifest()?.ok_or_else(|| OpenError::NotALog { path: self.root.to_owned() })?;
                match planted(Bug::FullDiskHides) {
                    true => Beyond::LeftOut,
                    false => self.settle_in_place(manifest, recovery, &known)?,
                }
            }
            Err(error) => return Err(self.recover_error()(error)),
        };
        // What was acknowledged and is lost is proven by the manifest: it stays as it is.
        let is_read_only = recovery.read_only.is_some() || survey.state == TailState::Corrupt;
        let is_unchanged = !is_read_only && manifest.segments == before && !survey.is_torn();
        if is_unchanged {
            return Ok(Settled::new(listed, survey, (runs, known), beyond, is_read_only));
        }
        // What recovery changed is read again, so that the log is loaded from what the files say and from nothing else.
        let listed = open_listed(self.env, self.root, manifest, Mode::Write, &mut Vec::new());
        let listed = listed.map_err(self.recover_error())?;
        let (runs, known) = self.open_runs(manifest, &listed, files)?;
        let survey = survey_tail(manifest, &listed, &known).map_err(self.recover_error())?;
        Ok(Settled::new(listed, survey, (runs, known), beyond, is_read_only))
    }

    /// Loads what the runs do not cover. Tables that are full become runs on the way, unless the log is read-only. Ends early, with an
    /// error, once `stop` is set.
    pub(crate) fn load(
        &self,
        manifest: &mut Manifest,
        settled: &Settled,
        policy: &RunPolicy<'_>,
        stop: Option<&AtomicBool>,
    ) -> Result<Loaded, OpenError> {
        let Settled { listed, survey, runs, known: from, is_read_only } = settled;
        let (known, is_read_only) = (runs.len(), *is_read_only);
        let view = View { runs: runs.clone(), ..View::default() };
        let writes = (!is_read_only).then_some(self.env);
        let next_id = manifest.next_run_id();
        let mut tables = RunWriter { env: writes, policy, runs: Vec::new(), next_id };
        let loaded = load(manifest, listed, survey, view, from, &mut tables, stop);
        let mut loaded = loaded.map_err(self.recover_error())?;
        loaded.view.runs.append(&mut tables.runs);
        let found = loaded.view.runs.iter().map(|run| RunEntry::of(run)).collect::<Vec<_>>();
        // Where events are lost, the entries of runs that cannot be used are proof of it.
        let last = |runs: &[RunEntry]| runs.last().map_or(0, |entry| entry.last);
        let is_loss = loaded.damage.iter().any(Damage::loses_events);
        let is_read_only = is_read_only || (is_loss && last(&found) < last(&manifest.runs));
        if !is_read_only && manifest.runs != found {
            tracing::info!(runs = found.len(), kept = known, "the index was built anew in part");
            manifest.runs = found;
            manifest.replace(self.env, self.root).map_err(io_error("replacing the manifest"))?;
        }
        if !is_read_only {
            // What cannot be removed is in nobody's way, and is tried again.
            if let Err(error) = remove_unlisted_runs(self.env, self.root, &manifest.runs) {
                tracing::warn!(%error, "index files that nobody uses could not be removed");
            }
        }
        Ok(loaded)
    }

    /// Opens the runs that the manifest lists, up to the first that is of no use: those behind it are built anew. Gives where the
    /// last one ends.
    pub(crate) fn open_runs(
        &self,
        manifest: &Manifest,
        listed: &[Listed],
        files: &RunFiles,
    ) -> Result<(Vec<Arc<Run>>, LogPoint), OpenError> {
        let mut runs = Vec::<Arc<Run>>::new();
        let segment = |id: u64| {
            let own = listed.iter().find(|own| own.entry.header.id == id)?;
            Some(own.segment.clone().unwrap_or_else(|| {
                let salt = own.entry.header.salt;
                Arc::new(SegmentFile { id, salt, file: Arc::new(MissingFile) })
            }))
        };
        for entry in &manifest.runs {
            let next = runs.last().map_or(1, |run| run.facts.last + 1);
            let run = match files.open(self.env, entry, segment) {
                Ok(run) => run.filter(|run| run.facts.first == next),
                Err(Fault::Log { segment, source, .. }) => {
                    return Err(OpenError::Io { what: format!("reading segment {segment}"), source });
                }
                Err(error) => {
                    tracing::warn!(%error, "an index file cannot be read");
                    None
                }
            };
            let Some(run) = run else {
                tracing::warn!(
                    run = entry.id,
                    "an index file is of no use: it is built anew, with those behind it"
                );
                break;
            };
            runs.push(Arc::new(run));
        }
        let end = runs.last().map_or(LogPoint::START, |run| run.facts.end);
        Ok((runs, end))
    }

    /// Makes the tail durable, and removes what is left of attempts. A log that stays read-only is only written to again, with
    /// the same bytes.
    fn settle(
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
            rescue.quarantine_spare(listed[*at].segment.as_ref().expect("it was looked at"), *to)?;
        }
        // Every frame that is left was synced.
        manifest.durable.raise(DurableMark::of(&survey.end()));
        self.tidy_unused(manifest, listed, survey)
    }

    /// Makes the tail durable where it stands, which needs no space: it may have been acknowledged, and so must be shown.
    fn settle_in_place(
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

    /// What an open would report. Changes nothing, and reads what no run covers.
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
        let view = View { runs, ..View::default() };
        let loaded = load(manifest, &listed, &survey, view, &known, &mut ForgetTables, None);
        recovery.note_damage(&survey, &loaded.map_err(self.recover_error())?.damage);
        Ok(recovery)
    }

    /// Looks for segments that the manifest should list and does not. Gives how far the log goes on in them.
    pub(crate) fn find_stale(
        &self,
        manifest: &Manifest,
        listed: &[Listed],
        recovery: &mut Recovery,
    ) -> Result<Option<UnlistedEnd>, OpenError> {
        let unlisted = find_unlisted(self.env, self.root, manifest, listed).map_err(self.recover_error())?;
        if !unlisted.valuable.is_empty() {
            recovery.may_miss_events = true;
            recovery.read_only = Some(format!(
                "the manifest is stale, it does not list {}: put the newest manifest back, or rebuild it with `gesta repair --manifest`",
                unlisted.valuable.join(", ")
            ));
        }
        Ok(unlisted.end)
    }

    /// Keeps one spare and removes the other unused segments, and files that are left of attempts. The same manifest makes the boot epoch
    /// durable.
    fn tidy_unused(
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
        // Nobody has written to the spare, and nobody will before the manifest lists it as active.
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

    /// Finds where the writer goes on: in a segment with room, or else in the next one. That is a spare, or the first append makes it.
    pub(crate) fn writable(
        &self,
        manifest: &Manifest,
        listed: &[Listed],
        survey: &TailSurvey,
        tail: &Tail,
        active: Option<ActiveSegment>,
    ) -> Writable {
        let used = survey.at.map_or(0, |at| at + 1);
        let mut unused = listed[used..].iter().filter_map(|own| {
            let segment = own.segment.clone().filter(|_| own.entry.header.origin == manifest.store)?;
            let (size_bytes, generation) = (own.entry.size_bytes, manifest.generation);
            Some(Spare { segment, size_bytes, generation, is_active: false })
        });
        let spare = unused.next();
        let ended = |own: &Listed| match own.entry.state {
            SegmentState::Sealed(sealed) => Some((own.entry.header.id, sealed)),
            SegmentState::Active | SegmentState::Spare => None,
        };
        let bytes_before = listed[..used].iter().filter_map(ended).map(|(_, sealed)| sealed.end).sum();
        if let Some(active) = active {
            return Writable { active, start: None, spare, bytes_before };
        }
        let previous = survey.at.map(|at| &listed[at]);
        let sealed = previous.and_then(ended);
        assert!(previous.is_none() || sealed.is_some(), "a used segment that takes no more frames is sealed");
        let start = StartBody {
            previous_segment: sealed.map_or(0, |(id, _)| id),
            previous_end: sealed.map_or(0, |(_, sealed)| sealed.end),
            previous_checksum: sealed.map_or(0, |(_, sealed)| sealed.checksum),
            manifest_generation: manifest.generation,
            store: manifest.store,
            boot_epoch: manifest.boot_epoch,
        };
        Writable { active: ActiveSegment::none(tail), start: Some(start), spare, bytes_before }
    }

    pub(crate) fn recover_error(&self) -> impl FnOnce(RecoverError) -> OpenError + use<> {
        let path = self.root.to_owned();
        move |error| match error {
            RecoverError::Newer(newer) => OpenError::NewerFormat { path, what: newer.to_string() },
            RecoverError::Walk(crate::walk::WalkError::Io { segment, source }) => {
                OpenError::Io { what: format!("reading segment {segment}"), source }
            }
            RecoverError::Walk(newer) => OpenError::NewerFormat { path, what: newer.to_string() },
            RecoverError::Io { what, source } => OpenError::Io { what, source },
        }
    }
}

/// The unused segment that the log can go on in, and those that are to be removed: the file is missing, torn, shorter than it was made, or
/// one too many. All of them were looked through, and hold no frame. None of either, where the end of the log is damaged or missing: nothing is tidied up there.
fn spare_among<'a>(
    listed: &'a [Listed],
    survey: &TailSurvey,
) -> io::Result<(Option<&'a Listed>, Vec<&'a Listed>)> {
    let used = survey.at.map_or(0, |at| at + 1);
    let (mut spare, mut unclean) = (None, Vec::new());
    let may_be_loss = |own: &Listed| own.segment.is_none() && own.entry.state != SegmentState::Spare;
    if survey.state == TailState::Corrupt || listed[used..].iter().any(may_be_loss) {
        return Ok((spare, unclean));
    }
    for (at, own) in listed.iter().enumerate().skip(used) {
        let is_torn = survey.torn_spares.iter().any(|(torn, _)| *torn == at);
        let is_whole = match &own.segment {
            Some(segment) => {
                !is_torn && (planted(Bug::ShortSpareUsed) || segment.file.len()? >= own.entry.size_bytes)
            }
            None => false,
        };
        match &spare {
            None if is_whole => spare = Some(own),
            _ => unclean.push(own),
        }
    }
    Ok((spare, unclean))
}

/// What to say of events that are left out because nothing proves that they are on the disk.
fn left_out(survey: &TailSurvey) -> String {
    let beyond = survey.beyond_watermark().iter().filter(|frame| frame.header.events > 0);
    let mut positions = beyond.map(|frame| (frame.header.position, frame.header.next_position() - 1));
    match (positions.next(), positions.next_back()) {
        (Some((from, to)), last) => {
            let to = last.map_or(to, |(_, to)| to);
            format!(
                "; events {from} to {to} are whole and not known to be on the disk, they are not shown until the log is opened where it can be written to"
            )
        }
        (None, _) => String::new(),
    }
}

/// Writes tables as runs while a log is loaded.
struct RunWriter<'a> {
    /// `None` once it cannot: then tables stay in memory.
    env: Option<&'a dyn Env>,
    policy: &'a RunPolicy<'a>,
    runs: Vec<Arc<Run>>,
    next_id: u64,
}

impl Tables for RunWriter<'_> {
    fn is_full(&self, bytes: usize, log_bytes: u64, _position: u64) -> bool {
        self.env.is_some() && self.policy.limits.is_full(bytes, log_bytes)
    }

    fn take(&mut self, table: &Arc<Table>, end: &LogPoint) -> bool {
        let Some(env) = self.env else { return false };
        match self.policy.files.write(env, self.next_id, &table.read(), *end) {
            Ok(run) => {
                self.next_id += 1;
                self.runs.push(Arc::new(run));
                true
            }
            Err(error) => {
                tracing::warn!(%error, "the index of what was loaded cannot be written, and stays in memory");
                // What is left of it is in the way on a disk that is full. Where this fails too, the next open tries again.
                let _ = env.remove(&self.policy.files.path(self.next_id));
                self.env = None;
                false
            }
        }
    }
}

/// Lets tables go once they are full: only damage is looked for.
struct ForgetTables;

impl Tables for ForgetTables {
    fn is_full(&self, bytes: usize, _log_bytes: u64, _position: u64) -> bool {
        bytes as u64 >= INDEX_RUN_BYTES_DEFAULT
    }

    fn take(&mut self, _table: &Arc<Table>, _end: &LogPoint) -> bool {
        true
    }
}

/// What a second process holds that ignores the lock.
struct NoLock;

impl Lock for NoLock {
    fn describe(&self, _holder: &str) -> std::io::Result<()> {
        Ok(())
    }
}

fn named(holder: String) -> String {
    if holder.trim().is_empty() { "another process".to_owned() } else { holder.trim().to_owned() }
}
