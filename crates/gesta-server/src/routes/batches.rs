//! `POST /batches`: appends to several streams atomically, with expectations and conditions.

use std::borrow::Cow;
use std::sync::Arc;

use axum::extract::State;
use axum::http::request::Parts;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use gesta_core::{
    BATCH_CONDITIONS_MAX, BATCH_EXPECTATIONS_MAX, Batch, CommandKey, Condition, EventIdParseError, Expected,
    StreamName, Version,
};
use serde::Deserialize;

use super::append::{answer, failed, ids};
use crate::body::{RequestBody, read_json};
use crate::incoming::{Incoming, Many, new_events};
use crate::state::Shared;
use crate::wire::{Capped, EventJson, QueryJson, check_user_stream, expected_from_text};
use gesta::http::{Caller, Params, Problem};

const ROUTE: &str = "POST /batches";

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct BatchJson<'a> {
    #[serde(borrow)]
    events: Many<EventJson<'a>>,
    #[serde(borrow, default)]
    expect: Capped<ExpectationJson<'a>, BATCH_EXPECTATIONS_MAX>,
    #[serde(borrow, default)]
    conditions: Capped<ConditionJson<'a>, BATCH_CONDITIONS_MAX>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ExpectationJson<'a> {
    #[serde(borrow)]
    stream: Cow<'a, str>,
    #[serde(borrow)]
    version: VersionJson<'a>,
}

/// A version, a word for one, or the version and id of an event.
#[derive(Deserialize)]
#[serde(
    untagged,
    expecting = "`version` is neither a version nor `any`, `none`, `exists` or an object with `version` and `id`"
)]
enum VersionJson<'a> {
    Number(u64),
    Word(#[serde(borrow)] Cow<'a, str>),
    Event(#[serde(borrow)] LastEventJson<'a>),
}

/// The last event of a stream, by its version and its id.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct LastEventJson<'a> {
    version: u64,
    #[serde(borrow)]
    id: Cow<'a, str>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct ConditionJson<'a> {
    #[serde(borrow)]
    fail_if_any: QueryJson<'a>,
    #[serde(borrow, default)]
    after: Option<Cow<'a, str>>,
}

/// Appends a batch: in the server's JSON, or as CloudEvents whose subjects name their streams.
pub(super) async fn append(
    State(shared): State<Arc<Shared>>,
    parts: Parts,
    params: Params,
    body: RequestBody,
) -> Result<Response, Problem> {
    params.finish()?;
    let incoming = Incoming::of(&parts.headers, &body.bytes)?;
    let command = Caller::of(&parts).command_key(&parts, ROUTE, &incoming.text)?;
    let batch = if incoming.is_json() {
        read_batch(&incoming.text, command)?
    } else {
        let events = incoming.events(None, command.as_ref())?;
        Batch { events, command, ..Batch::default() }
    };
    let ids = ids(&batch);
    let appended = shared.store.append(batch).await;
    let appended = appended.map_err(|error| failed(error, &ids, Problem::from))?;
    Ok(answer(&appended, &ids).into_response())
}

fn read_batch(body: &Bytes, command: Option<CommandKey>) -> Result<Batch, Problem> {
    let batch = read_json::<BatchJson<'_>>(body, "an object with `events`")?;
    Ok(Batch {
        events: new_events(body, &batch.events.0, None, command.as_ref())?,
        expect: batch.expect.0.iter().map(expectation).collect::<Result<_, _>>()?,
        conditions: batch.conditions.0.iter().map(condition).collect::<Result<_, _>>()?,
        command,
    })
}

fn expectation(json: &ExpectationJson<'_>) -> Result<(StreamName, Expected), Problem> {
    let stream = StreamName::new(&json.stream)?;
    check_user_stream(&stream)?;
    let expected = match &json.version {
        VersionJson::Number(version) => Some(Expected::Exactly(Version::new(*version))),
        VersionJson::Word(word) => expected_from_text(word),
        VersionJson::Event(LastEventJson { version, id }) => {
            let id = id.parse().map_err(|error: EventIdParseError| Problem::invalid(error.to_string()))?;
            Some(Expected::Event { version: Version::new(*version), id })
        }
    };
    let expected = expected.ok_or_else(|| {
        Problem::invalid(format!(
            "the expected version of `{stream}` is not `any`, `none`, `exists` or a version"
        ))
    })?;
    Ok((stream, expected))
}

fn condition(json: &ConditionJson<'_>) -> Result<Condition, Problem> {
    let after = json.after.as_deref().map(|token| token.parse()).transpose();
    let after =
        after.map_err(|error: gesta_core::CheckpointParseError| Problem::invalid(error.to_string()))?;
    Ok(Condition { fail_if_any: json.fail_if_any.to_query()?, after })
}
