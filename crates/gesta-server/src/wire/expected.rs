//! Expectations and positions in JSON.

use gesta_core::{Expected, Position, Version};
use serde_json::{Value, json};

/// What an append expects of a stream: a version, `any`, `none`, `exists`, or the version and id of its last event.
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

/// Reads what an append says about a stream, as text.
pub(crate) fn expected_from_text(text: &str) -> Option<Expected> {
    match text {
        "any" => Some(Expected::Any),
        "none" => Some(Expected::None),
        "exists" => Some(Expected::Exists),
        number => number.parse().ok().map(|version| Expected::Exactly(Version::new(version))),
    }
}

/// A position: a number in partition 0, `"partition/sequence"` elsewhere.
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
