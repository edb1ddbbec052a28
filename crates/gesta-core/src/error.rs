//! Errors of the store's operations. Each variant calls for a different action of the caller.

use std::borrow::Cow;

use crate::batch::Expected;
use crate::checkpoint::{Checkpoint, Position, Version};
use crate::event::EventId;
use crate::name::StreamName;
use crate::time::Timestamp;

/// The advice on sending the same request again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Retry {
    /// Do not retry: the same request fails until something else changes.
    Never,
    /// Retry at once: the same request may succeed. For stores whose servers change roles.
    Now,
    /// Retry after a pause: the store has to recover first.
    AfterPause,
    /// The outcome is not known. Sending the same batch again settles it; for a key-value store, reading the key.
    Unknown,
}

/// Returns the text of an error with those of its causes, on one line.
#[must_use]
pub fn with_causes(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(error.source(), |cause| cause.source());
    causes.fold(error.to_string(), |text, cause| format!("{text}: {cause}"))
}

/// A checkpoint belongs to another history of the same store.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}", DisplayDiverged(checkpoint, found))]
pub struct Diverged {
    /// The checkpoint.
    pub checkpoint: Checkpoint,
    /// The same place in the store's current history.
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

/// The reason why an append was refused or is in doubt.
///
/// Handle an unknown variant by its [`Self::retry`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AppendError {
    /// The batch is not well formed.
    #[error("the batch is invalid: {reason}")]
    Invalid {
        /// The fault.
        reason: String,
    },
    /// A part of the batch exceeds a limit of the store.
    #[error("{what} is {actual}: this store takes at most {limit}")]
    TooLarge {
        /// The part that is too large, with its unit.
        what: Cow<'static, str>,
        /// Its size.
        actual: usize,
        /// The largest size that the store takes.
        limit: usize,
    },
    /// A stream is not as the append expects.
    #[error("stream `{stream}` was expected to have {expected}, but has {}", DisplayActual(*expected, *actual))]
    Conflict {
        /// The stream.
        stream: StreamName,
        /// The expectation.
        expected: Expected,
        /// The version of the stream's last event; `None` if it has no event.
        actual: Option<Version>,
    },
    /// An event matches a condition.
    #[error("condition {index} failed: the event at position {at} matches it")]
    ConditionFailed {
        /// The index of the condition in the batch, from 0.
        index: usize,
        /// The newest known match.
        at: Position,
    },
    /// An event id is taken, and the batch as a whole is not a repeat.
    #[error("event id {id} is taken in stream `{stream}`, at version {version}{}", DisplayCut(*index))]
    IdTaken {
        /// The stream.
        stream: StreamName,
        /// The first taken id of the batch.
        id: EventId,
        /// The version of the event with this id.
        version: Version,
        /// The index of the event to cut the batch before, at least 1.
        ///
        /// If the batch's first event is recorded, this is the first event that is new or breaks the recorded order.
        /// If the first event is new, this is the first recorded one.
        index: usize,
    },
    /// The command key was used with another request.
    #[error("the command key was already used with another request: use a new key for a new request")]
    KeyReused,
    /// A checkpoint belongs to another store.
    #[error("checkpoint {checkpoint} belongs to another store: take one from this store")]
    ForeignCheckpoint {
        /// The checkpoint.
        checkpoint: Checkpoint,
    },
    /// A checkpoint lies beyond the head of the log.
    #[error(
        "checkpoint {checkpoint} lies beyond the head of the log, {head}: the store may have been restored from an older copy"
    )]
    CheckpointAhead {
        /// The checkpoint.
        checkpoint: Checkpoint,
        /// The head of the log.
        head: Checkpoint,
    },
    /// A checkpoint belongs to another history of this store.
    ///
    /// The store lost events that the checkpoint covers, and gave their positions to other events.
    #[error("{}", DisplayDiverged(checkpoint, found))]
    Diverged {
        /// The checkpoint.
        checkpoint: Checkpoint,
        /// The same place in the store's current history.
        found: Checkpoint,
    },
    /// The store cannot do this in any state.
    #[error("this store does not support {capability}")]
    Unsupported {
        /// The missing capability.
        capability: Cow<'static, str>,
    },
    /// The caller may not append this batch. The batch was certainly not written.
    ///
    /// The store checks this together with the batch's form, before the command key.
    #[error("the append is not allowed (`{code}`): {reason}")]
    Denied {
        /// The rule that refuses it, as a stable name such as `hosted-category`.
        code: Cow<'static, str>,
        /// The cause, and what is allowed instead.
        reason: String,
    },
    /// The store takes no writes. The batch was certainly not written.
    #[error("the store is read-only: {reason}")]
    ReadOnly {
        /// The cause, and the remedy.
        reason: String,
    },
    /// The device has no space left for the batch.
    ///
    /// Reads continue. Appends continue as soon as there is space.
    #[error(
        "there is no space left to store the batch ({reason}): free space on the device, then send it again"
    )]
    StorageFull {
        /// The write that did not fit: the file or folder, and its bytes.
        reason: String,
    },
    /// The store has too many requests waiting.
    #[error("the store is overloaded: send the batch again after a pause")]
    Overloaded,
    /// The store cannot answer yet.
    #[error("the store is not available: {reason}")]
    Unavailable {
        /// The cause, and when it ends.
        reason: String,
    },
    /// It is not known whether the batch was written. Send the same batch again to settle it.
    #[error(
        "it is not known whether the batch was written ({reason}): send the same batch again to settle it"
    )]
    InDoubt {
        /// The cause.
        reason: String,
    },
    /// The store was closed before it took the batch. The batch was certainly not written.
    #[error("the store is closed")]
    Closed,
}

