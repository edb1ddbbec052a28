//! The HTTP router for commands, states and histories, the form of every error, and the rules that every route shares: headers,
//! parameters, entity tags, callers and times.
//!
//! | route | what it does |
//! | --- | --- |
//! | `GET /commands` | what is hosted |
//! | `POST /commands/{category}/{id}/{command}` | a command to an entity; the body is its JSON |
//! | `POST /commands/{decision}` | a decision that spans entities; the body is its JSON |
//! | `GET /states/{category}/{id}` | the state of an entity, now or `?version=`, `?checkpoint=`, `?recorded_at=`, `?time=` |
//! | the same with `?every=day` | its states at many moments: `&zone=`, `&by=`, `&from=`, `&to=` |
//! | `GET /states/{category}?every=day` | the states of all entities of a category at many moments |
//! | `GET /states/{category}/{id}/diff` | what differs between its states at `?from=` and `&to=` |
//! | `POST /states/{category}/{id}/what-if` | its state as it would be with other events; nothing is written |
//! | `GET /histories/{category}/{id}` | its events: who, what, when; `?from=` a version, `?limit=` events, `?direction=backward` |
//!
//! Headers of a command: `Idempotency-Key` makes a repeat harmless. `If-Match: "7"` sends the command only if the entity has that
//! version, `If-None-Match: *` only if the entity has no event. `X-Actor` is recorded as the actor of a request without a
//! [`Principal`]; it proves nothing and scopes no key. `X-Causation-Id`, `X-Reason` and a W3C `traceparent` are recorded too.
//! So is the correlation: `X-Correlation-Id`, else the trace id of `traceparent`, else a new UUIDv7. Every answer to a command has it as
//! `X-Correlation-Id`, also a refusal ([`correlate`]). Answers carry the version as `ETag`. Errors are Problem Details ([`Problem`]). Commands that a browser sends for a
//! page of another site are refused ([`refuse_cross_site`]).

pub mod api;
mod caller;
mod causes;
mod compensations;
mod correlation;
mod etag;
mod headers;
mod history;
mod params;
mod past;
mod problem;
mod request;
mod site;

use std::sync::Arc;

use axum::Router;
use axum::body::Bytes;
use axum::extract::rejection::{BytesRejection, PathRejection};
use axum::extract::{Path, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, StatusCode, header};
use axum::middleware::{from_fn, from_fn_with_state, map_response};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use gesta_core::{EventStore, Version};
use serde::Serialize;

use crate::app::{App, DeciderInfo, DecisionInfo, Outcome};
use crate::handle::Gesta;

pub use crate::words::explain_json;
pub use caller::{Caller, Principal};
pub use causes::{causes_json, effects_json, origin_json};
pub use correlation::correlate;
pub use etag::{etag, expected, is_unchanged, never_stale};
pub use gesta_wire::{TimeError, expected_json, format_time, parse_time, position_json};
pub use headers::{header_text, media_type, refuse_encoded, tag_of_header, unsupported_type};
pub use params::{Params, next_address, refuse_bad_escapes};
pub use past::{CutJson, EntityCutJson, check_past, cuts, point, what_if_from_json};
pub use problem::Problem;
pub use site::refuse_cross_site;

use request::{as_of, options};

/// The state that the handlers share.
struct Shared {
    app: Arc<App>,
    gesta: Gesta,
}

/// The routes of an application on a store, to be merged into any other router.
pub fn router(app: Arc<App>, store: Arc<dyn EventStore>) -> Router {
    router_on(app, Gesta::new(store))
}

/// As [`router`], on a handle with its own clock and event ids.
pub fn router_on(app: Arc<App>, gesta: Gesta) -> Router {
    Router::new()
        .route("/commands", get(hosted))
        .route("/commands/{decision}", post(decide))
        .route("/commands/{category}/{id}/{command}", post(command))
        .route("/states/{category}", get(past::category))
        .route("/states/{category}/{id}", get(state))
        .route("/states/{category}/{id}/diff", get(past::diff))
        .route("/states/{category}/{id}/what-if", post(past::what_if))
        .route("/histories/{category}/{id}", get(history::history))
        .layer(from_fn(refuse_bad_escapes))
        .layer(from_fn_with_state(gesta.clone(), correlate))
        .layer(map_response(never_stale))
        .with_state(Arc::new(Shared { app, gesta }))
}

