//! `POST /batches/repeat`: the first answer to a command, by the command key of the store.

use std::sync::Arc;

use axum::extract::State;
use axum::http::{HeaderMap, header};
use axum::response::IntoResponse;
use gesta::http::api::Operation;
use gesta::http::{Params, Problem};
use gesta_core::StreamName;
use gesta_wire::schema::named;
use gesta_wire::{RepeatJson, kinds, repeat_json};

use crate::body::{RequestBody, read_json, want_json};
use crate::state::Shared;

/// Gives the first answer, or null if the key is not recorded.
pub(super) async fn find(
    State(shared): State<Arc<Shared>>,
    headers: HeaderMap,
    params: Params,
    body: RequestBody,
) -> Result<impl IntoResponse, Problem> {
    params.finish()?;
    want_json(&headers)?;
    let asked = read_json::<RepeatJson<'_>>(&body.bytes, "an object with `command` and `near`")?;
    let (command, near) = (asked.command.read()?, StreamName::new(&asked.near)?);
    let answer = shared.store.repeat_of(command, near).await?;
    Ok(([(header::CONTENT_TYPE, "application/json")], repeat_json(answer.as_ref())))
}

pub(super) fn operation() -> Operation {
    Operation::new("findRepeat", "find the first answer to a command, by its key")
        .tag("events")
        .body("application/json", named("Repeat"))
        .json(200, "The first answer, or `null` if the key is not recorded.", named("Repeated"))
        .problems(&[kinds::INVALID_NAME])
        .problems(kinds::OF_APPENDS)
}
