//! Expectations and positions, read from JSON and parameters.

use gesta_core::{Expected, Position, Version};
use serde_json::Value;

/// Reads an expected version: a number, `any`, `none` or `exists`.
pub(crate) fn expected_from_text(text: &str) -> Option<Expected> {
    match text {
        "any" => Some(Expected::Any),
        "none" => Some(Expected::None),
        "exists" => Some(Expected::Exists),
        number => number.parse().ok().map(|version| Expected::Exactly(Version::new(version))),
    }
}

/// Reads what [`position_json`](super::position_json) writes.
#[must_use]
pub fn position_from_json(value: &Value) -> Option<Position> {
    if let Some(sequence) = value.as_u64() {
        return Some(Position { partition: 0, sequence });
    }
    let (partition, sequence) = value.as_str()?.split_once('/')?;
    Some(Position { partition: partition.parse().ok()?, sequence: sequence.parse().ok()? })
}
