//! The layer that puts the authenticated sender on every request.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::header::AUTHORIZATION;
use axum::http::request::Parts;
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use gesta::http::{Caller, Principal, Problem, header_text};
use gesta_wire::PEER_SCHEME;

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
    let authenticated = if is_of_peer(&shared, &parts) { Ok(None) } else { authenticate(&parts) };
    match authenticated {
        Err(problem) => return problem.into_response(),
        Ok(Some(principal)) => drop(parts.extensions.insert(principal)),
        Ok(None) => drop(parts.extensions.remove::<Principal>()),
    }
    next.run(Request::from_parts(parts, body)).await
}

/// True for a request that another process of the same store passes on. That one has authenticated the sender, and names an operator in
/// `X-Actor`.
fn is_of_peer(shared: &Shared, parts: &Parts) -> bool {
    let login = parts.headers.get(AUTHORIZATION).and_then(|login| login.to_str().ok()?.split_once(' '));
    let secret =
        login.filter(|(scheme, _)| scheme.eq_ignore_ascii_case(PEER_SCHEME)).map(|(_, secret)| secret);
    let groups = shared.groups.as_ref();
    secret.zip(groups).is_some_and(|(secret, groups)| groups.trusts(secret))
}

/// The name of an operator who gave none.
const ANONYMOUS: &str = "anonymous";

/// The operator to record: the principal, else the header `X-Actor`.
pub(crate) fn operator(parts: &Parts) -> Result<String, Problem> {
    let actor = header_text(&parts.headers, "X-Actor")?;
    Ok(Caller::of(parts).principal().or(actor).unwrap_or(ANONYMOUS).to_owned())
}
