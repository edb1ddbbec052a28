//! The routes of a hosted application: commands, states and histories. The library has the handlers; the server adds its bounds on
//! bodies and answers, and answers for a server without an application.

use std::sync::Arc;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::{DefaultBodyLimit, FromRequest, Request, State};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::any;
use gesta::http::{Problem, correlate};
use gesta_wire::kinds;

use crate::answer;
use crate::body::RequestBody;
use crate::state::Shared;

/// The routes of the application, or the answers if there is none.
pub(super) fn router(shared: &Arc<Shared>) -> Router {
    let Some(app) = &shared.app else {
        let routes = ["/commands", "/commands/{*rest}", "/states/{*rest}", "/histories/{*rest}"];
        return routes
            .into_iter()
            .fold(Router::new(), |router, route| router.route(route, any(nothing_hosted)));
    };
    gesta::http::router_on(Arc::clone(app), shared.gesta.clone())
        .layer(DefaultBodyLimit::disable())
        .layer(from_fn_with_state(Arc::clone(shared), bounded))
        .layer(from_fn_with_state(shared.gesta.clone(), correlate))
}

async fn nothing_hosted() -> Problem {
    let detail = "this server hosts no deciders: a program that calls `gesta_cli::main_with` with its `App` hosts them";
    Problem::of(kinds::NOT_HOSTED, detail)
}

/// Reads the body and sends the answer within the server's bounds. The body holds its share of the budget until the answer is made.
async fn bounded(State(shared): State<Arc<Shared>>, request: Request, next: Next) -> Response {
    let (parts, body) = request.into_parts();
    let whole = Request::from_parts(parts.clone(), body);
    match RequestBody::from_request(whole, &shared).await {
        Err(problem) => problem.into_response(),
        Ok(body) => {
            let answer = next.run(Request::from_parts(parts, Body::from(body.bytes.clone()))).await;
            drop(body);
            held(&shared, answer).await
        }
    }
}

/// The same answer, counted while a slow client holds it. The library makes whole answers in memory, so nothing waits here.
async fn held(shared: &Shared, answer: Response) -> Response {
    let (parts, body) = answer.into_parts();
    let Ok(bytes) = to_bytes(body, usize::MAX).await else {
        return Problem::internal("an answer broke off").into_response();
    };
    match answer::held(shared, bytes) {
        Ok(held) => Response::from_parts(parts, held.into_body()),
        Err(problem) => problem.into_response(),
    }
}