impl AppendError {
    /// Returns the advice on sending the same batch again.
    ///
    /// A stream or the log may lack an event that an earlier copy of the batch is still to write. Such a refusal does
    /// not settle whether that copy was or will be accepted. It gets [`Retry::AfterPause`], like every passing error.
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
            | Self::Denied { .. }
            | Self::ReadOnly { .. }
            | Self::Closed => Retry::Never,
        }
    }

    /// Returns true if this answer also settles earlier sendings of the same batch that are in doubt: they were not
    /// written and never will be.
    ///
    /// Most errors settle nothing, because the store refused the batch before it looked for the earlier sending. A
    /// stream that is behind the expectation settles nothing either, because the earlier sending may still arrive.
    /// `Ok` always settles a doubt.
    #[must_use]
    pub fn settles_doubt(&self) -> bool {
        let looked = matches!(
            self,
            Self::Conflict { .. } | Self::ConditionFailed { .. } | Self::IdTaken { .. } | Self::KeyReused
        );
        looked && self.retry() == Retry::Never
    }
}

/// Returns true if the stream may still reach the expected state.
fn is_ahead(expected: Expected, actual: Option<Version>) -> bool {
    match expected {
        Expected::Any | Expected::None => false,
        Expected::Exists => actual.is_none(),
        Expected::Exactly(version) | Expected::Event { version, .. } => {
            actual.is_none_or(|actual| actual < version)
        }
    }
}

