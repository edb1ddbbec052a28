//! Causes and effects of events in JSON.

use gesta_core::RecordedEvent;
use gesta_wire::{kinds, write_event};
use serde_json::{Value, json};

use super::Problem;
use crate::causes::{Causes, CausesError, Effects, Origin};

/// The JSON of an event with its causes.
#[must_use]
pub fn causes_json(causes: &Causes) -> Vec<u8> {
    let mut out = begin(&causes.event, "causes");
    list(&causes.causes, &mut out, write_event);
    out.extend_from_slice(b",\"origin\":");
    out.extend_from_slice(origin_json(&causes.origin).to_string().as_bytes());
    out.push(b'}');
    out
}

/// The JSON of an event with its effects.
#[must_use]
pub fn effects_json(effects: &Effects) -> Vec<u8> {
    let mut out = begin(&effects.event, "effects");
    list(&effects.effects, &mut out, |effect, out| {
        out.extend_from_slice(format!("{{\"level\":{},\"event\":", effect.level).as_bytes());
        write_event(&effect.event, out);
        out.push(b'}');
    });
    out.extend_from_slice(format!(",\"cut\":{}}}", effects.is_cut).as_bytes());
    out
}

/// The JSON of an origin.
#[must_use]
pub fn origin_json(origin: &Origin) -> Value {
    match origin {
        Origin::Unnamed => json!({"kind": "unnamed"}),
        Origin::Outside { causation } => json!({"kind": "outside", "causation": causation}),
        Origin::Ambiguous { id, streams } => {
            let streams = streams.iter().map(|stream| stream.as_str()).collect::<Vec<_>>();
            json!({"kind": "ambiguous", "id": id.to_string(), "streams": streams})
        }
        Origin::Circle { id } => json!({"kind": "circle", "id": id.to_string()}),
        Origin::Cut { id } => json!({"kind": "cut", "id": id.to_string()}),
    }
}

/// Opens an object with an event and the name of a list.
fn begin(event: &RecordedEvent, name: &str) -> Vec<u8> {
    let mut out = b"{\"event\":".to_vec();
    write_event(event, &mut out);
    out.extend_from_slice(format!(",\"{name}\":").as_bytes());
    out
}

fn list<T>(items: &[T], out: &mut Vec<u8>, write: impl Fn(&T, &mut Vec<u8>)) {
    out.push(b'[');
    for (at, item) in items.iter().enumerate() {
        if at > 0 {
            out.push(b',');
        }
        write(item, out);
    }
    out.push(b']');
}

impl From<CausesError> for Problem {
    fn from(error: CausesError) -> Self {
        let detail = error.to_string();
        match error {
            CausesError::NoEvent { .. } => Self::of(kinds::NO_EVENT, detail),
            CausesError::Ambiguous { streams, .. } => {
                let streams = streams.iter().map(|stream| stream.as_str()).collect::<Vec<_>>();
                Self::of(kinds::AMBIGUOUS_ID, format!("{detail} with `?stream=`")).with("streams", streams)
            }
            CausesError::Read(error) => error.into(),
        }
    }
}
