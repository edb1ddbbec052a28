//! Restore: makes a log from a backup, as a new store.
//!
//! It is a new store because the backup may lack events that the old store has acknowledged: the same position may
//! then hold another event. Checkpoints of the old store are refused with that reason, so that they cannot point to
//! other events.

use std::io;
use std::path::Path;

use gesta_core::StoreId;

use super::error::{RestoreError, restore_io};
use super::prove::checksum_of;
use super::target::copy_range;
use crate::env::{Env, Mode, OsEnv};
use crate::error::OpenError;
use crate::folder::{Folder, RESTORING, folders, segment_name, segment_path, write_synced};
use crate::format::{BackupFile, BackupManifest, DurableMark, Manifest, sealed_len};
use crate::operations::pace::Pace;
use crate::segment::{ChainPosition, SegmentFile, WalkError, Walker};

/// A restored log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Restored {
    /// The new store.
    pub store: StoreId,
    /// The store that was backed up.
    pub origin: StoreId,
    /// The position of its last event.
    pub position: u64,
    /// The number of its segments.
    pub segments: usize,
    /// The total bytes of its segments.
    pub bytes: u64,
}

/// Makes a log from a backup, in a folder that is empty or does not exist. The log is a new store with the events of
/// the old one: checkpoints of the old store are refused with
/// [`ForeignCheckpoint`](gesta_core::ReadError::ForeignCheckpoint).
///
/// Every byte is verified while it is copied. The log is complete and durable once this returns, and does not exist
/// before.
///
/// # Errors
/// [`RestoreError`]: the folder then holds nothing of the backup, so another backup can be tried.
pub fn restore(from: impl AsRef<Path>, to: impl AsRef<Path>) -> Result<Restored, RestoreError> {
    restore_in(&OsEnv, from.as_ref(), to.as_ref())
}

pub(crate) fn restore_in(env: &dyn Env, from: &Path, to: &Path) -> Result<Restored, RestoreError> {
    let backup = BackupManifest::load_existing(env, from)?;
    if !is_empty(env, to).map_err(restore_io("listing the folder"))? {
        return Err(RestoreError::NotEmpty { path: to.to_owned() });
    }
    for folder in folders(to) {
        env.create_dir(&folder).map_err(restore_io("making the folder"))?;
    }
    let folder = Folder { env, root: to };
    let _lock = folder.lock().map_err(|error| match error {
        OpenError::Io { what, source } => RestoreError::Io { what, source },
        _ => RestoreError::NotEmpty { path: to.to_owned() },
    })?;
    fill(&folder, from, &backup).inspect_err(|_| clean_up(&folder, &backup))
}

/// True if a folder holds nothing except what a failed attempt leaves: empty folders, and the lock.
fn is_empty(env: &dyn Env, folder: &Path) -> io::Result<bool> {
    for name in env.list(folder)? {
        let is_empty = match name.as_str() {
            "lost+found" | "LOCK" => true,
            "segments" | "quarantine" | "index" => env.list(&folder.join(name))?.is_empty(),
            _ => false,
        };
        if !is_empty {
            return Ok(false);
        }
    }
    Ok(true)
}

fn fill(folder: &Folder<'_>, from: &Path, backup: &BackupManifest) -> Result<Restored, RestoreError> {
    let Folder { env, root } = folder;
    let marker = || {
        write_synced(*env, &root.join(RESTORING), b"A restore into this folder is not done.\n")?;
        env.sync_dir(root)
    };
    marker().map_err(restore_io("beginning the restore"))?;
    for file in &backup.files {
        copy_checked(folder, from, file)?;
    }
    let mut manifest = manifest_of(*env, backup).map_err(restore_io("drawing an id"))?;
    manifest.durable.raise(last_frame(folder, backup).map_err(restore_io("reading the restored log"))?);
    let mut finish = || {
        env.sync_dir(&root.join("segments"))?;
        // Written twice, so that `manifest.previous` names the store as well: no segment names it yet.
        manifest.replace(*env, root)?;
        manifest.replace(*env, root)?;
        env.remove(&root.join(RESTORING))?;
        env.sync_dir(root)
    };
    finish().map_err(restore_io("finishing the restore"))?;
    Ok(Restored {
        store: StoreId::from_bytes(manifest.store),
        origin: backup.store(),
        position: backup.position,
        segments: backup.files.len(),
        bytes: backup.files.iter().map(|file| sealed_len(&file.sealed)).sum(),
    })
}

/// The manifest of the restored log. All its segments are sealed, so the log goes on in a new one.
fn manifest_of(env: &dyn Env, backup: &BackupManifest) -> io::Result<Manifest> {
    let mut origins = backup.origins.clone();
    if !origins.contains(&backup.store) {
        origins.push(backup.store);
    }
    Ok(Manifest {
        generation: backup.generation,
        boot_epoch: backup.boot_epoch,
        partition: backup.partition,
        durable: DurableMark { number: backup.frame, checksum: 0, position: backup.position },
        origins,
        segments: backup.files.iter().map(|file| file.entry.clone()).collect(),
        ..Manifest::new(env.entropy()?, env.entropy()?)
    })
}

/// The last frame of the restored log, from the END of its last segment.
fn last_frame(folder: &Folder<'_>, backup: &BackupManifest) -> io::Result<DurableMark> {
    let Some(file) = backup.files.last() else { return Ok(DurableMark::default()) };
    let segment = SegmentFile::open(folder.env, folder.root, &file.entry.header, Mode::Read)?;
    let mut walker = Walker::new(&segment).map_err(WalkError::into_io)?;
    let end = walker.frame_at(file.sealed.end).map_err(WalkError::into_io)?;
    Ok(end.map_or_else(DurableMark::default, |(_, header)| DurableMark::of(&ChainPosition::before(&header))))
}

/// Copies a file durably, and verifies its length and checksum.
fn copy_checked(folder: &Folder<'_>, from: &Path, file: &BackupFile) -> Result<(), RestoreError> {
    let path = file.path(from);
    let damaged = |what: &str| RestoreError::Damaged { path: path.clone(), what: what.to_owned() };
    let reading = || restore_io(format!("reading {}", path.display()));
    let source = match folder.env.open(&path, Mode::Read) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Err(damaged("it is missing")),
        source => source.map_err(reading())?,
    };
    let len = sealed_len(&file.sealed);
    if source.len().map_err(reading())? != len {
        return Err(damaged("its length is wrong"));
    }
    let copy = || {
        let to = folder.env.open(&segment_path(folder.root, file.entry.header.id), Mode::CreateNew)?;
        copy_range(&*source, &*to, 0..len, &Pace::default())?;
        to.sync_all()?;
        checksum_of(&*to)
    };
    match copy().map_err(restore_io(format!("copying {}", path.display())))? {
        checksum if checksum == file.checksum => Ok(()),
        _ => Err(damaged("its checksum is wrong")),
    }
}

/// Removes the files of a failed restore. Files that cannot be removed stay, with the mark of an unfinished restore.
fn clean_up(folder: &Folder<'_>, backup: &BackupManifest) {
    let Folder { env, root } = folder;
    for name in ["manifest", "manifest.previous"] {
        let _ = env.remove(&root.join(name));
    }
    for file in &backup.files {
        let _ = env.remove(&root.join("segments").join(segment_name(file.entry.header.id)));
    }
    let is_clean = env.list(&root.join("segments")).is_ok_and(|names| names.is_empty());
    if is_clean {
        let _ = env.remove(&root.join(RESTORING));
    }
}
