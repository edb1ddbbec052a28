//! The one HTTP router for commands, states and histories, and the form that every error takes.
//!
//! | route | what it does |
//! | --- | --- |
//! | `GET /commands` | what is hosted |
//! | `POST /commands/{category}/{id}/{command}` | a command to an entity; the body is its JSON |
//! | `POST /commands/{decision}` | a decision that spans entities; the body is its JSON |
//! | `GET /states/{category}/{id}` | the state of an entity, now or `?version=`, `?checkpoint=`, `?recorded_at=`, `?time=` |
//! | `GET /histories/{category}/{id}` | its events: who, what, when; `?from=` a version, `?limit=` events, `?direction=backward` |
//!
//! Headers of a command: `Idempotency-Key` makes its repeat harmless; `If-Match: "7"` sends it only if the entity has that
//! version, `If-None-Match: *` only if nothing happened to it yet; `X-Actor`, `X-Correlation-Id`, `X-Causation-Id` and
//! `X-Reason` say who, because of what and why; a W3C `traceparent` is kept in the metadata. Answers carry the version as
//! `ETag`. Errors are Problem Details ([`Problem`]). Commands that a browser sends for a page of another site are refused
//! ([`refuse_cross_site`]).

mod history;
mod params;
mod problem;
mod request;
mod site;
mod time;

use std::sync::Arc;

use axum::Router;
use axum::body::Bytes;
use axum::extract::rejection::{BytesRejection, PathRejection};
use axum::extract::{FromRequestParts, Path, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use gesta_core::{EventStore, Version};
use serde::Serialize;

use crate::app::{App, DeciderInfo, DecisionInfo, Outcome};
use crate::handle::Gesta;

pub use crate::words::explain_json;
pub use params::Params;
pub use problem::Problem;
pub use request::Principal;
pub use site::refuse_cross_site;
pub use time::{TimeError, format_time, parse_time};

use request::{as_of, known_version, options};

/// What the handlers share.
struct Shared {
    app: Arc<App>,
    gesta: Gesta,
}

/// The routes of an application on a store. It can be merged into any other router.
pub fn router(app: Arc<App>, store: Arc<dyn EventStore>) -> Router {
    router_on(app, Gesta::new(store))
}

/// As [`router`], with a clock and event ids of the caller's.
pub fn router_on(app: Arc<App>, gesta: Gesta) -> Router {
    Router::new()
        .route("/commands", get(hosted))
        .route("/commands/{decision}", post(decide))
        .route("/commands/{category}/{id}/{command}", post(command))
        .route("/states/{category}/{id}", get(state))
        .route("/histories/{category}/{id}", get(history::history))
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
    parts: RequestParts,
    body: Result<Bytes, BytesRejection>,
) -> Result<Response, Problem> {
    params.finish()?;
    let (Path((category, id, name)), body) = (path?, body?);
    let options = options(&parts.0, "POST /commands/{category}/{id}/{command}", &body)?;
    let outcome = shared.app.command(&shared.gesta, &category, &id, &name, &body, options).await?;
    Ok(answer(&outcome))
}

async fn decide(
    State(shared): State<Arc<Shared>>,
    path: Result<Path<String>, PathRejection>,
    params: Params,
    parts: RequestParts,
    body: Result<Bytes, BytesRejection>,
) -> Result<Response, Problem> {
    params.finish()?;
    let (Path(decision), body) = (path?, body?);
    let options = options(&parts.0, "POST /commands/{decision}", &body)?;
    let outcome = shared.app.decide(&shared.gesta, &decision, &body, options).await?;
    Ok(answer(&outcome))
}

async fn state(
    State(shared): State<Arc<Shared>>,
    path: Result<Path<(String, String)>, PathRejection>,
    params: Params,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let Path((category, id)) = path?;
    let view = shared.app.state(&shared.gesta, &category, &id, as_of(params)?).await?;
    let Some(version) = view.version else {
        return Err(Problem::nothing_happened(&category, &id));
    };
    if known_version(&headers) == Some(version) {
        return Ok((StatusCode::NOT_MODIFIED, [(header::ETAG, etag(version))]).into_response());
    }
    Ok(tagged(json(&view), Some(version)))
}

/// The parts of a request that commands are made with, kept whole: a key covers method and address.
struct RequestParts(Parts);

impl<S: Send + Sync> FromRequestParts<S> for RequestParts {
    type Rejection = std::convert::Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Self::Rejection> {
        Ok(Self(parts.clone()))
    }
}

/// The answer to a command. It has an entity tag where it concerns one entity only.
fn answer(outcome: &Outcome) -> Response {
    let version = match outcome.versions[..] {
        [(_, version)] => Some(version),
        _ => None,
    };
    tagged(json(outcome), version)
}

fn tagged(mut response: Response, version: Option<Version>) -> Response {
    if let Some(version) = version {
        response.headers_mut().insert(header::ETAG, etag(version));
    }
    response
}

/// The version of a stream as an entity tag.
fn etag(version: Version) -> HeaderValue {
    HeaderValue::try_from(format!("\"{version}\"")).expect("digits in quotes are visible ASCII")
}

fn json(body: &impl Serialize) -> Response {
    match serde_json::to_vec(body) {
        Ok(json) => ([(header::CONTENT_TYPE, "application/json")], json).into_response(),
        Err(error) => Problem::internal(error.to_string()).into_response(),
    }
}
