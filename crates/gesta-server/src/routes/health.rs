//! `GET /livez` and `GET /readyz`: for supervisors and load balancers.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use gesta_core::{Retry, Timestamp, When};
use gesta_views::State as ViewState;
use serde_json::{Map, Value, json};

use super::views::view_states;
use crate::state::Shared;
use gesta::http::{Params, Problem};

/// The process answers. It checks nothing else, so that a full disk does not lead to restarts.
pub(super) async fn live() -> Json<Value> {
    Json(json!({"status": "live"}))
}

/// The store answers every kind of call, and the server is not stopping. A read-only store is ready: it serves reads, and refuses
/// appends with the reason. The answer names the state of every view; with the parameter `strict`, a stopped view is 503.
pub(super) async fn ready(
    State(shared): State<Arc<Shared>>,
    mut params: Params,
) -> Result<Json<Value>, Problem> {
    let is_strict = match params.one("strict")?.as_deref() {
        None | Some("false") => false,
        Some("" | "true") => true,
        Some(other) => {
            return Err(Problem::invalid(format!("parameter `strict`: `{other}` is not `true` or `false`")));
        }
    };
    params.finish()?;
    if *shared.stopping.borrow() {
        return Err(not_ready(
            "stopping",
            "The server is stopping",
            "the server is stopping: ask another one",
        ));
    }
    // A place by time is cheap, and is looked up in the index. While the index is built, the error says how far it is.
    shared.store.locate(When::RecordedUpTo(Timestamp::MAX)).await?;
    let head = shared.store.locate(When::Head).await?;
    let mut answer = json!({"status": "ready", "head": head.to_string()});
    let states = view_states(&shared);
    let stopped = states.iter().filter(|(_, state)| matches!(state, ViewState::Stopped { .. }));
    let stopped = stopped.map(|(name, _)| name.as_str()).collect::<Vec<_>>();
    if is_strict && !stopped.is_empty() {
        let detail = format!("stopped views: `{}`; `GET /views` has their errors", stopped.join("`, `"));
        return Err(not_ready("not-ready", "A view has stopped", detail).with("views", stopped));
    }
    if shared.views.is_some() {
        let states = states.into_iter().map(|(name, state)| (name, state.name().into()));
        answer["views"] = states.collect::<Map<_, Value>>().into();
    }
    Ok(Json(answer))
}

fn not_ready(kind: &'static str, title: &'static str, detail: impl Into<String>) -> Problem {
    Problem::new(StatusCode::SERVICE_UNAVAILABLE, kind, title, detail).retry(Retry::AfterPause)
}
