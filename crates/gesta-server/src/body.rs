//! Request bodies: bounded before they are buffered, then read as JSON with the place of what is wrong.

use std::sync::Arc;

use axum::body::{Body, BodyDataStream};
use axum::extract::{FromRequest, Request};
use axum::http::{HeaderMap, StatusCode, header};
use bytes::{Bytes, BytesMut};
use futures_util::StreamExt;
use gesta_core::Retry;
use serde::Deserialize;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

use crate::state::Shared;
use gesta::http::{Problem, explain_json};

/// A request body in memory, and its share of the server's budget for bodies.
pub(crate) struct RequestBody {
    pub(crate) bytes: Bytes,
    _budget: Option<OwnedSemaphorePermit>,
}

impl FromRequest<Arc<Shared>> for RequestBody {
    type Rejection = Problem;

    async fn from_request(request: Request, shared: &Arc<Shared>) -> Result<Self, Problem> {
        let (parts, body) = request.into_parts();
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

/// Takes the body in chunk by chunk. Memory grows with what has arrived, never with what a header promises.
async fn collect(
    body: Body,
    headers: &HeaderMap,
    limit: usize,
    budget: &Arc<Semaphore>,
) -> Result<RequestBody, Problem> {
    let mut chunks = body.into_data_stream();
    // Most bodies arrive at once, and stay where they are.
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

/// Lets go of what still comes, so that a client which sends before it listens hears why it was refused, unless it
/// waits for leave to send, or sends far too much.
async fn refuse_stream(mut chunks: BodyDataStream, headers: &HeaderMap, limit: usize) -> Problem {
    let mut left = limit.saturating_mul(4);
    while !headers.contains_key(header::EXPECT)
        && left > 0
        && let Some(Ok(chunk)) = chunks.next().await
    {
        left = left.saturating_sub(chunk.len());
    }
    let detail = format!("the body is longer than {limit} bytes, which is the most this server takes");
    Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "too-large", "Something is beyond a limit", detail)
        .with("limit", limit)
}

fn too_slow() -> Problem {
    let detail = "the body took too long to arrive: send it in smaller parts";
    Problem::new(StatusCode::REQUEST_TIMEOUT, "too-slow", "The request took too long", detail)
}

fn overloaded() -> Problem {
    let detail = "too many request bodies are held at once: send the request again after a pause";
    Problem::new(StatusCode::SERVICE_UNAVAILABLE, "overloaded", "Too much is waiting already", detail)
        .retry(Retry::AfterPause)
}

/// The media type of a request's body, in lower case and without parameters; empty if it names none.
pub(crate) fn content_type(headers: &HeaderMap) -> String {
    let value = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or("");
    value.split(';').next().unwrap_or("").trim().to_ascii_lowercase()
}

/// Refuses a body whose media type is none of those.
pub(crate) fn unsupported_type(given: &str, taken: &[&str]) -> Problem {
    let taken = taken.join("`, `");
    let detail = match given {
        "" => format!("the request has no content type: send `{taken}`"),
        given => format!("the content type `{given}` is not understood here: send `{taken}`"),
    };
    Problem::new(
        StatusCode::UNSUPPORTED_MEDIA_TYPE,
        "unsupported-type",
        "The content type is not understood",
        detail,
    )
}

/// Refuses a body whose media type is not JSON.
pub(crate) fn want_json(headers: &HeaderMap) -> Result<(), Problem> {
    match content_type(headers).as_str() {
        "application/json" => Ok(()),
        other => Err(unsupported_type(other, &["application/json"])),
    }
}

/// Reads JSON; what is wrong is named with its line and column. `wanted` says what to send to those who send nothing.
pub(crate) fn read_json<'a, T: Deserialize<'a>>(bytes: &'a [u8], wanted: &str) -> Result<T, Problem> {
    serde_json::from_slice(bytes).map_err(|error| {
        let detail = match bytes.trim_ascii() {
            [] => format!("the body is empty: send {wanted} as JSON"),
            _ => explain_json(&error),
        };
        let title = "The body is not the JSON that is expected";
        Problem::new(StatusCode::BAD_REQUEST, "invalid-json", title, detail)
            .with("line", error.line())
            .with("column", error.column())
    })
}
