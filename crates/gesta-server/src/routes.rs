//! The routes of the server, one file for each operation, and the answers to requests without a route.

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
use axum::http::{HeaderValue, StatusCode, header};
use axum::middleware::{from_fn, from_fn_with_state, map_response};
use axum::response::Response;
use axum::routing::{get, post};
use gesta_core::StreamName;

use crate::state::Shared;
use crate::wire::check_user_stream;
use crate::{hosts, panics, principal};
use gesta::http::{Problem, never_stale};

/// All routes.
pub(crate) fn router(shared: Arc<Shared>) -> Router {
    let hosted = hosted::router(&shared);
    Router::new()
        .route("/", get(index::index))
        .route("/livez", get(health::live))
        .route("/readyz", get(health::ready))
        .route("/streams", get(streams::list))
        .route(
            "/streams/{stream}",
            get(stream::read).layer(map_response(vary_by_accept)).post(append::append),
        )
        .route("/batches", post(batches::append))
        .route("/events", get(events::read).layer(map_response(vary_by_accept)))
        .route("/events/query", post(events::query))
        .route("/checkpoint", get(checkpoint::locate))
        .route("/views", get(views::list))
        .route("/views/{name}", get(views::status))
        .route("/views/{name}/restart", post(views::restart))
        .route("/views/{name}/query", get(view_query::get).post(view_query::post))
        .with_state(Arc::clone(&shared))
        .merge(hosted)
        .method_not_allowed_fallback(wrong_method)
        .fallback(no_route)
        .layer(from_fn_with_state(shared, principal::authenticate))
        .layer(from_fn(hosts::only_own_site))
        .layer(map_response(never_stale))
        .layer(from_fn(panics::catch))
}

async fn no_route(request: Request) -> Problem {
    let detail = format!("there is nothing at `{}`: `GET /` lists the routes", request.uri().path());
    Problem::new(StatusCode::NOT_FOUND, "no-route", "There is no such route", detail)
}

async fn wrong_method(request: Request) -> Problem {
    let detail = format!(
        "`{}` does not support `{}`: the header `Allow` lists the methods that it does",
        request.uri().path(),
        request.method()
    );
    Problem::new(
        StatusCode::METHOD_NOT_ALLOWED,
        "wrong-method",
        "The route does not support this method",
        detail,
    )
}

/// The name in an address with one name.
struct PathParam(String);

impl<S: Send + Sync> FromRequestParts<S> for PathParam {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let Path(name) = Path::<String>::from_request_parts(parts, state).await?;
        Ok(Self(name))
    }
}

/// The stream in an address, if it is a user's.
pub(crate) struct StreamPath(pub(crate) StreamName);

impl<S: Send + Sync> FromRequestParts<S> for StreamPath {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let PathParam(name) = PathParam::from_request_parts(parts, state).await?;
        let name = StreamName::new(name)?;
        check_user_stream(&name)?;
        Ok(Self(name))
    }
}

/// Tells caches that the answer depends on `Accept`.
async fn vary_by_accept(mut response: Response) -> Response {
    response.headers_mut().append(header::VARY, HeaderValue::from_name(header::ACCEPT));
    response
}
