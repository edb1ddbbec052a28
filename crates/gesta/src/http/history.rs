//! `GET /histories/{category}/{id}`: what happened to an entity, who did it and when.

use std::num::NonZeroU32;
use std::sync::Arc;

use axum::extract::rejection::{PathRejection, QueryRejection};
use axum::extract::{Path, Query, State};
use axum::response::Response;
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use gesta_core::{ContentKind, Direction, Limit, Read, RecordedEvent, Select, StreamName, Version};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use serde_json::value::RawValue;

use super::problem::position_json;
use super::time::format_time;
use super::{Problem, Shared, json, tagged};

/// Events in a page, unless the request says otherwise.
const PAGE_EVENTS_DEFAULT: NonZeroU32 = NonZeroU32::new(100).unwrap();
/// Events in a page at the most: what a client can reasonably show or wait for.
const PAGE_EVENTS_MAX: NonZeroU32 = NonZeroU32::new(10_000).unwrap();

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Params {
    from: Option<u64>,
    limit: Option<NonZeroU32>,
    direction: Option<Way>,
}

#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Way {
    Forward,
    Backward,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct History<'a> {
    stream: &'a str,
    last_version: u64,
    events: Vec<EventJson<'a>>,
    /// Where the next page starts: `from` of the next request.
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<u64>,
    checkpoint: String,
}

/// An event in JSON. Members that have nothing to say are left out.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct EventJson<'a> {
    id: String,
    #[serde(rename = "type")]
    event_type: &'a str,
    schema_version: u16,
    version: u64,
    position: Value,
    time: String,
    recorded_at: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    actor: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    correlation: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    causation: Option<&'a str>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    tags: Vec<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    data: Option<&'a RawValue>,
    #[serde(skip_serializing_if = "Option::is_none")]
    data_text: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    data_base64: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    metadata: Option<&'a RawValue>,
}

pub(super) async fn history(
    State(shared): State<Arc<Shared>>,
    path: Result<Path<(String, String)>, PathRejection>,
    query: Result<Query<Params>, QueryRejection>,
) -> Result<Response, Problem> {
    let (Path((category, id)), Query(params)) = (path?, query?);
    let stream = StreamName::new(format!("{category}-{id}"))?;
    let direction = match params.direction {
        Some(Way::Backward) => Direction::Backward,
        _ => Direction::Forward,
    };
    let read = Read {
        select: Select::Stream { name: stream.clone(), from: params.from.map(Version::new) },
        direction,
        until: None,
        limit: Limit::events(params.limit.unwrap_or(PAGE_EVENTS_DEFAULT).min(PAGE_EVENTS_MAX)),
    };
    let page = shared.gesta.event_store().read(read).await?;
    let Some(last) = page.last_version else { return Err(Problem::nothing_happened(&category, &id)) };
    let next = page.events.last().filter(|_| !page.end).map(RecordedEvent::version);
    let history = History {
        stream: stream.as_str(),
        last_version: last.get(),
        events: page.events.iter().map(EventJson::of).collect(),
        next: next.and_then(|version| match direction {
            Direction::Forward => Some(version.get() + 1),
            Direction::Backward => version.get().checked_sub(1),
        }),
        checkpoint: page.scanned_to.to_string(),
    };
    Ok(tagged(json(&history), Some(last)))
}

impl<'a> EventJson<'a> {
    fn of(event: &'a RecordedEvent) -> Self {
        let bytes = event.data_slice();
        let data = (event.kind() == ContentKind::Json).then(|| raw(bytes)).flatten();
        let data_text =
            (event.kind() == ContentKind::Text).then(|| std::str::from_utf8(bytes).ok()).flatten();
        let is_shown = data.is_some() || data_text.is_some();
        Self {
            id: event.id().to_string(),
            event_type: event.event_type(),
            schema_version: event.schema_version(),
            version: event.version().get(),
            position: position_json(event.position()),
            time: format_time(event.time()),
            recorded_at: format_time(event.recorded_at()),
            actor: event.tag("$actor"),
            correlation: event.tag("$correlation"),
            causation: event.tag("$causation"),
            tags: event.tags().filter(|tag| !tag.starts_with('$')).collect(),
            data,
            data_text,
            data_base64: (!is_shown).then(|| BASE64_STANDARD.encode(bytes)),
            metadata: raw(event.metadata_slice()),
        }
    }
}

fn raw(bytes: &[u8]) -> Option<&RawValue> {
    serde_json::from_slice(bytes).ok()
}
