//! Opening a log: lock, manifest, recovery, and what the writer goes on from.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use crate::commit::Tail;
use crate::damage::Damage;
use crate::env::{Env, Lock};
use crate::folder::{Folder, RunPolicy, Settled, Writable};
use crate::index::{BlockCache, RunFiles, View};
use crate::indexer::TableLimits;
use crate::limits::{
    HEADS_BYTES_MAX, HEADS_SHARE, INDEX_CACHE_BYTES_DEFAULT, INDEX_RUN_BYTES_DEFAULT, INDEX_RUN_BYTES_MAX,
    INDEX_RUN_BYTES_MIN, SEGMENT_SIZE_BYTES_DEFAULT, SEGMENT_SIZE_BYTES_MAX, SEGMENT_SIZE_BYTES_MIN,
};
use crate::manifest::Manifest;
use crate::open_error::{OpenError, io_error};
use crate::rebuild::Rebuild;
use crate::recover::{Ended, Loaded, Recovery, folders};
use crate::scrub::Scrub;
use crate::shared::Clock;

/// How a log is opened.
#[derive(Clone)]
pub struct Options {
    /// The size of a full segment in bytes, 64 KiB to 1 GiB; by default 256 MiB. It bounds a batch to about half of it.
    pub segment_size_bytes: u64,
    /// What tells the time for `recorded_at`; by default the machine's clock.
    pub clock: Option<Clock>,
    /// Threads that read for asynchronous calls, and, where they are idle, half of a large page for whoever reads one; at least 1, by
    /// default 2.
    pub read_threads: usize,
    /// How much of the log the index in memory may know, in bytes of the log, before it is written to the disk: 1 KiB to 1 GiB,
    /// by default 64 MiB. It takes up to half as much memory, a few times over while the disk is slow. An open indexes up to six times as
    /// much of the log before it returns, where no index is there, and more of it afterwards.
    pub index_run_bytes: u64,
    /// Bytes of the index that are kept in memory besides what is not on the disk yet; by default 256 MiB. A quarter of them is for the
    /// last events of streams, which appends ask for, up to nine sixteenths for filters, which say of most ids that they were never there;
    /// the others are blocks of its files.
    pub index_cache_bytes: u64,
    /// Whether sealed segments are read again in the background, on a thread of its own; by default each once a week.
    pub scrub: Scrub,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            segment_size_bytes: SEGMENT_SIZE_BYTES_DEFAULT,
            clock: None,
            read_threads: 2,
            index_run_bytes: INDEX_RUN_BYTES_DEFAULT,
            index_cache_bytes: INDEX_CACHE_BYTES_DEFAULT,
            scrub: Scrub::default(),
        }
    }
}

impl Options {
    /// Memory for the last events of streams: what they take, blocks cannot.
    pub(crate) fn heads_bytes(&self) -> usize {
        let bytes = (self.index_cache_bytes / HEADS_SHARE).min(HEADS_BYTES_MAX);
        usize::try_from(bytes).expect("at most 2 GiB")
    }

    const fn blocks_bytes(&self) -> u64 {
        self.index_cache_bytes - self.index_cache_bytes / HEADS_SHARE
    }

    pub(crate) fn table_limits(&self) -> TableLimits {
        let log_bytes = self.index_run_bytes.clamp(INDEX_RUN_BYTES_MIN, INDEX_RUN_BYTES_MAX);
        TableLimits { bytes: usize::try_from(log_bytes / 2).expect("at most 512 MiB"), log_bytes }
    }
}

/// A log that was recovered, as far as it was before it is open.
pub(crate) struct Opened {
    pub(crate) lock: Box<dyn Lock>,
    pub(crate) is_writable: bool,
    pub(crate) env: Arc<dyn Env>,
    pub(crate) root: PathBuf,
    pub(crate) store: [u8; 16],
    pub(crate) runs: RunFiles,
    pub(crate) recovery: Recovery,
    pub(crate) stage: Stage,
}

/// How far an open got.
pub(crate) enum Stage {
    Ready(Box<Ready>),
    /// The index is built beside the open log.
    Rebuild(Box<Rebuild>),
}

