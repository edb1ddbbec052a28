//! `GET /groups/{group}/parked` and `GET /groups/{group}/parked/{stream}`.

use std::num::NonZeroU32;
use std::sync::Arc;

use axum::extract::{Path, State};
use axum::http::Uri;
use axum::response::Response;
use gesta::http::api::Operation;
use gesta::http::{Params, Problem, next_address};
use gesta_consumer::group::ChangeError;
use gesta_core::StreamName;
use gesta_wire::schema::{between, named};
use gesta_wire::{kinds, parked_page_json, write_held};

use super::{Dealt, GroupPath, group, of_group};
use crate::answer;
use crate::state::Shared;

/// Parked streams in a page without `limit`, and the most.
const PARKED_DEFAULT: NonZeroU32 = NonZeroU32::new(100).expect("it is not zero");
const PARKED_MAX: u32 = 1_024;
/// Held events in an answer without `limit`, and the most.
const HELD_DEFAULT: NonZeroU32 = NonZeroU32::new(32).expect("it is not zero");
const HELD_MAX: u32 = 1_000;

/// One page of parked streams, by name.
pub(super) async fn list(
    State(shared): State<Arc<Shared>>,
    Dealt(groups): Dealt,
    GroupPath(group): GroupPath,
    uri: Uri,
    mut params: Params,
) -> Result<Response, Problem> {
    let after = params.read::<StreamName>("after")?;
    let limit = limit(&mut params, PARKED_DEFAULT, PARKED_MAX)?;
    params.finish()?;
    let parked = groups.parked(group, after, limit).await?;
    let is_full = parked.len() >= limit.get() as usize;
    let next = parked.last().filter(|_| is_full);
    let next = next.map(|last| next_address(&uri, "after", last.stream.as_str()));
    answer::json_value(&shared, &parked_page_json(&parked, next.as_deref()))
}

/// A parked stream, and the first events that it holds back.
pub(super) async fn held(
    State(shared): State<Arc<Shared>>,
    Dealt(groups): Dealt,
    Path((name, stream)): Path<(String, String)>,
    mut params: Params,
) -> Result<Response, Problem> {
    let (group, stream) = (group(&name)?, StreamName::new(stream)?);
    let limit = limit(&mut params, HELD_DEFAULT, HELD_MAX)?;
    params.finish()?;
    let held = groups.held(group.clone(), stream.clone(), limit).await?;
    let held = held.ok_or(ChangeError::NotParked { group, stream })?;
    let mut out = Vec::new();
    write_held(&held, &mut out);
    answer::json(&shared, out)
}

pub(super) fn list_operation() -> Operation {
    of_group("listParked", "list parked streams")
        .query("after", "The stream after which to go on.", named("StreamName"))
        .query("limit", "Streams in the page; the default is 100.", between(1, PARKED_MAX.into()))
        .json(200, "A page of parked streams, by name.", named("ParkedPage"))
        .problems(kinds::OF_CHANGES_OF_GROUPS)
        .problems(kinds::OF_READS)
}

pub(super) fn held_operation() -> Operation {
    of_group("getParked", "a parked stream and the events that it holds back")
        .path("stream", "The stream.", named("StreamName"))
        .query("limit", "Events; the default is 32.", between(1, HELD_MAX.into()))
        .json(200, "The stream with its first events.", named("Held"))
        .problems(kinds::OF_CHANGES_OF_GROUPS)
        .problems(kinds::OF_READS)
}

fn limit(params: &mut Params, default: NonZeroU32, max: u32) -> Result<NonZeroU32, Problem> {
    let Some(given) = params.read::<u32>("limit")? else { return Ok(default) };
    let limit = NonZeroU32::new(given).filter(|limit| limit.get() <= max);
    limit.ok_or_else(|| Problem::invalid(format!("parameter `limit` is {given}: give 1 to {max}")))
}
