//! Restore: a backup becomes a log again, of a new store.
//!
//! It is a new store because it may lack events that the old one has acknowledged: the same position then means another event. The old
//! checkpoints are refused with that reason, rather than taken for places that they are not.

use std::io;
use std::path::Path;

use gesta_core::StoreId;

use super::error::{RestoreError, restore_io};
use super::manifest::{BackupFile, BackupManifest};
use super::prove::checksum_of;
use super::target::copy_range;
use crate::env::{Env, Mode, OsEnv};
use crate::error::OpenError;
use crate::folder::{
    DurableMark, Folder, Manifest, RESTORING, folders, sealed_len, segment_name, segment_path, write_synced,
};
use crate::operations::pace::Pace;
use crate::segment::{ChainPosition, SegmentFile, WalkError, Walker};

/// A log that was made from a backup.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Restored {
    /// The new store.
    pub store: StoreId,
    /// The store that the backup was taken of.
    pub origin: StoreId,
    /// The position of its last event.
    pub position: u64,
    /// Its segments.
    pub segments: usize,
    /// Bytes of all of them.
    pub bytes: u64,
}

/// Makes a log from a backup, in a folder that is empty or not there. The log is a new store with the events of the old one: checkpoints
/// of the old store are refused with [`ForeignCheckpoint`](gesta_core::ReadError::ForeignCheckpoint).
///
/// Every byte is checked while it is copied. The log is there, whole and durable, once this returns, and not before.
///
/// # Errors
/// [`RestoreError`]: the folder then holds nothing of it, so that another backup can be tried.
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

/// Whether there is nothing in a folder but what an attempt that failed leaves: empty folders, and the lock.
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
        // Twice, so that `manifest.previous` names the store as well: no segment does yet.
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

/// The manifest of the restored log. Its segments are all sealed, so the log goes on in one of its own.
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

/// The last frame of the restored log, which the END of its last segment names.
fn last_frame(folder: &Folder<'_>, backup: &BackupManifest) -> io::Result<DurableMark> {
    let Some(file) = backup.files.last() else { return Ok(DurableMark::default()) };
    let segment = SegmentFile::open(folder.env, folder.root, &file.entry.header, Mode::Read)?;
    let mut walker = Walker::new(&segment).map_err(WalkError::into_io)?;
    let end = walker.frame_at(file.sealed.end).map_err(WalkError::into_io)?;
    Ok(end.map_or_else(DurableMark::default, |(_, header)| DurableMark::of(&ChainPosition::before(&header))))
}

/// Copies a file durably, and checks that it is the one that was written.
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
        return Err(damaged("its length is not the one it had"));
    }
    let copy = || {
        let to = folder.env.open(&segment_path(folder.root, file.entry.header.id), Mode::CreateNew)?;
        copy_range(&*source, &*to, 0..len, &Pace::default())?;
        to.sync_all()?;
        checksum_of(&*to)
    };
    match copy().map_err(restore_io(format!("copying {}", path.display())))? {
        checksum if checksum == file.checksum => Ok(()),
        _ => Err(damaged("its checksum is not the one it had")),
    }
}

/// Removes what a restore that failed has written. What the system refuses stays, beside the mark that says what it is.
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
