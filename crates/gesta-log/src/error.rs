//! Why a log cannot be opened.

use std::io;
use std::path::PathBuf;

use gesta_core::{Retry, StoreId};

use crate::env::{has_no_room, is_shortage};
use crate::limits::{SEGMENT_SIZE_BYTES_MAX, SEGMENT_SIZE_BYTES_MIN};

/// Why a log cannot be opened. No acknowledged event was changed.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Another process has it open.
    #[error("`{}` is in use by {holder}: stop it, or send requests to it instead", path.display())]
    Locked {
        /// The folder.
        path: PathBuf,
        /// How the other process describes itself.
        holder: String,
    },
    /// An option is out of its range.
    #[error(
        "a segment of {segment_size_bytes} bytes is out of range: use {SEGMENT_SIZE_BYTES_MIN} to {SEGMENT_SIZE_BYTES_MAX}"
    )]
    SegmentSize {
        /// The size asked for.
        segment_size_bytes: u64,
    },
    /// There are segments but no manifest, so it is unknown which of them belong to the log.
    #[error("`{}` has segments but no manifest: rebuild it with `gesta repair --manifest`, or restore the log from a backup with `gesta restore`", path.display())]
    ManifestMissing {
        /// The folder.
        path: PathBuf,
    },
    /// A restore was interrupted.
    #[error("`{}` holds an unfinished restore: empty the folder, then run `gesta restore` again", path.display())]
    RestoreUnfinished {
        /// The folder.
        path: PathBuf,
    },
    /// Another store is being copied into the folder.
    #[error("`{}` holds an unfinished copy: run the same `gesta copy` again, it goes on; after `gesta excerpt`, remove the folder first", path.display())]
    CopyUnfinished {
        /// The folder.
        path: PathBuf,
    },
    /// A copy was to go into a folder that holds another store.
    #[error("`{}` holds the store {store}: copy into a folder that is empty or does not exist", path.display())]
    OtherStore {
        /// The folder.
        path: PathBuf,
        /// The store in it.
        store: StoreId,
    },
    /// The folder holds a replica: only its source writes to it.
    #[error("`{}` holds a replica of another store: choose a folder that is empty or does not exist", path.display())]
    IsAReplica {
        /// The folder.
        path: PathBuf,
    },
    /// The folder holds a log, or a replica of another partition. Nothing was written to it.
    #[error("`{}` holds no replica of partition {partition}: choose a folder that is empty or does not exist", path.display())]
    NotThisReplica {
        /// The folder.
        path: PathBuf,
        /// The partition asked for.
        partition: u16,
    },
    /// The manifest's checksum is wrong.
    #[error("the manifest of `{}` is damaged; the segments are untouched: rebuild it with `gesta repair --manifest`, or restore the log from a backup with `gesta restore`", path.display())]
    ManifestDamaged {
        /// The folder.
        path: PathBuf,
    },
    /// The log was written by a newer version.
    #[error("`{}` was written by a newer version of this program: {what}", path.display())]
    NewerFormat {
        /// The folder.
        path: PathBuf,
        /// What is newer.
        what: String,
    },
    /// The folder holds a backup, not a log. Nothing was written to it.
    #[error(
        "`{name}` holds a backup, not a log: `gesta restore --from {name} --dir <folder>` makes a log from it",
        name = path.display()
    )]
    IsABackup {
        /// The folder.
        path: PathBuf,
    },
    /// A first backup was interrupted. Nothing was written to it.
    #[error("`{}` holds an unfinished backup: run the same `gesta backup` again, it goes on", path.display())]
    BackupUnfinished {
        /// The folder.
        path: PathBuf,
    },
    /// There is no log in the folder.
    #[error("`{}` holds no log", path.display())]
    NotALog {
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

impl OpenError {
    /// Whether, and when, it helps to open the log again.
    #[must_use]
    pub fn retry(&self) -> Retry {
        match self {
            Self::Locked { .. } => Retry::AfterPause,
            Self::Io { source, .. } => retry_of(source),
            Self::SegmentSize { .. }
            | Self::ManifestMissing { .. }
            | Self::RestoreUnfinished { .. }
            | Self::CopyUnfinished { .. }
            | Self::OtherStore { .. }
            | Self::IsAReplica { .. }
            | Self::NotThisReplica { .. }
            | Self::ManifestDamaged { .. }
            | Self::NewerFormat { .. }
            | Self::IsABackup { .. }
            | Self::BackupUnfinished { .. }
            | Self::NotALog { .. } => Retry::Never,
        }
    }
}

/// Whether a failed system call may succeed later: a shortage passes, a missing right or file does not.
pub(crate) fn retry_of(source: &io::Error) -> Retry {
    match is_shortage(source) || has_no_room(source) {
        true => Retry::AfterPause,
        false => Retry::Never,
    }
}

/// Adds the attempted action to a system error.
pub(crate) fn io_error(what: impl Into<String>) -> impl FnOnce(io::Error) -> OpenError {
    let what = what.into();
    move |source| OpenError::Io { what, source }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passing_shortages_are_retried_after_a_pause() {
        let io = |kind: io::ErrorKind| OpenError::Io { what: "reading".to_owned(), source: kind.into() };
        let cases = [
            (OpenError::Locked { path: PathBuf::new(), holder: String::new() }, Retry::AfterPause),
            (io(io::ErrorKind::StorageFull), Retry::AfterPause),
            (io(io::ErrorKind::PermissionDenied), Retry::Never),
            (OpenError::NotALog { path: PathBuf::new() }, Retry::Never),
        ];
        for (error, expected) in cases {
            assert_eq!(error.retry(), expected, "{error:?}");
        }
    }
}
