//! The answer to an append, written and read.

use std::fmt::{self, Display};

use gesta_core::{Appended, EventId, Placed, Version};
use serde_json::Value;

use crate::answer::{AnswerError, checkpoint, list, parse};
use crate::scalar::{position_from_json, position_json};
use crate::schema::{self, about, boolean, named, nullable};
use crate::text::write_shown;

/// Returns the JSON of the answer to an append. `ids` are the ids of its events.
///
/// It is written directly: a tree of JSON values would cost more than the decision on the append.
#[must_use]
pub fn appended_json(appended: &Appended, ids: &[EventId]) -> Vec<u8> {
    let mut out = Vec::with_capacity(64 * (ids.len() + 3));
    write_list("{\"ids\":[", ids.iter().map(Quoted), &mut out);
    out.extend_from_slice(b"],");
    write_places(appended, &mut out);
    out
}

/// Appends the members after the ids, and closes the object.
fn write_places(appended: &Appended, out: &mut Vec<u8>) {
    let Appended { places, checkpoint, repeated } = appended;
    write_list("\"versions\":[", places.iter().map(|place| place.version), out);
    write_list("],\"positions\":[", places.iter().map(|place| position_json(place.position)), out);
    write_shown(&format_args!("],\"checkpoint\":\"{checkpoint}\",\"repeated\":{repeated}}}"), out);
}

/// The places and the rest of the answer: what a repeat has too.
fn places() -> Vec<(&'static str, Value)> {
    vec![
        ("versions", about(schema::list(named("Version")), "One for each event.")),
        ("positions", about(schema::list(named("Position")), "One for each event.")),
        ("checkpoint", named("Checkpoint")),
        (
            "repeated",
            about(boolean(), "True if the events were appended before, and this is the first answer again."),
        ),
    ]
}

pub(crate) fn appended_schema() -> Value {
    let ids = [("ids", about(schema::list(named("EventId")), "One for each event."))];
    schema::answer(ids.into_iter().chain(places()).collect())
}

/// Reads the answer to an append.
///
/// # Errors
/// [`AnswerError`] if it is not what [`appended_json`] writes.
pub fn read_appended(bytes: &[u8]) -> Result<Appended, AnswerError> {
    appended(&parse(bytes)?)
}

/// Returns the JSON of the answer to `POST /batches/repeat`: the first answer to a command, without the ids of its events, or `null`.
#[must_use]
pub fn repeat_json(answer: Option<&Appended>) -> Vec<u8> {
    let mut out = b"{\"answer\":".to_vec();
    match answer {
        None => out.extend_from_slice(b"null"),
        Some(appended) => {
            out.push(b'{');
            write_places(appended, &mut out);
        }
    }
    out.push(b'}');
    out
}

pub(crate) fn repeat_schema() -> Value {
    schema::answer(vec![("answer", nullable(schema::answer(places())))])
}

/// Reads the answer to `POST /batches/repeat`.
///
/// # Errors
/// [`AnswerError`] if it is not what [`repeat_json`] writes.
pub fn read_repeat(bytes: &[u8]) -> Result<Option<Appended>, AnswerError> {
    match parse(bytes)?.get("answer").ok_or(AnswerError::Member { member: "answer" })? {
        Value::Null => Ok(None),
        answer => appended(answer).map(Some),
    }
}

fn appended(answer: &Value) -> Result<Appended, AnswerError> {
    let (versions, positions) = (list(answer, "versions")?, list(answer, "positions")?);
    if versions.len() != positions.len() {
        return Err(AnswerError::Member { member: "positions" });
    }
    let place = |(version, position): (&Value, &Value)| {
        Some(Placed { version: Version::new(version.as_u64()?), position: position_from_json(position)? })
    };
    let places = versions.iter().zip(positions).map(place).collect::<Option<_>>();
    Ok(Appended {
        places: places.ok_or(AnswerError::Member { member: "positions" })?,
        checkpoint: checkpoint(answer, "checkpoint")?,
        repeated: answer["repeated"].as_bool().ok_or(AnswerError::Member { member: "repeated" })?,
    })
}

/// A text that needs no escaping, as a JSON string.
struct Quoted<T>(T);

impl<T: Display> Display for Quoted<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{}\"", self.0)
    }
}

/// Appends the beginning of a list and its values, with commas between them.
fn write_list(begin: &str, values: impl Iterator<Item = impl Display>, out: &mut Vec<u8>) {
    out.extend_from_slice(begin.as_bytes());
    for (at, value) in values.enumerate() {
        let comma = if at == 0 { "" } else { "," };
        write_shown(&format_args!("{comma}{value}"), out);
    }
}
