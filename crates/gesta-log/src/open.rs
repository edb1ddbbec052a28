//! Opening a log: lock, manifest, recovery, and what the writer goes on from.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::commit::{ActiveSegment, Tail};
use crate::env::{Env, Lock, Mode, OsEnv};
use crate::format::StartBody;
use crate::index::Index;
use crate::keeper::{Spare, make_segment};
use crate::limits::{
    FIRST_SEGMENT_SIZE_BYTES, SEGMENT_SIZE_BYTES_DEFAULT, SEGMENT_SIZE_BYTES_MAX, SEGMENT_SIZE_BYTES_MIN,
};
use crate::manifest::{Manifest, ManifestError, SegmentState, segment_name, segment_path};
use crate::recover::{
    Listed, Loaded, RecoverError, Recovery, Rescue, TailState, TailSurvey, find_unlisted, folders, load,
    open_listed, survey_tail,
};
use crate::shared::Clock;

/// How a log is opened.
#[derive(Clone)]
pub struct Options {
    /// The size of a full segment in bytes, 64 KiB to 1 GiB; by default 256 MiB. It bounds a batch to about half of it.
    pub segment_size_bytes: u64,
    /// What tells the time for `recorded_at`; by default the machine's clock.
    pub clock: Option<Clock>,
    /// Threads that read from the disk, at least 1; by default 2.
    pub read_threads: usize,
}

impl Default for Options {
    fn default() -> Self {
        Self { segment_size_bytes: SEGMENT_SIZE_BYTES_DEFAULT, clock: None, read_threads: 2 }
    }
}

/// Why a log cannot be opened. Nothing in it was changed that was acknowledged.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Another process has it open.
    #[error("`{}` is in use by {holder}: stop it, or talk to it instead", path.display())]
    Locked {
        /// The folder.
        path: PathBuf,
        /// What the other process says of itself.
        holder: String,
    },
    /// An option is out of its range.
    #[error(
        "a segment of {segment_size_bytes} bytes is out of range: use {SEGMENT_SIZE_BYTES_MIN} to {SEGMENT_SIZE_BYTES_MAX}"
    )]
    SegmentSize {
        /// The size asked for.
        segment_size_bytes: u64,
    },
    /// There are segments, but no manifest that says which belong to the log.
    #[error("`{}` holds segments and no manifest: restore `manifest` from `manifest.previous` or a backup", path.display())]
    ManifestMissing {
        /// The folder.
        path: PathBuf,
    },
    /// The manifest does not prove itself.
    #[error("the manifest of `{}` is damaged; the segments are untouched: restore `manifest` from a backup", path.display())]
    ManifestDamaged {
        /// The folder.
        path: PathBuf,
    },
    /// The log was written by a newer version.
    #[error("`{}` was written by a newer version of this program: {what}", path.display())]
    NewerFormat {
        /// The folder.
        path: PathBuf,
        /// What is newer.
        what: String,
    },
    /// There is no log in the folder.
    #[error("`{}` holds no log", path.display())]
    NotALog {
        /// The folder.
        path: PathBuf,
    },
    /// The system refused something.
    #[error("{what} failed")]
    Io {
        /// What was attempted.
        what: String,
        /// What the system said.
        source: io::Error,
    },
}

/// A log that was recovered, with everything its threads go on from.
pub(crate) struct Opened {
    pub(crate) lock: Box<dyn Lock>,
    pub(crate) env: Arc<dyn Env>,
    pub(crate) root: PathBuf,
    pub(crate) manifest: Manifest,
    pub(crate) index: Index,
    pub(crate) tail: Tail,
    pub(crate) recovery: Recovery,
    /// What the writer writes to; `None` if the log is read-only.
    pub(crate) writable: Option<Writable>,
}

/// Where the writer goes on.
pub(crate) struct Writable {
    pub(crate) active: ActiveSegment,
    /// What the START of the active segment will say, if it has none yet.
    pub(crate) start: Option<StartBody>,
    pub(crate) spare: Option<Spare>,
}

/// A folder that is locked and whose manifest is read.
struct Folder<'a> {
    env: &'a dyn Env,
    root: &'a Path,
}

