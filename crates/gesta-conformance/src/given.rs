//! Short constructors of names, events and batches for the laws.

use std::num::{NonZeroU32, NonZeroU64};

use gesta_core::{
    Batch, Category, Checkpoint, CommandKey, EventId, EventType, Limit, NewEvent, RecordedEvent, StoreId,
    StreamName, Tag, Timestamp, Version,
};

use crate::sample::{self, Sample as _};

/// Three streams with one partition key, so that they may share a batch in every store.
pub(crate) const A: &str = "a-{k}";
pub(crate) const B: &str = "b-{k}";
pub(crate) const C: &str = "c-{k}";

pub(crate) fn name(text: &str) -> StreamName {
    text.parse().expect("a stream name")
}

pub(crate) fn category(text: &str) -> Category {
    text.parse().expect("a category")
}

pub(crate) fn event_type(text: &str) -> EventType {
    text.parse().expect("an event type")
}

pub(crate) fn tag(text: &str) -> Tag {
    text.parse().expect("a tag")
}

pub(crate) fn id(number: u32) -> EventId {
    EventId::from_u128(number.into())
}

pub(crate) fn version(number: u64) -> Version {
    Version::new(number)
}

/// An event with this id. Its other fields do not matter.
pub(crate) fn event(stream: &str, number: u32) -> NewEvent {
    let event = sample::event(stream, number).of_type("happened").with_data(format!("{{\"n\":{number}}}"));
    NewEvent { time: Timestamp::from_nanos(number.into()), ..event }
}

/// An event of this type.
pub(crate) fn typed(stream: &str, number: u32, text: &str) -> NewEvent {
    event(stream, number).of_type(text)
}

/// A batch of events, each given by stream and id.
pub(crate) fn batch(events: &[(&str, u32)]) -> Batch {
    Batch::new(events.iter().map(|(stream, number)| event(stream, *number)))
}

/// A command, given by its key and the first byte of its request's digest.
pub(crate) fn command(key: &str, request: u8) -> CommandKey {
    CommandKey { key: key.to_owned().into(), request: [request; 32] }
}

/// The ids of events, as the numbers that they were created from.
pub(crate) fn ids(events: &[RecordedEvent]) -> Vec<u32> {
    events.iter().map(|event| number(event.id())).collect()
}

pub(crate) fn number(id: EventId) -> u32 {
    u32::try_from(u128::from_be_bytes(*id.as_bytes())).expect("an id of the laws")
}

pub(crate) fn versions(events: &[RecordedEvent]) -> Vec<u64> {
    events.iter().map(|event| event.version().get()).collect()
}

/// The same place in another store.
pub(crate) fn foreign(checkpoint: &Checkpoint) -> Checkpoint {
    Checkpoint::new(StoreId::from_bytes([0xee; 16]), checkpoint.sequences())
}

/// The place one sequence later in partition 0.
pub(crate) fn beyond(checkpoint: &Checkpoint) -> Checkpoint {
    checkpoint.clone().with(0, checkpoint.sequence(0) + 1)
}

/// A page of at most `count` events.
pub(crate) fn events(count: u32) -> Limit {
    Limit::events(NonZeroU32::new(count).expect("a limit is at least 1"))
}

/// A page of at most `count` bytes.
pub(crate) fn bytes(count: u64) -> Limit {
    Limit { bytes: NonZeroU64::new(count).expect("a limit is at least 1"), ..Limit::default() }
}

/// A page for which at most `count` things are examined.
pub(crate) fn examined(count: u64) -> Limit {
    Limit { examined: NonZeroU64::new(count).expect("a limit is at least 1"), ..Limit::default() }
}
