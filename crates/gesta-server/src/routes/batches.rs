//! `POST /batches`: appends to several streams atomically, with expectations and conditions.

use std::sync::Arc;

use axum::extract::State;
use axum::http::request::Parts;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use gesta::http::api::Operation;
use gesta::http::{Caller, Params, Problem};
use gesta_core::{BATCH_EVENTS_MAX, Batch, CommandKey};
use gesta_wire::schema::{list_up_to, named};
use gesta_wire::{BatchJson, check_user_stream, cloudevents};

use super::append::{answer, described, failed, ids};
use crate::body::{RequestBody, read_json};
use crate::cause::add_cause;
use crate::closed::Closed;
use crate::incoming::{Incoming, new_events};
use crate::state::Shared;

const ROUTE: &str = "POST /batches";

/// Appends a batch: in the server's JSON, or as CloudEvents whose subjects name their streams.
pub(super) async fn append(
    State(shared): State<Arc<Shared>>,
    parts: Parts,
    params: Params,
    body: RequestBody,
) -> Result<Response, Problem> {
    params.finish()?;
    let incoming = Incoming::of(&parts.headers, &body.bytes)?;
    let command = Caller::of(&parts).command_key(&parts, ROUTE, &incoming.text)?;
    let mut batch = if incoming.is_json() {
        read_batch(&incoming.text, &shared.closed, command)?
    } else {
        let events = incoming.events(&shared.closed, None, command.as_ref())?;
        Batch { events, command, ..Batch::default() }
    };
    add_cause(&parts.headers, &mut batch.events)?;
    let ids = ids(&batch);
    let appended = shared.store.append(batch).await;
    let appended = appended.map_err(|error| failed(error, &ids, Problem::from))?;
    Ok(answer(&appended, &ids).into_response())
}

pub(super) fn operation() -> Operation {
    let operation = Operation::new("appendBatch", "append events to several streams atomically")
        .tag("events")
        .text("All events are appended, or none. CloudEvents name their streams by `subject`.")
        .body("application/json", named("Batch"))
        .body(cloudevents::MEDIA_TYPE, named("CloudEvent"))
        .body(cloudevents::BATCH_MEDIA_TYPE, list_up_to(BATCH_EVENTS_MAX, named("CloudEvent")));
    described(operation)
}

/// Reads a batch. `keyed` is the command key of the header.
fn read_batch(body: &Bytes, closed: &Closed, keyed: Option<CommandKey>) -> Result<Batch, Problem> {
    let batch = read_json::<BatchJson<'_>>(body, "an object with `events`")?;
    let command = match (batch.command()?, keyed) {
        (Some(_), Some(_)) => {
            return Err(Problem::invalid(
                "the member `command` and the header `Idempotency-Key` are given: give one",
            ));
        }
        (given, keyed) => given.or(keyed),
    };
    let expect = batch.expectations()?;
    expect.iter().try_for_each(|(stream, _)| check_user_stream(stream))?;
    Ok(Batch {
        events: new_events(body, batch.events(), closed, None, command.as_ref())?,
        expect,
        conditions: batch.conditions()?,
        command,
    })
}
