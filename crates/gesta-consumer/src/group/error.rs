//! Errors of the calls to groups.

use gesta_core::{ReadError, Retry, StreamName};

use super::name::GroupName;
use super::settings::{SettingsError, SettingsVersion};
use super::take::TakeFormError;

/// A group was not created or changed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PutError {
    /// A setting is out of its range.
    #[error("the settings are invalid: {0}")]
    Settings(#[from] SettingsError),
    /// The store refuses the query.
    #[error("the query cannot be used")]
    Query(#[source] ReadError),
    /// There is no such group to change.
    #[error("there is no group `{group}`: create it without an expected version")]
    NoGroup {
        /// The group.
        group: GroupName,
    },
    /// There is a group of this name already.
    #[error("group `{group}` exists with settings of version {actual}: expect that version to change them")]
    Exists {
        /// The group.
        group: GroupName,
        /// The version of its settings.
        actual: SettingsVersion,
    },
    /// The settings have another version.
    #[error(
        "the settings of group `{group}` have version {actual}, not {expected}: look at them and decide again"
    )]
    Changed {
        /// The group.
        group: GroupName,
        /// The expected version.
        expected: SettingsVersion,
        /// The actual version.
        actual: SettingsVersion,
    },
    /// A host in the serving process owns the settings.
    #[error("group `{group}` belongs to the host that serves it: change it there")]
    Hosted {
        /// The group.
        group: GroupName,
    },
    /// The change needs a paused group with nothing under way.
    #[error(
        "group `{group}` is busy, {reason}: pause it and wait until every event before the pause is settled"
    )]
    Busy {
        /// The group.
        group: GroupName,
        /// What is under way.
        reason: String,
    },
    /// The store has as many groups as it takes.
    #[error("there are {groups_max} groups already: remove one that is not needed")]
    TooMany {
        /// The most groups of a store.
        groups_max: usize,
    },
    /// The place to begin at cannot be used.
    #[error("the place to begin at cannot be used")]
    Place(#[source] ReadError),
    /// The change was surely not made: a store cannot answer now.
    #[error("groups are not available: {reason}")]
    Unavailable {
        /// The cause.
        reason: String,
    },
    /// It is not known whether the change was made. Look at the group.
    #[error("it is not known whether the change was made ({reason}): look at the group")]
    InDoubt {
        /// The cause.
        reason: String,
    },
    /// The groups were closed. The change was not made.
    #[error("groups are closed")]
    Closed,
}

/// A group was not looked at.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum LookError {
    /// There is no such group.
    #[error("there is no group `{group}`")]
    NoGroup {
        /// The group.
        group: GroupName,
    },
    /// The log could not be read.
    #[error("the log cannot be read")]
    Read(#[source] ReadError),
    /// A store cannot answer now.
    #[error("groups are not available: {reason}")]
    Unavailable {
        /// The cause.
        reason: String,
    },
    /// The groups were closed.
    #[error("groups are closed")]
    Closed,
}

/// The error of a put that could not look first. Nothing was put.
impl From<LookError> for PutError {
    fn from(error: LookError) -> Self {
        match error {
            LookError::NoGroup { group } => Self::NoGroup { group },
            LookError::Read(error) => Self::Place(error),
            LookError::Unavailable { reason } => Self::Unavailable { reason },
            LookError::Closed => Self::Closed,
        }
    }
}

/// A member got no answer to its call.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TakeError {
    /// The call is not well formed. Nothing was settled.
    #[error("the call is invalid: {0}")]
    Form(#[from] TakeFormError),
    /// There is no such group. Nothing was settled.
    #[error("there is no group `{group}`: create it first")]
    NoGroup {
        /// The group.
        group: GroupName,
    },
    /// The group stopped. The settlements of the call count.
    #[error("group `{group}` is stopped: {reason}; an operator resumes it after the cause is gone")]
    Stopped {
        /// The group.
        group: GroupName,
        /// The reason.
        reason: String,
    },
    /// It is not known whether the settlements count. Send the same call again.
    #[error("groups are not available: {reason}")]
    Unavailable {
        /// The cause.
        reason: String,
    },
    /// The groups were closed.
    #[error("groups are closed")]
    Closed,
}

/// What an operator asked for was not done.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ChangeError {
    /// There is no such group.
    #[error("there is no group `{group}`")]
    NoGroup {
        /// The group.
        group: GroupName,
    },
    /// The stream neither is parked nor waits for another attempt.
    #[error("stream `{stream}` is not parked in group `{group}`")]
    NotParked {
        /// The group.
        group: GroupName,
        /// The stream.
        stream: StreamName,
    },
    /// The events to skip were not reached yet, or do not exist.
    #[error(
        "stream `{stream}` was not read up to version {through} yet: skip up to an event that exists, or try again later"
    )]
    NotReached {
        /// The stream.
        stream: StreamName,
        /// The last version to skip.
        through: gesta_core::Version,
    },
    /// A host in the serving process owns the group.
    #[error("group `{group}` belongs to the host that serves it: change it there")]
    Hosted {
        /// The group.
        group: GroupName,
    },
    /// No host in the serving process names the group's items.
    #[error("group `{group}` has no host here that names its items: change its settings instead")]
    NotHosted {
        /// The group.
        group: GroupName,
    },
    /// The change needs a paused group with nothing under way.
    #[error("group `{group}` is busy, {reason}: pause it and wait until its deliveries are settled")]
    Busy {
        /// The group.
        group: GroupName,
        /// What is under way.
        reason: String,
    },
    /// The place cannot be used.
    #[error("the place cannot be used")]
    Place(#[source] ReadError),
    /// The change was surely not made: a store cannot answer now.
    #[error("groups are not available: {reason}")]
    Unavailable {
        /// The cause.
        reason: String,
    },
    /// It is not known whether the change was made. Look at the group.
    #[error("it is not known whether the change was made ({reason}): look at the group")]
    InDoubt {
        /// The cause.
        reason: String,
    },
    /// The groups were closed. The change was not made.
    #[error("groups are closed")]
    Closed,
}

impl PutError {
    /// Returns the advice on sending the same change again.
    #[must_use]
    pub const fn retry(&self) -> Retry {
        match self {
            Self::Busy { .. } | Self::Unavailable { .. } => Retry::AfterPause,
            Self::InDoubt { .. } => Retry::Unknown,
            Self::Place(error) | Self::Query(error) => error.retry(),
            _ => Retry::Never,
        }
    }
}

impl LookError {
    /// Returns the advice on asking again.
    #[must_use]
    pub const fn retry(&self) -> Retry {
        match self {
            Self::Unavailable { .. } => Retry::AfterPause,
            Self::Read(error) => error.retry(),
            Self::NoGroup { .. } | Self::Closed => Retry::Never,
        }
    }
}

impl TakeError {
    /// Returns the advice on sending the same call again. A settlement that counted before is refused as stale, which is harmless.
    #[must_use]
    pub const fn retry(&self) -> Retry {
        match self {
            Self::Stopped { .. } | Self::Unavailable { .. } => Retry::AfterPause,
            Self::Form(_) | Self::NoGroup { .. } | Self::Closed => Retry::Never,
        }
    }
}

impl ChangeError {
    /// Returns the advice on asking again. Every change may be repeated without harm.
    #[must_use]
    pub const fn retry(&self) -> Retry {
        match self {
            Self::Busy { .. } | Self::NotReached { .. } | Self::Unavailable { .. } => Retry::AfterPause,
            Self::InDoubt { .. } => Retry::Unknown,
            Self::Place(error) => error.retry(),
            _ => Retry::Never,
        }
    }
}
