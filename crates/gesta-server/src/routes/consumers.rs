//! `GET /consumers`, `GET /consumers/{name}`, and `POST /consumers/{name}/pause`, `/resume`, `/restart`: for operators.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::request::Parts;
use gesta::http::api::{Operation, visible};
use gesta::http::{Params, Problem, format_time};
use gesta_consumer::group::{GroupState, GroupStatus, LookError};
use gesta_consumer::{ConsumerReport, ControlError, Paused, UnknownConsumer};
use gesta_core::{Checkpoint, KeyValueError, Retry};
use gesta_wire::schema::{about, answer, boolean, count, named, nullable, one_of, seconds, text};
use gesta_wire::{Kind, group_state_name, kinds};
use serde_json::{Value, json};

use crate::principal::operator;
use crate::routes::PathParam;
use crate::routes::groups::list_soon;
use crate::state::Shared;

/// The status of every consumer, then the consumer groups, each with its address.
pub(super) async fn list(State(shared): State<Arc<Shared>>, params: Params) -> Result<Json<Value>, Problem> {
    params.finish()?;
    let mut list = Vec::new();
    for consumer in shared.consumers.all() {
        list.push(report_json(&consumer.report().await, shared.consumers.keeps_pauses()));
    }
    let listed = match &shared.groups {
        Some(groups) => list_soon(&**groups).await,
        None => Ok(Vec::new()),
    };
    Ok(Json(match listed {
        Ok(groups) => {
            list.extend(groups.iter().map(group_json));
            json!({"consumers": list})
        }
        // Another process may be about to deal them. What runs here is known all the same.
        Err(LookError::Unavailable { reason }) => json!({"consumers": list, "groupsUnavailable": reason}),
        Err(error) => return Err(error.into()),
    }))
}

/// The status of one consumer.
pub(super) async fn status(
    State(shared): State<Arc<Shared>>,
    PathParam(name): PathParam,
    params: Params,
) -> Result<Json<Value>, Problem> {
    params.finish()?;
    let report = shared.consumers.report(&name).await.map_err(unknown)?;
    Ok(Json(report_json(&report, shared.consumers.keeps_pauses())))
}

/// Pauses a consumer after the page under way. The pause is kept.
pub(super) async fn pause(
    State(shared): State<Arc<Shared>>,
    PathParam(name): PathParam,
    params: Params,
    parts: Parts,
) -> Result<Json<Value>, Problem> {
    params.finish()?;
    let report = shared.consumers.pause(&name, &operator(&parts)?).await.map_err(refused)?;
    Ok(Json(report_json(&report, shared.consumers.keeps_pauses())))
}

/// Ends the pause of a consumer.
pub(super) async fn resume(
    State(shared): State<Arc<Shared>>,
    PathParam(name): PathParam,
    params: Params,
) -> Result<Json<Value>, Problem> {
    params.finish()?;
    let report = shared.consumers.resume(&name).await.map_err(refused)?;
    Ok(Json(report_json(&report, shared.consumers.keeps_pauses())))
}

/// Restarts a consumer that has stopped.
pub(super) async fn restart(
    State(shared): State<Arc<Shared>>,
    PathParam(name): PathParam,
    params: Params,
) -> Result<Json<Value>, Problem> {
    params.finish()?;
    let restarted = {
        let (shared, name) = (Arc::clone(&shared), name.clone());
        tokio::task::spawn_blocking(move || shared.consumers.restart(&name)).await
    };
    restarted.expect("a restart does not panic").map_err(refused)?;
    let report = shared.consumers.report(&name).await.map_err(unknown)?;
    Ok(Json(report_json(&report, shared.consumers.keeps_pauses())))
}

fn unknown(error: UnknownConsumer) -> Problem {
    let detail =
        format!("{error}: `GET /consumers` lists the consumers; a consumer group has routes under `/groups`");
    Problem::of(kinds::NO_CONSUMER, detail).with("consumer", error.name)
}

fn refused(error: ControlError) -> Problem {
    let detail = error.to_string();
    let retry = error.retry();
    match error {
        ControlError::UnknownConsumer(error) => unknown(error),
        ControlError::Values(error) => unkept(&error, detail, retry),
        error => Problem::of(kinds::UNAVAILABLE, error.to_string()).retry(retry),
    }
}

/// The key-value store did not keep a change.
fn unkept(error: &KeyValueError, detail: String, retry: Retry) -> Problem {
    let problem = match error {
        KeyValueError::StorageFull { .. } => Problem::of(kinds::STORAGE_FULL, detail),
        KeyValueError::TooLarge { .. } => Problem::of(kinds::TOO_LARGE, detail),
        KeyValueError::InDoubt { .. } => Problem::of(kinds::IN_DOUBT, detail),
        KeyValueError::Changed { .. } => Problem::of(kinds::CONTENDED, detail),
        _ => Problem::of(kinds::UNAVAILABLE, detail),
    };
    problem.retry(retry)
}

