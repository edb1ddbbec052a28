//! Errors of the typed library. A variant exists where the caller would act differently.

use gesta_core::{
    AppendError, Batch, Expected, NameError, ReadError, RecordedEvent, Retry, StreamName, Version,
};

/// A payload cannot be read as the event it is said to be.
#[derive(Debug, thiserror::Error)]
pub enum DecodeError {
    /// The schema version is none that this program knows; most likely it is newer.
    #[error(
        "`{event_type}` was stored with schema version {found}, but this program knows versions 1 to {newest}: upgrade the program"
    )]
    UnknownSchemaVersion {
        /// The type of event.
        event_type: &'static str,
        /// The version as stored.
        found: u16,
        /// The newest version that the program knows.
        newest: u16,
    },
    /// The JSON does not fit the fields.
    #[error("the data of `{event_type}` does not decode")]
    Json {
        /// The type of event.
        event_type: &'static str,
        /// What is wrong with it.
        source: serde_json::Error,
    },
}

/// An event cannot be written.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EncodeError {
    /// A field cannot be written as JSON, such as a map whose keys are no texts.
    #[error("`{event_type}` cannot be written as JSON: {reason}")]
    Json {
        /// The type of event.
        event_type: &'static str,
        /// What is in the way.
        reason: String,
    },
    /// What a state over tags decided belongs to no stream.
    #[error(
        "a state over tags has no stream of its own: say with `NewFact::new` which entity the event belongs to"
    )]
    NoStream,
    /// The id of the entity, a tag or the metadata makes no valid name.
    #[error(transparent)]
    Name(#[from] NameError),
}

/// Why a state could not be loaded.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// The store could not read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// The id makes no valid stream name, or a value no valid tag.
    #[error(transparent)]
    Name(#[from] NameError),
    /// The stream holds a type of event that the state's enum lacks.
    #[error(
        "stream `{stream}` holds `{event_type}` at version {version}, which this program does not know: add it to the event enum, or say #[event(ignore)] there"
    )]
    UnknownType {
        /// The stream.
        stream: String,
        /// The event's version in the stream.
        version: Version,
        /// The type that the enum lacks.
        event_type: String,
    },
    /// The event was written with a schema version that this program does not know; most likely a newer one.
    #[error(
        "`{event_type}` at version {version} of stream `{stream}` has schema version {found}, but this program knows versions 1 to {newest}: upgrade the program"
    )]
    UnknownSchemaVersion {
        /// The stream.
        stream: String,
        /// The event's version in the stream.
        version: Version,
        /// The type of event.
        event_type: String,
        /// The schema version as stored.
        found: u16,
        /// The newest schema version that the program knows.
        newest: u16,
    },
    /// The event's data does not decode into the enum's fields.
    #[error("the data of `{event_type}` at version {version} of stream `{stream}` does not decode")]
    Undecodable {
        /// The stream.
        stream: String,
        /// The event's version in the stream.
        version: Version,
        /// The type of event.
        event_type: String,
        /// What is wrong with it.
        source: serde_json::Error,
    },
    /// The state was asked for at a version that its stream does not have.
    #[error("stream `{stream}` has no version {asked}: {}", Last(*last))]
    NoSuchVersion {
        /// The stream.
        stream: StreamName,
        /// The version asked for.
        asked: Version,
        /// The version of its last event.
        last: Option<Version>,
    },
}

struct Last(Option<Version>);

impl std::fmt::Display for Last {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.0 {
            Some(version) => write!(f, "its last one is {version}"),
            None => f.write_str("it has no event"),
        }
    }
}

impl LoadError {
    /// Says where the event stands that does not decode.
    pub(crate) fn of_event(event: &RecordedEvent, error: DecodeError) -> Self {
        let (stream, version) = (event.stream().to_owned(), event.version());
        let event_type = event.event_type().to_owned();
        match error {
            DecodeError::UnknownSchemaVersion { found, newest, .. } => {
                Self::UnknownSchemaVersion { stream, version, event_type, found, newest }
            }
            DecodeError::Json { source, .. } => Self::Undecodable { stream, version, event_type, source },
        }
    }

    /// Whether, and when, it helps to load again.
    #[must_use]
    pub fn retry(&self) -> Retry {
        match self {
            Self::Read(error) => error.retry(),
            _ => Retry::Never,
        }
    }
}

/// Why a command has no effect, or why that is not known. `E` is the domain's own error.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SendError<E> {
    /// The domain refused it.
    #[error(transparent)]
    Refused(E),
    /// The caller expected another version of the entity.
    #[error("stream `{stream}` was expected to have {expected}, but has {}", Actual(*actual))]
    VersionMismatch {
        /// The stream.
        stream: StreamName,
        /// What was expected of it.
        expected: Expected,
        /// The version of its last event.
        actual: Option<Version>,
    },
    /// Others wrote to the same entities each time between reading and writing. Nothing was written.
    #[error("others wrote in between, {attempts} times in a row: send the command again")]
    Contended {
        /// How often it was decided.
        attempts: u32,
    },
    /// The call cannot be made like this. Nothing was written.
    #[error("{reason}")]
    Invalid {
        /// What is wrong with it.
        reason: &'static str,
    },
    /// The state could not be loaded. Nothing was written.
    #[error(transparent)]
    Load(#[from] LoadError),
    /// An event could not be written as bytes. Nothing was written.
    #[error(transparent)]
    Encode(#[from] EncodeError),
    /// It is not known whether the events were written, after repeated tries. Appending this batch again settles it;
    /// under a command key, so does the same command.
    #[error(
        "it is not known whether the events were written ({reason}): append the same batch again to settle it"
    )]
    InDoubt {
        /// What got in the way.
        reason: String,
        /// The batch as it was sent.
        batch: Box<Batch>,
    },
    /// The store refused the events. Nothing was written.
    #[error(transparent)]
    Append(AppendError),
}

struct Actual(Option<Version>);

impl std::fmt::Display for Actual {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.0 {
            Some(version) => write!(f, "version {version}"),
            None => f.write_str("no event"),
        }
    }
}

impl<E> SendError<E> {
    /// Whether, and when, it helps to send the same command again.
    #[must_use]
    pub fn retry(&self) -> Retry {
        match self {
            Self::Contended { .. } => Retry::Now,
            Self::InDoubt { .. } => Retry::Unknown,
            Self::Load(error) => error.retry(),
            Self::Append(error) => error.retry(),
            Self::Refused(_) | Self::VersionMismatch { .. } | Self::Invalid { .. } | Self::Encode(_) => {
                Retry::Never
            }
        }
    }
}
