//! The manifest of a backup: each file with its length and checksum, and the position where its log ends.

use std::io;
use std::path::{Path, PathBuf};

use gesta_core::StoreId;

use super::error::BackupReadError;
use crate::env::{Env, read_whole};
use crate::folder::{NAME, write_synced};
use crate::format::{BackupFile, BackupFormatError, BackupManifest, Sealed, SegmentEntry};

const TEMPORARY_NAME: &str = "backup.tmp";

/// The file name of a sealed segment. It contains the checksum over headers, so a longer copy of the same segment
/// gets another name.
pub(crate) fn file_name(entry: &SegmentEntry, sealed: &Sealed) -> String {
    format!("{:012}-{:08x}.seg", entry.header.id, sealed.checksum)
}

impl BackupFile {
    pub(crate) fn path(&self, root: &Path) -> PathBuf {
        root.join("segments").join(file_name(&self.entry, &self.sealed))
    }
}

impl BackupManifest {
    /// Reads the manifest of a backup; `None` if there is none.
    pub(crate) fn load(env: &dyn Env, root: &Path) -> Result<Option<Self>, BackupReadError> {
        let path = || root.to_owned();
        match read_whole(env, &root.join(NAME)) {
            Ok(bytes) => match Self::decode(&bytes) {
                Ok(manifest) => Ok(Some(manifest)),
                Err(BackupFormatError::Damaged) => Err(BackupReadError::ManifestDamaged { path: path() }),
                Err(BackupFormatError::Newer) => Err(BackupReadError::NewerFormat { path: path() }),
            },
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(source) => {
                Err(BackupReadError::Io { what: "reading the backup's manifest".to_owned(), source })
            }
        }
    }

    /// Reads the manifest of a folder that must hold a backup.
    pub(crate) fn load_existing(env: &dyn Env, root: &Path) -> Result<Self, BackupReadError> {
        Self::load(env, root)?.ok_or_else(|| BackupReadError::NotABackup { path: root.to_owned() })
    }

    /// Whether this is the name of a manifest, or of an unfinished one.
    pub(crate) fn is_own_name(name: &str) -> bool {
        [NAME, TEMPORARY_NAME].contains(&name)
    }

    /// Replaces the manifest durably. From then on the backup is the new one.
    pub(crate) fn replace(&self, env: &dyn Env, root: &Path) -> io::Result<()> {
        write_synced(env, &root.join(TEMPORARY_NAME), &self.encode())?;
        env.rename(&root.join(TEMPORARY_NAME), &root.join(NAME))?;
        env.sync_dir(root)
    }

    pub(crate) fn store(&self) -> StoreId {
        StoreId::from_bytes(self.store)
    }
}
