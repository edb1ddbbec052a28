//! Opening a log: lock, manifest, recovery, and the state that the writer continues from.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use gesta_core::StoreId;

use crate::env::{Env, Lock, Placed};
use crate::error::{OpenError, io_error};
use crate::folder::{Folder, NoLock, folders};
use crate::format::Manifest;
use crate::index::RunFiles;
use crate::limits::{SEGMENT_SIZE_BYTES_MAX, SEGMENT_SIZE_BYTES_MIN};
use crate::options::Options;
use crate::read_only::{ReadOnly, ReadOnlyCause};
use crate::rebuild::Rebuild;
use crate::recover::{Ready, Recovery, RunPolicy, ready, run_files};

/// A recovered log before its start.
pub(crate) struct Opened {
    pub(crate) lock: Box<dyn Lock>,
    pub(crate) is_writable: bool,
    /// Why nobody but its source writes to it, if it was opened as a replica.
    pub(crate) replica: Option<ReadOnly>,
    pub(crate) env: Arc<dyn Env>,
    pub(crate) root: PathBuf,
    pub(crate) store: [u8; 16],
    pub(crate) boot_epoch: u64,
    pub(crate) runs: RunFiles,
    pub(crate) recovery: Recovery,
    pub(crate) stage: Stage,
}

/// What a log is opened for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// To be used. It is made if it does not exist.
    Store,
    /// To be used, if it exists.
    Existing,
    /// To be filled with the batches of the store with this id.
    Copy([u8; 16]),
    /// To be fed with the batches of a partition of the store with this id.
    Replica([u8; 16], u16),
}

/// How far an open got.
pub(crate) enum Stage {
    Ready(Box<Ready>),
    /// The index is to be built beside the open log.
    Rebuild(Box<Rebuild>),
}

/// Opens the log in a folder, and creates the folder if it does not exist.
pub(crate) fn open(
    env: Arc<dyn Env>,
    root: &Path,
    options: &Options,
    purpose: Purpose,
) -> Result<Opened, OpenError> {
    let size = options.segment_size_bytes;
    if !(SEGMENT_SIZE_BYTES_MIN..=SEGMENT_SIZE_BYTES_MAX).contains(&size) {
        return Err(OpenError::SegmentSize { segment_size_bytes: size });
    }
    let folder = Folder { env: &*env, root };
    let is_used = matches!(purpose, Purpose::Store | Purpose::Existing);
    if is_used && !folder.is_writable() {
        let lock = folder.lock_existing()?;
        let manifest = folder.existing_manifest()?;
        return open_to_read(Arc::clone(&env), &folder, options, (lock, manifest), not_permitted(root));
    }
    let lock = lock(&folder, purpose)?;
    let env = Placed::at(env, root).map_err(io_error(format!("looking at `{}`", root.display())))?;
    let folder = Folder { env: &*env, root };
    let mut manifest = manifest(&folder, purpose)?;
    if is_used && manifest.is_replica {
        return open_to_read(Arc::clone(&env), &folder, options, (lock, manifest), replica(root));
    }
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
        replica: matches!(purpose, Purpose::Replica(..)).then(|| replica(root)),
        root: root.to_owned(),
        store: manifest.store,
        boot_epoch: manifest.boot_epoch,
        runs,
        recovery,
        stage,
        env,
    })
}

/// Locks a folder for a purpose, and makes its subfolders.
fn lock(folder: &Folder<'_>, purpose: Purpose) -> Result<Box<dyn Lock>, OpenError> {
    let make_folders = || {
        folders(folder.root).into_iter().try_for_each(|path| {
            let made = folder.env.create_dir(&path);
            made.map_err(io_error(format!("making the folder `{}`", path.display())))
        })
    };
    if purpose == Purpose::Existing {
        let lock = folder.lock_existing()?;
        folder.existing_manifest()?;
        make_folders()?;
        return Ok(lock);
    }
    folder.check_is_no_backup()?;
    make_folders()?;
    folder.lock()
}

