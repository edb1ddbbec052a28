//! Errors of a snapshot store. None of them is an error of the caller's command: without a snapshot, a state is folded.

use crate::error::Retry;

/// The reason why a snapshot store did not do what it was asked.
///
/// Handle an unknown variant by its [`Self::retry`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SnapshotError {
    /// The state is too large for this store. Nothing was written.
    #[error("the state has {bytes} bytes: this snapshot store takes at most {bytes_max}")]
    TooLarge {
        /// Bytes of the state.
        bytes: usize,
        /// The most that the store takes.
        bytes_max: usize,
    },
    /// There is no space left. Nothing was written.
    #[error("there is no space left for a snapshot ({reason}): free some, or remove snapshots")]
    StorageFull {
        /// The file, or the words of the server.
        reason: String,
    },
    /// The store cannot answer now.
    #[error("the snapshot store is not available: {reason}")]
    Unavailable {
        /// The cause.
        reason: String,
    },
    /// The store was closed.
    #[error("the snapshot store is closed")]
    Closed,
}

impl SnapshotError {
    /// Returns the advice on sending the same request again.
    #[must_use]
    pub const fn retry(&self) -> Retry {
        match self {
            Self::StorageFull { .. } | Self::Unavailable { .. } => Retry::AfterPause,
            Self::TooLarge { .. } | Self::Closed => Retry::Never,
        }
    }
}
