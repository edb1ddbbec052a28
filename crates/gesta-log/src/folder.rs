//! The folder of a log: its lock, its manifest, and what recovery does in it.

use std::path::Path;

use crate::bugs::{Bug, planted};
use crate::commit::{ActiveSegment, Tail};
use crate::env::{Env, Lock, Mode};
use crate::format::StartBody;
use crate::keeper::{Spare, make_segment};
use crate::limits::FIRST_SEGMENT_SIZE_BYTES;
use crate::manifest::{Manifest, ManifestError, SegmentState, segment_path};
use crate::open_error::{OpenError, io_error};
use crate::recover::{
    Listed, Loaded, RecoverError, Recovery, Rescue, TailSurvey, find_unlisted, io_error as recover_io_error,
    is_blank, load, open_listed, survey_tail,
};

/// The folder of a log, on a machine.
pub(crate) struct Folder<'a> {
    pub(crate) env: &'a dyn Env,
    pub(crate) root: &'a Path,
}

/// A log as recovery leaves it.
pub(crate) struct Recovered {
    pub(crate) listed: Vec<Listed>,
    pub(crate) survey: TailSurvey,
    pub(crate) loaded: Loaded,
}

/// Where the writer goes on.
pub(crate) struct Writable {
    pub(crate) active: ActiveSegment,
    /// What the START of the active segment will say, if it has none yet.
    pub(crate) start: Option<StartBody>,
    pub(crate) spare: Option<Spare>,
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
        let locked = self.env.lock(&self.root.join("LOCK")).map_err(io_error("locking the folder"))?;
        if planted(Bug::LockIgnored) && locked.is_err() {
            return Ok(Box::new(NoLock));
        }
        let lock = locked
            .map_err(|holder| OpenError::Locked { path: self.root.to_owned(), holder: named(holder) })?;
        lock.describe(&format!("process {}", std::process::id()))
            .map_err(io_error("writing the lock file"))?;
        Ok(lock)
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

    /// Makes an empty log. A first segment without a manifest is left of an attempt that a crash stopped: it holds nothing.
    fn create_over(&self, left: &[String], segment_size_bytes: u64) -> Result<Manifest, OpenError> {
        let what = || io_error("making the log");
        for name in left {
            self.env.remove(&self.root.join("segments").join(name)).map_err(what())?;
        }
        let store = self.env.entropy().map_err(what())?;
        let mut manifest = Manifest::new(store, self.env.entropy().map_err(what())?);
        let size = FIRST_SEGMENT_SIZE_BYTES.min(segment_size_bytes);
        make_segment(self.env, self.root, &mut manifest, size, SegmentState::Active).map_err(what())?;
        Ok(manifest)
    }

    /// Makes an empty log, unless there is a sign of one that has lost its manifest.
    pub(crate) fn create(&self, segment_size_bytes: u64) -> Result<Manifest, OpenError> {
        let missing = || OpenError::ManifestMissing { path: self.root.to_owned() };
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
        self.create_over(&segments, segment_size_bytes)
    }

    /// Settles the tail, then loads the log. Where the tail cannot be settled, what was not synced is left out.
    pub(crate) fn recover(
        &self,
        manifest: &mut Manifest,
        recovery: &mut Recovery,
    ) -> Result<Recovered, OpenError> {
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
        self.find_stale(manifest, &listed, recovery)?;
        let survey = survey_tail(manifest, &listed).map_err(self.recover_error())?;
        let is_stale = recovery.read_only.is_some();
        recovery.note_unproven(&survey);
        if is_stale {
            return self.load(manifest, listed, survey, Beyond::LeftOut);
        }
        let beyond = match self.settle(manifest, &listed, &survey, recovery) {
            Ok(()) => Beyond::Settled,
            Err(error) if error.is_storage_full() => {
                recovery.read_only = Some("the disk is full: free some space, then open it again".to_owned());
                *manifest =
                    self.manifest()?.ok_or_else(|| OpenError::NotALog { path: self.root.to_owned() })?;
                match planted(Bug::FullDiskHides) {
                    true => Beyond::LeftOut,
                    false => self.settle_in_place(manifest, recovery)?,
                }
            }
            Err(error) => return Err(self.recover_error()(error)),
        };
        // What recovery changed is read again, so that the log is loaded from what the files say and from nothing else.
        let listed = open_listed(self.env, self.root, manifest, Mode::Write, &mut Vec::new());
        let listed = listed.map_err(self.recover_error())?;
        let survey = survey_tail(manifest, &listed).map_err(self.recover_error())?;
        self.load(manifest, listed, survey, beyond)
    }

