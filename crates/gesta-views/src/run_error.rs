//! Why a view stopped: the event, the place in its definition, and what helps.

use std::fmt;
use std::path::PathBuf;

use gesta_core::{Checkpoint, Position, ReadError, RecordedEvent, Retry};

use crate::fields::FieldProblem;
use crate::sqlite::DatabaseErrorKind;

/// The event that a view could not apply.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EventPlace {
    /// Its place in the log.
    pub position: Position,
    /// Its stream.
    pub stream: String,
    /// Its type.
    pub event_type: String,
    /// The version of its type's schema.
    pub schema_version: u16,
}

impl EventPlace {
    pub(crate) fn of(event: &RecordedEvent) -> Box<Self> {
        Box::new(Self {
            position: event.position(),
            stream: event.stream().to_owned(),
            event_type: event.event_type().to_owned(),
            schema_version: event.schema_version(),
        })
    }
}

impl fmt::Display for EventPlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { position, stream, event_type, schema_version } = self;
        write!(f, "event `{event_type}`@{schema_version} at position {position} in stream `{stream}`")
    }
}

/// Why a view stopped. Its rows and its checkpoint stand at the end of the last batch of events that it could apply.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// An event of a handled type has a schema version that no handler reads. It is never skipped.
    #[error(
        "{event}: no handler in `{file}` reads this version: add a handler `{line}` (or the version to an existing one), with `-- ignore` under it if there is nothing to do, then restart the server, which reads the files when it starts"
    )]
    UnknownVersion {
        /// The event.
        event: Box<EventPlace>,
        /// The definition.
        file: String,
        /// The line to write.
        line: String,
    },
    /// A field that a handler reads could not be taken out of the event.
    #[error(
        "{event}: {problem} (handler in `{file}`, line {line}); after a change to the file, restart the server"
    )]
    Field {
        /// The event.
        event: Box<EventPlace>,
        /// The definition.
        file: String,
        /// The line of the handler.
        line: u32,
        /// What is wrong.
        problem: FieldProblem,
    },
    /// A statement of a handler failed.
    #[error(
        "{event}: the statement in `{file}`, line {line}, failed: {message}{}; after a change to the file, restart the server",
        MissingFields(missing)
    )]
    Statement {
        /// The event.
        event: Box<EventPlace>,
        /// The definition.
        file: String,
        /// The line of the statement.
        line: u32,
        /// SQLite's message.
        message: String,
        /// The fields that the statement reads and the event does not have: they were null.
        missing: Vec<String>,
        /// What the error means for the view.
        kind: DatabaseErrorKind,
    },
    /// The checkpoint in the database is not the one that this runner left there: another process runs the view.
    #[error("the checkpoint of the view is no longer {expected}: another process writes to `{}`; end it, and restart the view", path.display())]
    CheckpointMoved {
        /// The checkpoint that this runner had left.
        expected: Checkpoint,
        /// The database.
        path: PathBuf,
    },
    /// The database of the view could not be opened, read or written.
    #[error("cannot {action} `{}`: {message}", path.display())]
    Database {
        /// What was tried.
        action: &'static str,
        /// The database.
        path: PathBuf,
        /// The message of SQLite or of the system.
        message: String,
        /// What the error means for the view.
        kind: DatabaseErrorKind,
    },
    /// The database was rebuilt several times, and is unusable again.
    #[error(
        "the view was rebuilt {rebuilds} times, and its database is unusable again: {reason}; check disk and memory, then restart the view"
    )]
    RebuiltInVain {
        /// How often it was rebuilt.
        rebuilds: u32,
        /// Why it is unusable.
        reason: String,
    },
    /// The log could not be read.
    #[error("cannot read the log: {0}")]
    Read(#[from] ReadError),
    /// The thread of the view panicked: a bug in the store or in this crate.
    #[error("the view failed unexpectedly: {message}")]
    Panicked {
        /// The message of the panic.
        message: String,
    },
    /// The views were shut down.
    #[error("the views were shut down")]
    ShutDown,
    /// An evaluation was cancelled.
    #[error("the evaluation was cancelled")]
    Cancelled,
}

/// What the runner does about an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Remedy {
    /// Tries again after a pause.
    Retry,
    /// Throws the database away and builds it from the log.
    Rebuild,
    /// Stops the view.
    Stop,
}

impl RunError {
    /// Whether, and when, it helps to restart the view as it is.
    #[must_use]
    pub const fn retry(&self) -> Retry {
        match self {
            Self::Statement { kind: DatabaseErrorKind::Transient, .. }
            | Self::Database { kind: DatabaseErrorKind::Transient, .. }
            | Self::CheckpointMoved { .. }
            | Self::RebuiltInVain { .. } => Retry::AfterPause,
            Self::Read(ReadError::CheckpointAhead { .. }) => Retry::Now,
            Self::Read(error) => error.retry(),
            _ => Retry::Never,
        }
    }

    /// The event that the view could not apply, if that is why it stopped.
    #[must_use]
    pub fn event(&self) -> Option<&EventPlace> {
        match self {
            Self::UnknownVersion { event, .. }
            | Self::Field { event, .. }
            | Self::Statement { event, .. } => Some(event),
            _ => None,
        }
    }

    pub(crate) const fn remedy(&self) -> Remedy {
        match self {
            Self::Statement { kind, .. } | Self::Database { kind, .. } => match kind {
                DatabaseErrorKind::Transient => Remedy::Retry,
                DatabaseErrorKind::Damaged => Remedy::Rebuild,
                DatabaseErrorKind::Permanent => Remedy::Stop,
            },
            // The log is no longer the one that the rows were built from.
            Self::Read(ReadError::CheckpointAhead { .. } | ReadError::Diverged { .. }) => Remedy::Rebuild,
            _ => Remedy::Stop,
        }
    }
}

/// Tells the author of a handler without `-- require` that the null came from the event.
struct MissingFields<'m>(&'m [String]);

impl fmt::Display for MissingFields<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            [] => Ok(()),
            missing => {
                let missing = missing.join(", ");
                write!(
                    f,
                    " (the event has no {missing}, which is null then; `-- require: {missing}` makes it mandatory)"
                )
            }
        }
    }
}