/// Opens the log in a folder, which is made if it is not there.
pub(crate) fn open(env: Arc<dyn Env>, root: &Path, options: &Options) -> Result<Opened, OpenError> {
    let size = options.segment_size_bytes;
    if !(SEGMENT_SIZE_BYTES_MIN..=SEGMENT_SIZE_BYTES_MAX).contains(&size) {
        return Err(OpenError::SegmentSize { segment_size_bytes: size });
    }
    for folder in folders(root) {
        env.create_dir(&folder).map_err(io_error(format!("making the folder `{}`", folder.display())))?;
    }
    let folder = Folder { env: &*env, root };
    let lock = folder.lock()?;
    let mut manifest = folder.manifest()?.map_or_else(|| folder.create(size), Ok)?;
    manifest.boot_epoch += 1;
    let mut recovery = Recovery::default();
    let (listed, survey, loaded) = folder.recover(&mut manifest, &mut recovery)?;
    let Loaded { index, tail, active, .. } = loaded;
    recovery.damage = index.damage().to_vec();
    if let Some(damage) = recovery.damage.first()
        && recovery.read_only.is_none()
    {
        recovery.read_only =
            Some(format!("acknowledged events are damaged ({damage}): restore them from a backup"));
    }
    let writable = match recovery.read_only {
        Some(_) => None,
        None => Some(folder.writable(&mut manifest, &listed, &survey, &tail, active, size)?),
    };
    Ok(Opened { lock, root: root.to_owned(), manifest, index, tail, recovery, writable, env })
}

/// What a check of a log found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// What recovery would say.
    pub recovery: Recovery,
    /// Segments that the manifest lists.
    pub segments: usize,
    /// Numbered frames that proved themselves.
    pub frames: u64,
    /// Events that proved themselves, each by its own check.
    pub events: u64,
    /// Streams with at least one of them.
    pub streams: u64,
    /// Event ids that stand twice in one stream: a broken promise of the engine.
    pub repeated_ids: u64,
}

impl Report {
    /// Whether nothing is wrong: every acknowledged byte proved itself.
    #[must_use]
    pub fn is_sound(&self) -> bool {
        self.recovery.damage.is_empty()
            && self.recovery.flaws.is_empty()
            && self.recovery.read_only.is_none()
            && self.repeated_ids == 0
    }
}

/// Reads and proves every byte of the log in a folder that nobody has open. Changes nothing.
///
/// # Errors
/// [`OpenError`] where the log cannot be read at all; damage is in the report.
pub fn verify(root: impl AsRef<Path>) -> Result<Report, OpenError> {
    let root = root.as_ref();
    let folder = Folder { env: &OsEnv, root };
    let not_a_log = || OpenError::NotALog { path: root.to_owned() };
    if folder.env.list(root).map_err(io_error("listing the folder"))?.is_empty() {
        return Err(not_a_log());
    }
    let _lock = folder.lock()?;
    let manifest = folder.manifest()?.ok_or_else(not_a_log)?;
    let mut recovery = Recovery::default();
    let listed = open_listed(&OsEnv, root, &manifest, Mode::Read, &mut recovery.flaws)
        .map_err(folder.recover_error())?;
    folder.find_stale(&manifest, &listed, &mut recovery)?;
    let survey = survey_tail(&manifest, &listed).map_err(folder.recover_error())?;
    note_unproven(&survey, &mut recovery);
    let loaded = load(&manifest, &listed, &survey).map_err(folder.recover_error())?;
    recovery.damage = loaded.index.damage().to_vec();
    Ok(Report {
        recovery,
        segments: manifest.segments.len(),
        frames: loaded.frames,
        events: loaded.events,
        streams: loaded.index.streams().count() as u64,
        repeated_ids: loaded.index.repeated_ids(),
    })
}

