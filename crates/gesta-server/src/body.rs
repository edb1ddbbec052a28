//! Request bodies: bounded before they are buffered, then read as JSON. Errors name line and column.

use std::sync::Arc;

use axum::body::{Body, BodyDataStream};
use axum::extract::{FromRequest, Request};
use axum::http::{HeaderMap, header};
use bytes::{Bytes, BytesMut};
use futures_util::StreamExt;
use gesta_core::Retry;
use gesta_wire::{kinds, limit_exceeded};
use serde::Deserialize;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

use crate::state::Shared;
use gesta::http::{Problem, explain_json, media_type, refuse_encoded, unsupported_type};

/// A request body in memory, and its share of the server's budget for bodies.
pub(crate) struct RequestBody {
    pub(crate) bytes: Bytes,
    _budget: Option<OwnedSemaphorePermit>,
}

impl FromRequest<Arc<Shared>> for RequestBody {
    type Rejection = Problem;

    async fn from_request(request: Request, shared: &Arc<Shared>) -> Result<Self, Problem> {
        let (parts, body) = request.into_parts();
        refuse_encoded(&parts.headers)?;
        let limit = shared.limits.body_bytes_max;
        let reading = async {
            if content_length(&parts.headers).is_some_and(|length| length > limit as u64) {
                return Err(refuse(body, &parts.headers, limit).await);
            }
            collect(body, &parts.headers, limit, &shared.body_budget).await
        };
        timeout(shared.limits.body_time_max, reading).await.unwrap_or_else(|_| Err(too_slow()))
    }
}

fn content_length(headers: &HeaderMap) -> Option<u64> {
    headers.get(header::CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

/// Reads the body chunk by chunk. Memory grows with the bytes that arrive, never with the length that a header promises.
async fn collect(
    body: Body,
    headers: &HeaderMap,
    limit: usize,
    budget: &Arc<Semaphore>,
) -> Result<RequestBody, Problem> {
    let mut chunks = body.into_data_stream();
    // Most bodies arrive in one chunk, which is not copied.
    let (mut first, mut joined) = (Bytes::new(), BytesMut::new());
    let mut held: Option<OwnedSemaphorePermit> = None;
    while let Some(chunk) = chunks.next().await {
        let chunk = chunk.map_err(|error| Problem::invalid(format!("the body broke off: {error}")))?;
        if first.len() + joined.len() + chunk.len() > limit {
            drop((first, joined));
            return Err(refuse_stream(chunks, headers, limit).await);
        }
        let permits = u32::try_from(chunk.len()).unwrap_or(u32::MAX);
        let permit = Arc::clone(budget).try_acquire_many_owned(permits).map_err(|_| overloaded())?;
        match &mut held {
            Some(held) => held.merge(permit),
            None => held = Some(permit),
        }
        if first.is_empty() && joined.is_empty() {
            first = chunk;
            continue;
        }
        if joined.is_empty() {
            joined = std::mem::take(&mut first).into();
        }
        joined.extend_from_slice(&chunk);
    }
    let bytes = if joined.is_empty() { first } else { joined.freeze() };
    Ok(RequestBody { bytes, _budget: held })
}

async fn refuse(body: Body, headers: &HeaderMap, limit: usize) -> Problem {
    refuse_stream(body.into_data_stream(), headers, limit).await
}

/// Reads and drops the rest of the body, so that a client that sends all of it before it listens gets the answer. Not for a client
/// that waits for `100 Continue`, nor beyond four times the limit.
async fn refuse_stream(mut chunks: BodyDataStream, headers: &HeaderMap, limit: usize) -> Problem {
    let mut left = limit.saturating_mul(4);
    while !headers.contains_key(header::EXPECT)
        && left > 0
        && let Some(Ok(chunk)) = chunks.next().await
    {
        left = left.saturating_sub(chunk.len());
    }
    let detail = format!("the body is longer than {limit} bytes, the limit of this server");
    Problem::of(kinds::TOO_LARGE, detail).with("limit", limit)
}

fn too_slow() -> Problem {
    let detail = "the body did not arrive in time: send it in smaller parts";
    Problem::of(kinds::TOO_SLOW, detail)
}

fn overloaded() -> Problem {
    let detail = "too many request bodies are being read: send the request again after a pause";
    Problem::of(kinds::OVERLOADED, detail).retry(Retry::AfterPause)
}

/// Refuses a body whose media type is not JSON.
pub(crate) fn want_json(headers: &HeaderMap) -> Result<(), Problem> {
    match media_type(headers)?.as_str() {
        "application/json" => Ok(()),
        other => Err(unsupported_type(other, &["application/json"])),
    }
}

/// Reads JSON. The error names line and column; `wanted` describes what an empty body should have been. A list beyond its limit is
/// `too-large`.
pub(crate) fn read_json<'a, T: Deserialize<'a>>(bytes: &'a [u8], wanted: &str) -> Result<T, Problem> {
    serde_json::from_slice(bytes).map_err(|error| {
        if let Some(limit) = limit_exceeded(&error) {
            return Problem::of(kinds::TOO_LARGE, explain_json(&error)).with("limit", limit);
        }
        let detail = match bytes.trim_ascii() {
            [] => format!("the body is empty: send {wanted} as JSON"),
            _ => explain_json(&error),
        };
        Problem::of(kinds::INVALID_JSON, detail).with("line", error.line()).with("column", error.column())
    })
}
