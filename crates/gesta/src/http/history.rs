//! `GET /histories/{category}/{id}`: what happened to an entity, who did it and when.

use std::num::NonZeroU32;
use std::sync::Arc;

use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, Uri};
use axum::response::Response;
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use gesta_core::{
    ContentKind, Direction, Limit, Page, Read, ReadError, RecordedEvent, Select, StreamName, Version,
};
use serde::Serialize;
use serde_json::Value;
use serde_json::value::RawValue;

use super::compensations::{By, Compensations};
use super::{
    Params, Problem, Shared, etag, is_unchanged, json, next_address, position_json, tagged, unchanged,
};
use crate::compensation::Compensated;
use gesta_wire::format_time;

/// Events in a page, unless the request says otherwise.
const PAGE_EVENTS_DEFAULT: NonZeroU32 = NonZeroU32::new(100).unwrap();
/// The most events in a page: what a client can reasonably show or wait for.
const PAGE_EVENTS_MAX: NonZeroU32 = NonZeroU32::new(10_000).unwrap();

/// The page that a request asks for.
struct Asked {
    from: Option<Version>,
    direction: Direction,
    limit: NonZeroU32,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct History<'a> {
    stream: &'a str,
    /// `null` where damage may hide the last event.
    last_version: Option<u64>,
    events: Vec<EventJson<'a>>,
    /// The address of the next page; `null` on the last one.
    next: Option<String>,
    /// The head of the log at the time of the read: a view that has reached it shows this history.
    checkpoint: String,
}

/// An event in JSON. Members without a value are left out.
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
    /// The id of the event that this one compensates.
    #[serde(skip_serializing_if = "Option::is_none")]
    compensates: Option<String>,
    /// The events that compensate this one, as stream and id.
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    compensated_by: &'a [By],
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
    uri: Uri,
    headers: HeaderMap,
    params: Params,
) -> Result<Response, Problem> {
    let (Path((category, id)), asked) = (path?, Asked::of(params)?);
    let stream = StreamName::new(format!("{category}-{id}"))?;
    let store = shared.gesta.event_store();
    let may_be_hidden = match store.stream(stream.clone()).await {
        Err(ReadError::DataLoss { .. }) => true,
        known => known.map(|_| false)?,
    };
    let page = store.read(asked.read(&stream)).await?;
    let last = page.last_version.filter(|_| !may_be_hidden);
    if last.is_none() && !may_be_hidden && page.events.is_empty() {
        return Err(Problem::nothing_happened(&category, &id));
    }
    if let Some(version) = last
        && is_unchanged(&headers, &etag(version))?
    {
        return Ok(unchanged(version));
    }
    let compensated = Compensations::of(&**store, &page.events).await?;
    let history = History {
        stream: stream.as_str(),
        last_version: last.map(Version::get),
        events: page.events.iter().map(|event| EventJson::of(event, compensated.of_event(event))).collect(),
        next: asked.next(&page).map(|from| next_address(&uri, "from", &from.to_string())),
        checkpoint: page.head.to_string(),
    };
    Ok(tagged(json(&history), last))
}

impl Asked {
    fn of(mut params: Params) -> Result<Self, Problem> {
        let from = params.read("from")?.map(Version::new);
        let direction = match params.one("direction")?.as_deref() {
            None | Some("forward") => Direction::Forward,
            Some("backward") => Direction::Backward,
            Some(other) => {
                let detail = format!("direction `{other}` is neither `forward` nor `backward`");
                return Err(Problem::invalid(detail));
            }
        };
        let limit = params.read::<u32>("limit")?.map_or(Ok(PAGE_EVENTS_DEFAULT), |limit| {
            let bounded = NonZeroU32::new(limit).filter(|limit| *limit <= PAGE_EVENTS_MAX);
            bounded.ok_or_else(|| {
                Problem::invalid(format!("limit {limit} is not between 1 and {PAGE_EVENTS_MAX}"))
            })
        })?;
        params.finish()?;
        Ok(Self { from, direction, limit })
    }

    fn read(&self, stream: &StreamName) -> Read {
        Read {
            select: Select::Stream { name: stream.clone(), from: self.from },
            direction: self.direction,
            until: None,
            limit: Limit::events(self.limit),
        }
    }

    /// The version at which the next page starts; `None` on the last page.
    fn next(&self, page: &Page) -> Option<Version> {
        let last = page.events.last().filter(|_| !page.end)?.version();
        match self.direction {
            Direction::Forward => Some(last.next()),
            Direction::Backward => last.get().checked_sub(1).map(Version::new),
        }
    }
}

impl<'a> EventJson<'a> {
    fn of(event: &'a RecordedEvent, compensated_by: &'a [By]) -> Self {
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
            compensates: Compensated::by(event).map(|event| event.id().to_string()),
            compensated_by,
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
