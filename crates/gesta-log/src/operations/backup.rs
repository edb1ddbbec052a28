//! Backups: a consistent cut of a log in a folder of its own, taken while the log is in use or while nobody has it open.
//!
//! A backup holds sealed segments and nothing else: what of the active segment lies before the cut is ended with an END of its own.
//! So every file of a backup is final from the moment that it has its name, which says what is in it, and one that is there already
//! is not written again.
//!
//! *Invariants*
//! - A file that the backup's manifest lists is not changed or removed before a newer manifest is durable.
//! - The manifest is replaced last, by rename: a backup that was stopped is the one before it.

mod cut;
mod error;
#[cfg(feature = "fuzzing")]
pub(crate) mod fuzzing;
mod history;
mod manifest;
mod prove;
mod restore;
mod target;
#[cfg(test)]
mod tests;

use std::num::NonZeroU64;
use std::path::Path;

use gesta_core::{StoreId, Timestamp};

use crate::env::{Env, Mode, OsEnv};
use crate::folder::{Folder, Manifest, SegmentState};
use crate::recover::{Listed, Recovery, TailSurvey, open_listed, survey_tail};
use crate::segment::LogPoint;
use cut::Cut;
pub use error::{BackupError, BackupReadError, RestoreError};
#[cfg(feature = "fuzzing")]
pub use fuzzing::manifest;
#[cfg(feature = "fuzzing")]
pub(crate) use fuzzing::sample;
pub use prove::{BackupReport, verify_backup};
#[cfg(feature = "sim")]
pub(crate) use restore::restore_in;
pub use restore::{Restored, restore};
use target::Target;

/// How a backup is taken.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct BackupOptions {
    /// What becomes of sealed segments.
    pub sealed: SealedSegments,
    /// Bytes that are copied, or read of what is linked, a second at the most; as fast as it goes, if not said. Beside appends, say it:
    /// the disk is theirs then, but for that much.
    pub bytes_per_second: Option<NonZeroU64>,
}

/// What becomes of sealed segments, which never change again.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum SealedSegments {
    /// They are copied.
    #[default]
    Copy,
    /// They get a second name, where the file system can do that. Fast and for nothing, but no help against a disk that fails: the
    /// bytes are still there once. For a backup that is then copied elsewhere.
    Link,
}

/// What a backup holds, and what it took to make it so.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Backup {
    /// The store it was taken of.
    pub store: StoreId,
    /// The position of the last event in it: every event up to there is in it, none after.
    pub position: u64,
    /// The number of the last frame in it.
    pub frame: u64,
    /// When it was taken.
    pub taken_at: Timestamp,
    /// Its segments.
    pub segments: usize,
    /// Bytes of all of them.
    pub bytes: u64,
    /// Segments that were copied now.
    pub copied: usize,
    /// Bytes of those.
    pub copied_bytes: u64,
    /// Segments that got a second name now.
    pub linked: usize,
}

/// Takes a backup of the log in a folder that nobody has open: [`LogStore::backup`] without opening it. Changes nothing in it.
///
/// # Errors
/// [`BackupError`]: damage is refused, so that a backup is a proof of what it holds.
pub fn backup(
    root: impl AsRef<Path>,
    to: impl AsRef<Path>,
    options: &BackupOptions,
) -> Result<Backup, BackupError> {
    backup_in(&OsEnv, root.as_ref(), to.as_ref(), options)
}

pub(crate) fn backup_in(
    env: &dyn Env,
    root: &Path,
    to: &Path,
    options: &BackupOptions,
) -> Result<Backup, BackupError> {
    let folder = Folder { env, root };
    let _lock = folder.lock_existing()?;
    let manifest = folder.existing_manifest()?;
    let position = closed_position(&folder, &manifest)?;
    take(&folder, &manifest, position, to, options)
}

/// The last position that the next open would show. What a crash left behind is no obstacle: whole frames belong to the log.
fn closed_position(folder: &Folder<'_>, manifest: &Manifest) -> Result<u64, BackupError> {
    let mut recovery = Recovery::default();
    let listed = open_listed(folder.env, folder.root, manifest, Mode::Read, &mut Vec::new());
    let listed = listed.map_err(folder.recover_error())?;
    folder.find_stale(manifest, &listed, &mut recovery)?;
    let survey = survey_tail(manifest, &listed, &LogPoint::START).map_err(folder.recover_error())?;
    recovery.note_unproven(&survey);
    recovery.note_damage(&survey, &[]);
    // A spare that is missing has held no frame.
    let is_lost = |own: &&Listed| own.segment.is_none() && own.entry.state != SegmentState::Spare;
    if let Some(missing) = listed.iter().find(is_lost) {
        let id = missing.entry.header.id;
        recovery.read_only.get_or_insert_with(|| format!("the file of segment {id} is missing"));
    }
    match recovery.read_only {
        Some(reason) => Err(BackupError::Unsettled { reason }),
        None => Ok(last_shown(manifest, &survey)),
    }
}

fn last_shown(manifest: &Manifest, survey: &TailSurvey) -> u64 {
    let last = survey.frames.last().map(|frame| frame.header.next_position() - 1);
    last.unwrap_or(manifest.durable.position)
}

pub(crate) fn take(
    source: &Folder<'_>,
    manifest: &Manifest,
    position: u64,
    to: &Path,
    options: &BackupOptions,
) -> Result<Backup, BackupError> {
    let target = Target::open(source.env, to, manifest.store)?;
    let cut = Cut::at(source, manifest, position)?;
    target.check_continues(source, &cut, options)?;
    target.fill(source, manifest, &cut, options)
}