/// Why a group does not deliver.
fn group_error(state: &GroupState) -> Option<&str> {
    match state {
        GroupState::Stopped { reason } | GroupState::Unreadable { reason } => Some(reason),
        _ => None,
    }
}

fn group_json(group: &GroupStatus) -> Value {
    json!({
        "name": group.name.as_str(),
        "kind": "group",
        "state": group_state_name(&group.state),
        "error": group_error(&group.state),
        "lagEvents": group.lag_events,
        "lagSeconds": group.lag.map(|lag| lag.as_secs_f64()),
        "group": format!("/groups/{}", group.name),
    })
}

fn report_json(report: &ConsumerReport, keeps_pauses: bool) -> Value {
    let token = |checkpoint: &Option<Checkpoint>| checkpoint.as_ref().map(ToString::to_string);
    let paused = |Paused { by, since }: &Paused| json!({"by": &**by, "since": format_time(*since)});
    json!({
        "name": &*report.name,
        "kind": report.kind,
        "state": report.state,
        "error": report.error,
        "attempt": report.attempt,
        "nextTry": report.next_try.map(format_time),
        "paused": report.paused.as_ref().map(paused),
        "pausesKept": keeps_pauses,
        "checkpoint": token(&report.checkpoint),
        "head": token(&report.head),
        "lagEvents": report.lag_events,
        "lagSeconds": report.lag.map(|lag| lag.as_secs_f64()),
        "eventsPerSecond": report.events_per_second,
        "parkedStreams": report.parked_streams,
    })
}

/// The names of the states of a consumer.
pub(super) const STATES: [&str; 5] = ["catching-up", "live", "retrying", "paused", "stopped"];

fn report_schema() -> Value {
    let paused = answer(vec![("by", text()), ("since", named("Time"))]);
    answer(vec![
        ("name", text()),
        ("kind", about(text(), "`view`, `timers`, or another kind of reader.")),
        ("state", one_of(&STATES)),
        ("error", nullable(text())),
        ("attempt", nullable(about(count(), "The failures since the last success."))),
        ("nextTry", nullable(named("Time"))),
        ("paused", nullable(paused)),
        ("pausesKept", about(boolean(), "False if pauses end with the process.")),
        ("checkpoint", nullable(named("Checkpoint"))),
        ("head", nullable(named("Checkpoint"))),
        ("lagEvents", nullable(about(count(), "The events of the log, of any type, after its place."))),
        ("lagSeconds", nullable(about(seconds(), "The age of the oldest of them."))),
        ("eventsPerSecond", seconds()),
        ("parkedStreams", about(count(), "The streams that a view holds back.")),
    ])
}

fn group_schema() -> Value {
    answer(vec![
        ("name", text()),
        ("kind", one_of(&["group"])),
        ("state", text()),
        ("error", nullable(text())),
        ("lagEvents", nullable(count())),
        ("lagSeconds", nullable(seconds())),
        ("group", about(text(), "The address of the group.")),
    ])
}

pub(super) fn list_operation() -> Operation {
    let group = json!({"allOf": [group_schema()], "title": "a consumer group"});
    let consumer = json!({"anyOf": [named("Consumer"), group]});
    let all = answer(vec![
        ("consumers", gesta_wire::schema::list(consumer)),
        ("groupsUnavailable?", about(text(), "Why the consumer groups are missing now.")),
    ]);
    Operation::new(
        "listConsumers",
        "list consumers: views and other readers of the log, with their state and lag",
    )
    .tag("consumers")
    .json(200, "The consumers, then the consumer groups.", all)
    .problems(kinds::OF_READS)
    .problems(kinds::OF_LOOKS_AT_GROUPS)
}

/// An operation on one consumer.
fn of_one(id: &'static str, summary: &'static str) -> Operation {
    Operation::new(id, summary)
        .tag("consumers")
        .path("name", "The name of the consumer.", text())
        .json(200, "The consumer.", named("Consumer"))
        .problems(&[kinds::NO_CONSUMER])
}

/// The problems of a change that is kept.
const OF_CHANGES: &[Kind] =
    &[kinds::STORAGE_FULL, kinds::TOO_LARGE, kinds::IN_DOUBT, kinds::CONTENDED, kinds::UNAVAILABLE];

pub(super) fn status_operation() -> Operation {
    of_one("getConsumer", "the state and lag of a consumer")
}

pub(super) fn pause_operation() -> Operation {
    of_one("pauseConsumer", "pause a consumer, until it is resumed")
        .header("X-Actor", "Who pauses it, if the request has no authenticated user.", visible())
        .problems(OF_CHANGES)
}

pub(super) fn resume_operation() -> Operation {
    of_one("resumeConsumer", "end the pause of a consumer").problems(OF_CHANGES)
}

pub(super) fn restart_operation() -> Operation {
    of_one("restartConsumer", "restart a consumer that has stopped").problems(OF_CHANGES)
}

/// The schema that operations refer to.
pub(super) fn schemas() -> [(String, Value); 1] {
    [("Consumer".to_owned(), report_schema())]
}
