//! Errors of the typed library. A variant exists where the caller would act differently.

use gesta_core::{
    AppendError, Batch, Expected, NameError, Position, ReadError, RecordedEvent, Retry, StreamName, Version,
};

use crate::compensation::EventRef;
use crate::entity::EncodedEvent;
use crate::key::KeyError;

/// A payload does not decode as an event of its type.
#[derive(Debug, thiserror::Error)]
pub enum DecodeError {
    /// This program does not know the schema version; most likely it is newer.
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
        /// The error of the JSON reader.
        source: serde_json::Error,
    },
}

/// An event cannot be encoded.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EncodeError {
    /// A field cannot be written as JSON, such as a map with keys that are not strings.
    #[error("`{event_type}` cannot be written as JSON: {reason}")]
    Json {
        /// The type of event.
        event_type: &'static str,
        /// The error of the JSON writer.
        reason: String,
    },
    /// The payload is JSON, but not an object. Views and other programs read fields by name.
    #[error("`{event_type}` is not written as a JSON object: give the variant named fields, or a struct")]
    NotAnObject {
        /// The type of event.
        event_type: &'static str,
    },
    /// The event was emitted by a state over tags, which has no stream.
    #[error("a state over tags has no stream: name the entity of the event with `NewFact::new`")]
    NoStream,
    /// The id of the entity is not valid.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// A tag or the event type is not a valid name.
    #[error(transparent)]
    Name(#[from] NameError),
}

/// Why a state could not be loaded.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// The store could not read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// The id of an entity is not valid.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// A value cannot be part of a tag.
    #[error(transparent)]
    Name(#[from] NameError),
    /// The boundary names nothing to read.
    #[error("the boundary is empty: {}", Empty(tag))]
    EmptyBoundary {
        /// The key of the tag that got no value; `None` if the boundary has no part at all.
        tag: Option<String>,
    },
    /// The stream holds a type of event that the state's enum lacks.
    #[error(
        "stream `{stream}` holds `{event_type}` at version {version}, which this program does not know: add it to the event enum, or put #[event(ignore)] on the enum"
    )]
    UnknownType {
        /// The stream.
        stream: String,
        /// The event's version in the stream.
        version: Version,
        /// The type that the enum lacks.
        event_type: String,
    },
    /// This program does not know the event's schema version; most likely it is newer.
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
        /// The error of the JSON reader.
        source: serde_json::Error,
    },
    /// The stream has not reached the requested version.
    #[error("stream `{stream}` has no version {asked}: {}", Last(*last))]
    NoSuchVersion {
        /// The stream.
        stream: StreamName,
        /// The requested version.
        asked: Version,
        /// The version of its last event.
        last: Option<Version>,
    },
}

struct Empty<'a>(&'a Option<String>);

impl std::fmt::Display for Empty<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.0 {
            Some(key) => {
                write!(f, "tag `{key}` has no value, which would select every event: give it a value")
            }
            None => f.write_str("it names no entity and no tag: give at least one"),
        }
    }
}

struct Last(Option<Version>);

impl std::fmt::Display for Last {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.0 {
            Some(version) => write!(f, "its last version is {version}"),
            None => f.write_str("it has no event"),
        }
    }
}

impl LoadError {
    /// Adds the place of the event that does not decode.
    pub(crate) fn of_event(event: &RecordedEvent, error: DecodeError) -> Self {
        Self::of_encoded(EncodedEvent::recorded(event), error)
    }

    /// As [`Self::of_event`].
    pub(crate) fn of_encoded(event: EncodedEvent<'_>, error: DecodeError) -> Self {
        let (stream, version) = (event.stream.to_owned(), event.version);
        let event_type = event.event_type.to_owned();
        match error {
            DecodeError::UnknownSchemaVersion { found, newest, .. } => {
                Self::UnknownSchemaVersion { stream, version, event_type, found, newest }
            }
            DecodeError::Json { source, .. } => Self::Undecodable { stream, version, event_type, source },
        }
    }

    /// The error for an event whose type this program does not know.
    pub(crate) fn unknown_type(event: &RecordedEvent) -> Self {
        Self::unknown_type_of(EncodedEvent::recorded(event))
    }

    /// As [`Self::unknown_type`].
    pub(crate) fn unknown_type_of(event: EncodedEvent<'_>) -> Self {
        Self::UnknownType {
            stream: event.stream.to_owned(),
            version: event.version,
            event_type: event.event_type.to_owned(),
        }
    }

