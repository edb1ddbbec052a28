//! `GET /views`, `GET /views/{name}` and `POST /views/{name}/restart`: the views and their states.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use gesta::http::{Params, Problem};
use gesta_core::Checkpoint;
use gesta_views::{RestartError, State as ViewState, Status, UnknownView, Views};
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
    Problem::new(StatusCode::NOT_FOUND, "no-view", "There is no such view", detail).with("view", error.name)
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