/// A log with its index, and everything that its threads go on from.
pub(crate) struct Ready {
    pub(crate) manifest: Manifest,
    pub(crate) view: View,
    pub(crate) damage: Vec<Damage>,
    /// Tables that still have to become runs.
    pub(crate) ended: Vec<Ended>,
    pub(crate) tail: Tail,
    pub(crate) recovery: Recovery,
    /// What the writer writes to; `None` if the log is read-only.
    pub(crate) writable: Option<Writable>,
}

/// Opens the log in a folder, which is made if it is not there.
pub(crate) fn open(env: Arc<dyn Env>, root: &Path, options: &Options) -> Result<Opened, OpenError> {
    let size = options.segment_size_bytes;
    if !(SEGMENT_SIZE_BYTES_MIN..=SEGMENT_SIZE_BYTES_MAX).contains(&size) {
        return Err(OpenError::SegmentSize { segment_size_bytes: size });
    }
    let folder = Folder { env: &*env, root };
    if !folder.is_writable() {
        return open_to_read(Arc::clone(&env), &folder, options);
    }
    folder.check_is_no_backup()?;
    for path in folders(root) {
        env.create_dir(&path).map_err(io_error(format!("making the folder `{}`", path.display())))?;
    }
    let lock = folder.lock()?;
    let mut manifest = folder.manifest()?.map_or_else(|| folder.create(), Ok)?;
    manifest.boot_epoch += 1;
    let mut recovery = Recovery::default();
    let runs = run_files(root, &manifest, options.blocks_bytes());
    let settled = folder.recover(&mut manifest, &mut recovery, &runs)?;
    let stage = match Rebuild::of(&env, &folder, settled, (&manifest, &recovery), &runs, options)? {
        Ok(rebuild) => Stage::Rebuild(Box::new(rebuild)),
        Err(settled) => {
            let policy = RunPolicy { files: &runs, limits: options.table_limits() };
            let ready = ready(&folder, &mut manifest, &settled, &mut recovery, &policy, None)?;
            Stage::Ready(Box::new(ready))
        }
    };
    Ok(Opened {
        lock,
        is_writable: true,
        root: root.to_owned(),
        store: manifest.store,
        runs,
        recovery,
        stage,
        env,
    })
}

/// Opens a log in a folder that cannot be written to. Nothing is changed.
fn open_to_read(env: Arc<dyn Env>, folder: &Folder<'_>, options: &Options) -> Result<Opened, OpenError> {
    let lock = folder.lock_existing()?;
    let mut manifest = folder.existing_manifest()?;
    let mut recovery = Recovery::default();
    let runs = run_files(folder.root, &manifest, options.blocks_bytes());
    let settled = folder.look_at(&manifest, &mut recovery, &runs)?;
    let policy = RunPolicy { files: &runs, limits: options.table_limits() };
    let ready = ready(folder, &mut manifest, &settled, &mut recovery, &policy, None)?;
    let (root, store, stage) = (folder.root.to_owned(), manifest.store, Stage::Ready(Box::new(ready)));
    Ok(Opened { lock, is_writable: false, root, store, runs, recovery, stage, env })
}

/// Loads a log that was settled, and finds where its writer goes on. Ends early, with an error, once `stop` is set.
pub(crate) fn ready(
    folder: &Folder<'_>,
    manifest: &mut Manifest,
    settled: &Settled,
    recovery: &mut Recovery,
    policy: &RunPolicy<'_>,
    stop: Option<&AtomicBool>,
) -> Result<Ready, OpenError> {
    let loaded = folder.load(manifest, settled, policy, stop)?;
    let Loaded { view, mut damage, ended, tail, active, .. } = loaded;
    view.name_streams(&mut damage);
    recovery.note_damage(&settled.survey, &damage);
    let (listed, survey) = (&settled.listed, &settled.survey);
    let writable = match recovery.read_only {
        Some(_) => None,
        None => Some(folder.writable(manifest, listed, survey, &tail, active)),
    };
    let (manifest, recovery) = (manifest.clone(), recovery.clone());
    Ok(Ready { manifest, view, damage, ended, tail, recovery, writable })
}

/// What the runs of a log have in common.
pub(crate) fn run_files(root: &Path, manifest: &Manifest, cache_bytes: u64) -> RunFiles {
    RunFiles {
        root: root.to_owned(),
        store: manifest.store,
        secret: u64::from_le_bytes(*manifest.key_secret.first_chunk().expect("it has 16 bytes")),
        cache: Arc::new(BlockCache::new(cache_bytes)),
    }
}
