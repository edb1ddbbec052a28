//! The routes of the server, one file for each operation, and the answers to requests without a route.

mod append;
mod batches;
mod causes;
mod checkpoint;
mod consumers;
pub(crate) mod description;
mod events;
mod feed;
mod groups;
mod health;
mod hosted;
mod index;
mod metrics;
mod page;
mod page_limit;
mod repeat;
mod store;
mod stream;
mod streams;
mod table;
mod view_parked;
mod view_past;
mod view_query;
mod views;

use std::sync::Arc;

use axum::Router;
use axum::extract::{FromRequestParts, Path, Request};
use axum::http::request::Parts;
use axum::middleware::{from_fn, from_fn_with_state, map_response};
use gesta_core::StreamName;
use gesta_wire::{check_user_stream, kinds};

use crate::state::Shared;
use crate::{hosts, identity, panics, principal};
use gesta::http::{Problem, never_stale, refuse_bad_escapes};

/// All routes.
pub(crate) fn router(shared: Arc<Shared>) -> Router {
    let own = table::routes(&shared).into_iter().fold(Router::new(), |router, route| route.serve(router));
    own.with_state(Arc::clone(&shared))
        .merge(hosted::router(&shared))
        .method_not_allowed_fallback(wrong_method)
        .fallback(no_route)
        .layer(from_fn_with_state(Arc::clone(&shared), principal::authenticate))
        .layer(from_fn(refuse_bad_escapes))
        .layer(from_fn(hosts::only_own_site))
        .layer(from_fn_with_state(shared, identity::check))
        .layer(map_response(never_stale))
        .layer(from_fn(panics::catch))
}

async fn no_route(request: Request) -> Problem {
    let detail = format!("there is nothing at `{}`: `GET /` lists the routes", request.uri().path());
    Problem::of(kinds::NO_ROUTE, detail)
}

async fn wrong_method(request: Request) -> Problem {
    let detail = format!(
        "`{}` does not support `{}`: the header `Allow` lists the methods that it does",
        request.uri().path(),
        request.method()
    );
    Problem::of(kinds::WRONG_METHOD, detail)
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