/// The manifest of a folder for a purpose. One that may be missing is made.
fn manifest(folder: &Folder<'_>, purpose: Purpose) -> Result<Manifest, OpenError> {
    match purpose {
        Purpose::Store => {
            folder.check_is_no_copy()?;
            folder.manifest()?.map_or_else(|| folder.create(None), Ok)
        }
        Purpose::Existing => folder.existing_manifest(),
        Purpose::Copy(of) => manifest_of_copy(folder, of),
        Purpose::Replica(of, partition) => manifest_of_replica(folder, of, partition),
    }
}

/// Opens a log to be read, without a lock, while no process writes to it.
pub(crate) fn open_unlocked(env: Arc<dyn Env>, root: &Path, options: &Options) -> Result<Opened, OpenError> {
    let folder = Folder { env: &*env, root };
    folder.check_is_no_backup()?;
    folder.check_is_no_copy()?;
    let manifest = folder.existing_manifest()?;
    let asked = ReadOnly::new(ReadOnlyCause::Asked, "the log was opened to be read alone");
    open_to_read(Arc::clone(&env), &folder, options, (Box::new(NoLock), manifest), asked)
}

/// The manifest of a copy. A new one is marked as unfinished first.
fn manifest_of_copy(folder: &Folder<'_>, of: [u8; 16]) -> Result<Manifest, OpenError> {
    let Some(manifest) = folder.manifest()? else {
        // A folder that is refused stays as it is.
        let left = folder.left_of_create()?;
        folder.mark_copy().map_err(io_error("beginning the copy"))?;
        return folder.create_over(&left, Some(of), None);
    };
    check_store(folder, &manifest, of)?;
    if manifest.is_replica {
        return Err(OpenError::IsAReplica { path: folder.root.to_owned() });
    }
    Ok(manifest)
}

/// The manifest of a replica, a new one in an empty folder. A log never becomes a replica.
fn manifest_of_replica(folder: &Folder<'_>, of: [u8; 16], partition: u16) -> Result<Manifest, OpenError> {
    folder.check_is_no_copy()?;
    let Some(manifest) = folder.manifest()? else {
        let left = folder.left_of_create()?;
        return folder.create_over(&left, Some(of), Some(partition));
    };
    check_store(folder, &manifest, of)?;
    if !manifest.is_replica || manifest.partition != partition {
        return Err(OpenError::NotThisReplica { path: folder.root.to_owned(), partition });
    }
    Ok(manifest)
}

fn check_store(folder: &Folder<'_>, manifest: &Manifest, of: [u8; 16]) -> Result<(), OpenError> {
    if manifest.store == of {
        return Ok(());
    }
    Err(OpenError::OtherStore { path: folder.root.to_owned(), store: StoreId::from_bytes(manifest.store) })
}

fn not_permitted(root: &Path) -> ReadOnly {
    let reason = format!(
        "`{}` cannot be written to: to append, mount it writable or give this user write permission",
        root.display()
    );
    ReadOnly::new(ReadOnlyCause::NotPermitted, reason)
}

/// Why nobody but its source writes to a replica.
fn replica(root: &Path) -> ReadOnly {
    let reason = format!(
        "`{}` is a replica, which only its source writes to: append to the store that it follows, or make a store of its own from streams of it with `gesta excerpt`",
        root.display()
    );
    ReadOnly::new(ReadOnlyCause::Replica, reason)
}

/// Opens a log that may not be written to, for the reason given. Changes nothing.
fn open_to_read(
    env: Arc<dyn Env>,
    folder: &Folder<'_>,
    options: &Options,
    (lock, mut manifest): (Box<dyn Lock>, Manifest),
    why: ReadOnly,
) -> Result<Opened, OpenError> {
    let mut recovery = Recovery::default();
    let runs = run_files(folder.root, &manifest, options.blocks_bytes());
    let settled = folder.look_at(&manifest, &mut recovery, &runs, why)?;
    let policy = RunPolicy { files: &runs, limits: options.table_limits() };
    let ready = ready(folder, &mut manifest, &settled, &mut recovery, &policy, None)?;
    let (root, stage) = (folder.root.to_owned(), Stage::Ready(Box::new(ready)));
    let (store, boot_epoch) = (manifest.store, manifest.boot_epoch);
    Ok(Opened {
        lock,
        is_writable: false,
        replica: None,
        root,
        store,
        boot_epoch,
        runs,
        recovery,
        stage,
        env,
    })
}
