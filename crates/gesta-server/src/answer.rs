//! Large answers, sent piece by piece. The bytes that a slow client holds in memory are counted until it has taken them.

use std::convert::Infallible;
use std::sync::Arc;

use axum::body::Body;
use axum::http::{HeaderValue, header};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use futures_util::stream;
use gesta::http::Problem;
use gesta_core::Retry;
use gesta_wire::kinds;
use serde_json::Value;
use tokio::sync::OwnedSemaphorePermit;

use crate::state::Shared;

/// Bytes in a piece. A connection buffers a few pieces and takes the next when it has written one.
const PIECE_BYTES: usize = 64 * 1024;

/// An answer in JSON.
pub(crate) fn json(shared: &Shared, body: Vec<u8>) -> Result<Response, Problem> {
    typed(shared, "application/json", body)
}

/// An answer that is a JSON value.
pub(crate) fn json_value(shared: &Shared, value: &Value) -> Result<Response, Problem> {
    json(shared, serde_json::to_vec(value).expect("a value can be written as JSON"))
}

/// An answer of another media type.
pub(crate) fn typed(shared: &Shared, media_type: &'static str, body: Vec<u8>) -> Result<Response, Problem> {
    let body = held(shared, body.into())?;
    Ok(([(header::CONTENT_TYPE, media_type)], body).into_response())
}

/// A body. One longer than a piece holds a share of the server's budget for answers until all of it is sent.
pub(crate) fn held(shared: &Shared, bytes: Bytes) -> Result<Response, Problem> {
    if bytes.len() <= PIECE_BYTES {
        return Ok(Body::from(bytes).into_response());
    }
    let length = bytes.len();
    let permits = u32::try_from(length).unwrap_or(u32::MAX);
    let budget = Arc::clone(&shared.answer_budget).try_acquire_many_owned(permits);
    let rest = (bytes, budget.map_err(|_| overloaded())?);
    let body = Body::from_stream(stream::unfold(rest, |rest| async { next_piece(rest) }));
    Ok(([(header::CONTENT_LENGTH, HeaderValue::from(length))], body).into_response())
}

type Rest = (Bytes, OwnedSemaphorePermit);

fn next_piece((mut bytes, budget): Rest) -> Option<(Result<Bytes, Infallible>, Rest)> {
    let piece = bytes.split_to(PIECE_BYTES.min(bytes.len()));
    (!piece.is_empty()).then_some((Ok(piece), (bytes, budget)))
}

fn overloaded() -> Problem {
    let detail = "too many large answers are waiting for their clients: ask again after a pause, or for a smaller page";
    Problem::of(kinds::OVERLOADED, detail).retry(Retry::AfterPause)
}
