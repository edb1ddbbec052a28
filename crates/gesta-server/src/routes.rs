//! Every route of the server, one file an operation, and the answers to requests that have none.

mod append;
mod batches;
mod checkpoint;
mod events;
mod feed;
mod health;
mod hosted;
mod index;
mod page;
mod stream;
mod streams;
mod view_query;
mod views;

use std::sync::Arc;

use axum::Router;
use axum::extract::{FromRequestParts, Path, Request};
use axum::http::request::Parts;
use axum::http::{HeaderMap, StatusCode, header};
use axum::middleware::from_fn;
use axum::routing::{get, post};
use gesta_core::StreamName;

use crate::state::Shared;
use crate::{hosts, panics};
use gesta::http::Problem;

/// The routes of the store.
pub(crate) fn router(shared: Arc<Shared>) -> Router {
    let hosted = hosted::router(&shared);
    Router::new()
        .route("/", get(index::index))
        .route("/livez", get(health::live))
        .route("/readyz", get(health::ready))
        .route("/streams", get(streams::list))
        .route("/streams/{stream}", get(stream::read).post(append::append))
        .route("/batches", post(batches::append))
        .route("/events", get(events::read))
        .route("/events/query", post(events::query))
        .route("/checkpoint", get(checkpoint::locate))
        .route("/views", get(views::list))
        .route("/views/{name}", get(views::status))
        .route("/views/{name}/restart", post(views::restart))
        .route("/views/{name}/query", get(view_query::get).post(view_query::post))
        .with_state(shared)
        .merge(hosted)
        .method_not_allowed_fallback(wrong_method)
        .fallback(no_route)
        .layer(from_fn(hosts::only_own_site))
        .layer(from_fn(panics::catch))
}

async fn no_route(request: Request) -> Problem {
    let detail = format!("there is nothing at `{}`: `GET /` names the routes", request.uri().path());
    Problem::new(StatusCode::NOT_FOUND, "no-route", "There is no such route", detail)
}

async fn wrong_method(request: Request) -> Problem {
    let detail = format!(
        "`{}` does not take `{}`: the header `Allow` says what it takes",
        request.uri().path(),
        request.method()
    );
    Problem::new(
        StatusCode::METHOD_NOT_ALLOWED,
        "wrong-method",
        "The route does not take this method",
        detail,
    )
}

/// The one name in an address.
struct PathParam(String);

impl<S: Send + Sync> FromRequestParts<S> for PathParam {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let Path(name) = Path::<String>::from_request_parts(parts, state).await?;
        Ok(Self(name))
    }
}

/// The stream that an address names, if users may name it.
pub(crate) struct StreamPath(pub(crate) StreamName);

impl<S: Send + Sync> FromRequestParts<S> for StreamPath {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let PathParam(name) = PathParam::from_request_parts(parts, state).await?;
        let name = StreamName::new(name)?;
        allowed(&name)?;
        Ok(Self(name))
    }
}

/// Streams whose names begin with `$` are the system's.
pub(crate) fn allowed(name: &StreamName) -> Result<(), Problem> {
    if !name.is_system() {
        return Ok(());
    }
    let detail = format!("stream `{name}` is the system's: names that begin with `$` are not for users");
    Err(Problem::new(StatusCode::FORBIDDEN, "system-stream", "The stream is the system's", detail))
}

/// Whether the client names that media type among those it takes.
fn accepts(headers: &HeaderMap, media_type: &str) -> bool {
    let values = headers.get_all(header::ACCEPT).iter().filter_map(|value| value.to_str().ok());
    let essence = |part: &str| part.split(';').next().unwrap_or("").trim().to_ascii_lowercase();
    values.flat_map(|value| value.split(',')).any(|part| essence(part) == media_type)
}
