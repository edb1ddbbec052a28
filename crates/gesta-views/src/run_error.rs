//! Why a view stopped: where in the log, where in its definition, and what to do.

use std::fmt;
use std::path::PathBuf;

use gesta_core::{Checkpoint, Position, ReadError, RecordedEvent, Retry};

use crate::fields::FieldProblem;

/// The event that a view was at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EventPlace {
    /// Its place in the log.
    pub position: Position,
    /// The stream it belongs to.
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

/// Why a view stopped. Nothing of the page it stopped in is in its rows: they and the checkpoint stand at the end of the
/// last batch of events that went well.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// An event of a handled type has a schema version that no handler reads. It is never skipped.
    #[error(
        "{event}: no handler in `{file}` reads this version: add a handler `{line}` (or the version to an existing one), and `-- ignore` under it if nothing is to be done, then restart the server, which reads the files when it starts"
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
        "{event}: the statement in `{file}`, line {line}, failed: {message}; after a change to the file, restart the server"
    )]
    Statement {
        /// The event.
        event: Box<EventPlace>,
        /// The definition.
        file: String,
        /// The line of the statement.
        line: u32,
        /// What SQLite says.
        message: String,
        /// Whether another connection was in the way.
        busy: bool,
    },
    /// The checkpoint in the database is not where this runner left it: somebody else runs the view.
    #[error("the checkpoint of the view is no longer {expected}: another process writes to `{}`; end it, and restart the view", path.display())]
    CheckpointMoved {
        /// Where this runner had left it.
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
        /// What SQLite or the system says.
        message: String,
        /// Whether another connection was in the way.
        busy: bool,
    },
    /// The log could not be read.
    #[error("cannot read the log: {0}")]
    Read(#[from] ReadError),
    /// The thread of the view panicked: a fault in the store or here.
    #[error("the view failed unexpectedly: {message}")]
    Panicked {
        /// What the panic said.
        message: String,
    },
    /// The views were shut down.
    #[error("the views were shut down")]
    ShutDown,
    /// An evaluation was cancelled.
    #[error("the evaluation was cancelled")]
    Cancelled,
}

impl RunError {
    /// Whether, and when, it helps to restart the view as it is. What passes by itself was tried for a while already.
    #[must_use]
    pub const fn retry(&self) -> Retry {
        match self {
            Self::Statement { busy, .. } | Self::Database { busy, .. } if *busy => Retry::AfterPause,
            // After a restore the view is ahead of the log, and a restart rebuilds it.
            Self::Read(ReadError::CheckpointAhead { .. }) => Retry::Now,
            Self::Read(error) => error.retry(),
            Self::CheckpointMoved { .. } => Retry::AfterPause,
            _ => Retry::Never,
        }
    }

    /// The event that the view stopped at, if it was one.
    #[must_use]
    pub fn event(&self) -> Option<&EventPlace> {
        match self {
            Self::UnknownVersion { event, .. }
            | Self::Field { event, .. }
            | Self::Statement { event, .. } => Some(event),
            _ => None,
        }
    }
}
