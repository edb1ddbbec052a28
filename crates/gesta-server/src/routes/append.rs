//! `POST /streams/{stream}`: appends one or more events to one stream.

use std::fmt::{self, Display};
use std::sync::Arc;

use axum::extract::State;
use axum::http::request::Parts;
use axum::http::{HeaderName, StatusCode, header};
use axum::response::{IntoResponse, Response};
use gesta_core::{AppendError, Appended, Batch, EventId};
use serde_json::Value;

use crate::body::RequestBody;
use crate::incoming::Incoming;
use crate::precondition::Precondition;
use crate::routes::StreamPath;
use crate::state::Shared;
use crate::wire::{position_json, write_shown};
use gesta::http::{Caller, Params, Problem, etag};

const ROUTE: &str = "POST /streams/{stream}";

/// Appends the events of the body. Answers 201 with their positions, or 200 if they were appended before.
pub(super) async fn append(
    State(shared): State<Arc<Shared>>,
    StreamPath(stream): StreamPath,
    parts: Parts,
    mut params: Params,
    body: RequestBody,
) -> Result<Response, Problem> {
    let precondition = Precondition::of(&parts.headers, &mut params)?;
    params.finish()?;
    let incoming = Incoming::of(&parts.headers, &body.bytes)?;
    let command = Caller::of(&parts).command_key(&parts, ROUTE, &incoming.text)?;
    let events = incoming.events(Some(&stream), command.as_ref())?;
    let batch = Batch { events, expect: vec![(stream, precondition.expected)], command, ..Batch::default() };
    let ids = ids(&batch);
    let appended = shared.store.append(batch).await;
    let appended = appended.map_err(|error| failed(error, &ids, |error| precondition.answer(error)))?;
    let tag = etag(appended.places.last().expect("an append has events").version);
    Ok(([(header::ETAG, tag)], answer(&appended, &ids)).into_response())
}

/// The ids of a batch.
pub(super) fn ids(batch: &Batch) -> Vec<EventId> {
    batch.events.iter().map(|event| event.id).collect()
}

/// The problem of an append that failed. One in doubt names the ids, so that the client can send the same events again.
pub(super) fn failed(
    error: AppendError,
    ids: &[EventId],
    problem: impl FnOnce(AppendError) -> Problem,
) -> Problem {
    let in_doubt = matches!(error, AppendError::InDoubt { .. });
    let problem = problem(error);
    if in_doubt {
        problem.with("ids", ids.iter().map(EventId::to_string).collect::<Value>())
    } else {
        problem
    }
}

/// The answer to an append.
pub(super) fn answer(appended: &Appended, ids: &[EventId]) -> impl IntoResponse + use<> {
    let status = if appended.repeated { StatusCode::OK } else { StatusCode::CREATED };
    let replayed = appended.repeated.then_some([(HeaderName::from_static("idempotency-replayed"), "true")]);
    (status, [(header::CONTENT_TYPE, "application/json")], replayed, answer_json(appended, ids))
}

/// Written directly: a tree of JSON values would cost more than the decision on the append.
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
