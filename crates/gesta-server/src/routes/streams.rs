//! `GET /streams`: lists the streams of a category, or all.

use std::num::NonZeroU32;
use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::Uri;
use gesta_core::{ListToken, Listing};
use serde_json::{Value, json};

use crate::limits::PAGE_EVENTS_MAX;
use crate::routes::events::page_limit;
use crate::state::Shared;
use gesta::http::{Params, Problem, next_address};

/// One page of streams, each with its version, and the address of the next page.
pub(super) async fn list(
    State(shared): State<Arc<Shared>>,
    uri: Uri,
    mut params: Params,
) -> Result<Json<Value>, Problem> {
    let category = params.read("category")?;
    let after = params.one("after")?.map(|token| ListToken(token.into()));
    let limit = page_limit(&mut params)?.unwrap_or(LISTED_DEFAULT);
    params.finish()?;
    let page = shared.store.streams(Listing { category, after, limit }).await?;
    let streams = page.streams.iter().map(|stream| {
        json!({
            "stream": stream.name.as_str(),
            "category": stream.name.category().as_str(),
            "version": stream.version.get(),
        })
    });
    let next = page.next.map(|token| next_address(&uri, "after", &token.0));
    Ok(Json(json!({"streams": streams.collect::<Value>(), "next": next})))
}

/// Streams in a page without `limit`.
const LISTED_DEFAULT: NonZeroU32 = NonZeroU32::new(1_000).expect("it is not zero");
const _: () = assert!(LISTED_DEFAULT.get() <= PAGE_EVENTS_MAX);
