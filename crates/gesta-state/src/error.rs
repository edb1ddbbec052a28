//! Why `state.db` or `snapshots.db` cannot be opened, copied or restored, and what an error of SQLite means for a request.

use std::path::{Path, PathBuf};

use gesta_core::{KeyValueError, Retry};
use rusqlite::{Error, ErrorCode};

/// The reason why a store cannot be opened, copied or restored.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StateError {
    /// Another process has the file open.
    #[error("`{}` is in use by another process: stop it first", path.display())]
    InUse {
        /// The file.
        path: PathBuf,
    },
    /// The file is damaged.
    #[error(
        "`{}` is damaged ({what}): restore a backup, or move the file away and create the groups anew",
        path.display()
    )]
    Damaged {
        /// The file.
        path: PathBuf,
        /// The damage.
        what: String,
    },
    /// The file is a database of something else.
    #[error("`{}` is not a {of} store of Gesta: move it away", path.display())]
    NotAStore {
        /// The file.
        path: PathBuf,
        /// What it should be a store of.
        of: &'static str,
    },
    /// The file was written by a newer version of Gesta.
    #[error("`{}` has format {format}: this version of gesta reads format {known}", path.display())]
    Newer {
        /// The file.
        path: PathBuf,
        /// The format of the file.
        format: i64,
        /// The newest format that this version reads.
        known: i64,
    },
    /// The file was moved, removed or replaced while it was open. Nothing is written to it any more.
    #[error(
        "`{}` was moved, removed or replaced while it was open: put it back, or start the program again",
        path.display()
    )]
    Displaced {
        /// The file.
        path: PathBuf,
    },
    /// The device has no space left.
    #[error("there is no space left for `{}`: free space on the device", path.display())]
    StorageFull {
        /// The file.
        path: PathBuf,
    },
    /// A file operation failed.
    #[error("cannot {action} `{}`: {message}", path.display())]
    Io {
        /// The operation.
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// The message of the operating system or of SQLite.
        message: String,
    },
    /// The store was closed.
    #[error("the key-value store is closed")]
    Closed,
}

impl StateError {
    /// Returns the advice on trying again.
    #[must_use]
    pub const fn retry(&self) -> Retry {
        match self {
            Self::InUse { .. } | Self::Displaced { .. } | Self::StorageFull { .. } | Self::Io { .. } => {
                Retry::AfterPause
            }
            Self::Damaged { .. } | Self::NotAStore { .. } | Self::Newer { .. } | Self::Closed => Retry::Never,
        }
    }

    pub(crate) fn io(action: &'static str, path: &Path, error: &std::io::Error) -> Self {
        match error.kind() {
            std::io::ErrorKind::StorageFull => Self::StorageFull { path: path.to_owned() },
            _ => Self::Io { action, path: path.to_owned(), message: error.to_string() },
        }
    }

    pub(crate) fn of_sqlite(action: &'static str, path: &Path, error: &Error) -> Self {
        let path = path.to_owned();
        match error.sqlite_error_code() {
            Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => Self::InUse { path },
            Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => {
                Self::Damaged { path, what: message(error) }
            }
            Some(ErrorCode::DiskFull) => Self::StorageFull { path },
            _ => Self::Io { action, path, message: message(error) },
        }
    }
}

/// A request finds the file in this state. Nothing was written.
impl From<&StateError> for KeyValueError {
    fn from(error: &StateError) -> Self {
        let reason = error.to_string();
        match error {
            StateError::Damaged { .. } | StateError::NotAStore { .. } | StateError::Newer { .. } => {
                Self::Damaged { reason }
            }
            StateError::StorageFull { .. } => Self::StorageFull { reason },
            StateError::Closed => Self::Closed,
            StateError::InUse { .. } | StateError::Displaced { .. } | StateError::Io { .. } => {
                Self::Unavailable { reason }
            }
        }
    }
}

/// SQLite's message, without the statement that rusqlite repeats, with the extended code of a file operation.
pub(crate) fn message(error: &Error) -> String {
    match error {
        Error::SqlInputError { msg, .. } => msg.clone(),
        Error::SqliteFailure(code, Some(message)) if code.code == ErrorCode::SystemIoFailure => {
            format!("{message}, SQLite's code {}", code.extended_code)
        }
        Error::SqliteFailure(_, Some(message)) => message.clone(),
        other => other.to_string(),
    }
}
