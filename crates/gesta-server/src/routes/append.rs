//! `POST /streams/{stream}`: append one event or several to one stream.

use std::fmt::{self, Display};
use std::sync::Arc;

use axum::extract::State;
use axum::http::HeaderName;
use axum::http::{HeaderMap, Method, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use gesta_core::{AppendError, Appended, BATCH_EVENTS_MAX, Batch, CommandKey, EventId, NewEvent, StreamName};
use serde_json::Value;

use crate::body::{RequestBody, content_type, read_json, unsupported_type};
use crate::cloudevents::{self, CloudEvent};
use crate::idempotency::{command_key, event_id};
use crate::precondition::{Precondition, etag};
use crate::routes::{StreamPath, allowed};
use crate::state::Shared;
use crate::time::now;
use crate::wire::{Capped, EventJson, position_json, write_shown};
use gesta::http::{Params, Problem};

const ROUTE: &str = "POST /streams/{stream}";

/// Appends what the body holds, and answers 201 with its places, or 200 if it was appended before.
pub(super) async fn append(
    State(shared): State<Arc<Shared>>,
    StreamPath(stream): StreamPath,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    mut params: Params,
    body: RequestBody,
) -> Result<Response, Problem> {
    let precondition = Precondition::of(&headers, &mut params)?;
    params.finish()?;
    let command = command_key(&headers, ROUTE, &method, &uri, &body.bytes)?;
    let events = read_events(&headers, &body.bytes, Some(&stream), command.as_ref())?;
    let batch = Batch { events, expect: vec![(stream, precondition.expected)], command, ..Batch::default() };
    let ids = ids(&batch);
    let appended = shared.store.append(batch).await.map_err(|error| {
        let doubt = matches!(error, AppendError::InDoubt { .. });
        let problem = precondition.answer(error);
        if doubt { problem.with("ids", ids_json(&ids)) } else { problem }
    })?;
    let tag = etag(appended.places.last().expect("an append has events").version);
    Ok(([(header::ETAG, tag)], answer(&appended, &ids)).into_response())
}

/// Reads the events of a body by its content type. Each goes to `stream`, or names its own where there is none.
pub(super) fn read_events(
    headers: &HeaderMap,
    body: &Bytes,
    stream: Option<&StreamName>,
    command: Option<&CommandKey>,
) -> Result<Vec<NewEvent>, Problem> {
    match content_type(headers).as_str() {
        "application/json" => read_own(body, stream, command),
        cloudevents::MEDIA_TYPE => read_cloud_events(body, vec![read_json(body, "a CloudEvent")?], stream),
        cloudevents::BATCH_MEDIA_TYPE => {
            let events = read_json::<Many<CloudEvent<'_>>>(body, "an array of CloudEvents")?;
            read_cloud_events(body, events.0, stream)
        }
        other => Err(unsupported_type(
            other,
            &["application/json", cloudevents::MEDIA_TYPE, cloudevents::BATCH_MEDIA_TYPE],
        )),
    }
}

pub(super) type Many<T> = Capped<T, BATCH_EVENTS_MAX>;

/// One event, or an array of them, in the server's own JSON.
fn read_own(
    body: &Bytes,
    stream: Option<&StreamName>,
    command: Option<&CommandKey>,
) -> Result<Vec<NewEvent>, Problem> {
    let is_array = body.iter().find(|byte| !byte.is_ascii_whitespace()) == Some(&b'[');
    let wanted = "an event, or an array of events,";
    let events = match is_array {
        true => read_json::<Many<EventJson<'_>>>(body, wanted)?.0,
        false => vec![read_json(body, wanted)?],
    };
    new_events(body, &events, stream, command)
}

/// Events of the server's own JSON as events to append.
pub(super) fn new_events(
    body: &Bytes,
    events: &[EventJson<'_>],
    stream: Option<&StreamName>,
    command: Option<&CommandKey>,
) -> Result<Vec<NewEvent>, Problem> {
    let now = now();
    let read = |(index, event): (usize, &EventJson<'_>)| {
        let stream = stream_of(event.stream(), stream).map_err(|problem| problem.with("event", index))?;
        let event = event.to_new_event(body, stream, || event_id(command, index), now);
        event.map_err(|error| wrong_event(index, &error))
    };
    events.iter().enumerate().map(read).collect()
}

fn read_cloud_events(
    body: &Bytes,
    events: Vec<CloudEvent<'_>>,
    stream: Option<&StreamName>,
) -> Result<Vec<NewEvent>, Problem> {
    let now = now();
    let read = |(index, event): (usize, CloudEvent<'_>)| {
        let wrong = |error| wrong_event(index, &error);
        let subject = event.text("subject").map_err(wrong)?;
        let stream = match (&subject, stream) {
            (None, None) => None,
            _ => Some(stream_of(subject.as_deref(), stream).map_err(|problem| problem.with("event", index))?),
        };
        event.to_new_event(body, stream, now).map_err(wrong)
    };
    events.into_iter().enumerate().map(read).collect()
}

/// The stream of an event: the one in the address, which the event may repeat, or the one it names.
fn stream_of(named: Option<&str>, stream: Option<&StreamName>) -> Result<StreamName, Problem> {
    match (named, stream) {
        (None, Some(stream)) => Ok(stream.clone()),
        (Some(named), Some(stream)) if named == stream.as_str() => Ok(stream.clone()),
        (Some(named), Some(stream)) => {
            let detail = format!("an event names stream `{named}`, the address `{stream}`");
            Err(Problem::invalid(detail))
        }
        (Some(named), None) => {
            let stream = StreamName::new(named)?;
            allowed(&stream)?;
            Ok(stream)
        }
        (None, None) => Err(Problem::invalid("an event names no `stream`")),
    }
}

fn wrong_event(index: usize, error: &dyn std::error::Error) -> Problem {
    Problem::new(StatusCode::BAD_REQUEST, "invalid-event", "An event is not well formed", error.to_string())
        .with("event", index)
}

/// The ids of a batch.
pub(super) fn ids(batch: &Batch) -> Vec<EventId> {
    batch.events.iter().map(|event| event.id).collect()
}

/// Ids as JSON.
pub(super) fn ids_json(ids: &[EventId]) -> Value {
    ids.iter().map(EventId::to_string).collect()
}

/// The answer to an append.
pub(super) fn answer(appended: &Appended, ids: &[EventId]) -> impl IntoResponse + use<> {
    let status = if appended.repeated { StatusCode::OK } else { StatusCode::CREATED };
    let replayed = appended.repeated.then_some([(HeaderName::from_static("idempotency-replayed"), "true")]);
    (status, [(header::CONTENT_TYPE, "application/json")], replayed, answer_json(appended, ids))
}

/// Written as it goes: a tree of values of each event costs more than deciding on it.
fn answer_json(appended: &Appended, ids: &[EventId]) -> Vec<u8> {
    let mut out = Vec::with_capacity(64 * (ids.len() + 3));
    let places = || appended.places.iter();
    write_list("{\"ids\":[", ids.iter().map(Quoted), &mut out);
    write_list("],\"versions\":[", places().map(|place| place.version), &mut out);
    write_list("],\"positions\":[", places().map(|place| position_json(place.position)), &mut out);
    let Appended { checkpoint, repeated, .. } = appended;
    write_shown(&format_args!("],\"checkpoint\":\"{checkpoint}\",\"repeated\":{repeated}}}"), &mut out);
    out
}

/// A text without anything to escape, as a JSON string.
struct Quoted<T>(T);

impl<T: Display> Display for Quoted<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{}\"", self.0)
    }
}

/// Appends values with commas between them, behind what begins the list.
fn write_list(begin: &str, values: impl Iterator<Item = impl Display>, out: &mut Vec<u8>) {
    out.extend_from_slice(begin.as_bytes());
    for (at, value) in values.enumerate() {
        let comma = if at == 0 { "" } else { "," };
        write_shown(&format_args!("{comma}{value}"), out);
    }
}
