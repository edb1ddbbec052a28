//! Batches: what one append writes, whole or not at all, and what it is answered with.

use bytes::Bytes;

use crate::checkpoint::{Checkpoint, Position, Version};
use crate::event::{EventId, NewEvent};
use crate::name::StreamName;
use crate::query::Query;

/// What one append writes: one event or more, in order, to one stream or several; whole or not at all.
///
/// Checked in this order, which is contract: form and limits, the command key, event ids, whether the store takes
/// writes, expectations, conditions. Any other order would turn the repeat of an append into a conflict.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Batch {
    /// The events, in order. Streams may alternate.
    pub events: Vec<NewEvent>,
    /// What is expected of streams, at most once each; also of streams that are only read. A stream that is not
    /// named here is [`Expected::Any`].
    pub expect: Vec<(StreamName, Expected)>,
    /// What must not have happened. All must hold, each with its own `after`; the batch's own events do not count.
    pub conditions: Vec<Condition>,
    /// Names the command that led to the batch, so that its repeat is answered and not done again.
    pub command: Option<CommandKey>,
}

impl Batch {
    /// A batch of events without expectations, conditions and key.
    #[must_use]
    pub fn new(events: impl IntoIterator<Item = NewEvent>) -> Self {
        Self { events: events.into_iter().collect(), ..Self::default() }
    }

    /// The same batch that also expects this of a stream.
    #[must_use]
    pub fn expect(mut self, stream: StreamName, expected: Expected) -> Self {
        self.expect.push((stream, expected));
        self
    }

    /// The same batch with one more condition.
    #[must_use]
    pub fn fail_if(mut self, fail_if_any: Query, after: Option<Checkpoint>) -> Self {
        self.conditions.push(Condition { fail_if_any, after });
        self
    }

    /// The same batch under a command key.
    #[must_use]
    pub fn with_command(mut self, command: CommandKey) -> Self {
        self.command = Some(command);
        self
    }
}

/// What an append expects of a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Expected {
    /// Nothing.
    Any,
    /// It has no event yet.
    None,
    /// It has at least one event.
    Exists,
    /// Its last event has exactly this version.
    Exactly(Version),
    /// Its last event has this version and this id.
    ///
    /// A version alone does not say which event it is: where several batches are sent at once, each decided on the events of
    /// the one before, and one of them is refused, another writer's event may take its version. A store that lost its
    /// newest events may also give a version to another event.
    Event {
        /// The version of the event.
        version: Version,
        /// The id of the event.
        id: EventId,
    },
}

impl Expected {
    /// Whether a stream is as expected. `actual` is the version of its last event (`None`: no event); `version_of` gives the
    /// version of the event with an id in this stream, and is asked only if the answer depends on it.
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

/// What an append says about the log: no event matches this query after this checkpoint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Condition {
    /// The events that must not be there.
    pub fail_if_any: Query,
    /// Only events after this count; `None` means the whole log. Take it from the `scanned_to` of a forward read,
    /// and from nothing else: only that says what the decision has seen.
    pub after: Option<Checkpoint>,
}

/// Names a command, so that its repeat gets the first answer.
///
/// Unique in the store (in the partition, where there are several), so callers must scope their keys: two users' "1"
/// must differ.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct CommandKey {
    /// The name, 1 to 256 bytes.
    pub key: Bytes,
    /// The SHA-256 of the caller's raw request: the same key with another request is refused.
    pub request: [u8; 32],
}

/// The answer to an append: its events are durable, and where they stand.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Appended {
    /// Version and position of every event, in the order of the batch.
    pub places: Vec<Placed>,
    /// The end of the batch. A view that has reached it shows this write. With several partitions it is no place to
    /// resume reading from.
    pub checkpoint: Checkpoint,
    /// Whether this is the answer of an earlier append, given again: nothing was written.
    pub repeated: bool,
}

/// Where one event was recorded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Placed {
    /// Its version in its stream.
    pub version: Version,
    /// Its position in the log.
    pub position: Position,
}
