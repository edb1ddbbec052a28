//! Why a store cannot be opened.

use std::io;

use gesta_core::Retry;
use gesta_postgres_connect::FileError;

/// Why a store cannot be opened.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// A file with a password or a certificate cannot be used.
    #[error(transparent)]
    File(#[from] FileError),
    /// The server does not answer.
    #[error("cannot reach the database: {reason}")]
    Unreachable {
        /// The cause.
        reason: String,
    },
    /// The server, its settings, the role, or what the schema holds cannot be used.
    #[error("cannot use the database: {reason}")]
    Refused {
        /// The cause, and what helps.
        reason: String,
    },
    /// The system gave no thread.
    #[error("cannot start the thread of the store")]
    Thread(#[source] io::Error),
}

impl OpenError {
    /// Returns the advice on opening again.
    #[must_use]
    pub const fn retry(&self) -> Retry {
        match self {
            Self::File(_) | Self::Refused { .. } => Retry::Never,
            Self::Unreachable { .. } | Self::Thread(_) => Retry::AfterPause,
        }
    }
}