impl Folder<'_> {
    fn lock(&self) -> Result<Box<dyn Lock>, OpenError> {
        let locked = self.env.lock(&self.root.join("LOCK")).map_err(io_error("locking the folder"))?;
        let lock = locked
            .map_err(|holder| OpenError::Locked { path: self.root.to_owned(), holder: named(holder) })?;
        lock.describe(&format!("process {}", std::process::id()))
            .map_err(io_error("writing the lock file"))?;
        Ok(lock)
    }

    fn manifest(&self) -> Result<Option<Manifest>, OpenError> {
        let path = self.root.to_owned();
        let manifest = Manifest::load(self.env, self.root).map_err(|error| match error {
            ManifestError::Damaged => OpenError::ManifestDamaged { path },
            newer @ ManifestError::NewerVersion { .. } => {
                OpenError::NewerFormat { path, what: newer.to_string() }
            }
            ManifestError::Io(source) => OpenError::Io { what: "reading the manifest".to_owned(), source },
        })?;
        let segments =
            self.env.list(&self.root.join("segments")).map_err(io_error("listing the segments"))?;
        if manifest.is_none() && segments.iter().any(|name| *name != segment_name(1)) {
            return Err(OpenError::ManifestMissing { path: self.root.to_owned() });
        }
        Ok(manifest)
    }

    /// Makes an empty log. A first segment without a manifest is left of an attempt that a crash stopped: it was never used.
    fn create(&self, segment_size_bytes: u64) -> Result<Manifest, OpenError> {
        let what = || io_error("making the log");
        let first = segment_path(self.root, 1);
        if !self.env.list(&self.root.join("segments")).map_err(what())?.is_empty() {
            self.env.remove(&first).map_err(what())?;
        }
        let store = self.env.entropy().map_err(what())?;
        let mut manifest = Manifest::new(store, self.env.entropy().map_err(what())?);
        let size = FIRST_SEGMENT_SIZE_BYTES.min(segment_size_bytes);
        make_segment(self.env, self.root, &mut manifest, size, SegmentState::Active).map_err(what())?;
        Ok(manifest)
    }

    /// Settles the tail, then loads the log.
    fn recover(
        &self,
        manifest: &mut Manifest,
        recovery: &mut Recovery,
    ) -> Result<(Vec<Listed>, TailSurvey, Loaded), OpenError> {
        let flaws = &mut recovery.flaws;
        let listed =
            open_listed(self.env, self.root, manifest, Mode::Write, flaws).map_err(self.recover_error())?;
        self.find_stale(manifest, &listed, recovery)?;
        let survey = survey_tail(manifest, &listed).map_err(self.recover_error())?;
        note_unproven(&survey, recovery);
        if recovery.read_only.is_some() {
            let loaded = load(manifest, &listed, &survey).map_err(self.recover_error())?;
            return Ok((listed, survey, loaded));
        }
        let mut rescue = Rescue { env: self.env, root: self.root, manifest, report: recovery };
        rescue.settle(&listed, &survey).map_err(self.recover_error())?;
        self.remove_unclean(manifest, &listed, &survey)?;
        // What recovery changed is read again, so that the log is loaded from what the files say and from nothing else.
        let listed = open_listed(self.env, self.root, manifest, Mode::Write, &mut Vec::new())
            .map_err(self.recover_error())?;
        let survey = survey_tail(manifest, &listed).map_err(self.recover_error())?;
        let loaded = load(manifest, &listed, &survey).map_err(self.recover_error())?;
        Ok((listed, survey, loaded))
    }

    /// Looks for segments that the manifest should list and does not, and removes what is left of attempts.
    fn find_stale(
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

    /// Removes segments that hold a torn first write and nothing else, and files that are left of attempts.
    fn remove_unclean(
        &self,
        manifest: &mut Manifest,
        listed: &[Listed],
        survey: &TailSurvey,
    ) -> Result<(), OpenError> {
        let what = || io_error("removing what a crash left behind");
        let unlisted = find_unlisted(self.env, self.root, manifest, listed).map_err(self.recover_error())?;
        let unclean = survey.unclean_spares.iter().map(|at| listed[*at].entry.header.id).collect::<Vec<_>>();
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
    fn writable(
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
        let sealed = previous.map(|entry| match entry.state {
            SegmentState::Sealed(sealed) => (entry.header.id, sealed),
            _ => unreachable!("a used segment that takes no more frames is sealed"),
        });
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

    fn recover_error(&self) -> impl FnOnce(RecoverError) -> OpenError + use<> {
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

fn note_unproven(survey: &TailSurvey, recovery: &mut Recovery) {
    if survey.state == TailState::Unproven {
        recovery.read_only.get_or_insert_with(|| {
            "its last segment ends in bytes that are neither a torn write nor proven to be acknowledged: restore it from a backup"
                .to_owned()
        });
    }
}

fn named(holder: String) -> String {
    if holder.trim().is_empty() { "another process".to_owned() } else { holder.trim().to_owned() }
}

fn io_error(what: impl Into<String>) -> impl FnOnce(io::Error) -> OpenError {
    let what = what.into();
    move |source| OpenError::Io { what, source }
}
