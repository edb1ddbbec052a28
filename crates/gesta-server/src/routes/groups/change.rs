//! What operators ask of a group: replay, skip, pause, resume, reset, narrow.

use axum::Json;
use axum::http::request::Parts;
use axum::http::{HeaderMap, StatusCode};
use gesta::http::api::{Operation, visible};
use gesta::http::{Params, Problem};
use gesta_wire::schema::named;
use gesta_wire::{ReplayJson, ResetJson, SkipJson, kinds, put_group_json, replayed_json, reset_json};
use serde_json::Value;

use super::{Dealt, GroupPath, of_group};
use crate::body::{RequestBody, read_json, want_json};
use crate::principal::operator;

/// Delivers parked streams again.
pub(super) async fn replay(
    Dealt(groups): Dealt,
    GroupPath(group): GroupPath,
    headers: HeaderMap,
    params: Params,
    body: RequestBody,
) -> Result<Json<Value>, Problem> {
    params.finish()?;
    want_json(&headers)?;
    let streams = read_json::<ReplayJson<'_>>(&body.bytes, "an object with `streams` or `all`")?.streams()?;
    Ok(Json(replayed_json(groups.replay(group, streams).await?)))
}

/// Passes events of a stream for good.
pub(super) async fn skip(
    Dealt(groups): Dealt,
    GroupPath(group): GroupPath,
    parts: Parts,
    params: Params,
    body: RequestBody,
) -> Result<StatusCode, Problem> {
    params.finish()?;
    want_json(&parts.headers)?;
    let wanted = "an object with `stream`, `through` and `reason`";
    let (stream, through, reason) = read_json::<SkipJson<'_>>(&body.bytes, wanted)?.parts()?;
    groups.skip(group, stream, through, operator(&parts)?, reason).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Stops deliveries until `resume`.
pub(super) async fn pause(
    Dealt(groups): Dealt,
    GroupPath(group): GroupPath,
    parts: Parts,
    params: Params,
) -> Result<StatusCode, Problem> {
    params.finish()?;
    groups.pause(group, operator(&parts)?).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Delivers again after a pause or a stop.
pub(super) async fn resume(
    Dealt(groups): Dealt,
    GroupPath(group): GroupPath,
    params: Params,
) -> Result<StatusCode, Problem> {
    params.finish()?;
    groups.resume(group).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Moves the place of a group.
pub(super) async fn reset(
    Dealt(groups): Dealt,
    GroupPath(group): GroupPath,
    headers: HeaderMap,
    params: Params,
    body: RequestBody,
) -> Result<Json<Value>, Problem> {
    params.finish()?;
    want_json(&headers)?;
    let to = read_json::<ResetJson<'_>>(&body.bytes, "an object with `to`")?.to()?;
    Ok(Json(reset_json(&groups.reset(group, to).await?)))
}

/// Takes away the items of a hosted group's query that its host no longer names.
pub(super) async fn narrow(
    Dealt(groups): Dealt,
    GroupPath(group): GroupPath,
    params: Params,
) -> Result<Json<Value>, Problem> {
    params.finish()?;
    let version = groups.narrow(group.clone()).await?;
    Ok(Json(put_group_json(&group, version)))
}

/// A change by an operator.
fn change(id: &'static str, summary: &'static str) -> Operation {
    of_group(id, summary).problems(kinds::OF_CHANGES_OF_GROUPS).problems(kinds::OF_READS)
}

/// A change whose operator is recorded.
fn recorded_change(id: &'static str, summary: &'static str) -> Operation {
    change(id, summary).header("X-Actor", "Who asks, if the request has no authenticated user.", visible())
}

pub(super) fn replay_operation() -> Operation {
    change("replayParked", "deliver parked streams again")
        .body("application/json", named("Replay"))
        .json(200, "The number of streams.", named("Replayed"))
        .problems(&[kinds::INVALID_NAME])
}

pub(super) fn skip_operation() -> Operation {
    recorded_change("skipParked", "pass events of a stream for good")
        .body("application/json", named("Skip"))
        .empty(204, "They are passed.")
        .problems(&[kinds::INVALID_NAME])
}

pub(super) fn pause_operation() -> Operation {
    recorded_change("pauseGroup", "stop deliveries").empty(204, "Nothing is delivered until `resume`.")
}

pub(super) fn resume_operation() -> Operation {
    change("resumeGroup", "deliver again after a pause or a stop").empty(204, "The group goes on.")
}

pub(super) fn reset_operation() -> Operation {
    change("resetGroup", "move the place of a group").body("application/json", named("Reset")).json(
        200,
        "The new place.",
        named("ResetDone"),
    )
}

pub(super) fn narrow_operation() -> Operation {
    change("narrowGroup", "take away what the host of a group no longer names").json(
        200,
        "The settings are changed.",
        named("GroupChanged"),
    )
}
