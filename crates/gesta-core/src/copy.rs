//! Batches as a store has recorded them, to copy one store into another.
//!
//! An append gives events new places and a new time. A copy keeps both, so checkpoints, versions, ids and command keys mean the
//! same in the copy. [`CopySource`] reads the batches of a store, and [`CopyTarget`] is an unfinished copy that takes them.

use std::collections::HashSet;

use sha2::{Digest, Sha256};

use crate::batch::{Batch, CommandKey, Expected};
use crate::checkpoint::{Checkpoint, Position, Version};
use crate::error::{AppendError, ReadError};
use crate::event::{NewEvent, RecordedEvent};
use crate::name::{EventType, NameError, StreamName, Tag};
use crate::store::{BoxFuture, EventStore};
use crate::time::Timestamp;

/// A batch as a store has recorded it: its events with their places and time, and the key of its command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecordedBatch {
    /// At least one. The positions are dense, and the time is the same.
    events: Vec<RecordedEvent>,
    command: Option<CommandKey>,
}

/// Why events are not a batch.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RecordedBatchError {
    /// A batch has at least one event.
    #[error("a batch has at least one event")]
    Empty,
    /// The positions of a batch follow one another in one partition.
    #[error("the event at {position} does not follow the one before in its batch")]
    Gap {
        /// The place of the event.
        position: Position,
    },
    /// All events of a batch have one time.
    #[error("the event at {position} was recorded at another time than its batch")]
    Time {
        /// The place of the event.
        position: Position,
    },
}

impl RecordedBatch {
    /// Creates a batch from the events that were recorded together.
    ///
    /// # Errors
    /// [`RecordedBatchError`] if a store cannot have recorded them as one batch.
    pub fn new(events: Vec<RecordedEvent>, command: Option<CommandKey>) -> Result<Self, RecordedBatchError> {
        let first = events.first().ok_or(RecordedBatchError::Empty)?;
        let (at, recorded_at) = (first.position(), first.recorded_at());
        for (event, offset) in events.iter().zip(0..) {
            let position = event.position();
            let follows = at.sequence.checked_add(offset) == Some(position.sequence);
            if !follows || position.partition != at.partition {
                return Err(RecordedBatchError::Gap { position });
            }
            if event.recorded_at() != recorded_at {
                return Err(RecordedBatchError::Time { position });
            }
        }
        Ok(Self { events, command })
    }

    /// Returns the events, in order.
    #[must_use]
    pub fn events(&self) -> &[RecordedEvent] {
        &self.events
    }

    /// Returns the key of the command that led to the batch.
    #[must_use]
    pub const fn command(&self) -> Option<&CommandKey> {
        self.command.as_ref()
    }

    /// Returns the time of the append.
    #[must_use]
    pub fn recorded_at(&self) -> Timestamp {
        self.events[0].recorded_at()
    }

    /// Returns the place of the first event.
    #[must_use]
    pub fn first(&self) -> Position {
        self.events[0].position()
    }

    /// Returns the last event.
    #[must_use]
    pub fn last(&self) -> &RecordedEvent {
        &self.events[self.events.len() - 1]
    }

    /// Returns the bytes of the events, without their places.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.events.iter().map(|event| event.as_bytes().len()).sum()
    }

    /// Returns the batch whose append would record this one again, in a store that has all batches before it and none after.
    ///
    /// It expects each stream to end before the version that its first event here has.
    ///
    /// # Errors
    /// [`NameError`] if a name is not valid: the bytes are those of a newer program.
    pub fn to_batch(&self) -> Result<Batch, NameError> {
        let mut batch = Batch { command: self.command.clone(), ..Batch::default() };
        let mut seen = HashSet::new();
        for event in &self.events {
            let new = new_event(event)?;
            if seen.insert(event.stream()) {
                let before = event.version().get().checked_sub(1);
                let expected =
                    before.map_or(Expected::None, |version| Expected::Exactly(Version::new(version)));
                batch.expect.push((new.stream.clone(), expected));
            }
            batch.events.push(new);
        }
        Ok(batch)
    }
}

