//! Positions and expectations in JSON: the one place that writes and reads them.

use gesta_core::{Expected, Position, Version};
use serde_json::{Value, json};

use crate::schema::{about, named, one_of, request};

/// A position in JSON: a number in partition 0, the text `"partition/sequence"` in any other.
#[must_use]
pub fn position_json(position: Position) -> Value {
    match position.partition {
        0 => position.sequence.into(),
        _ => position.to_string().into(),
    }
}

/// Reads what [`position_json`] writes.
#[must_use]
pub fn position_from_json(value: &Value) -> Option<Position> {
    if let Some(sequence) = value.as_u64() {
        return Some(Position { partition: 0, sequence });
    }
    let (partition, sequence) = value.as_str()?.split_once('/')?;
    Some(Position { partition: partition.parse().ok()?, sequence: sequence.parse().ok()? })
}

/// An expectation in JSON: a version, `any`, `none`, `exists`, or the version and id of an event.
#[must_use]
pub fn expected_json(expected: Expected) -> Value {
    match expected {
        Expected::Any => "any".into(),
        Expected::None => "none".into(),
        Expected::Exists => "exists".into(),
        Expected::Exactly(version) => version.get().into(),
        Expected::Event { version, id } => json!({"version": version.get(), "id": id.to_string()}),
        other => other.to_string().into(),
    }
}

pub(crate) fn expected_schema() -> Value {
    let event = request(vec![("version", named("Version")), ("id", named("EventId"))]);
    let expected = json!({"anyOf": [named("Version"), one_of(&["any", "none", "exists"]), event]});
    about(
        expected,
        "What is expected of a stream: the version of its last event, that version with the event's id, or a word.",
    )
}

/// Reads what [`expected_json`] writes.
#[must_use]
pub fn expected_from_json(value: &Value) -> Option<Expected> {
    match value {
        Value::String(word) => match word.as_str() {
            "any" => Some(Expected::Any),
            "none" => Some(Expected::None),
            "exists" => Some(Expected::Exists),
            _ => None,
        },
        Value::Object(event) => Some(Expected::Event {
            version: Version::new(event.get("version")?.as_u64()?),
            id: event.get("id")?.as_str()?.parse().ok()?,
        }),
        number => Some(Expected::Exactly(Version::new(number.as_u64()?))),
    }
}

/// Reads an expected version from a parameter: a number, `any`, `none` or `exists`.
#[must_use]
pub fn expected_from_text(text: &str) -> Option<Expected> {
    match text {
        "any" => Some(Expected::Any),
        "none" => Some(Expected::None),
        "exists" => Some(Expected::Exists),
        number => number.parse().ok().map(|version| Expected::Exactly(Version::new(version))),
    }
}
