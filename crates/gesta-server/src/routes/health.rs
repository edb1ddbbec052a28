//! `GET /livez` and `GET /readyz`: for supervisors and load balancers.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use gesta_core::{Retry, Timestamp, When};
use gesta_views::State as ViewState;
use gesta_wire::kinds;
use gesta_wire::schema::{answer, named, one_of, text};
use serde_json::{Map, Value, json};

use super::views::view_states;
use crate::state::Shared;
use gesta::http::api::Operation;
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
        let detail = "the server is stopping: ask another one";
        return Err(Problem::of(kinds::STOPPING, detail).retry(Retry::AfterPause));
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
        let not_ready = Problem::of(kinds::NOT_READY, detail).retry(Retry::AfterPause);
        return Err(not_ready.with("views", stopped));
    }
    if shared.views.is_some() {
        let states = states.into_iter().map(|(name, state)| (name, state.name().into()));
        answer["views"] = states.collect::<Map<_, Value>>().into();
    }
    Ok(Json(answer))
}

pub(super) fn live_operation() -> Operation {
    let live = answer(vec![("status", one_of(&["live"]))]);
    Operation::new("isLive", "check that the process answers").json(200, "It does.", live)
}

pub(super) fn ready_operation() -> Operation {
    let views =
        json!({"type": "object", "additionalProperties": text(), "description": "The state of every view."});
    let ready =
        answer(vec![("status", one_of(&["ready"])), ("head", named("Checkpoint")), ("views?", views)]);
    let strict = json!({"type": "string", "enum": ["", "true", "false"]});
    Operation::new("isReady", "check that the store answers every kind of call")
        .query("strict", "A stopped view makes the server unready.", strict)
        .json(200, "It does.", ready)
        .problems(&[kinds::STOPPING, kinds::NOT_READY])
        .problems(kinds::OF_READS)
}
