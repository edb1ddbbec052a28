//! Positions and expectations in JSON: the one place that writes them.

#[cfg(feature = "http")]
use gesta_core::Expected;
use gesta_core::Position;
use serde_json::Value;

/// A position in JSON: a number in partition 0, the text `"partition/sequence"` in any other.
#[cfg_attr(not(feature = "http"), expect(unreachable_pub, reason = "`http` re-exports it"))]
#[must_use]
pub fn position_json(position: Position) -> Value {
    match position.partition {
        0 => position.sequence.into(),
        _ => position.to_string().into(),
    }
}

/// An expectation in JSON: a version, `any`, `none`, `exists`, or the version and id of an event.
#[cfg(feature = "http")]
#[must_use]
pub fn expected_json(expected: Expected) -> Value {
    match expected {
        Expected::Any => "any".into(),
        Expected::None => "none".into(),
        Expected::Exists => "exists".into(),
        Expected::Exactly(version) => version.get().into(),
        Expected::Event { version, id } => {
            serde_json::json!({"version": version.get(), "id": id.to_string()})
        }
        other => other.to_string().into(),
    }
}