fn new_event(event: &RecordedEvent) -> Result<NewEvent, NameError> {
    Ok(NewEvent {
        id: event.id(),
        stream: StreamName::new(event.stream())?,
        event_type: EventType::new(event.event_type())?,
        schema_version: event.schema_version(),
        kind: event.kind(),
        data: event.data(),
        metadata: event.metadata(),
        tags: event.tags().map(Tag::new).collect::<Result<_, _>>()?,
        time: event.time(),
    })
}

/// A digest over all batches of a log: events, places, times, the bounds of batches, and command keys.
///
/// SHA-256 of, for each batch: number of events (`u32`), their [leaves](RecordedEvent::leaf), length of the command key (`u32`,
/// 0 if there is none), key, request. Little-endian. Equal digests mean that two stores recorded the same.
#[derive(Debug, Clone, Default)]
pub struct LogDigest(Sha256);

impl LogDigest {
    /// Adds the next batch.
    ///
    /// # Panics
    /// If the batch has 2^32 events or more.
    pub fn add(&mut self, batch: &RecordedBatch) {
        let length = |count: usize| u32::try_from(count).expect("a batch is below 4 G").to_le_bytes();
        self.0.update(length(batch.events.len()));
        batch.events.iter().for_each(|event| self.0.update(event.leaf()));
        match &batch.command {
            None => self.0.update(length(0)),
            Some(command) => {
                self.0.update(length(command.key.len()));
                self.0.update(&command.key);
                self.0.update(command.request);
            }
        }
    }

    /// Returns the digest.
    #[must_use]
    pub fn finish(self) -> [u8; 32] {
        self.0.finalize().into()
    }
}

/// A store whose batches can be read as they were recorded.
pub trait CopySource: EventStore {
    /// Reads the batches of a partition after a sequence up to another one. Both are ends of batches.
    ///
    /// # Panics
    /// If the store has no such partition.
    fn batches(&self, partition: u16, after: u64, until: u64) -> Box<dyn RecordedBatches + '_>;
}

/// The batches of a range, in order.
pub trait RecordedBatches: Send {
    /// Returns the next batches, some MiB of them. An empty list is the end.
    ///
    /// # Errors
    /// [`ReadError`]; [`ReadError::DataLoss`] if the next batch is damaged.
    fn next(&mut self) -> BoxFuture<'_, Result<Vec<RecordedBatch>, ReadError>>;
}

/// A copy of a store, to be filled from it. No other program can open it as a store until it is finished.
pub trait CopyTarget: Send + Sync {
    /// Returns the end of the copy.
    ///
    /// # Errors
    /// [`ReadError`].
    fn head(&self) -> BoxFuture<'_, Result<Checkpoint, ReadError>>;

    /// Reads the batches of a partition after a sequence up to another one, as [`CopySource::batches`] does.
    ///
    /// # Panics
    /// If the store has no such partition.
    fn batches(&self, partition: u16, after: u64, until: u64) -> Box<dyn RecordedBatches + '_>;

    /// Returns true if the copy was begun and is not finished.
    fn is_unfinished(&self) -> bool;

    /// Marks a finished copy as unfinished again, before batches are added to it.
    ///
    /// # Errors
    /// [`CopyError`]. Nothing was changed.
    fn reopen(&self) -> BoxFuture<'_, Result<(), CopyError>>;

    /// Adds batches of one partition at their recorded places and times. After `Ok` they are durable.
    ///
    /// # Errors
    /// [`CopyError`]. Some of the batches, from the first on, may have been added: go on after [`Self::head`].
    fn append(&self, batches: Vec<RecordedBatch>) -> BoxFuture<'_, Result<(), CopyError>>;

    /// Finishes the copy: from now on it is a store.
    ///
    /// # Errors
    /// [`CopyError`]. The copy is unfinished.
    fn finish(&self) -> BoxFuture<'_, Result<(), CopyError>>;
}

