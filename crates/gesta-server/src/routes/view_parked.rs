//! `/views/{name}/parked`: the streams that a view holds back, and what operators do with them.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, State};
use axum::http::HeaderMap;
use axum::http::request::Parts;
use axum::response::Response;
use gesta::http::api::{Operation, visible};
use gesta::http::{Params, Problem};
use gesta_core::StreamName;
use gesta_views::{ParkedError, ParkedStream, Replayed, Views};
use gesta_wire::schema::{about, answer, count, named, text};
use gesta_wire::{ReplayJson, SkipJson, kinds, position_json, write_event};
use serde_json::{Value, json};

use super::views::{unknown, views};
use crate::answer;
use crate::body::{RequestBody, read_json, want_json};
use crate::principal::operator;
use crate::routes::PathParam;
use crate::state::Shared;

/// All parked streams of a view, by name.
pub(super) async fn list(
    State(shared): State<Arc<Shared>>,
    PathParam(name): PathParam,
    params: Params,
) -> Result<Response, Problem> {
    params.finish()?;
    let parked = views(&shared, &name)?.parked(&name).map_err(unknown)?;
    let parked = parked.iter().map(|one| parked_json(one)).collect::<Value>();
    answer::json_value(&shared, &json!({ "parked": parked }))
}

/// A parked stream, and the first events that it holds back.
pub(super) async fn held(
    State(shared): State<Arc<Shared>>,
    Path((name, stream)): Path<(String, String)>,
    params: Params,
) -> Result<Response, Problem> {
    params.finish()?;
    let stream = StreamName::new(stream)?;
    let views = Arc::clone(views(&shared, &name)?);
    let held = tokio::task::spawn_blocking(move || {
        let not_parked = ParkedError::NotParked { view: name.clone(), stream: stream.to_string() };
        views.held(&name, &stream)?.ok_or(not_parked)
    });
    let held = held.await.expect("a read does not panic").map_err(refused)?;
    let mut out = format!("{{\"parked\":{},\"events\":[", parked_json(&held.parked)).into_bytes();
    for (at, event) in held.events.iter().enumerate() {
        if at > 0 {
            out.push(b',');
        }
        write_event(event, &mut out);
    }
    out.extend_from_slice(b"]}");
    crate::answer::json(&shared, out)
}

/// Applies the events of parked streams.
pub(super) async fn replay(
    State(shared): State<Arc<Shared>>,
    PathParam(name): PathParam,
    headers: HeaderMap,
    params: Params,
    body: RequestBody,
) -> Result<Json<Value>, Problem> {
    params.finish()?;
    want_json(&headers)?;
    let streams = read_json::<ReplayJson<'_>>(&body.bytes, "an object with `streams` or `all`")?.streams()?;
    release(&shared, name, |views, name| views.replay(name, streams)).await
}

/// Skips events of a parked stream for good.
pub(super) async fn skip(
    State(shared): State<Arc<Shared>>,
    PathParam(name): PathParam,
    parts: Parts,
    params: Params,
    body: RequestBody,
) -> Result<Json<Value>, Problem> {
    params.finish()?;
    want_json(&parts.headers)?;
    let wanted = "an object with `stream`, `through` and `reason`";
    let (stream, through, reason) = read_json::<SkipJson<'_>>(&body.bytes, wanted)?.parts()?;
    let by = operator(&parts)?;
    release(&shared, name, move |views, name| views.skip(name, stream, through, &by, &reason)).await
}

/// Has the views release streams, on a thread that may block.
async fn release(
    shared: &Shared,
    name: String,
    release: impl FnOnce(&Views, &str) -> Result<Replayed, ParkedError> + Send + 'static,
) -> Result<Json<Value>, Problem> {
    let views = Arc::clone(views(shared, &name)?);
    let released = tokio::task::spawn_blocking(move || release(&views, &name)).await;
    let Replayed { streams, events, parked_again } =
        released.expect("a release does not panic").map_err(refused)?;
    let again = parked_again.iter().map(|parked| parked_json(parked)).collect::<Value>();
    Ok(Json(json!({"replayed": streams, "events": events, "parked": again})))
}

