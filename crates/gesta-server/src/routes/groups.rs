//! The routes of consumer groups. A server has them if its host gives it groups.

mod change;
mod manage;
mod parked;
mod reply;
mod take;

use std::sync::Arc;
use std::time::Duration;

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use gesta::http::api::{Operation, visible};
use gesta::http::{Problem, header_text};
use gesta_consumer::group::limits::GROUP_NAME_BYTES_MAX;
use gesta_consumer::group::{GroupName, GroupStatus, Groups, LookError};
use gesta_core::Retry;
use gesta_wire::{HOLDER_HEADER, kinds};
use serde_json::json;
use tokio::time::timeout;

use super::PathParam;
use super::table::Route;
use crate::state::Shared;

/// The routes.
pub(super) fn routes() -> Vec<Route> {
    vec![
        Route::get("/groups", manage::list, manage::list_operation()),
        Route::get("/groups/{group}", manage::look, manage::look_operation()),
        Route::put("/groups/{group}", manage::put, manage::put_operation()),
        Route::post("/groups/{group}/host", manage::host, manage::host_operation()),
        Route::delete("/groups/{group}", manage::remove, manage::remove_operation()),
        Route::post("/groups/{group}/take", take::take, take::operation()),
        Route::get("/groups/{group}/parked", parked::list, parked::list_operation()),
        Route::get("/groups/{group}/parked/{stream}", parked::held, parked::held_operation()),
        Route::post("/groups/{group}/parked/replay", change::replay, change::replay_operation()),
        Route::post("/groups/{group}/parked/skip", change::skip, change::skip_operation()),
        Route::post("/groups/{group}/pause", change::pause, change::pause_operation()),
        Route::post("/groups/{group}/resume", change::resume, change::resume_operation()),
        Route::post("/groups/{group}/reset", change::reset, change::reset_operation()),
        Route::post("/groups/{group}/narrow", change::narrow, change::narrow_operation()),
    ]
}

/// How long an answer about all parts of a server waits for the groups. Longer than that, it is not known who deals them.
const LIST_TIME: Duration = Duration::from_secs(3);

/// All groups, or why they cannot be listed now.
pub(super) async fn list_soon(groups: &dyn Groups) -> Result<Vec<GroupStatus>, LookError> {
    let listed = timeout(LIST_TIME, groups.list()).await;
    let late =
        || LookError::Unavailable { reason: "it is not known yet which process deals them".to_owned() };
    listed.unwrap_or_else(|_| Err(late()))
}

/// An operation on groups.
fn operation(id: &'static str, summary: &'static str) -> Operation {
    let holder = "The id of the process that deals the groups, if another process passes the request on.";
    Operation::new(id, summary)
        .tag("groups")
        .header("Gesta-Holder", holder, visible())
        .problems(&[kinds::NOT_HOLDER])
}

/// An operation on one group.
fn of_group(id: &'static str, summary: &'static str) -> Operation {
    let pattern = "^[A-Za-z0-9_-]+(\\.[A-Za-z0-9_-]+)*$";
    let name =
        json!({"type": "string", "minLength": 1, "maxLength": GROUP_NAME_BYTES_MAX, "pattern": pattern});
    operation(id, summary).path("group", "The name of the group.", name).problems(&[kinds::INVALID_NAME])
}

/// The groups for a request. One that another process passes on is for the groups that are dealt here, or refused.
struct Dealt(Arc<dyn Groups>);

impl FromRequestParts<Arc<Shared>> for Dealt {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, shared: &Arc<Shared>) -> Result<Self, Problem> {
        let groups = shared.groups.as_ref().expect("a server without groups has none of these routes");
        let dealt = match header_text(&parts.headers, HOLDER_HEADER)? {
            Some(holder) => groups.dealt_as(holder).ok_or_else(|| not_holder(holder))?,
            None => Arc::clone(groups),
        };
        Ok(Self(dealt))
    }
}

fn not_holder(holder: &str) -> Problem {
    let holder = holder.chars().take(64).collect::<String>();
    let detail = format!(
        "the request is for the process `{holder}`, which does not deal the groups here: nothing was done. If this lasts, another \
         server answers at the address that the process advertises"
    );
    Problem::of(kinds::NOT_HOLDER, detail).retry(Retry::AfterPause)
}

/// The group in an address with one name.
pub(super) struct GroupPath(pub(super) GroupName);

impl<S: Send + Sync> FromRequestParts<S> for GroupPath {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let PathParam(name) = PathParam::from_request_parts(parts, state).await?;
        group(&name).map(Self)
    }
}

fn group(name: &str) -> Result<GroupName, Problem> {
    GroupName::new(name).map_err(|error| Problem::of(kinds::INVALID_NAME, error.to_string()))
}
