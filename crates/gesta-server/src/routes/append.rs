//! `POST /streams/{stream}`: appends one or more events to one stream.

use std::sync::Arc;

use axum::extract::State;
use axum::http::request::Parts;
use axum::http::{HeaderName, StatusCode, header};
use axum::response::{IntoResponse, Response};
use gesta_core::{AppendError, Appended, BATCH_EVENTS_MAX, Batch, EventId};
use gesta_wire::schema::{list_up_to, named, one_of};
use gesta_wire::{appended_json, cloudevents, kinds};
use serde_json::{Value, json};

use crate::body::RequestBody;
use crate::cause::add_cause;
use crate::incoming::Incoming;
use crate::precondition::Precondition;
use crate::routes::StreamPath;
use crate::state::Shared;
use gesta::http::api::{Operation, entity_tag, visible};
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
    let mut events = incoming.events(&shared.closed, Some(&stream), command.as_ref())?;
    add_cause(&parts.headers, &mut events)?;
    let batch = Batch { events, expect: vec![(stream, precondition.expected)], command, ..Batch::default() };
    let ids = ids(&batch);
    let appended = shared.store.append(batch).await;
    let appended = appended.map_err(|error| failed(error, &ids, |error| precondition.answer(error)))?;
    let tag = etag(appended.places.last().expect("an append has events").version);
    Ok(([(header::ETAG, tag)], answer(&appended, &ids)).into_response())
}

pub(super) fn operation() -> Operation {
    let new = named("NewEvent");
    let many = list_up_to(BATCH_EVENTS_MAX, new.clone());
    let operation = Operation::new("appendToStream", "append events to a stream")
        .tag("events")
        .path("stream", "The stream.", named("StreamName"))
        .query(
            "expect",
            "The version that the stream must have, or a word; the default is `any`.",
            expected_parameter(),
        )
        .conditional_write("The version that the stream must have, or `*`: it has an event.")
        .body("application/json", json!({"oneOf": [new, many]}))
        .body(cloudevents::MEDIA_TYPE, named("CloudEvent"))
        .body(cloudevents::BATCH_MEDIA_TYPE, list_up_to(BATCH_EVENTS_MAX, named("CloudEvent")));
    described(operation)
        .answers_with_header("ETag", "The new version of the stream.", entity_tag())
        .problem_as(412, kinds::CONFLICT)
}

/// What every append takes and gives.
pub(super) fn described(operation: Operation) -> Operation {
    let replayed = "`true`: this is the first answer again.";
    operation
        .header(
            "Idempotency-Key",
            "1 to 256 bytes. A repeat gets the first answer, and appends nothing.",
            visible(),
        )
        .header("X-Causation-Id", "What led to the events: the id of an event, or any name.", visible())
        .header(
            "X-Correlation-Id",
            "What the events belong to. It counts with `X-Causation-Id` only.",
            visible(),
        )
        .json(200, "A repeat: the first answer.", named("Appended"))
        .answers_with_header("Idempotency-Replayed", replayed, one_of(&["true"]))
        .json(201, "The events are durable.", named("Appended"))
        .problems(kinds::OF_APPENDS)
        .problems(&[
            kinds::INVALID_NAME,
            kinds::INVALID_EVENT,
            kinds::SYSTEM_STREAM,
            kinds::SYSTEM_TYPE,
            kinds::HOSTED_CATEGORY,
        ])
}

fn expected_parameter() -> Value {
    json!({"type": "string", "pattern": "^(any|none|exists|[0-9]{1,19})$"})
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
    (status, [(header::CONTENT_TYPE, "application/json")], replayed, appended_json(appended, ids))
}