/// What an application hosts.
#[derive(Serialize)]
struct Hosted<'a> {
    app: &'a str,
    deciders: Vec<DeciderInfo>,
    decisions: Vec<DecisionInfo<'a>>,
}

async fn hosted(State(shared): State<Arc<Shared>>, params: Params) -> Result<Response, Problem> {
    params.finish()?;
    let app = &shared.app;
    Ok(json(&Hosted {
        app: app.name(),
        deciders: app.deciders().collect(),
        decisions: app.decisions().collect(),
    }))
}

async fn command(
    State(shared): State<Arc<Shared>>,
    path: Result<Path<(String, String, String)>, PathRejection>,
    params: Params,
    parts: Parts,
    body: Result<Bytes, BytesRejection>,
) -> Result<Response, Problem> {
    params.finish()?;
    let (Path((category, id, name)), body) = (path?, body?);
    let options = options(&parts, "POST /commands/{category}/{id}/{command}", &body)?;
    let outcome = shared.app.command(&shared.gesta, &category, &id, &name, &body, options).await?;
    Ok(answer(&outcome))
}

async fn decide(
    State(shared): State<Arc<Shared>>,
    path: Result<Path<String>, PathRejection>,
    params: Params,
    parts: Parts,
    body: Result<Bytes, BytesRejection>,
) -> Result<Response, Problem> {
    params.finish()?;
    let (Path(decision), body) = (path?, body?);
    let options = options(&parts, "POST /commands/{decision}", &body)?;
    let outcome = shared.app.decide(&shared.gesta, &decision, &body, options).await?;
    Ok(answer(&outcome))
}

async fn state(
    State(shared): State<Arc<Shared>>,
    path: Result<Path<(String, String)>, PathRejection>,
    mut params: Params,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let Path((category, id)) = path?;
    if let Some(every) = params.one("every")? {
        return past::series(&shared, (category, id), &every, params).await;
    }
    let as_of = as_of(params)?;
    let now = || shared.gesta.environment().now();
    let is_past = as_of.as_ref().map_or(Ok(()), |point| check_past(point, now()));
    is_past.map_err(|reason| Problem::invalid(format!("parameter `recorded_at`: {reason}")))?;
    let view = shared.app.state(&shared.gesta, &category, &id, as_of).await?;
    let Some(version) = view.version else {
        return Err(Problem::nothing_happened(&category, &id));
    };
    if is_unchanged(&headers, &etag(version))? {
        return Ok(unchanged(version));
    }
    Ok(tagged(json(&view), Some(version)))
}

/// The answer to a client that holds this version already.
fn unchanged(version: Version) -> Response {
    (StatusCode::NOT_MODIFIED, [(header::ETAG, etag(version))]).into_response()
}

/// The answer to a command. It has an entity tag if the command wrote to one entity only.
fn answer(outcome: &Outcome) -> Response {
    let version = match outcome.versions[..] {
        [(_, version)] => Some(version),
        _ => None,
    };
    let mut response = tagged(json(outcome), version);
    if let Some(correlation) = &outcome.correlation {
        correlation::put(&mut response, correlation);
    }
    response
}

fn tagged(mut response: Response, version: Option<Version>) -> Response {
    if let Some(version) = version {
        response.headers_mut().insert(header::ETAG, etag(version));
    }
    response
}

fn json(body: &impl Serialize) -> Response {
    match serde_json::to_vec(body) {
        Ok(json) => ([(header::CONTENT_TYPE, "application/json")], json).into_response(),
        Err(error) => Problem::internal(error.to_string()).into_response(),
    }
}
