//! Answers to hosted commands and states, as JSON.

use gesta_core::{Checkpoint, EventId, Placed, Position, StreamName, Version};
use serde::{Serialize, Serializer};
use serde_json::value::RawValue;

use crate::answer::Written;
use crate::fact::Fact;

/// The result of a command. Its events are durable.
#[derive(Debug, Clone, Serialize)]
pub struct Outcome {
    /// The version of the last event of each stream that was written to; without events, of each entity that was read. In JSON an
    /// array `streams` of `{"stream": …, "version": …}`.
    #[serde(rename = "streams", serialize_with = "streams")]
    pub versions: Vec<(StreamName, Version)>,
    /// The place in the log after the events: a view that has reached it shows them.
    #[serde(serialize_with = "printed")]
    pub checkpoint: Checkpoint,
    /// Whether the command was done before, and this is its first answer again.
    pub repeated: bool,
    /// The events, in order.
    pub events: Vec<OutcomeEvent>,
    /// For a repeat, the correlation that the events were recorded with, if they have one.
    #[serde(skip)]
    pub correlation: Option<String>,
}

/// An event that a command recorded.
#[derive(Debug, Clone, Serialize)]
pub struct OutcomeEvent {
    /// The id of the event.
    #[serde(serialize_with = "printed")]
    pub id: EventId,
    /// The name of its stream.
    pub stream: String,
    /// Its version in the stream.
    pub version: u64,
    /// Its position in the log: in JSON a number in partition 0, the text `"partition/sequence"` in any other.
    #[serde(serialize_with = "position")]
    pub position: Position,
    /// Its type.
    #[serde(rename = "type")]
    pub event_type: String,
    /// The schema version of its type.
    #[serde(rename = "schemaVersion")]
    pub schema_version: u16,
    /// Its data, as stored.
    pub data: Box<RawValue>,
}

impl Outcome {
    pub(super) fn new(written: Written) -> Self {
        let Written { facts, ids, events: recorded, places, versions, checkpoint, repeated } = written;
        let correlation = recorded.first().and_then(|event| event.tag("$correlation"));
        let correlation = correlation.map(str::to_owned);
        let events = facts.iter().zip(ids).zip(places);
        let events = events.map(|((fact, id), place)| OutcomeEvent::new(fact, id, place)).collect();
        Self { versions, checkpoint, repeated, events, correlation }
    }
}

impl OutcomeEvent {
    fn new(fact: &Fact, id: EventId, place: Placed) -> Self {
        Self {
            id,
            stream: fact.stream.to_string(),
            version: place.version.get(),
            position: place.position,
            event_type: fact.event_type.to_string(),
            schema_version: fact.schema_version,
            data: serde_json::from_slice(&fact.data).unwrap_or_else(|_| RawValue::NULL.to_owned()),
        }
    }
}

/// The state of an entity, with its version and checkpoint.
#[derive(Debug, Clone, Serialize)]
pub struct StateView {
    /// The state, as JSON.
    pub state: Box<RawValue>,
    /// The version of the last event that was folded in; `null` without events.
    #[serde(serialize_with = "version")]
    pub version: Option<Version>,
    /// The place up to which the log was read.
    #[serde(serialize_with = "printed")]
    pub checkpoint: Checkpoint,
}

#[derive(Serialize)]
struct StreamJson<'a> {
    stream: &'a str,
    version: u64,
}

fn streams<S: Serializer>(versions: &[(StreamName, Version)], to: S) -> Result<S::Ok, S::Error> {
    let streams = versions.iter();
    to.collect_seq(
        streams.map(|(stream, version)| StreamJson { stream: stream.as_str(), version: version.get() }),
    )
}

fn printed<S: Serializer>(value: &impl std::fmt::Display, to: S) -> Result<S::Ok, S::Error> {
    to.collect_str(value)
}

#[expect(clippy::ref_option, reason = "serde requires this signature")]
fn version<S: Serializer>(version: &Option<Version>, to: S) -> Result<S::Ok, S::Error> {
    version.map(Version::get).serialize(to)
}

fn position<S: Serializer>(position: &Position, to: S) -> Result<S::Ok, S::Error> {
    // The same form as `gesta_wire::position_json`, which a program without HTTP does not link.
    match position.partition {
        0 => position.sequence.serialize(to),
        _ => to.collect_str(position),
    }
}

#[cfg(all(test, feature = "http"))]
mod tests {
    use super::*;

    #[test]
    fn a_position_is_written_as_on_the_wire() {
        for partition in [0, 3] {
            let at = Position { partition, sequence: u64::MAX };
            let written = position(&at, serde_json::value::Serializer).unwrap();
            assert_eq!(written, gesta_wire::position_json(at));
        }
    }
}
