//! Errors of the store's operations. A variant exists where the caller would act differently.

use std::borrow::Cow;

use crate::batch::Expected;
use crate::checkpoint::{Checkpoint, Position, Version};
use crate::event::EventId;
use crate::name::StreamName;

/// Whether, and when, it helps to do the same again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Retry {
    /// The same request fails again until something else changes.
    Never,
    /// At once: the same request may well succeed. For stores whose servers change places.
    Now,
    /// After a pause: the store has to recover first.
    AfterPause,
    /// It is not known whether it happened. Sending the same batch again settles it.
    Unknown,
}

/// A checkpoint names a place in another history of the same store.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}", DisplayDiverged(checkpoint, found))]
pub struct Diverged {
    /// The checkpoint.
    pub checkpoint: Checkpoint,
    /// The same place in the history that the store has now.
    pub found: Checkpoint,
}

macro_rules! from_diverged {
    ($error:ident) => {
        impl From<Diverged> for $error {
            fn from(Diverged { checkpoint, found }: Diverged) -> Self {
                Self::Diverged { checkpoint, found }
            }
        }
    };
}
from_diverged!(AppendError);
from_diverged!(ReadError);

/// Why an append was refused or is in doubt. Treat an unknown variant by its [`Self::retry`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AppendError {
    /// The batch is not well formed.
    #[error("the batch is invalid: {reason}")]
    Invalid {
        /// What is wrong with it.
        reason: String,
    },
    /// Something in the batch is beyond a limit of the store.
    #[error("{what} is {actual}: this store takes at most {limit}")]
    TooLarge {
        /// What is too large, with its unit.
        what: Cow<'static, str>,
        /// How large it is.
        actual: usize,
        /// How large it may be.
        limit: usize,
    },
    /// A stream is not as the append expects.
    #[error("stream `{stream}` was expected to have {expected}, but has {}", DisplayActual(*expected, *actual))]
    Conflict {
        /// The stream.
        stream: StreamName,
        /// What was expected of it.
        expected: Expected,
        /// The version of its last event.
        actual: Option<Version>,
    },
    /// An event matches a condition.
    #[error("condition {index} failed: the event at position {at} matches it")]
    ConditionFailed {
        /// Which condition, from 0.
        index: usize,
        /// The newest match known.
        at: Position,
    },
    /// An event id is taken, and the batch as a whole is no repeat.
    #[error("event id {id} is taken in stream `{stream}`, at version {version}{}", DisplayCut(*index))]
    IdTaken {
        /// The stream.
        stream: StreamName,
        /// The first id of the batch that is taken.
        id: EventId,
        /// Where it stands.
        version: Version,
        /// Where the batch would have to be cut: the first event that differs from the first one in being there, or
        /// that breaks the order. At least 1.
        index: usize,
    },
    /// The command key was used with another request.
    #[error("the command key was used before, with another request: use a new key for a new request")]
    KeyReused,
    /// A checkpoint belongs to another store.
    #[error("checkpoint {checkpoint} belongs to another store: take one from this store")]
    ForeignCheckpoint {
        /// The checkpoint.
        checkpoint: Checkpoint,
    },
    /// A checkpoint lies beyond the head.
    #[error(
        "checkpoint {checkpoint} lies beyond the head of the log, {head}: the store may have been restored from an older copy"
    )]
    CheckpointAhead {
        /// The checkpoint.
        checkpoint: Checkpoint,
        /// The head of the log.
        head: Checkpoint,
    },
    /// A checkpoint names a place in another history of this store: the store lost events that the checkpoint had seen, and
    /// their positions were given to others.
    #[error("{}", DisplayDiverged(checkpoint, found))]
    Diverged {
        /// The checkpoint.
        checkpoint: Checkpoint,
        /// The same place in the history that the store has now.
        found: Checkpoint,
    },
    /// The store cannot do this, whatever its state.
    #[error("this store does not support {capability}")]
    Unsupported {
        /// What it would have to be able to do.
        capability: Cow<'static, str>,
    },
    /// The store takes no writes. It was surely not written.
    #[error("the store is read-only: {reason}")]
    ReadOnly {
        /// Why, and what helps.
        reason: String,
    },
    /// There is no space left for it. Reads go on, and appends do when there is space again.
    #[error(
        "there is no space left to store the batch ({reason}): free space on the device, then send it again"
    )]
    StorageFull {
        /// What took more space than there is: which file or folder, and how many bytes.
        reason: String,
    },
    /// Too much is waiting already.
    #[error("the store is overloaded: send the batch again after a pause")]
    Overloaded,
    /// The store cannot answer yet.
    #[error("the store is not available: {reason}")]
    Unavailable {
        /// Why, and until when.
        reason: String,
    },
    /// It is not known whether the batch was written.
    #[error(
        "it is not known whether the batch was written ({reason}): send the same batch again to settle it"
    )]
    InDoubt {
        /// What got in the way.
        reason: String,
    },
    /// The store was closed before the batch was taken. It was surely not written.
    #[error("the store is closed")]
    Closed,
}

impl AppendError {
    /// Whether, and when, it helps to send the same batch again.
    ///
    /// What a stream or the log does not hold *yet* may come, so it does not settle whether an earlier copy of the batch was or
    /// will be accepted: that answers [`Retry::AfterPause`], like everything that passes.
    #[must_use]
    pub fn retry(&self) -> Retry {
        match self {
            Self::Conflict { expected, actual, .. } if is_ahead(*expected, *actual) => Retry::AfterPause,
            Self::CheckpointAhead { .. }
            | Self::StorageFull { .. }
            | Self::Overloaded
            | Self::Unavailable { .. } => Retry::AfterPause,
            Self::InDoubt { .. } => Retry::Unknown,
            Self::Invalid { .. }
            | Self::TooLarge { .. }
            | Self::Conflict { .. }
            | Self::ConditionFailed { .. }
            | Self::IdTaken { .. }
            | Self::KeyReused
            | Self::ForeignCheckpoint { .. }
            | Self::Diverged { .. }
            | Self::Unsupported { .. }
            | Self::ReadOnly { .. }
            | Self::Closed => Retry::Never,
        }
    }
}

