//! Small answers, written and read: checkpoints, streams, and the error of an answer that is not as this crate writes it.

use gesta_core::{Checkpoint, ListToken, StreamInfo, StreamPage, Version};
use percent_encoding::percent_decode_str;
use serde_json::{Value, json};

use crate::event::EventJsonError;
use crate::schema::{self, about, named, nullable, text};

/// The answer of a server is not in the form of this protocol.
#[derive(Debug, thiserror::Error)]
pub enum AnswerError {
    /// It is not JSON of the expected shape.
    #[error("the answer is not the JSON that this route gives")]
    Json(#[from] serde_json::Error),
    /// A member is missing or malformed.
    #[error("the member `{member}` of the answer is missing or malformed")]
    Member {
        /// The member.
        member: &'static str,
    },
    /// An event of the answer is malformed.
    #[error("event {index} of the answer is malformed")]
    Event {
        /// The index of the event in the answer, from 0.
        index: usize,
        /// The fault.
        source: EventJsonError,
    },
}

/// Returns the JSON of a checkpoint as an answer.
#[must_use]
pub fn checkpoint_json(checkpoint: &Checkpoint) -> Value {
    json!({"checkpoint": checkpoint.to_string()})
}

pub(crate) fn checkpoint_schema() -> Value {
    schema::answer(vec![("checkpoint", named("Checkpoint"))])
}

/// Reads a checkpoint.
///
/// # Errors
/// [`AnswerError`] if the answer is not what [`checkpoint_json`] writes.
pub fn read_checkpoint(bytes: &[u8]) -> Result<Checkpoint, AnswerError> {
    checkpoint(&parse(bytes)?, "checkpoint")
}

/// Returns the JSON of a page of streams. `next` is the address of the next page.
#[must_use]
pub fn streams_json(streams: &[StreamInfo], next: Option<&str>) -> Value {
    let streams = streams.iter().map(|stream| {
        json!({
            "stream": stream.name.as_str(),
            "category": stream.name.category().as_str(),
            "version": stream.version.get(),
        })
    });
    json!({"streams": streams.collect::<Value>(), "next": next})
}

pub(crate) fn streams_schema() -> Value {
    let stream = schema::answer(vec![
        ("stream", named("StreamName")),
        ("category", named("Category")),
        ("version", named("Version")),
    ]);
    let next = nullable(about(text(), "The address of the next page."));
    schema::answer(vec![("streams", schema::list(stream)), ("next", next)])
}

/// Reads a page of streams. The token of the next page is the parameter `after` of its address.
///
/// # Errors
/// [`AnswerError`] if the answer is not what [`streams_json`] writes.
pub fn read_streams(bytes: &[u8]) -> Result<StreamPage, AnswerError> {
    let answer = parse(bytes)?;
    let info = |stream: &Value| {
        let name = stream["stream"].as_str()?.parse().ok()?;
        Some(StreamInfo::new(name, Version::new(stream["version"].as_u64()?)))
    };
    let streams = list(&answer, "streams")?.iter().map(info).collect::<Option<_>>();
    let next = match &answer["next"] {
        Value::Null => None,
        address => {
            let token = address.as_str().and_then(list_token);
            Some(token.ok_or(AnswerError::Member { member: "next" })?)
        }
    };
    Ok(StreamPage { streams: streams.ok_or(AnswerError::Member { member: "streams" })?, next })
}

fn list_token(address: &str) -> Option<ListToken> {
    let (_, parameters) = address.split_once('?')?;
    let token = parameters.split('&').find_map(|pair| pair.strip_prefix("after="))?;
    let token = percent_decode_str(token).decode_utf8().ok()?;
    Some(ListToken(token.into()))
}

pub(crate) fn parse(bytes: &[u8]) -> Result<Value, AnswerError> {
    Ok(serde_json::from_slice(bytes)?)
}

pub(crate) fn checkpoint(answer: &Value, member: &'static str) -> Result<Checkpoint, AnswerError> {
    let token = answer[member].as_str().and_then(|token| token.parse().ok());
    token.ok_or(AnswerError::Member { member })
}

pub(crate) fn list<'a>(answer: &'a Value, member: &'static str) -> Result<&'a Vec<Value>, AnswerError> {
    answer[member].as_array().ok_or(AnswerError::Member { member })
}