    /// The same error for another caller who waited for the same load.
    pub(crate) fn copy(&self) -> Self {
        match self {
            Self::Read(error) => Self::Read(error.clone()),
            Self::Key(error) => Self::Key(error.clone()),
            Self::Name(error) => Self::Name(error.clone()),
            Self::EmptyBoundary { tag } => Self::EmptyBoundary { tag: tag.clone() },
            Self::UnknownType { stream, version, event_type } => Self::UnknownType {
                stream: stream.clone(),
                version: *version,
                event_type: event_type.clone(),
            },
            Self::UnknownSchemaVersion { stream, version, event_type, found, newest } => {
                Self::UnknownSchemaVersion {
                    stream: stream.clone(),
                    version: *version,
                    event_type: event_type.clone(),
                    found: *found,
                    newest: *newest,
                }
            }
            Self::Undecodable { stream, version, event_type, source } => Self::Undecodable {
                stream: stream.clone(),
                version: *version,
                event_type: event_type.clone(),
                source: serde::de::Error::custom(source),
            },
            Self::NoSuchVersion { stream, asked, last } => {
                Self::NoSuchVersion { stream: stream.clone(), asked: *asked, last: *last }
            }
        }
    }

    /// The error for an event whose data does not decode.
    pub(crate) fn undecodable(event: &RecordedEvent, source: serde_json::Error) -> Self {
        Self::Undecodable {
            stream: event.stream().to_owned(),
            version: event.version(),
            event_type: event.event_type().to_owned(),
            source,
        }
    }

    /// True if a newer program wrote the event, as happens while a new version is rolled out.
    pub(crate) fn is_of_newer_program(&self) -> bool {
        matches!(self, Self::UnknownSchemaVersion { found, newest, .. } if found > newest)
    }

    /// Tells if and when loading again can help. It can for an event of a newer program: another copy of this program may
    /// already be upgraded.
    #[must_use]
    pub fn retry(&self) -> Retry {
        match self {
            Self::Read(error) => error.retry(),
            newer if newer.is_of_newer_program() => Retry::AfterPause,
            _ => Retry::Never,
        }
    }
}

/// Why a command had no effect, or why its effect is unknown. `E` is the domain's error.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SendError<E> {
    /// The domain refused the command.
    #[error(transparent)]
    Refused(E),
    /// The caller expected another version of the entity.
    #[error("stream `{stream}` was expected to have {expected}, but has {}", Actual(*actual))]
    VersionMismatch {
        /// The stream.
        stream: StreamName,
        /// The caller's expectation.
        expected: Expected,
        /// The version of its last event.
        actual: Option<Version>,
    },
    /// Every attempt met a newer event of the same entities. Nothing was written.
    #[error("other writers were faster {attempts} times in a row: send the command again")]
    Contended {
        /// The number of attempts.
        attempts: u32,
    },
    /// An event that the command reverses was compensated before. Nothing was written.
    #[error("event {id} of stream `{stream}` was compensated before, by the event at position {by}", id = .event.id, stream = .event.stream)]
    AlreadyCompensated {
        /// The event that was to be reversed.
        event: EventRef,
        /// The place of the event that compensates it.
        by: Position,
    },
    /// The call is invalid. Nothing was written.
    #[error("{reason}")]
    Invalid {
        /// What is wrong with the call.
        reason: &'static str,
    },
    /// The state could not be loaded. Nothing was written.
    #[error(transparent)]
    Load(#[from] LoadError),
    /// An event could not be encoded. Nothing was written.
    #[error(transparent)]
    Encode(#[from] EncodeError),
    /// The events may or may not have been written; several retries did not settle it. Appending this batch again
    /// settles it. If the command had a key, sending the command again settles it too.
    #[error(
        "the events may or may not have been written ({reason}): append the same batch again to settle it"
    )]
    InDoubt {
        /// The error of the last attempt.
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
    /// Tells if and when sending the same command again can help.
    #[must_use]
    pub fn retry(&self) -> Retry {
        match self {
            Self::Contended { .. } => Retry::Now,
            Self::InDoubt { .. } => Retry::Unknown,
            Self::Load(error) => error.retry(),
            Self::Append(error) => error.retry(),
            Self::Refused(_)
            | Self::VersionMismatch { .. }
            | Self::AlreadyCompensated { .. }
            | Self::Invalid { .. }
            | Self::Encode(_) => Retry::Never,
        }
    }
}
