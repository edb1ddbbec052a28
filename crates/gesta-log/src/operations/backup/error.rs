//! Why a backup was not taken, read or restored.

use std::io;
use std::path::PathBuf;

use gesta_core::{Retry, StoreId};

use crate::damage::Damage;
use crate::error::{OpenError, retry_of};

/// Why no backup was taken. The previous backup in the folder is unchanged.
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    /// The log cannot be read.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// The log is damaged, so its copy would not be a backup.
    #[error(
        "the log is damaged ({0}): restore it from an older backup, which this attempt has left as it was"
    )]
    Damaged(Damage),
    /// The end of the log is not settled.
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
        /// The store to back up.
        store: StoreId,
    },
    /// The folder holds a backup of another history of this log, or of more of it than the log has.
    #[error(
        "the backup in `{}` ends with an event at position {position} that this log, which ends at {ends_at}, does not hold there: the log was put back from an older copy or has lost its end; keep that backup and use another folder",
        path.display()
    )]
    OtherHistory {
        /// The folder.
        path: PathBuf,
        /// The last position of the backup in it.
        position: u64,
        /// The position that the new backup would have ended at.
        ends_at: u64,
    },
    /// The backup in the folder cannot be extended.
    #[error("the backup cannot be added to; use another folder")]
    Previous(#[source] BackupReadError),
    /// Another process uses the backup.
    #[error("the backup in `{}` is in use by {holder}: wait until it is done", path.display())]
    InUse {
        /// The folder.
        path: PathBuf,
        /// How the other process describes itself.
        holder: String,
    },
    /// A system call failed.
    #[error("{what} failed")]
    Io {
        /// What was attempted.
        what: String,
        /// The system's error.
        source: io::Error,
    },
}

/// Why a backup cannot be read at all.
#[derive(Debug, thiserror::Error)]
pub enum BackupReadError {
    /// The folder holds no finished backup.
    #[error("`{}` holds no backup, or none that was finished", path.display())]
    NotABackup {
        /// The folder.
        path: PathBuf,
    },
    /// The checksum of its manifest is wrong.
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
    /// A system call failed.
    #[error("{what} failed")]
    Io {
        /// What was attempted.
        what: String,
        /// The system's error.
        source: io::Error,
    },
}

/// Why a backup was not restored. The part that was restored is removed again, if the system allows it.
#[derive(Debug, thiserror::Error)]
pub enum RestoreError {
    /// The backup cannot be read.
    #[error(transparent)]
    Backup(#[from] BackupReadError),
    /// A file of the backup changed since it was written.
    #[error("`{}` is damaged ({what}): use another backup", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What was found.
        what: String,
    },
    /// The folder to restore into is not empty.
    #[error("`{}` is not empty: restore into a folder that is empty or not there yet", path.display())]
    NotEmpty {
        /// The folder.
        path: PathBuf,
    },
    /// A system call failed.
    #[error("{what} failed")]
    Io {
        /// What was attempted.
        what: String,
        /// The system's error.
        source: io::Error,
    },
}

impl BackupError {
    /// Whether, and when, it helps to take the backup again.
    #[must_use]
    pub fn retry(&self) -> Retry {
        match self {
            Self::Open(error) => error.retry(),
            Self::Previous(error) => error.retry(),
            Self::InUse { .. } => Retry::AfterPause,
            Self::Io { source, .. } => retry_of(source),
            Self::Damaged(_)
            | Self::Unsettled { .. }
            | Self::NotABackup { .. }
            | Self::OtherStore { .. }
            | Self::OtherHistory { .. } => Retry::Never,
        }
    }
}

impl BackupReadError {
    /// Whether, and when, it helps to read the backup again.
    #[must_use]
    pub fn retry(&self) -> Retry {
        match self {
            Self::Io { source, .. } => retry_of(source),
            Self::NotABackup { .. } | Self::ManifestDamaged { .. } | Self::NewerFormat { .. } => Retry::Never,
        }
    }
}

impl RestoreError {
    /// Whether, and when, it helps to restore again.
    #[must_use]
    pub fn retry(&self) -> Retry {
        match self {
            Self::Backup(error) => error.retry(),
            Self::Io { source, .. } => retry_of(source),
            Self::Damaged { .. } | Self::NotEmpty { .. } => Retry::Never,
        }
    }
}

pub(crate) fn backup_io(what: impl Into<String>) -> impl FnOnce(io::Error) -> BackupError {
    let what = what.into();
    move |source| BackupError::Io { what, source }
}

pub(crate) fn restore_io(what: impl Into<String>) -> impl FnOnce(io::Error) -> RestoreError {
    let what = what.into();
    move |source| RestoreError::Io { what, source }
}
