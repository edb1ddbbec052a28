//! Why a store cannot be opened.

use std::io;

use gesta_core::Retry;

use crate::machine::Halt;

/// Why a store cannot be opened.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// No server answers, or no leader.
    #[error("cannot reach the cluster: {reason}")]
    Unreachable {
        /// The cause.
        reason: String,
    },
    /// The servers, their settings, or the stream cannot be used.
    #[error("cannot use the cluster: {reason}")]
    Refused {
        /// The cause, and what helps.
        reason: String,
    },
    /// The folder of the copy cannot be used.
    #[error("cannot open the copy of the store")]
    Copy(#[from] gesta_log::OpenError),
    /// The stream does not have what the copy has.
    #[error("the cluster and the copy in `{folder}` do not fit")]
    Lost {
        /// The folder of the copy.
        folder: String,
        /// What is missing or changed.
        #[source]
        halt: Halt,
    },
    /// The system gave no thread.
    #[error("cannot start the threads of the store")]
    Thread(#[source] io::Error),
}

impl OpenError {
    /// A thread of the store has ended without an answer.
    pub(crate) fn panicked() -> Self {
        Self::Unreachable { reason: "the thread of the store has panicked".to_owned() }
    }

    /// Returns the advice on opening again.
    #[must_use]
    pub fn retry(&self) -> Retry {
        match self {
            Self::Unreachable { .. } | Self::Thread(_) => Retry::AfterPause,
            Self::Copy(error) => error.retry(),
            Self::Refused { .. } | Self::Lost { .. } => Retry::Never,
        }
    }
}
