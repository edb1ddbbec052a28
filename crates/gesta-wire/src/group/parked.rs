//! Parked streams in JSON.

use std::borrow::Cow;

use bytes::Bytes;
use gesta_consumer::group::{Held, Parked};
use gesta_core::Version;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::answer::AnswerError;
use crate::event::{EventJson, write_event};
use crate::scalar::{position_from_json, position_json};
use crate::schema::{about, answer, count, list, named, nullable, text};
use crate::time::{format_time, parse_time};

/// Returns the JSON of a page of parked streams. `next` is the address of the next page.
#[must_use]
pub fn parked_page_json(parked: &[Parked], next: Option<&str>) -> Value {
    json!({"parked": parked.iter().map(parked_json).collect::<Value>(), "next": next})
}

/// Appends the JSON of a parked stream with the events that it holds back.
pub fn write_held(held: &Held, out: &mut Vec<u8>) {
    out.extend_from_slice(format!("{{\"parked\":{},\"events\":[", parked_json(&held.parked)).as_bytes());
    for (at, event) in held.events.iter().enumerate() {
        if at > 0 {
            out.push(b',');
        }
        write_event(event, out);
    }
    out.extend_from_slice(b"]}");
}

/// Returns the JSON of a parked stream.
#[must_use]
pub fn parked_json(parked: &Parked) -> Value {
    json!({
        "stream": parked.stream.as_str(),
        "version": parked.version.get(),
        "position": position_json(parked.position),
        "attempts": parked.attempts,
        "error": parked.error,
        "by": parked.by,
        "since": parked.since.map(format_time),
    })
}

pub(crate) fn parked_schema() -> Value {
    answer(vec![
        ("stream", named("StreamName")),
        ("version", named("Version")),
        ("position", named("Position")),
        ("attempts", count()),
        ("error", nullable(text())),
        ("by", nullable(about(text(), "The member that failed last."))),
        ("since", nullable(named("Time"))),
    ])
}

pub(crate) fn parked_page_schema() -> Value {
    let next = nullable(about(text(), "The address of the next page."));
    answer(vec![("parked", list(named("Parked"))), ("next", next)])
}

pub(crate) fn held_schema() -> Value {
    answer(vec![("parked", named("Parked")), ("events", list(named("Event")))])
}

#[derive(Deserialize)]
struct ParkedJson<'a> {
    #[serde(borrow)]
    stream: Cow<'a, str>,
    version: u64,
    position: Value,
    attempts: u32,
    error: Option<String>,
    by: Option<String>,
    #[serde(borrow)]
    since: Option<Cow<'a, str>>,
}

#[derive(Deserialize)]
struct PageJson<'a> {
    #[serde(borrow)]
    parked: Vec<ParkedJson<'a>>,
}

#[derive(Deserialize)]
struct HeldJson<'a> {
    #[serde(borrow)]
    parked: ParkedJson<'a>,
    #[serde(borrow)]
    events: Vec<EventJson<'a>>,
}

/// Reads a page of parked streams.
///
/// # Errors
/// [`AnswerError`] if the answer is not what [`parked_page_json`] writes.
pub fn read_parked_page(bytes: &[u8]) -> Result<Vec<Parked>, AnswerError> {
    serde_json::from_slice::<PageJson<'_>>(bytes)?.parked.iter().map(ParkedJson::to_parked).collect()
}

/// Reads a parked stream with its events.
///
/// # Errors
/// [`AnswerError`] if the answer is not what [`write_held`] writes.
pub fn read_held(bytes: &Bytes) -> Result<Held, AnswerError> {
    let held = serde_json::from_slice::<HeldJson<'_>>(bytes)?;
    let events = held.events.iter().enumerate().map(|(index, event)| {
        event.to_recorded(bytes).map_err(|source| AnswerError::Event { index, source })
    });
    Ok(Held { parked: held.parked.to_parked()?, events: events.collect::<Result<_, _>>()? })
}

impl ParkedJson<'_> {
    fn to_parked(&self) -> Result<Parked, AnswerError> {
        let wrong = |member| AnswerError::Member { member };
        Ok(Parked {
            stream: self.stream.parse().map_err(|_| wrong("stream"))?,
            version: Version::new(self.version),
            position: position_from_json(&self.position).ok_or_else(|| wrong("position"))?,
            attempts: self.attempts,
            error: self.error.clone(),
            by: self.by.clone(),
            since: self.since.as_deref().map(parse_time).transpose().map_err(|_| wrong("since"))?,
        })
    }
}
