//! Answers to hosted commands and states, as JSON.

use gesta_core::{Checkpoint, Placed, Position, StreamName, Version};
use serde::ser::SerializeMap;
use serde::{Serialize, Serializer};
use serde_json::value::RawValue;

use crate::fact::Fact;
use crate::handle::Written;

/// The result of a command. Its events are durable.
#[derive(Debug, Clone, Serialize)]
pub struct Outcome {
    /// The version of the last event of each stream written to; without events, of each entity that was read.
    #[serde(serialize_with = "versions")]
    pub versions: Vec<(StreamName, Version)>,
    /// A view that has reached this checkpoint includes the events.
    #[serde(serialize_with = "printed")]
    pub checkpoint: Checkpoint,
    /// True if this is the answer to an earlier sending of the same command.
    pub repeated: bool,
    /// The events, in order.
    pub events: Vec<OutcomeEvent>,
}

/// An event that the command recorded.
#[derive(Debug, Clone, Serialize)]
pub struct OutcomeEvent {
    /// Its stream.
    pub stream: String,
    /// Its version in the stream.
    pub version: u64,
    /// Its position in the log. In JSON: a number for partition 0, `"partition/sequence"` for others.
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
        let Written { facts, places, versions, checkpoint, repeated, .. } = written;
        let events =
            facts.into_iter().zip(places).map(|(fact, place)| OutcomeEvent::new(&fact, place)).collect();
        Self { versions, checkpoint, repeated, events }
    }
}

impl OutcomeEvent {
    fn new(fact: &Fact, place: Placed) -> Self {
        Self {
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
    /// How far the log was read.
    #[serde(serialize_with = "printed")]
    pub checkpoint: Checkpoint,
}

fn versions<S: Serializer>(versions: &[(StreamName, Version)], to: S) -> Result<S::Ok, S::Error> {
    let mut map = to.serialize_map(Some(versions.len()))?;
    for (stream, version) in versions {
        map.serialize_entry(stream.as_str(), &version.get())?;
    }
    map.end()
}

fn printed<S: Serializer>(checkpoint: &Checkpoint, to: S) -> Result<S::Ok, S::Error> {
    to.collect_str(checkpoint)
}

#[expect(clippy::ref_option, reason = "serde requires this signature")]
fn version<S: Serializer>(version: &Option<Version>, to: S) -> Result<S::Ok, S::Error> {
    version.map(Version::get).serialize(to)
}

fn position<S: Serializer>(position: &Position, to: S) -> Result<S::Ok, S::Error> {
    match position.partition {
        0 => to.serialize_u64(position.sequence),
        _ => to.collect_str(position),
    }
}
