//! `GET /livez` and `GET /readyz`: for supervisors and load balancers.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use gesta_consumer::group::{GroupState, LookError};
use gesta_core::{Retry, Timestamp, When};
use gesta_views::{State as ViewState, Views};
use gesta_wire::kinds;
use gesta_wire::schema::{about, answer, boolean, named, nullable, one_of, text};
use serde_json::{Map, Value, json};

use super::groups::list_soon;
use super::views::view_states;
use crate::state::Shared;
use gesta::http::api::Operation;
use gesta::http::{Params, Problem};

/// The process answers. It checks nothing else, so that a full disk does not lead to restarts.
pub(super) async fn live(params: Params) -> Result<Json<Value>, Problem> {
    params.finish()?;
    Ok(Json(json!({"status": "live"})))
}

/// The store answers every kind of call, and the server is not stopping. A read-only store is ready: it serves reads, and refuses
/// appends with the reason. A log whose folder is gone is not. The answer names the state of every view, and the views that hold streams back; with the parameter `strict`, a stopped view, other consumer or
/// group is 503.
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
    if let Some(reason) = shared.unready.as_ref().and_then(|unready| unready()) {
        return Err(Problem::of(kinds::NOT_READY, reason).retry(Retry::Never));
    }
    // A place by time is cheap, and is looked up in the index. While the index is built, the error says how far it is.
    shared.store.locate(When::RecordedUpTo(Timestamp::MAX)).await?;
    let head = shared.store.locate(When::Head).await?;
    let mut answer = json!({"status": "ready", "head": head.to_string()});
    let states = view_states(&shared);
    if is_strict {
        check_all_run(&shared, &states).await?;
    }
    if let Some(dealer) = shared.groups.as_ref().and_then(|groups| groups.dealer()) {
        answer["groups"] = json!({"dealtHere": dealer.is_here, "dealtAt": dealer.address});
    }
    if shared.views.is_some() {
        let states = states.into_iter().map(|(name, state)| (name, state.name().into()));
        answer["views"] = states.collect::<Map<_, Value>>().into();
        let degraded = degraded_views(&shared);
        if !degraded.is_empty() {
            answer["degraded"] = degraded.into();
        }
    }
    Ok(Json(answer))
}

/// The views that hold streams back. They are ready: all other streams are shown.
fn degraded_views(shared: &Shared) -> Vec<String> {
    let names =
        shared.views.iter().flat_map(|views| views.names().into_iter().map(move |name| (views, name)));
    let is_degraded = |views: &Views, name: &str| views.parked(name).is_ok_and(|parked| !parked.is_empty());
    names.filter(|(views, name)| is_degraded(views, name)).map(|(_, name)| name).collect()
}

/// What has stopped, and why.
struct Stopped {
    kind: &'static str,
    name: String,
    why: String,
}

/// Refuses a server whose views, other consumers or groups have stopped.
async fn check_all_run(shared: &Shared, views: &[(String, ViewState)]) -> Result<(), Problem> {
    let mut stopped = Vec::new();
    for (name, state) in views {
        if let ViewState::Stopped { error } = state {
            stopped.push(Stopped { kind: "view", name: name.clone(), why: error.to_string() });
        }
    }
    for consumer in shared.consumers.all().into_iter().filter(|consumer| consumer.kind() != "view") {
        let report = consumer.report().await;
        if report.state == "stopped" {
            let why = report.error.unwrap_or_default();
            stopped.push(Stopped { kind: report.kind, name: report.name.to_string(), why });
        }
    }
    if let Some(groups) = &shared.groups {
        let listed = match list_soon(&**groups).await {
            // While another process is about to deal them, nothing is known to have stopped.
            Err(LookError::Unavailable { .. }) if groups.is_shared() => Vec::new(),
            Err(error @ LookError::Unavailable { .. }) => {
                return Err(Problem::of(kinds::NOT_READY, error.to_string()).retry(Retry::AfterPause));
            }
            listed => listed?,
        };
        for group in listed {
            if let GroupState::Stopped { reason } = group.state {
                stopped.push(Stopped { kind: "group", name: group.name.to_string(), why: reason });
            }
        }
    }
    if stopped.is_empty() { Ok(()) } else { Err(not_ready(&stopped)) }
}

fn not_ready(stopped: &[Stopped]) -> Problem {
    let named = stopped.iter().map(|Stopped { kind, name, why }| format!("{kind} `{name}`: {why}"));
    let detail = format!("stopped: {}", named.collect::<Vec<_>>().join("; "));
    let names = |is_wanted: &dyn Fn(&str) -> bool| {
        let wanted = stopped.iter().filter(|one| is_wanted(one.kind));
        wanted.map(|one| one.name.clone()).collect::<Vec<_>>()
    };
    Problem::of(kinds::NOT_READY, detail)
        .retry(Retry::AfterPause)
        .with("views", names(&|kind| kind == "view"))
        .with("consumers", names(&|kind| kind != "view" && kind != "group"))
        .with("groups", names(&|kind| kind == "group"))
}

pub(super) fn live_operation() -> Operation {
    let live = answer(vec![("status", one_of(&["live"]))]);
    Operation::new("isLive", "check that the process answers").json(200, "It does.", live)
}

pub(super) fn ready_operation() -> Operation {
    let views =
        json!({"type": "object", "additionalProperties": text(), "description": "The state of every view."});
    let groups = about(
        answer(vec![("dealtHere", boolean()), ("dealtAt", nullable(text()))]),
        "Which of the processes that share the store deals the consumer groups.",
    );
    let degraded =
        about(gesta_wire::schema::list(text()), "The views that hold streams back. They are ready.");
    let ready = answer(vec![
        ("status", one_of(&["ready"])),
        ("head", named("Checkpoint")),
        ("groups?", groups),
        ("views?", views),
        ("degraded?", degraded),
    ]);
    let strict = json!({"type": "string", "enum": ["", "true", "false"]});
    Operation::new("isReady", "check that the store answers every kind of call")
        .query("strict", "A stopped view, other consumer or group makes the server unready.", strict)
        .json(200, "It does.", ready)
        .problems(&[kinds::STOPPING, kinds::NOT_READY])
        .problems(kinds::OF_READS)
}
