//! `GET /groups`; `GET`, `PUT` and `DELETE /groups/{group}`; and `POST /groups/{group}/host`.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::request::Parts;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use gesta::http::api::{Operation, entity_tag};
use gesta::http::{Params, Problem, etag, expected};
use gesta_consumer::group::{GroupSettings, PutError, SettingsVersion};
use gesta_core::{Expected, Version};
use gesta_wire::schema::{boolean, named};
use gesta_wire::{GroupSettingsJson, group_json, groups_json, kinds, put_group_json};

use super::{Dealt, GroupPath, of_group, operation};
use crate::answer;
use crate::body::{RequestBody, read_json, want_json};
use crate::state::Shared;

/// The status of every group.
pub(super) async fn list(
    State(shared): State<Arc<Shared>>,
    Dealt(groups): Dealt,
    params: Params,
) -> Result<Response, Problem> {
    params.finish()?;
    answer::json_value(&shared, &groups_json(&groups.list().await?))
}

/// The status of a group. The entity tag is the version of its settings.
pub(super) async fn look(
    Dealt(groups): Dealt,
    GroupPath(group): GroupPath,
    params: Params,
) -> Result<Response, Problem> {
    params.finish()?;
    let status = groups.get(group).await?;
    Ok(([(header::ETAG, tag(status.settings_version))], Json(group_json(&status))).into_response())
}

/// Creates a group with `If-None-Match: *`, or changes its settings with `If-Match`.
pub(super) async fn put(
    Dealt(groups): Dealt,
    GroupPath(group): GroupPath,
    parts: Parts,
    params: Params,
    body: RequestBody,
) -> Result<Response, Problem> {
    params.finish()?;
    want_json(&parts.headers)?;
    let expect = match expected(&parts.headers)? {
        Some(Expected::None) => None,
        Some(Expected::Exactly(version)) => Some(SettingsVersion::new(version.get())),
        _ => {
            return Err(Problem::invalid(
                "say what to expect: `If-None-Match: *` creates a group, `If-Match` with its entity tag changes its settings",
            ));
        }
    };
    let settings = settings(body)?;
    let version = groups.put(group.clone(), settings, expect).await.map_err(with_tag)?;
    let status = if expect.is_none() { StatusCode::CREATED } else { StatusCode::OK };
    let answer = Json(put_group_json(&group, version));
    Ok((status, [(header::ETAG, tag(version))], answer).into_response())
}

/// Hosts a group for another process of the same store, which passes on what its host asks for.
pub(super) async fn host(
    Dealt(groups): Dealt,
    GroupPath(group): GroupPath,
    headers: HeaderMap,
    mut params: Params,
    body: RequestBody,
) -> Result<Response, Problem> {
    let is_again = params.read::<bool>("again")?.unwrap_or(false);
    params.finish()?;
    want_json(&headers)?;
    let settings = settings(body)?;
    let version = match is_again {
        true => groups.host_again(group.clone(), settings).await?,
        false => groups.host(group.clone(), settings).await?,
    };
    Ok(([(header::ETAG, tag(version))], Json(put_group_json(&group, version))).into_response())
}

/// Removes a group with its progress.
pub(super) async fn remove(
    Dealt(groups): Dealt,
    GroupPath(group): GroupPath,
    params: Params,
) -> Result<StatusCode, Problem> {
    params.finish()?;
    groups.remove(group).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// The settings in a body.
fn settings(body: RequestBody) -> Result<GroupSettings, Problem> {
    let settings =
        read_json::<GroupSettingsJson<'_>>(&body.bytes, "an object with `query`")?.to_settings()?;
    settings.check()?;
    Ok(settings)
}

/// The problem of a put. One that failed for its precondition carries the entity tag to expect.
fn with_tag(error: PutError) -> Problem {
    let actual = match &error {
        PutError::Exists { actual, .. } | PutError::Changed { actual, .. } => Some(*actual),
        _ => None,
    };
    let problem = Problem::from(error);
    match actual {
        Some(actual) => problem.with_header(header::ETAG, tag(actual)),
        None => problem,
    }
}

fn tag(version: SettingsVersion) -> header::HeaderValue {
    etag(Version::new(version.get()))
}

pub(super) fn list_operation() -> Operation {
    operation("listGroups", "list consumer groups")
        .json(200, "The groups.", named("Groups"))
        .problems(kinds::OF_LOOKS_AT_GROUPS)
        .problems(kinds::OF_READS)
}

pub(super) fn look_operation() -> Operation {
    of_group("getGroup", "the settings, state and members of a group")
        .json(200, "The group.", named("Group"))
        .answers_with_header("ETag", "The version of its settings.", entity_tag())
        .problems(kinds::OF_LOOKS_AT_GROUPS)
        .problems(kinds::OF_READS)
}

pub(super) fn put_operation() -> Operation {
    of_group("putGroup", "create a group, or change its settings")
        .text("One of the two conditional headers is required.")
        .conditional_write("The entity tag of the settings to change.")
        .body("application/json", named("GroupSettings"))
        .json(200, "The settings are changed.", named("GroupChanged"))
        .answers_with_header("ETag", "The new version of the settings.", entity_tag())
        .json(201, "The group is created.", named("GroupChanged"))
        .answers_with_header("ETag", "The version of the settings.", entity_tag())
        .problems(kinds::OF_PUTS_OF_GROUPS)
        .problems(kinds::OF_READS)
}

pub(super) fn host_operation() -> Operation {
    of_group("hostGroup", "host a group for a process of the same store")
        .text("Creates the group, or adds to its query. Then no request changes its settings until this process ends.")
        .query("again", "Another process dealt before: creates nothing, and adds nothing.", boolean())
        .body("application/json", named("GroupSettings"))
        .json(200, "The group belongs to its host.", named("GroupChanged"))
        .answers_with_header("ETag", "The version of the settings.", entity_tag())
        .problems(kinds::OF_PUTS_OF_GROUPS)
        .problems(kinds::OF_READS)
}

pub(super) fn remove_operation() -> Operation {
    of_group("removeGroup", "remove a group with its progress")
        .empty(204, "It is removed.")
        .problems(kinds::OF_CHANGES_OF_GROUPS)
}
