//! Why a backup was not taken, read or restored.

use std::io;
use std::path::PathBuf;

use gesta_core::StoreId;

use crate::damage::Damage;
use crate::open_error::OpenError;

/// Why no backup was taken. The one that the folder held before is as it was.
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    /// The log cannot be read.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// The log is damaged: a backup of it would not be one.
    #[error(
        "the log is damaged ({0}): restore it from an older backup, which this attempt has left as it was"
    )]
    Damaged(Damage),
    /// It is not settled what belongs to the log.
    #[error("the log takes no writes, so it is not settled what belongs to it: {reason}")]
    Unsettled {
        /// Why the log takes no writes.
        reason: String,
    },
    /// The folder holds other files.
    #[error(
        "`{}` holds `{name}`, which is no file of a backup: use a folder that is empty, not there yet, or of an older backup of this log",
        path.display()
    )]
    NotABackup {
        /// The folder.
        path: PathBuf,
        /// One of the other files.
        name: String,
    },
    /// The folder holds a backup of another log.
    #[error("`{}` holds a backup of store {found}, and this is store {store}: use another folder", path.display())]
    OtherStore {
        /// The folder.
        path: PathBuf,
        /// The store whose backup is there.
        found: StoreId,
        /// The store that was to be backed up.
        store: StoreId,
    },
    /// The backup that the folder holds cannot be added to.
    #[error("the backup cannot be added to; use another folder")]
    Previous(#[source] BackupReadError),
    /// Another process works on the backup.
    #[error("the backup in `{}` is in use by {holder}: wait until it is done", path.display())]
    InUse {
        /// The folder.
        path: PathBuf,
        /// What the other process says of itself.
        holder: String,
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

/// Why a backup cannot be read at all.
#[derive(Debug, thiserror::Error)]
pub enum BackupReadError {
    /// There is none, or none that was finished.
    #[error("`{}` holds no backup, or none that was finished", path.display())]
    NotABackup {
        /// The folder.
        path: PathBuf,
    },
    /// Its manifest does not prove itself.
    #[error("the manifest of the backup in `{}` is damaged: use another backup", path.display())]
    ManifestDamaged {
        /// The folder.
        path: PathBuf,
    },
    /// It was written by a newer version.
    #[error("the backup in `{}` was written by a newer version of this program: use that", path.display())]
    NewerFormat {
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

/// Why a backup was not restored. What was written of it is removed again, as far as the system lets it.
#[derive(Debug, thiserror::Error)]
pub enum RestoreError {
    /// The backup cannot be read.
    #[error(transparent)]
    Backup(#[from] BackupReadError),
    /// A file of the backup is not what it was when it was written.
    #[error("`{}` is damaged ({what}): use another backup", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What was found.
        what: String,
    },
    /// The folder to restore into holds something.
    #[error("`{}` is not empty: restore into a folder that is empty or not there yet", path.display())]
    NotEmpty {
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

pub(super) fn backup_io(what: impl Into<String>) -> impl FnOnce(io::Error) -> BackupError {
    let what = what.into();
    move |source| BackupError::Io { what, source }
}

pub(super) fn restore_io(what: impl Into<String>) -> impl FnOnce(io::Error) -> RestoreError {
    let what = what.into();
    move |source| RestoreError::Io { what, source }
}
