//! Why a view stopped: the event, the place in its definition, and what helps.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use gesta_consumer::{Failure, Why};
use gesta_core::{Checkpoint, Position, ReadError, RecordedEvent, Retry};

use crate::fields::FieldProblem;
use crate::limits::{HEARTBEAT_AGE_MAX, PARKED_STREAMS_MAX};
use crate::problem::DefinitionError;

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
        "{event}: no handler in `{file}` reads this version: add a handler `{line}` (or the version to an existing one), with `-- ignore` under it if there is nothing to do, then reload the views with `gesta view reload`"
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
        "{event}: {problem} (handler in `{file}`, line {line}); after a change to the file, reload the views with `gesta view reload`"
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
        "{event}: the statement in `{file}`, line {line}, failed: {message}{}; after a change to the file, reload the views with `gesta view reload`",
        MissingFields(missing)
    )]
    Statement {
        /// The event.
        event: Box<EventPlace>,
        /// The definition.
        file: String,
        /// The line of the statement.
        line: u32,
        /// The database's message.
        message: String,
        /// The fields that the statement reads and the event does not have: they were null.
        missing: Vec<String>,
        /// What the error means for the view.
        kind: DatabaseErrorKind,
    },
    /// The code of a view cannot apply an event.
    #[error("{event}: the view `{view}` cannot apply it: {message}; correct the program, and start it again")]
    Apply {
        /// The event.
        event: Box<EventPlace>,
        /// The view.
        view: String,
        /// Why not.
        message: String,
    },
    /// A row that the code of a view changed cannot be stored. An earlier event of the page may have made it so.
    #[error("{event}: the view `{view}` cannot apply it: {message}; correct the program, and start it again")]
    Unstorable {
        /// The event that changed the row last.
        event: Box<EventPlace>,
        /// The view.
        view: String,
        /// The row, and why not.
        message: String,
    },
    /// The view holds as many streams back as it may, and one more fails.
    #[error(
        "{event}: the view `{view}` holds {} streams back, and can park no more ({message}); mend the cause, then `gesta view replay {view} --all`",
        PARKED_STREAMS_MAX
    )]
    TooManyParked {
        /// The event.
        event: Box<EventPlace>,
        /// The view.
        view: String,
        /// Why the event cannot be applied.
        message: String,
    },
    /// A row in the database does not fit the code of the view.
    #[error(
        "the program does not fit the rows of the view `{view}`: {message}; raise the version of the view, which builds it anew"
    )]
    Row {
        /// The view.
        view: String,
        /// The row, and what is wrong with it.
        message: String,
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
    /// PostgreSQL could not be reached or used.
    #[error("cannot {action} in the PostgreSQL database `{database}`: {message}")]
    Postgres {
        /// What was tried.
        action: &'static str,
        /// The database.
        database: String,
        /// The message of PostgreSQL or of the system, and what helps.
        message: String,
        /// What the error means for the view.
        kind: DatabaseErrorKind,
    },
    /// PostgreSQL does not take the definition, or it would not give the same rows when it is rebuilt.
    #[error("{0}; after a change to the file, reload the views with `gesta view reload`")]
    Refused(DefinitionError),
    /// The schemas with this prefix belong to another store.
    #[error(
        "the prefix `{prefix}` belongs to the views of the store {found}, and this store is {store}: choose another `prefix`"
    )]
    ForeignPrefix {
        /// The prefix.
        prefix: String,
        /// This store.
        store: String,
        /// The store whose views have the prefix.
        found: String,
    },
    /// Another process runs the view in PostgreSQL. This one takes over when that one ends.
    #[error(
        "another process runs the view `{view}`: this one stands by, and takes over once the other one's heartbeat is {} s old",
        HEARTBEAT_AGE_MAX.as_secs()
    )]
    StandsBy {
        /// The view.
        view: String,
    },
    /// Another process took the view over, because this one's heartbeat was old. Nothing of the page was kept.
    #[error("another process took the view `{view}` over: this one stands by")]
    Fenced {
        /// The view.
        view: String,
    },
    /// Another process serves a newer version of the view.
    #[error(
        "another process serves a newer version of the view `{view}`: restart the view to bring this definition back"
    )]
    Superseded {
        /// The view.
        view: String,
    },
    /// The older version of a view cannot be followed any more. It is not rebuilt.
    #[error("the older version cannot be used any more: {reason}")]
    OldUnusable {
        /// Why not.
        reason: String,
    },
    /// An earlier moment of a view for PostgreSQL is asked for, and no database to fold it in was given.
    #[error(
        "the view `{view}` is one for PostgreSQL, and no database to show an earlier moment in was given: name it with `--views-db postgres://…` (in the library, `Evaluation::in_postgres`)"
    )]
    NoPast {
        /// The view.
        view: String,
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

/// What an error of a database means for the view.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DatabaseErrorKind {
    /// The machine is in the way, and the error may pass: a full disk, a failed file operation, a lock.
    Transient,
    /// The database file is damaged.
    Damaged,
    /// The statement itself fails, and fails again.
    Permanent,
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
    /// Why a run ended, as this crate's error.
    pub(crate) fn of(why: &Why<Self>) -> Arc<Self> {
        match why {
            Why::ShutDown => Arc::new(Self::ShutDown),
            Why::Failed(failure) => Self::of_failure(failure),
            Why::Panicked { message } => Arc::new(Self::Panicked { message: message.to_string() }),
        }
    }

    pub(crate) fn of_failure(failure: &Failure<Self>) -> Arc<Self> {
        match failure {
            Failure::Read(error) => Arc::new(Self::Read((**error).clone())),
            Failure::Handler(error) => Arc::clone(error),
        }
    }

    /// Whether, and when, it helps to restart the view as it is.
    #[must_use]
    pub const fn retry(&self) -> Retry {
        match self {
            Self::Statement { kind: DatabaseErrorKind::Transient, .. }
            | Self::Database { kind: DatabaseErrorKind::Transient, .. }
            | Self::Postgres { kind: DatabaseErrorKind::Transient, .. }
            | Self::StandsBy { .. }
            | Self::Fenced { .. }
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
            | Self::Apply { event, .. }
            | Self::Unstorable { event, .. }
            | Self::TooManyParked { event, .. }
            | Self::Statement { event, .. } => Some(event),
            _ => None,
        }
    }

    /// The event whose stream can be parked, so that the view goes on without it. An error that may pass parks nothing.
    pub(crate) fn parks(&self) -> Option<&EventPlace> {
        self.event().filter(|_| self.remedy() == Remedy::Stop)
    }

    /// The error names the event that changed a row last, but an earlier one may be at fault.
    pub(crate) const fn may_be_of_an_earlier_event(&self) -> bool {
        matches!(self, Self::Unstorable { .. })
    }

    pub(crate) const fn remedy(&self) -> Remedy {
        match self {
            Self::StandsBy { .. } | Self::Fenced { .. } => Remedy::Retry,
            Self::Statement { kind, .. } | Self::Database { kind, .. } | Self::Postgres { kind, .. } => {
                match kind {
                    DatabaseErrorKind::Transient => Remedy::Retry,
                    DatabaseErrorKind::Damaged => Remedy::Rebuild,
                    DatabaseErrorKind::Permanent => Remedy::Stop,
                }
            }
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