/// Why a copy cannot go on.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CopyError {
    /// The target refused a batch.
    #[error("the batch at {position} cannot be added to the copy")]
    Append {
        /// The place of the batch.
        position: Position,
        /// The cause.
        source: AppendError,
    },
    /// The target gave a batch another place: something else has written to it.
    #[error(
        "the batch recorded at {position} got another place in the copy: something else has written to it"
    )]
    Moved {
        /// The recorded place.
        position: Position,
    },
    /// The batch has a name that this program does not take.
    #[error("the batch at {position} has a name that this program does not take: use a newer one")]
    Name {
        /// The place of the batch.
        position: Position,
        /// The cause.
        source: NameError,
    },
    /// The copy cannot be marked as finished or unfinished.
    #[error("cannot mark the copy as {state}: {reason}")]
    Mark {
        /// The state that it should have.
        state: &'static str,
        /// The cause.
        reason: String,
    },
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::EventId;

    fn event(sequence: u64, version: u64, nanos: i64, stream: &str) -> RecordedEvent {
        let id = EventId::from_u128(u128::from(sequence));
        let time = Timestamp::from_nanos(-7);
        let new = NewEvent::json(id, stream.parse().unwrap(), "a.b".parse().unwrap(), time, "{}")
            .with_tags(["k:v".parse().unwrap()])
            .with_metadata("{\"m\":1}");
        let position = Position { partition: 0, sequence };
        RecordedEvent::new(position, Version::new(version), Timestamp::from_nanos(nanos), new.to_bytes())
    }

    #[test]
    fn a_batch_has_events_at_dense_positions_of_one_time() {
        assert_eq!(RecordedBatch::new(Vec::new(), None), Err(RecordedBatchError::Empty));
        let gap = RecordedBatch::new(vec![event(3, 0, 1, "a"), event(5, 1, 1, "a")], None);
        assert!(matches!(gap, Err(RecordedBatchError::Gap { position }) if position.sequence == 5));
        let time = RecordedBatch::new(vec![event(3, 0, 1, "a"), event(4, 1, 2, "a")], None);
        assert!(matches!(time, Err(RecordedBatchError::Time { position }) if position.sequence == 4));
    }

    #[test]
    fn its_append_has_the_same_bytes_and_expects_each_stream_where_it_ended() {
        let events = vec![event(3, 4, 1, "a"), event(4, 0, 1, "b"), event(5, 5, 1, "a")];
        let command = CommandKey { key: "k".into(), request: [1; 32] };
        let batch = RecordedBatch::new(events.clone(), Some(command.clone())).unwrap().to_batch().unwrap();
        let expected = [("a", Expected::Exactly(Version::new(3))), ("b", Expected::None)];
        assert_eq!(batch.expect, expected.map(|(stream, expected)| (stream.parse().unwrap(), expected)));
        assert_eq!(batch.command, Some(command));
        let bytes = batch.events.iter().map(|new| new.to_bytes()).collect::<Vec<_>>();
        assert_eq!(bytes, events.iter().map(|event| (**event).clone()).collect::<Vec<_>>());
    }

    #[test]
    fn a_digest_depends_on_places_times_bounds_and_keys() {
        let digest = |batches: &[RecordedBatch]| {
            let mut digest = LogDigest::default();
            batches.iter().for_each(|batch| digest.add(batch));
            digest.finish()
        };
        let batch = |events: Vec<RecordedEvent>, key: Option<&'static str>| {
            let command = key.map(|key| CommandKey { key: key.into(), request: [1; 32] });
            RecordedBatch::new(events, command).unwrap()
        };
        let (one, two) = (event(1, 0, 9, "a"), event(2, 1, 9, "a"));
        let whole = digest(&[batch(vec![one.clone(), two.clone()], None)]);
        for other in [
            vec![batch(vec![one.clone()], None), batch(vec![two.clone()], None)],
            vec![batch(vec![one.clone(), two.clone()], Some("k"))],
            vec![batch(vec![one.clone(), event(2, 2, 9, "a")], None)],
            vec![batch(vec![event(1, 0, 8, "a"), event(2, 1, 8, "a")], None)],
            vec![batch(vec![one.clone()], None)],
        ] {
            assert_ne!(digest(&other), whole);
        }
        assert_eq!(digest(&[batch(vec![one, two], None)]), whole);
    }
}
