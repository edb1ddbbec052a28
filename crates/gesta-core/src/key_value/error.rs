//! Errors of a key-value store. Each variant calls for a different action of the caller.

use crate::error::Retry;
use crate::key_value::Revision;
use crate::limits::VALUE_BYTES_MAX;

/// The reason why a key-value store refused a request, or does not know its outcome.
///
/// Handle an unknown variant by its [`Self::retry`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum KeyValueError {
    /// The key does not have the expected revision. Nothing was written.
    #[error("the key has {}, not the expected revision: read it and decide again", DisplayActual(*actual))]
    Changed {
        /// The revision of the key at some moment of the call; `None` if it has no value.
        actual: Option<Revision>,
    },
    /// The value is too large. Nothing was written.
    #[error("the value has {bytes} bytes: a key-value store takes at most {VALUE_BYTES_MAX}")]
    TooLarge {
        /// The bytes of the value.
        bytes: usize,
    },
    /// The device has no space left for the write. Nothing was written.
    ///
    /// Reads continue. Writes continue as soon as there is space.
    #[error("there is no space left to store the value ({reason}): free space on the device")]
    StorageFull {
        /// The file that did not grow.
        reason: String,
    },
    /// The store's files are damaged. It answers nothing until they were replaced.
    #[error("the key-value store is damaged: {reason}")]
    Damaged {
        /// The file, the damage, and the remedy.
        reason: String,
    },
    /// The store cannot answer yet. Nothing was written.
    #[error("the key-value store is not available: {reason}")]
    Unavailable {
        /// The cause, and when it ends.
        reason: String,
    },
    /// It is not known whether the write happened, and it may still happen.
    #[error("it is not known whether the value was written ({reason}): read the key to see")]
    InDoubt {
        /// The cause.
        reason: String,
    },
    /// The store was closed before it took the request. Nothing was written.
    #[error("the key-value store is closed")]
    Closed,
}

impl KeyValueError {
    /// Returns the advice on sending the same request again.
    ///
    /// [`Retry::Unknown`] for a write in doubt: read the key, then decide.
    #[must_use]
    pub const fn retry(&self) -> Retry {
        match self {
            Self::StorageFull { .. } | Self::Unavailable { .. } => Retry::AfterPause,
            Self::InDoubt { .. } => Retry::Unknown,
            Self::Changed { .. } | Self::TooLarge { .. } | Self::Damaged { .. } | Self::Closed => {
                Retry::Never
            }
        }
    }
}

struct DisplayActual(Option<Revision>);

impl std::fmt::Display for DisplayActual {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.0 {
            Some(revision) => write!(f, "revision {revision}"),
            None => f.write_str("no value"),
        }
    }
}