/// Whether a stream may still come to be what was expected of it.
fn is_ahead(expected: Expected, actual: Option<Version>) -> bool {
    match expected {
        Expected::Any | Expected::None => false,
        Expected::Exists => actual.is_none(),
        Expected::Exactly(version) | Expected::Event { version, .. } => {
            actual.is_none_or(|actual| actual < version)
        }
    }
}

/// Why a read failed. Treat an unknown variant by its [`Self::retry`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ReadError {
    /// The read is not well formed.
    #[error("the read is invalid: {reason}")]
    Invalid {
        /// What is wrong with it.
        reason: String,
    },
    /// Something in the read is beyond a limit of the store.
    #[error("{what} is {actual}: this store takes at most {limit}")]
    TooLarge {
        /// What is too large, with its unit.
        what: Cow<'static, str>,
        /// How large it is.
        actual: usize,
        /// How large it may be.
        limit: usize,
    },
    /// A checkpoint belongs to another store.
    #[error("checkpoint {checkpoint} belongs to another store: take one from this store")]
    ForeignCheckpoint {
        /// The checkpoint.
        checkpoint: Checkpoint,
    },
    /// A checkpoint lies beyond the head: after a restore, or a failover that lost events.
    #[error(
        "checkpoint {checkpoint} lies beyond the head of the log, {head}: the store may have been restored from an older copy"
    )]
    CheckpointAhead {
        /// The checkpoint.
        checkpoint: Checkpoint,
        /// The head of the log.
        head: Checkpoint,
    },
    /// A checkpoint names a place in another history of this store: the store lost events that the checkpoint had seen, and
    /// their positions were given to others.
    #[error("{}", DisplayDiverged(checkpoint, found))]
    Diverged {
        /// The checkpoint.
        checkpoint: Checkpoint,
        /// The same place in the history that the store has now.
        found: Checkpoint,
    },
    /// The store cannot do this, whatever its state.
    #[error("this store does not support {capability}")]
    Unsupported {
        /// What it would have to be able to do.
        capability: Cow<'static, str>,
    },
    /// Events that may belong to the answer are damaged. What lies before was given.
    #[error(
        "events from position {from} to {to} are damaged ({location}): restore them from a backup, or go on at checkpoint {resume}"
    )]
    DataLoss {
        /// Where the damage is, as file and offset.
        location: String,
        /// The first position that may be lost.
        from: Position,
        /// The last position that may be lost.
        to: Position,
        /// Where a reader that accepts the loss can go on.
        resume: Checkpoint,
    },
    /// Too much is waiting already.
    #[error("the store is overloaded: read again after a pause")]
    Overloaded,
    /// The store cannot answer yet, or cannot reach its files.
    #[error("the store is not available: {reason}")]
    Unavailable {
        /// Why, and until when.
        reason: String,
    },
    /// The store is closed.
    #[error("the store is closed")]
    Closed,
}

impl ReadError {
    /// Whether, and when, it helps to read the same again.
    #[must_use]
    pub const fn retry(&self) -> Retry {
        match self {
            Self::Overloaded | Self::Unavailable { .. } => Retry::AfterPause,
            _ => Retry::Never,
        }
    }
}

struct DisplayActual(Expected, Option<Version>);

impl std::fmt::Display for DisplayActual {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match (self.0, self.1) {
            (Expected::Event { version, .. }, Some(actual)) if version == actual => {
                f.write_str("another event there")
            }
            (_, Some(actual)) => write!(f, "version {actual}"),
            (_, None) => f.write_str("no event"),
        }
    }
}

struct DisplayDiverged<'a>(&'a Checkpoint, &'a Checkpoint);

impl std::fmt::Display for DisplayDiverged<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "checkpoint {} is of another history of this store, which has {} there: the store lost events (it was put back from an older copy, say) and their positions were given to others; start again from a checkpoint before the loss, or from the start",
            self.0, self.1
        )
    }
}

struct DisplayCut(usize);

impl std::fmt::Display for DisplayCut {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, ", and the batch is no repeat of one append: cut it before event {}", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_may_still_come_is_worth_another_try() {
        let conflict =
            |expected, actual| AppendError::Conflict { stream: "a-1".parse().unwrap(), expected, actual };
        let at = |number| Some(Version::new(number));
        let event = Expected::Event { version: Version::new(2), id: crate::EventId::from_u128(9) };
        let cases = [
            (event, None, Retry::AfterPause),
            (event, at(1), Retry::AfterPause),
            (event, at(2), Retry::Never),
            (event, at(3), Retry::Never),
            (Expected::Exists, None, Retry::AfterPause),
            (Expected::None, at(0), Retry::Never),
            (Expected::Exactly(Version::new(2)), at(1), Retry::AfterPause),
            (Expected::Exactly(Version::new(2)), None, Retry::AfterPause),
            (Expected::Exactly(Version::new(2)), at(3), Retry::Never),
        ];
        for (expected, actual, retry) in cases {
            assert_eq!(conflict(expected, actual).retry(), retry, "{expected}, {actual:?}");
        }
    }
}
