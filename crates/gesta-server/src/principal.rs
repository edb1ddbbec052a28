//! The layer that puts the authenticated sender on every request.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::request::Parts;
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use gesta::http::{Principal, Problem};

use crate::state::Shared;

/// Finds the authenticated sender of a request, or refuses the request.
pub(crate) type Authenticate = dyn Fn(&Parts) -> Result<Option<Principal>, Problem> + Send + Sync;

/// Puts the principal on the request. It is the only place that does: one that came from elsewhere is replaced if the server
/// authenticates.
pub(crate) async fn authenticate(
    State(shared): State<Arc<Shared>>,
    request: Request,
    next: Next,
) -> Response {
    let Some(authenticate) = &shared.authenticate else { return next.run(request).await };
    let (mut parts, body) = request.into_parts();
    match authenticate(&parts) {
        Err(problem) => return problem.into_response(),
        Ok(Some(principal)) => drop(parts.extensions.insert(principal)),
        Ok(None) => drop(parts.extensions.remove::<Principal>()),
    }
    next.run(Request::from_parts(parts, body)).await
}
