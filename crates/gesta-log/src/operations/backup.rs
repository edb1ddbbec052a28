//! Backups: a consistent cut of a log in a separate folder, taken while the log is in use or while no process has it
//! open.
//!
//! A backup holds only sealed segments: the part of the active segment before the cut gets an END. So every file of a
//! backup is final as soon as it has its name. The name identifies the content, and a file that exists already is not
//! written again.
//!
//! *Invariants*
//! - A file that the backup's manifest lists is not changed or removed before a newer manifest is durable.
//! - The manifest is replaced last, by rename: an interrupted backup leaves the previous backup in place.

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
use crate::folder::Folder;
use crate::format::{Manifest, SegmentState};
use crate::read_only::{ReadOnly, ReadOnlyCause};
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
    /// How sealed segments get into the backup.
    pub sealed: SealedSegments,
    /// The most bytes a second to copy, or to read for linked files; without a limit if `None`. Set it for a log that
    /// takes appends, so that the rest of the disk's bandwidth is left to them.
    pub bytes_per_second: Option<NonZeroU64>,
}

/// How sealed segments, which never change again, get into the backup.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum SealedSegments {
    /// They are copied.
    #[default]
    Copy,
    /// They get a second name, if the file system supports that. Fast, and takes no space, but does not protect
    /// against a failing disk: the bytes exist only once. For a backup that is then copied elsewhere.
    Link,
}

/// The content of a backup, and the work that it took.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Backup {
    /// The store that was backed up.
    pub store: StoreId,
    /// The position of its last event: every event up to there is in it, none after.
    pub position: u64,
    /// The number of its last frame.
    pub frame: u64,
    /// When it was taken.
    pub taken_at: Timestamp,
    /// The number of its segments.
    pub segments: usize,
    /// The total bytes of its segments.
    pub bytes: u64,
    /// Segments copied by this run.
    pub copied: usize,
    /// Bytes of the copied segments.
    pub copied_bytes: u64,
    /// Segments linked by this run.
    pub linked: usize,
}

/// Takes a backup of a log that no process has open: as [`LogStore::backup`](crate::LogStore::backup), but without opening the log. Changes
/// nothing in the log.
///
/// # Errors
/// [`BackupError`]. Damage is refused: every segment is verified when it is copied or linked.
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

/// The last position that the next open would show. The remains of a crash are no obstacle: complete frames belong to
/// the log.
fn closed_position(folder: &Folder<'_>, manifest: &Manifest) -> Result<u64, BackupError> {
    let mut recovery = Recovery::default();
    let listed = open_listed(folder.env, folder.root, manifest, Mode::Read, &mut Vec::new());
    let listed = listed.map_err(folder.recover_error())?;
    folder.find_stale(manifest, &listed, &mut recovery)?;
    let survey = survey_tail(manifest, &listed, &LogPoint::START).map_err(folder.recover_error())?;
    recovery.note_unproven(&survey);
    recovery.note_damage(&survey, &[]);
    // A missing spare has held no frame.
    let is_lost = |own: &&Listed| own.segment.is_none() && own.entry.state != SegmentState::Spare;
    if let Some(missing) = listed.iter().find(is_lost) {
        let id = missing.entry.header.id;
        let reason = format!("the file of segment {id} is missing");
        recovery.read_only.get_or_insert_with(|| ReadOnly::new(ReadOnlyCause::Damaged, reason));
    }
    match recovery.read_only {
        Some(ReadOnly { reason, .. }) => Err(BackupError::Unsettled { reason }),
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