fn refused(error: ParkedError) -> Problem {
    let (detail, retry) = (error.to_string(), error.retry());
    match error {
        ParkedError::UnknownView(error) => unknown(error),
        ParkedError::NotParked { view, stream }
        | ParkedError::InOlderVersion { view, stream }
        | ParkedError::NotHeld { view, stream, .. } => {
            Problem::of(kinds::NOT_PARKED, detail).with("view", view).with("stream", stream)
        }
        ParkedError::NotReached { view, stream, through } => Problem::of(kinds::NOT_REACHED, detail)
            .with("view", view)
            .with("stream", stream)
            .with("through", through.get()),
        ParkedError::Read(error) => error.into(),
        ParkedError::NotBegun { .. }
        | ParkedError::GoesOn { .. }
        | ParkedError::Failed { .. }
        | ParkedError::Thread(_) => Problem::of(kinds::UNAVAILABLE, detail).retry(retry),
    }
}

/// A parked stream of a view.
pub(super) fn parked_json(parked: &ParkedStream) -> Value {
    json!({
        "stream": parked.stream,
        "version": parked.version.get(),
        "position": position_json(parked.position),
        "error": parked.error,
    })
}

fn parked_schema() -> Value {
    answer(vec![
        ("stream", named("StreamName")),
        ("version", about(named("Version"), "The first version that is held.")),
        ("position", about(named("Position"), "The event that failed last.")),
        ("error", text()),
    ])
}

fn replayed_schema() -> Value {
    let again = about(gesta_wire::schema::list(named("ParkedOfView")), "The streams that failed again.");
    answer(vec![
        ("replayed", about(count(), "The streams that were taken up.")),
        ("events", about(count(), "The events that were applied.")),
        ("parked", again),
    ])
}

/// An operation on the parked streams of a view.
fn of_one(id: &'static str, summary: &'static str) -> Operation {
    Operation::new(id, summary)
        .tag("views")
        .path("name", "The name of the view.", text())
        .problems(&[kinds::NO_VIEW])
}

pub(super) fn list_operation() -> Operation {
    let all = answer(vec![("parked", gesta_wire::schema::list(named("ParkedOfView")))]);
    of_one("listParkedOfView", "list the streams that a view holds back").json(
        200,
        "The streams, by name.",
        all,
    )
}

pub(super) fn held_operation() -> Operation {
    let held =
        answer(vec![("parked", named("ParkedOfView")), ("events", gesta_wire::schema::list(named("Event")))]);
    of_one("getParkedOfView", "a stream that a view holds back, and its first events")
        .path("stream", "The stream.", named("StreamName"))
        .json(200, "The stream with its first events.", held)
        .problems(&[kinds::INVALID_NAME, kinds::NOT_PARKED])
        .problems(kinds::OF_READS)
}

/// A change by an operator.
fn change(id: &'static str, summary: &'static str) -> Operation {
    of_one(id, summary)
        .json(200, "What was applied.", replayed_schema())
        .problems(&[kinds::INVALID_NAME, kinds::NOT_PARKED])
        .problems(kinds::OF_READS)
}

pub(super) fn replay_operation() -> Operation {
    change("replayParkedOfView", "apply the events of parked streams")
        .body("application/json", named("Replay"))
}

pub(super) fn skip_operation() -> Operation {
    change("skipParkedOfView", "skip events of a parked stream for good")
        .header("X-Actor", "Who asks, if the request has no authenticated user.", visible())
        .body("application/json", named("Skip"))
        .problems(&[kinds::NOT_REACHED])
}

/// The schema that operations refer to.
pub(super) fn schemas() -> [(String, Value); 1] {
    [("ParkedOfView".to_owned(), parked_schema())]
}
