//! `GET /events/{id}/causes` and `/effects`: why an event was recorded, and what followed from it.

use std::sync::Arc;

use axum::extract::State;
use axum::response::Response;
use gesta::causes::{causes_of, effects_of};
use gesta::http::api::Operation;
use gesta::http::{Params, Problem, causes_json, effects_json};
use gesta_core::{EventId, StreamName};
use gesta_wire::kinds;
use gesta_wire::schema::{about, answer, boolean, count, list, named, one_of, text};

use super::PathParam;
use crate::answer;
use crate::state::Shared;

/// The causes of an event, the nearest first.
pub(super) async fn causes(
    State(shared): State<Arc<Shared>>,
    PathParam(id): PathParam,
    params: Params,
) -> Result<Response, Problem> {
    let (id, stream) = asked(&id, params)?;
    let causes = causes_of(&*shared.store, id, stream.as_ref()).await?;
    answer::json(&shared, causes_json(&causes))
}

/// The effects of an event, each with its level.
pub(super) async fn effects(
    State(shared): State<Arc<Shared>>,
    PathParam(id): PathParam,
    params: Params,
) -> Result<Response, Problem> {
    let (id, stream) = asked(&id, params)?;
    let effects = effects_of(&*shared.store, id, stream.as_ref()).await?;
    answer::json(&shared, effects_json(&effects))
}

/// The event in an address, and the stream that may be named for it.
fn asked(id: &str, mut params: Params) -> Result<(EventId, Option<StreamName>), Problem> {
    let stream = params.read("stream")?;
    params.finish()?;
    let id =
        id.parse().map_err(|error| Problem::invalid(format!("`{id}` is not the id of an event: {error}")))?;
    Ok((id, stream))
}

/// What both take, and their problems.
fn described(operation: Operation) -> Operation {
    operation
        .tag("events")
        .path("id", "The event.", named("EventId"))
        .query("stream", "Its stream, where events of several have the id.", named("StreamName"))
        .problems(&[kinds::INVALID_NAME, kinds::NO_EVENT, kinds::AMBIGUOUS_ID])
        .problems(kinds::OF_READS)
}

pub(super) fn causes_operation() -> Operation {
    let kind = one_of(&["unnamed", "outside", "ambiguous", "circle", "cut"]);
    let origin = answer(vec![
        ("kind", about(kind, "Where the chain begins.")),
        ("causation?", about(text(), "With `outside`: what the first event names.")),
        ("id?", named("EventId")),
        ("streams?", list(named("StreamName"))),
    ]);
    let causes = answer(vec![
        ("event", named("Event")),
        ("causes", about(list(named("Event")), "The nearest first.")),
        ("origin", origin),
    ]);
    let operation = Operation::new("causesOfEvent", "what led to an event, up to the first cause");
    described(operation.json(200, "The event with its causes.", causes))
}

pub(super) fn effects_operation() -> Operation {
    let effect = answer(vec![("level", count()), ("event", named("Event"))]);
    let effects = answer(vec![
        ("event", named("Event")),
        ("effects", about(list(effect), "The effects of an effect follow it at once.")),
        ("cut", about(boolean(), "True if there are more.")),
    ]);
    let operation = Operation::new("effectsOfEvent", "what an event led to");
    described(operation.json(200, "The event with its effects.", effects))
}
