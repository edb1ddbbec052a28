//! The one table of routes: how each is served, and how it is described. The router, `GET /` and the OpenAPI document are made from it.

use std::sync::Arc;

use axum::Router;
use axum::extract::Request;
use axum::handler::Handler;
use axum::http::HeaderValue;
use axum::http::{Method, header};
use axum::middleware::{Next, from_fn, map_response};
use axum::response::Response;
use axum::routing::{MethodFilter, MethodRouter, on};
use gesta::http::api::{Described, Operation};
use gesta::http::{Problem, expected};

use super::{
    append, batches, causes, checkpoint, consumers, description, events, groups, health, index, metrics,
    repeat, store, stream, streams, view_parked, view_query, views,
};
use crate::state::Shared;

/// A route: how it is served, and how it is described.
pub(super) struct Route {
    handler: MethodRouter<Arc<Shared>>,
    described: Described,
}

/// The routes of this server, without those of its application.
pub(super) fn routes(shared: &Shared) -> Vec<Route> {
    let mut routes = general();
    if !shared.hides_raw_routes {
        routes.extend(raw());
    }
    if shared.groups.is_some() {
        routes.extend(groups::routes());
    }
    routes
}

/// The routes of every server.
fn general() -> Vec<Route> {
    vec![
        Route::get("/", index::index, index::operation()),
        Route::get("/openapi.json", description::openapi, description::openapi_operation()),
        Route::get("/asyncapi.json", description::asyncapi, description::asyncapi_operation()),
        Route::get("/livez", health::live, health::live_operation()),
        Route::get("/readyz", health::ready, health::ready_operation()),
        Route::get("/metrics", metrics::read, metrics::operation()),
        Route::get("/checkpoint", checkpoint::read, checkpoint::operation()),
        Route::post("/checkpoint", checkpoint::close, checkpoint::close_operation()),
        Route::get("/views", views::list, views::list_operation()),
        Route::post("/views/reload", views::reload, views::reload_operation()),
        Route::get("/views/{name}", views::status, views::status_operation()),
        Route::post("/views/{name}/restart", views::restart, views::restart_operation()),
        Route::post("/views/{name}/rollback", views::roll_back, views::roll_back_operation()),
        Route::post("/views/{name}/drop-old", views::drop_old, views::drop_old_operation()),
        Route::get("/views/{name}/parked", view_parked::list, view_parked::list_operation()),
        Route::get("/views/{name}/parked/{stream}", view_parked::held, view_parked::held_operation()),
        Route::post("/views/{name}/parked/replay", view_parked::replay, view_parked::replay_operation()),
        Route::post("/views/{name}/parked/skip", view_parked::skip, view_parked::skip_operation()),
        Route::get("/views/{name}/query", view_query::get, view_query::get_operation()),
        Route::post("/views/{name}/query", view_query::post, view_query::post_operation()),
        Route::get("/consumers", consumers::list, consumers::list_operation()),
        Route::get("/consumers/{name}", consumers::status, consumers::status_operation()),
        Route::post("/consumers/{name}/pause", consumers::pause, consumers::pause_operation()),
        Route::post("/consumers/{name}/resume", consumers::resume, consumers::resume_operation()),
        Route::post("/consumers/{name}/restart", consumers::restart, consumers::restart_operation()),
    ]
}

/// The routes for events.
fn raw() -> Vec<Route> {
    vec![
        Route::get("/store", store::describe, store::operation()),
        Route::get("/streams", streams::list, streams::operation()),
        Route::get("/streams/{stream}", stream::read, stream::operation()).varying(),
        Route::post("/streams/{stream}", append::append, append::operation()),
        Route::post("/batches", batches::append, batches::operation()),
        Route::post("/batches/repeat", repeat::find, repeat::operation()),
        Route::get("/events", events::read, events::read_operation()).varying(),
        Route::post("/events/query", events::query, events::query_operation()),
        Route::get("/events/{id}/causes", causes::causes, causes::causes_operation()),
        Route::get("/events/{id}/effects", causes::effects, causes::effects_operation()),
    ]
}

impl Route {
    fn new<H, T>(method: Method, path: &'static str, handler: H, operation: Operation) -> Self
    where
        H: Handler<T, Arc<Shared>>,
        T: 'static,
    {
        let filter = MethodFilter::try_from(method.clone()).expect("a usual method");
        let mut handler = on(filter, handler);
        if method != Method::GET && !operation.is_conditional() {
            handler = handler.layer(from_fn(refuse_conditional));
        }
        Self { handler, described: Described { method, path: path.into(), operation } }
    }

    pub(super) fn get<H, T>(path: &'static str, handler: H, operation: Operation) -> Self
    where
        H: Handler<T, Arc<Shared>>,
        T: 'static,
    {
        Self::new(Method::GET, path, handler, operation)
    }

    pub(super) fn post<H, T>(path: &'static str, handler: H, operation: Operation) -> Self
    where
        H: Handler<T, Arc<Shared>>,
        T: 'static,
    {
        Self::new(Method::POST, path, handler, operation)
    }

    pub(super) fn put<H, T>(path: &'static str, handler: H, operation: Operation) -> Self
    where
        H: Handler<T, Arc<Shared>>,
        T: 'static,
    {
        Self::new(Method::PUT, path, handler, operation)
    }

    pub(super) fn delete<H, T>(path: &'static str, handler: H, operation: Operation) -> Self
    where
        H: Handler<T, Arc<Shared>>,
        T: 'static,
    {
        Self::new(Method::DELETE, path, handler, operation)
    }

    /// Tells caches that the answer depends on `Accept`.
    fn varying(mut self) -> Self {
        self.handler = self.handler.layer(map_response(vary_by_accept));
        self
    }

    /// How the route is described.
    pub(super) fn described(&self) -> &Described {
        &self.described
    }

    /// Adds the route to a router.
    pub(super) fn serve(self, router: Router<Arc<Shared>>) -> Router<Arc<Shared>> {
        router.route(&self.described.path, self.handler)
    }
}

/// Refuses `If-Match` and `If-None-Match` on a route that would not heed them.
async fn refuse_conditional(request: Request, next: Next) -> Result<Response, Problem> {
    match expected(request.headers())? {
        None => Ok(next.run(request).await),
        Some(_) => Err(Problem::invalid(
            "this route takes no `If-Match` and no `If-None-Match`: leave the header out. A batch names the versions that it expects in `expect`",
        )),
    }
}

async fn vary_by_accept(mut response: Response) -> Response {
    response.headers_mut().append(header::VARY, HeaderValue::from_name(header::ACCEPT));
    response
}
