//! Verifies a backup: the length and checksum of each file, and every frame and record in it.

use std::io;
use std::path::Path;
use std::sync::Arc;

use gesta_core::{StoreId, Timestamp};

use super::error::BackupReadError;
use crate::damage::Damage;
use crate::env::{Env, File, Mode, OsEnv};
use crate::format::{BackupFile, BackupManifest, Crc, Sealed, SegmentEntry, sealed_len};
use crate::operations::pace::Pace;
use crate::operations::paced::PacedFile;
use crate::operations::verify_segment::{Proof, all_lost, prove};
use crate::recover::RecoverError;
use crate::segment::{ChainPosition, SegmentFile, WalkError};

/// Bytes of one read for a checksum.
const READ_STEP_BYTES: usize = 1 << 20;

/// The result of a check of a backup.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BackupReport {
    /// The store that was backed up.
    pub store: StoreId,
    /// The backup holds all events up to this position, and none after it.
    pub position: u64,
    /// When it was taken.
    pub taken_at: Timestamp,
    /// Its segments.
    pub segments: usize,
    /// Bytes of all of them.
    pub bytes: u64,
    /// Valid numbered frames.
    pub frames: u64,
    /// Valid events.
    pub events: u64,
    /// The damage.
    pub damage: Vec<Damage>,
    /// Marks between batches that were damaged in the log already and were copied as they are. Nothing is lost with them.
    pub flaws: Vec<Damage>,
}

impl BackupReport {
    /// Whether nothing is wrong: every byte is valid.
    #[must_use]
    pub const fn is_sound(&self) -> bool {
        self.damage.is_empty()
    }
}

/// Verifies every byte of a backup. Changes nothing.
///
/// # Errors
/// [`BackupReadError`] if there is no readable backup; damage to its files is in the report.
pub fn verify_backup(root: impl AsRef<Path>) -> Result<BackupReport, BackupReadError> {
    verify_backup_in(&OsEnv, root.as_ref())
}

pub(crate) fn verify_backup_in(env: &dyn Env, root: &Path) -> Result<BackupReport, BackupReadError> {
    let manifest = BackupManifest::load_existing(env, root)?;
    let mut report = BackupReport {
        store: manifest.store(),
        position: manifest.position,
        taken_at: manifest.taken_at,
        segments: manifest.files.len(),
        bytes: 0,
        frames: 0,
        events: 0,
        damage: Vec::new(),
        flaws: Vec::new(),
    };
    let mut before = Some(ChainPosition::START);
    for file in &manifest.files {
        report.bytes += sealed_len(&file.sealed);
        let checked = check_file(env, root, file, before.as_ref());
        let what = || format!("reading {}", file.path(root).display());
        let proof = checked.map_err(|source| BackupReadError::Io { what: what(), source })?;
        report.frames += proof.frames;
        report.events += proof.events;
        before = proof.end;
        report.damage.extend(proof.damage);
        report.flaws.extend(proof.flaws);
    }
    if report.is_sound() && report.events != manifest.position {
        let (from, to) = (report.events + 1, manifest.position);
        let what = "it ends before the position that it names";
        report.damage.push(Damage::of(0, 0, from, to, what));
    }
    Ok(report)
}

/// Verifies one file of a backup, and that it is the very file that was written.
fn check_file(
    env: &dyn Env,
    root: &Path,
    file: &BackupFile,
    before: Option<&ChainPosition>,
) -> io::Result<Proof> {
    let BackupFile { entry, sealed, .. } = file;
    let lost = |what: &str| Ok(Proof { damage: vec![all_lost(entry, sealed, what)], ..Proof::default() });
    let opened = match env.open(&file.path(root), Mode::Read) {
        Ok(opened) => opened,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return lost("the file is missing"),
        Err(error) => return Err(error),
    };
    let mut proof = match prove_file(&opened, entry, sealed, before)? {
        Some(proof) => proof,
        None => return lost("it was written by a newer version of this program"),
    };
    if proof.damage.is_empty() && checksum_of(&*opened)? != file.checksum {
        let (from, to) = (sealed.first_position + sealed.events, sealed.first_position + sealed.events - 1);
        let what = "the file is not the one that was written";
        proof.damage.push(Damage::of(entry.header.id, 0, from, to, what));
    }
    Ok(proof)
}

/// The result of a look at a file that may become part of a backup.
pub(crate) enum Inspected {
    Sound(BackupFile),
    Damaged(Damage),
}

impl Inspected {
    pub(crate) fn sound(self) -> Option<BackupFile> {
        match self {
            Self::Sound(file) => Some(file),
            Self::Damaged(_) => None,
        }
    }
}

/// Verifies a file, and computes its checksum.
pub(crate) fn inspect(
    env: &dyn Env,
    path: &Path,
    entry: &SegmentEntry,
    sealed: &Sealed,
    pace: &Pace,
) -> io::Result<Inspected> {
    let file = env.open(path, Mode::Read)?;
    let file: Arc<dyn File> = Arc::new(PacedFile { file, pace: pace.clone() });
    let proof = prove_file(&file, entry, sealed, None)?;
    let newer = || all_lost(entry, sealed, "it was written by a newer version of this program");
    Ok(match proof.map_or_else(|| Some(newer()), |proof| proof.damage.into_iter().next()) {
        Some(damage) => Inspected::Damaged(damage),
        None => {
            let (entry, sealed) = (entry.clone(), *sealed);
            Inspected::Sound(BackupFile { entry, sealed, checksum: checksum_of(&*file)? })
        }
    })
}

/// `None` if a newer version wrote it.
fn prove_file(
    file: &Arc<dyn File>,
    entry: &SegmentEntry,
    sealed: &Sealed,
    before: Option<&ChainPosition>,
) -> io::Result<Option<Proof>> {
    let segment = SegmentFile { id: entry.header.id, salt: entry.header.salt, file: Arc::clone(file) };
    match prove(&segment, entry, sealed, before) {
        Ok(proof) => Ok(Some(proof)),
        Err(RecoverError::Walk(WalkError::Io { source, .. }) | RecoverError::Io { source, .. }) => {
            Err(source)
        }
        Err(RecoverError::Walk(WalkError::Newer { .. }) | RecoverError::Newer(_)) => Ok(None),
    }
}

/// The checksum of a whole file.
pub(crate) fn checksum_of(file: &dyn File) -> io::Result<u32> {
    let (mut crc, mut at, mut buffer) = (Crc::plain(), 0, vec![0; READ_STEP_BYTES]);
    loop {
        let read = file.read_at(&mut buffer, at)?;
        if read == 0 {
            return Ok(crc.value());
        }
        crc.update(&buffer[..read]);
        at += read as u64;
    }
}
