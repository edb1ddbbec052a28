//! `GET /views`, `GET /views/{name}` and `POST /views/{name}/restart`: the views and their states.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use gesta::http::api::Operation;
use gesta::http::{Params, Problem};
use gesta_core::Checkpoint;
use gesta_views::{RestartError, State as ViewState, Status, UnknownView, Views};
use gesta_wire::kinds;
use gesta_wire::schema::{about, answer, boolean, count, named, nullable, one_of, text};
use serde_json::{Value, json};

use crate::routes::PathParam;
use crate::state::Shared;

/// The status of every view.
pub(super) async fn list(State(shared): State<Arc<Shared>>, params: Params) -> Result<Json<Value>, Problem> {
    params.finish()?;
    let mut list = Vec::new();
    if let Some(views) = &shared.views {
        for name in views.names() {
            list.push(status_json(&views.status(name).await.map_err(unknown)?));
        }
    }
    Ok(Json(json!({"views": list})))
}

/// The status of one view.
pub(super) async fn status(
    State(shared): State<Arc<Shared>>,
    PathParam(name): PathParam,
    params: Params,
) -> Result<Json<Value>, Problem> {
    params.finish()?;
    let status = views(&shared, &name)?.status(&name).await.map_err(unknown)?;
    Ok(Json(status_json(&status)))
}

/// Restarts a view that has stopped.
pub(super) async fn restart(
    State(shared): State<Arc<Shared>>,
    PathParam(name): PathParam,
    params: Params,
) -> Result<Json<Value>, Problem> {
    params.finish()?;
    let views = Arc::clone(views(&shared, &name)?);
    let restarted = {
        let (views, name) = (Arc::clone(&views), name.clone());
        tokio::task::spawn_blocking(move || views.restart(&name)).await
    };
    restarted.expect("a restart does not panic").map_err(|error| match error {
        RestartError::UnknownView(error) => unknown(error),
        RestartError::Thread { source } => Problem::internal(source.to_string()),
    })?;
    let status = views.status(&name).await.map_err(unknown)?;
    Ok(Json(status_json(&status)))
}

/// The views of the server, if it has any.
pub(super) fn views<'a>(shared: &'a Shared, name: &str) -> Result<&'a Arc<Views>, Problem> {
    shared.views.as_ref().ok_or_else(|| unknown(UnknownView { name: name.to_owned() }))
}

pub(super) fn unknown(error: UnknownView) -> Problem {
    let detail = format!("{error}: `GET /views` lists the views");
    Problem::of(kinds::NO_VIEW, detail).with("view", error.name)
}

/// Every view with its state.
pub(super) fn view_states(shared: &Shared) -> Vec<(String, ViewState)> {
    let views = shared.views.iter();
    let named = views.flat_map(|views| views.names().map(|name| (name.to_owned(), views.state(name))));
    named.filter_map(|(name, state)| Some((name, state.ok()?))).collect()
}

fn status_json(status: &Status) -> Value {
    let token = |checkpoint: &Option<Checkpoint>| checkpoint.as_ref().map(ToString::to_string);
    json!({
        "name": status.name,
        "version": status.version,
        "hash": status.hash,
        "state": status.state.name(),
        "error": status.state.error().map(ToString::to_string),
        "checkpoint": token(&status.checkpoint),
        "serving": token(&status.serving),
        "servesPredecessor": status.serves_predecessor,
        "rebuilt": status.rebuilt,
        "head": token(&status.head),
        "lagEvents": status.lag_events,
    })
}

fn status_schema() -> Value {
    answer(vec![
        ("name", text()),
        ("version", count()),
        ("hash", about(text(), "The definition.")),
        ("state", one_of(&["catching-up", "live", "retrying", "paused", "stopped"])),
        ("error", nullable(text())),
        ("checkpoint", nullable(named("Checkpoint"))),
        ("serving", nullable(about(named("Checkpoint"), "The place that queries show."))),
        ("servesPredecessor", about(boolean(), "True while a changed view is built beside the old one.")),
        ("rebuilt", nullable(text())),
        ("head", nullable(named("Checkpoint"))),
        ("lagEvents", nullable(count())),
    ])
}

pub(super) fn list_operation() -> Operation {
    let all = answer(vec![("views", gesta_wire::schema::list(named("View")))]);
    Operation::new("listViews", "list views").tag("views").json(200, "The views.", all)
}

/// An operation on one view.
fn of_one(id: &'static str, summary: &'static str) -> Operation {
    Operation::new(id, summary)
        .tag("views")
        .path("name", "The name of the view.", text())
        .json(200, "The view.", named("View"))
        .problems(&[kinds::NO_VIEW])
}

pub(super) fn status_operation() -> Operation {
    of_one("getView", "the state of a view")
}

pub(super) fn restart_operation() -> Operation {
    of_one("restartView", "restart a view that has stopped")
}

/// The schema that operations refer to.
pub(super) fn schemas() -> [(String, Value); 1] {
    [("View".to_owned(), status_schema())]
}
