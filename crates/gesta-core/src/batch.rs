//! Batches: the unit of an append, and the answer to one.

use bytes::Bytes;

use crate::checkpoint::{Checkpoint, Position, Version};
use crate::event::{EventId, NewEvent};
use crate::name::StreamName;
use crate::query::Query;

/// The events and checks of one append.
///
/// A batch has at least one event, in order, for one stream or several. It is written whole or not at all.
///
/// A store checks a batch in this order: form and limits, the command key, event ids, whether the store takes writes,
/// expectations, conditions. The order is part of the contract: any other order would turn the repeat of an append
/// into a conflict.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Batch {
    /// The events, in order. Events of different streams may alternate.
    pub events: Vec<NewEvent>,
    /// Expectations of streams, at most one for each stream.
    ///
    /// They may name streams that the batch does not write to. A stream that is not named is [`Expected::Any`].
    pub expect: Vec<(StreamName, Expected)>,
    /// Conditions on the log. All must hold.
    ///
    /// Each has its own `after`. The events of this batch do not count.
    pub conditions: Vec<Condition>,
    /// The key of the command that led to the batch, if any.
    ///
    /// A store answers a batch with a known key and the same request with the first answer, and writes nothing.
    pub command: Option<CommandKey>,
}

impl Batch {
    /// Creates a batch of events without expectations, conditions or command key.
    #[must_use]
    pub fn new(events: impl IntoIterator<Item = NewEvent>) -> Self {
        Self { events: events.into_iter().collect(), ..Self::default() }
    }

    /// Adds an expectation of a stream.
    #[must_use]
    pub fn expect(mut self, stream: StreamName, expected: Expected) -> Self {
        self.expect.push((stream, expected));
        self
    }

    /// Adds a condition: the append fails if an event after `after` matches the query.
    #[must_use]
    pub fn fail_if(mut self, fail_if_any: Query, after: Option<Checkpoint>) -> Self {
        self.conditions.push(Condition { fail_if_any, after });
        self
    }

    /// Sets the command key.
    #[must_use]
    pub fn with_command(mut self, command: CommandKey) -> Self {
        self.command = Some(command);
        self
    }
}

/// The state of a stream that an append expects.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Expected {
    /// Any state.
    Any,
    /// The stream has no event yet.
    None,
    /// The stream has at least one event.
    Exists,
    /// The last event of the stream has exactly this version.
    Exactly(Version),
    /// The last event of the stream has this version and this id.
    ///
    /// A version alone does not identify an event. A caller may send several batches at once, each decided on the
    /// events of the one before. If one of them is refused, an event of another writer may take its version. A store
    /// that lost its newest events may also give their versions to other events.
    Event {
        /// The version of the event.
        version: Version,
        /// The id of the event.
        id: EventId,
    },
}

impl Expected {
    /// Returns true if a stream is as expected.
    ///
    /// `actual` is the version of its last event, `None` if it has no event. `version_of` returns the version of the
    /// event with an id in this stream. It is called only if the answer depends on it.
    #[must_use]
    pub fn is_met_by(
        self,
        actual: Option<Version>,
        version_of: impl FnOnce(EventId) -> Option<Version>,
    ) -> bool {
        match self {
            Self::Any => true,
            Self::None => actual.is_none(),
            Self::Exists => actual.is_some(),
            Self::Exactly(version) => actual == Some(version),
            Self::Event { version, id } => actual == Some(version) && version_of(id) == actual,
        }
    }
}

impl std::fmt::Display for Expected {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Any => f.write_str("any version"),
            Self::None => f.write_str("no event yet"),
            Self::Exists => f.write_str("at least one event"),
            Self::Exactly(version) => write!(f, "version {version}"),
            Self::Event { version, id } => write!(f, "version {version} with event {id}"),
        }
    }
}

/// A check that no event after a checkpoint matches a query.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Condition {
    /// The append fails if one of these events exists.
    pub fail_if_any: Query,
    /// Only events after this checkpoint count; `None` means the whole log.
    ///
    /// Use the `scanned_to` of a forward read, and nothing else: only that covers exactly the events that the
    /// decision has seen.
    pub after: Option<Checkpoint>,
}

/// The name of a command. A repeat of the command gets the first answer.
///
/// A key is unique in the store, or in its partition if the store has several. Callers must scope their keys: the
/// keys "1" of two users must differ.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct CommandKey {
    /// The key, 1 to 256 bytes.
    pub key: Bytes,
    /// The SHA-256 of the caller's raw request. The same key with another request is refused.
    pub request: [u8; 32],
}

/// The answer to an append: its events are durable.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Appended {
    /// The version and position of each event, in the order of the batch.
    pub places: Vec<Placed>,
    /// The end of the batch.
    ///
    /// A view that has reached it shows this write. With several partitions, a read must not resume from it, because
    /// it covers one partition only.
    pub checkpoint: Checkpoint,
    /// True if this is the answer to an earlier append, and nothing was written now.
    pub repeated: bool,
}

/// The place of one recorded event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Placed {
    /// The version in its stream.
    pub version: Version,
    /// The position in the log.
    pub position: Position,
}