/// The reason why a read failed.
///
/// Handle an unknown variant by its [`Self::retry`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ReadError {
    /// The read is not well formed.
    #[error("the read is invalid: {reason}")]
    Invalid {
        /// The fault.
        reason: String,
    },
    /// A part of the read exceeds a limit of the store.
    #[error("{what} is {actual}: this store takes at most {limit}")]
    TooLarge {
        /// The part that is too large, with its unit.
        what: Cow<'static, str>,
        /// Its size.
        actual: usize,
        /// The largest size that the store takes.
        limit: usize,
    },
    /// A checkpoint belongs to another store.
    #[error("checkpoint {checkpoint} belongs to another store: take one from this store")]
    ForeignCheckpoint {
        /// The checkpoint.
        checkpoint: Checkpoint,
    },
    /// A checkpoint lies beyond the head of the log, after a restore or a failover that lost events.
    #[error(
        "checkpoint {checkpoint} lies beyond the head of the log, {head}: the store may have been restored from an older copy"
    )]
    CheckpointAhead {
        /// The checkpoint.
        checkpoint: Checkpoint,
        /// The head of the log.
        head: Checkpoint,
    },
    /// A checkpoint belongs to another history of this store.
    ///
    /// The store lost events that the checkpoint covers, and gave their positions to other events.
    #[error("{}", DisplayDiverged(checkpoint, found))]
    Diverged {
        /// The checkpoint.
        checkpoint: Checkpoint,
        /// The same place in the store's current history.
        found: Checkpoint,
    },
    /// The store cannot do this in any state.
    #[error("this store does not support {capability}")]
    Unsupported {
        /// The missing capability.
        capability: Cow<'static, str>,
    },
    /// Events that may belong to the answer are damaged. Everything before the damage was returned.
    #[error(
        "events from position {from} to {to} are damaged ({location}): restore them from a backup, or go on at checkpoint {resume}"
    )]
    DataLoss {
        /// The file and offset of the damage.
        location: String,
        /// The first position that may be lost.
        from: Position,
        /// The last position that may be lost.
        to: Position,
        /// The checkpoint to continue from, for a reader that accepts the loss.
        resume: Checkpoint,
    },
    /// A time cannot be closed, because the store's clock has not passed it.
    #[error("the time cannot be closed yet: the store's clock has not passed it")]
    NotYet {
        /// The time by the store's clock.
        now: Timestamp,
    },
    /// The store has too many requests waiting.
    #[error("the store is overloaded: read again after a pause")]
    Overloaded,
    /// The store cannot answer yet, or cannot reach its files.
    #[error("the store is not available: {reason}")]
    Unavailable {
        /// The cause, and when it ends.
        reason: String,
    },
    /// The store is closed.
    #[error("the store is closed")]
    Closed,
}

impl ReadError {
    /// Returns the advice on reading again.
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
            "checkpoint {} belongs to another history of this store, which has {} at that place: the store lost events, for example in a restore from an older copy, and gave their positions to others; start again from a checkpoint before the loss, or from the start",
            self.0, self.1
        )
    }
}

struct DisplayCut(usize);

impl std::fmt::Display for DisplayCut {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, ", and the batch is not a repeat of an append: cut it before event {}", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_conflict_that_may_pass_is_retried_after_a_pause() {
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
            let settles = conflict(expected, actual).settles_doubt();
            assert_eq!(settles, retry == Retry::Never, "{expected}, {actual:?}");
        }
    }

    #[test]
    fn a_refusal_before_the_store_looked_for_an_earlier_sending_settles_no_doubt() {
        let reason = || "reason".to_owned();
        for error in [
            AppendError::Invalid { reason: reason() },
            AppendError::Denied { code: "hosted-category".into(), reason: reason() },
            AppendError::ReadOnly { reason: reason() },
            AppendError::StorageFull { reason: reason() },
            AppendError::Unavailable { reason: reason() },
            AppendError::InDoubt { reason: reason() },
            AppendError::Overloaded,
            AppendError::Closed,
        ] {
            assert!(!error.settles_doubt(), "{error}");
        }
        assert!(AppendError::KeyReused.settles_doubt());
    }

    #[test]
    fn a_denied_batch_is_not_sent_again() {
        let denied = AppendError::Denied { code: "hosted-category".into(), reason: "send a command".into() };
        assert_eq!(denied.retry(), Retry::Never);
        assert_eq!(denied.to_string(), "the append is not allowed (`hosted-category`): send a command");
    }
}