    fn load(
        &self,
        manifest: &Manifest,
        listed: Vec<Listed>,
        mut survey: TailSurvey,
        beyond: Beyond,
    ) -> Result<Recovered, OpenError> {
        if beyond == Beyond::LeftOut {
            survey.clip_to_watermark();
        }
        let loaded = load(manifest, &listed, &survey).map_err(self.recover_error())?;
        Ok(Recovered { listed, survey, loaded })
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
        let is_read_only = recovery.read_only.is_some();
        let mut rescue = Rescue { env: self.env, root: self.root, manifest, report: recovery };
        if is_read_only {
            return rescue.write_beyond_again(listed, survey);
        }
        rescue.settle(listed, survey)?;
        for (at, to) in &survey.torn_spares {
            rescue.quarantine_spare(listed[*at].segment.as_ref().expect("it was looked at"), *to)?;
        }
        rescue.make_spares_whole(listed, survey)?;
        self.remove_unclean(manifest, listed, survey)
    }

    /// Makes the tail durable where it stands, which needs no space: it may have been acknowledged, and so must be shown.
    fn settle_in_place(&self, manifest: &mut Manifest, recovery: &mut Recovery) -> Result<Beyond, OpenError> {
        let listed = open_listed(self.env, self.root, manifest, Mode::Write, &mut Vec::new());
        let listed = listed.map_err(self.recover_error())?;
        let survey = survey_tail(manifest, &listed).map_err(self.recover_error())?;
        let rescue = Rescue { env: self.env, root: self.root, manifest, report: recovery };
        rescue.write_beyond_again(&listed, &survey).map_err(self.recover_error())?;
        Ok(Beyond::Settled)
    }

    /// Looks for segments that the manifest should list and does not.
    pub(crate) fn find_stale(
        &self,
        manifest: &Manifest,
        listed: &[Listed],
        recovery: &mut Recovery,
    ) -> Result<(), OpenError> {
        let unlisted = find_unlisted(self.env, self.root, manifest, listed).map_err(self.recover_error())?;
        if !unlisted.valuable.is_empty() {
            recovery.read_only = Some(format!(
                "the manifest is stale, it does not list {}: restore the newest manifest",
                unlisted.valuable.join(", ")
            ));
        }
        Ok(())
    }

    /// Removes segments whose torn first write was kept aside, and files that are left of attempts; the boot epoch is durable
    /// with the same manifest.
    fn remove_unclean(
        &self,
        manifest: &mut Manifest,
        listed: &[Listed],
        survey: &TailSurvey,
    ) -> Result<(), RecoverError> {
        let what = || recover_io_error("removing what a crash left behind");
        let unlisted = find_unlisted(self.env, self.root, manifest, listed)?;
        let unclean =
            survey.torn_spares.iter().map(|(at, _)| listed[*at].entry.header.id).collect::<Vec<_>>();
        manifest.segments.retain(|entry| !unclean.contains(&entry.header.id));
        manifest.replace(self.env, self.root).map_err(what())?;
        for id in unclean {
            self.env.remove(&segment_path(self.root, id)).map_err(what())?;
        }
        for name in unlisted.useless {
            self.env.remove(&self.root.join("segments").join(name)).map_err(what())?;
        }
        self.env.sync_dir(&self.root.join("segments")).map_err(what())
    }

    /// Finds or makes the segment that the writer goes on in.
    pub(crate) fn writable(
        &self,
        manifest: &mut Manifest,
        listed: &[Listed],
        survey: &TailSurvey,
        tail: &Tail,
        active: Option<ActiveSegment>,
        segment_size_bytes: u64,
    ) -> Result<Writable, OpenError> {
        let unused = survey.at.map_or(0, |at| at + 1);
        let mut unused = listed[unused..].iter().filter_map(|own| {
            let segment = own.segment.clone()?;
            Some(Spare { segment, size_bytes: own.entry.size_bytes, generation: manifest.generation })
        });
        if let Some(active) = active {
            let spare = unused.next();
            return Ok(Writable { active, start: None, spare });
        }
        let (next, spare) = (unused.next(), unused.next());
        let previous = survey.at.map(|at| &listed[at].entry);
        let sealed = previous.and_then(|entry| match entry.state {
            SegmentState::Sealed(sealed) => Some((entry.header.id, sealed)),
            _ => None,
        });
        assert!(previous.is_none() || sealed.is_some(), "a used segment that takes no more frames is sealed");
        let next = match next {
            Some(next) => next,
            None => {
                let made =
                    make_segment(self.env, self.root, manifest, segment_size_bytes, SegmentState::Active);
                made.map_err(io_error("making a segment"))?
            }
        };
        let start = StartBody {
            previous_segment: sealed.map_or(0, |(id, _)| id),
            previous_end: sealed.map_or(0, |(_, sealed)| sealed.end),
            previous_checksum: sealed.map_or(0, |(_, sealed)| sealed.checksum),
            manifest_generation: next.generation,
            store: manifest.store,
            boot_epoch: manifest.boot_epoch,
        };
        let active = ActiveSegment::fresh(next.segment, next.size_bytes, tail);
        Ok(Writable { active, start: Some(start), spare })
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
