//! `GET /streams`: lists the streams of a category, or all.

use std::num::NonZeroU32;
use std::sync::Arc;

use axum::extract::State;
use axum::http::Uri;
use axum::response::Response;
use gesta_core::{ListToken, Listing};
use gesta_wire::schema::{between, named, text};
use gesta_wire::{kinds, streams_json};

use crate::answer;
use crate::limits::PAGE_EVENTS_MAX;
use crate::routes::page_limit::events_in_bounds;
use crate::state::Shared;
use gesta::http::api::Operation;
use gesta::http::{Params, Problem, next_address};

/// One page of streams, each with its version, and the address of the next page.
pub(super) async fn list(
    State(shared): State<Arc<Shared>>,
    uri: Uri,
    mut params: Params,
) -> Result<Response, Problem> {
    let category = params.read("category")?;
    let after = params.one("after")?.map(|token| ListToken(token.into()));
    let limit = params.read("limit")?.map(events_in_bounds).transpose()?.unwrap_or(LISTED_DEFAULT);
    params.finish()?;
    let page = shared.store.streams(Listing { category, after, limit }).await?;
    let next = page.next.map(|token| next_address(&uri, "after", &token.0));
    answer::json_value(&shared, &streams_json(&page.streams, next.as_deref()))
}

pub(super) fn operation() -> Operation {
    Operation::new("listStreams", "list streams")
        .tag("events")
        .query("category", "Streams of this category.", named("Category"))
        .query("after", "The place after which to go on, from `next`.", text())
        .query("limit", "Streams in the page; the default is 1,000.", between(1, PAGE_EVENTS_MAX.into()))
        .json(200, "A page of streams, in no particular order.", named("Streams"))
        .problems(&[kinds::INVALID_NAME])
        .problems(kinds::OF_READS)
}

/// Streams in a page without `limit`.
const LISTED_DEFAULT: NonZeroU32 = NonZeroU32::new(1_000).expect("it is not zero");
const _: () = assert!(LISTED_DEFAULT.get() <= PAGE_EVENTS_MAX);
