//! What operators ask of a group, and the answers.

use std::borrow::Cow;

use gesta_consumer::group::{GroupName, Reset, SettingsVersion, To};
use gesta_core::{Place, StreamName, Version};
use serde::Deserialize;
use serde_json::{Value, json};

use super::GroupJsonError;
use super::settings::place;
use crate::answer::{AnswerError, checkpoint, parse};
use crate::capped::Capped;
use crate::schema::{self, about, answer, list_up_to, named, one_of, request, text};
use crate::time::{format_time, parse_time};

/// Streams that one request replays. A group parks no more.
const STREAMS_MAX: usize = 1_024;

/// Returns the answer to a change of a group's settings.
#[must_use]
pub fn put_group_json(group: &GroupName, version: SettingsVersion) -> Value {
    json!({"group": group.as_str(), "settingsVersion": version.get()})
}

pub(crate) fn put_group_schema() -> Value {
    answer(vec![("group", text()), ("settingsVersion", schema::count())])
}

/// Reads the version of the settings after a change.
///
/// # Errors
/// [`AnswerError`] if the answer is not what [`put_group_json`] writes.
pub fn read_put_group(bytes: &[u8]) -> Result<SettingsVersion, AnswerError> {
    Ok(SettingsVersion::new(count(bytes, "settingsVersion")?))
}

/// The body of `POST /groups/{group}/parked/replay`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ReplayJson<'a> {
    #[serde(borrow, default)]
    streams: Option<Capped<Cow<'a, str>, STREAMS_MAX>>,
    #[serde(default)]
    all: bool,
}

impl ReplayJson<'_> {
    /// The streams; none means all.
    ///
    /// # Errors
    /// [`GroupJsonError`] for a malformed name, and unless there is exactly one of the two members. An empty list is refused: it never
    /// means all by accident.
    pub fn streams(&self) -> Result<Vec<StreamName>, GroupJsonError> {
        match &self.streams {
            None if self.all => Ok(Vec::new()),
            Some(streams) if !streams.0.is_empty() && !self.all => {
                Ok(streams.0.iter().map(|stream| stream.parse()).collect::<Result<_, _>>()?)
            }
            _ => {
                let rule = "name the `streams` to replay, at least one, or give `\"all\": true`";
                Err(GroupJsonError::Members { rule })
            }
        }
    }
}

/// Returns the body that replays streams; all of them if the list is empty.
#[must_use]
pub fn replay_json(streams: &[StreamName]) -> Value {
    match streams {
        [] => json!({"all": true}),
        streams => json!({"streams": streams.iter().map(StreamName::as_str).collect::<Vec<_>>()}),
    }
}

pub(crate) fn replay_schema() -> Value {
    let mut streams = list_up_to(STREAMS_MAX, named("StreamName"));
    streams["minItems"] = 1.into();
    let mut some = request(vec![("streams", streams), ("all?", json!({"const": false}))]);
    some["title"] = "Some streams".into();
    let mut all = request(vec![("all", json!({"const": true})), ("streams?", json!({"type": "null"}))]);
    all["title"] = "All streams".into();
    json!({"oneOf": [some, all]})
}

pub(crate) fn replayed_schema() -> Value {
    answer(vec![("replayed", schema::count())])
}

/// Returns the answer to a replay.
#[must_use]
pub fn replayed_json(replayed: u32) -> Value {
    json!({"replayed": replayed})
}

/// Reads how many streams were replayed.
///
/// # Errors
/// [`AnswerError`] if the answer is not what [`replayed_json`] writes.
pub fn read_replayed(bytes: &[u8]) -> Result<u32, AnswerError> {
    narrow(count(bytes, "replayed")?, "replayed")
}

/// The body of `POST /groups/{group}/parked/skip`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SkipJson<'a> {
    #[serde(borrow)]
    stream: Cow<'a, str>,
    through: u64,
    #[serde(borrow)]
    reason: Cow<'a, str>,
}

impl SkipJson<'_> {
    /// The stream, the last version to skip, and the reason.
    ///
    /// # Errors
    /// [`GroupJsonError::Name`].
    pub fn parts(&self) -> Result<(StreamName, Version, String), GroupJsonError> {
        Ok((self.stream.parse()?, Version::new(self.through), self.reason.to_string()))
    }
}

pub(crate) fn skip_schema() -> Value {
    let through = about(named("Version"), "The last event to pass.");
    request(vec![("stream", named("StreamName")), ("through", through), ("reason", text())])
}

/// Returns the body that skips events.
#[must_use]
pub fn skip_json(stream: &StreamName, through: Version, reason: &str) -> Value {
    json!({"stream": stream.as_str(), "through": through.get(), "reason": reason})
}

/// The body of `POST /groups/{group}/reset`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ResetJson<'a> {
    #[serde(borrow)]
    to: ToJson<'a>,
}

#[derive(Debug, Deserialize)]
#[serde(untagged, expecting = "expected `\"start\"`, `\"now\"`, a checkpoint, or `{\"time\": \"…\"}`")]
enum ToJson<'a> {
    Named(#[serde(borrow)] Cow<'a, str>),
    Time(#[serde(borrow)] TimeJson<'a>),
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct TimeJson<'a> {
    #[serde(borrow)]
    time: Cow<'a, str>,
}

impl ResetJson<'_> {
    /// The place.
    ///
    /// # Errors
    /// [`GroupJsonError`] for a malformed checkpoint or time.
    pub fn to(&self) -> Result<To, GroupJsonError> {
        Ok(match &self.to {
            ToJson::Time(TimeJson { time }) => To::Time(parse_time(time)?),
            ToJson::Named(text) => match place("to", text)? {
                Place::Start => To::Start,
                Place::End => To::Now,
                Place::At(checkpoint) => To::At(checkpoint),
            },
        })
    }
}

pub(crate) fn reset_request_schema() -> Value {
    let time = request(vec![("time", named("Time"))]);
    let to = json!({"anyOf": [one_of(&["start", "now"]), named("Checkpoint"), time]});
    request(vec![("to", to)])
}

pub(crate) fn reset_schema() -> Value {
    answer(vec![("checkpoint", named("Checkpoint")), ("wereParked", schema::count())])
}

/// Returns the body that resets a group.
#[must_use]
pub fn reset_request_json(to: &To) -> Value {
    match to {
        To::Start => json!({"to": "start"}),
        To::Now => json!({"to": "now"}),
        To::At(checkpoint) => json!({"to": checkpoint.to_string()}),
        To::Time(time) => json!({"to": {"time": format_time(*time)}}),
    }
}

/// Returns the answer to a reset.
#[must_use]
pub fn reset_json(reset: &Reset) -> Value {
    json!({"checkpoint": reset.at.to_string(), "wereParked": reset.were_parked})
}

/// Reads the answer to a reset.
///
/// # Errors
/// [`AnswerError`] if the answer is not what [`reset_json`] writes.
pub fn read_reset(bytes: &[u8]) -> Result<Reset, AnswerError> {
    let at = checkpoint(&parse(bytes)?, "checkpoint")?;
    Ok(Reset { at, were_parked: narrow(count(bytes, "wereParked")?, "wereParked")? })
}

fn count(bytes: &[u8], member: &'static str) -> Result<u64, AnswerError> {
    parse(bytes)?[member].as_u64().ok_or(AnswerError::Member { member })
}

fn narrow(count: u64, member: &'static str) -> Result<u32, AnswerError> {
    count.try_into().map_err(|_| AnswerError::Member { member })
}
