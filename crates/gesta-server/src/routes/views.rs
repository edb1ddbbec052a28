//! `GET /views`, `POST /views/reload`, `GET /views/{name}`, and `POST /views/{name}/restart`, `/rollback` and `/drop-old`: the views, their states and versions.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use gesta::http::api::Operation;
use gesta::http::{Params, Problem};
use gesta_core::{Checkpoint, Retry};
use gesta_views::{
    DropOldError, Progress, RestartError, RollBackError, State as ViewState, Status, UnknownView, Views,
};
use gesta_wire::kinds;
use gesta_wire::schema::{about, answer, boolean, count, named, nullable, one_of, seconds, text};
use serde_json::{Value, json};

use super::view_parked::parked_json;
use crate::routes::PathParam;
use crate::state::Shared;

/// Parked streams in the status of a view. `GET /views/{name}/parked` lists all.
const PARKED_SHOWN: usize = 20;

/// The status of every view.
pub(super) async fn list(State(shared): State<Arc<Shared>>, params: Params) -> Result<Json<Value>, Problem> {
    params.finish()?;
    let mut list = Vec::new();
    if let Some(views) = &shared.views {
        for name in views.names() {
            list.push(status_json(&views.status(&name).await.map_err(unknown)?));
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

/// Goes back to the version that served before, or takes that back.
pub(super) async fn roll_back(
    State(shared): State<Arc<Shared>>,
    PathParam(name): PathParam,
    params: Params,
) -> Result<Json<Value>, Problem> {
    params.finish()?;
    let views = Arc::clone(views(&shared, &name)?);
    let done = {
        let (views, name) = (Arc::clone(&views), name.clone());
        tokio::task::spawn_blocking(move || views.roll_back(&name)).await
    };
    let done = done.expect("a rollback does not panic").map_err(not_rolled_back)?;
    let status = views.status(&name).await.map_err(unknown)?;
    Ok(Json(json!({
        "from": done.from,
        "to": done.to,
        "isGiven": done.is_given,
        "isServing": done.is_serving,
        "view": status_json(&status),
    })))
}

fn not_rolled_back(error: RollBackError) -> Problem {
    let (detail, retry) = (error.to_string(), error.retry());
    match error {
        RollBackError::UnknownView(error) => unknown(error),
        RollBackError::NothingKept { .. } | RollBackError::NoDefinition { .. } => {
            Problem::of(kinds::NO_OLD_VERSION, detail)
        }
        RollBackError::OldStopped { .. } => Problem::of(kinds::VIEW_STOPPED, detail),
        RollBackError::Read(error) => error.into(),
        RollBackError::Database(_) | RollBackError::Thread(_) => {
            Problem::of(kinds::UNAVAILABLE, detail).retry(retry)
        }
    }
}

/// Removes the version that served before.
pub(super) async fn drop_old(
    State(shared): State<Arc<Shared>>,
    PathParam(name): PathParam,
    params: Params,
) -> Result<Json<Value>, Problem> {
    params.finish()?;
    let views = Arc::clone(views(&shared, &name)?);
    let dropped = tokio::task::spawn_blocking(move || views.drop_old(&name)).await;
    let version = dropped.expect("a removal does not panic").map_err(not_dropped)?;
    Ok(Json(json!({"dropped": version})))
}

fn not_dropped(error: DropOldError) -> Problem {
    let (detail, retry) = (error.to_string(), error.retry());
    match error {
        DropOldError::UnknownView(error) => unknown(error),
        DropOldError::NothingKept { .. } => Problem::of(kinds::NO_OLD_VERSION, detail),
        DropOldError::Serves { .. } => Problem::of(kinds::OLD_VERSION_SERVES, detail).retry(retry),
        DropOldError::Read(error) => error.into(),
        DropOldError::Database(_) | DropOldError::Thread(_) => {
            Problem::of(kinds::UNAVAILABLE, detail).retry(retry)
        }
    }
}

/// Reads the definitions of views again. Its errors are part of the answer: the other views take theirs.
pub(super) async fn reload(
    State(shared): State<Arc<Shared>>,
    params: Params,
) -> Result<Json<Value>, Problem> {
    params.finish()?;
    let reloaded = tokio::task::spawn_blocking(move || shared.reload.as_ref().map(|reload| reload())).await;
    let Some(reloaded) = reloaded.expect("a reload does not panic") else {
        let detail = "the views of this server are not read from a folder: start it with `--views <folder>`";
        return Err(Problem::of(kinds::NOT_RELOADED, detail));
    };
    let reloaded = reloaded
        .map_err(|error| Problem::of(kinds::UNAVAILABLE, error.to_string()).retry(Retry::AfterPause))?;
    let refused =
        reloaded.refused.iter().map(|refused| json!({"view": refused.view, "error": refused.error}));
    Ok(Json(json!({
        "added": reloaded.added,
        "changed": reloaded.changed,
        "unchanged": reloaded.unchanged,
        "undefined": reloaded.undefined,
        "refused": refused.collect::<Vec<_>>(),
    })))
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
    let named = views.flat_map(|views| views.names().into_iter().map(|name| (views.state(&name), name)));
    named.filter_map(|(state, name)| Some((name, state.ok()?))).collect()
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
        "progress": status.progress.as_ref().map(progress_json),
        "old": status.old.as_ref().map(|old| json!({
            "version": old.version,
            "state": old.state.as_ref().map_or("still", |state| state.name()),
            "error": old.state.as_ref().and_then(|state| state.error()).map(ToString::to_string),
            "checkpoint": token(&old.checkpoint),
        })),
        "rolledBack": status.rolled_back,
        "rebuilt": status.rebuilt,
        "degraded": !status.parked.is_empty(),
        "parkedStreams": status.parked.len(),
        "parked": status.parked.iter().take(PARKED_SHOWN).map(|parked| parked_json(parked)).collect::<Value>(),
        "warnings": status.warnings.iter().map(ToString::to_string).collect::<Vec<_>>(),
        "refused": status.refused,
        "head": token(&status.head),
        "lagEvents": status.lag_events,
    })
}

fn progress_json(progress: &Progress) -> Value {
    json!({
        "eventsDone": progress.events_done,
        "eventsTotal": progress.events_total,
        "eventsPerSecond": progress.events_per_second,
        "remainingSeconds": progress.remaining.map(|remaining| remaining.as_secs_f64()),
    })
}

fn progress_schema() -> Value {
    answer(vec![
        ("eventsDone", about(count(), "The events of the log, of any type, that it has passed.")),
        ("eventsTotal", count()),
        ("eventsPerSecond", seconds()),
        ("remainingSeconds", nullable(about(seconds(), "Null if it stands still."))),
    ])
}

fn old_schema() -> Value {
    answer(vec![
        ("version", about(text(), "The first digits of the hash of its definition.")),
        ("state", one_of(&["catching-up", "live", "retrying", "paused", "stopped", "still"])),
        ("error", nullable(text())),
        ("checkpoint", nullable(named("Checkpoint"))),
    ])
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
        (
            "progress",
            nullable(about(progress_schema(), "Of a version that is built and has not served yet.")),
        ),
        (
            "old",
            nullable(about(old_schema(), "The version that served before, as it is kept for a rollback.")),
        ),
        ("rolledBack", nullable(about(text(), "The definition that a rollback put aside."))),
        ("rebuilt", nullable(text())),
        ("degraded", about(boolean(), "True if streams are parked: the rows lack their last events.")),
        ("parkedStreams", count()),
        (
            "parked",
            about(
                gesta_wire::schema::list(named("ParkedOfView")),
                "The first parked streams, by name: 20 at most.",
            ),
        ),
        (
            "warnings",
            about(
                gesta_wire::schema::list(text()),
                "Types, versions and fields in its definition that the program does not know.",
            ),
        ),
        ("refused", nullable(about(text(), "Why the last definition for it was not taken."))),
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

pub(super) fn roll_back_operation() -> Operation {
    let done = answer(vec![
        ("from", about(text(), "The first digits of the hash of the version that was wanted.")),
        ("to", about(text(), "Those of the version that is wanted now.")),
        ("isGiven", about(boolean(), "True if an earlier rollback was taken back.")),
        ("isServing", about(boolean(), "False if it serves once it has caught up.")),
        ("view", named("View")),
    ]);
    Operation::new("rollBackView", "go back to the version of a view that served before, or take that back")
        .tag("views")
        .path("name", "The name of the view.", text())
        .json(200, "What was done.", done)
        .problems(&[kinds::NO_VIEW, kinds::NO_OLD_VERSION, kinds::VIEW_STOPPED])
        .problems(kinds::OF_READS)
}

pub(super) fn reload_operation() -> Operation {
    let names = |description: &'static str| about(gesta_wire::schema::list(text()), description);
    let refused = answer(vec![
        (
            "view",
            nullable(about(text(), "The view that runs on with the definition before, if there is one.")),
        ),
        ("error", text()),
    ]);
    let done = answer(vec![
        ("added", names("New views.")),
        ("changed", names("Views whose new versions are being built.")),
        ("unchanged", names("Views whose definitions are the same.")),
        ("undefined", names("Views without a definition. They run until the server stops.")),
        ("refused", gesta_wire::schema::list(refused)),
    ]);
    Operation::new("reloadViews", "read the definitions of the views again")
        .tag("views")
        .json(200, "What was done, and the definitions that were not taken.", done)
        .problems(&[kinds::NOT_RELOADED, kinds::UNAVAILABLE])
}

pub(super) fn drop_old_operation() -> Operation {
    Operation::new("dropOldVersion", "remove the version of a view that served before")
        .tag("views")
        .path("name", "The name of the view.", text())
        .json(200, "The first digits of the hash of the removed version.", answer(vec![("dropped", text())]))
        .problems(&[kinds::NO_VIEW, kinds::NO_OLD_VERSION, kinds::OLD_VERSION_SERVES])
        .problems(kinds::OF_READS)
}

/// The schema that operations refer to.
pub(super) fn schemas() -> [(String, Value); 1] {
    [("View".to_owned(), status_schema())]
}
