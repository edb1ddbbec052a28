//! The body of `POST /batches`: events, expectations, conditions and the command key, written and read.

use std::borrow::Cow;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use gesta_core::{
    BATCH_CONDITIONS_MAX, BATCH_EVENTS_MAX, BATCH_EXPECTATIONS_MAX, Batch, COMMAND_KEY_BYTES_MAX,
    CheckpointParseError, CommandKey, Condition, EventIdParseError, Expected, NameError, StreamName, Version,
};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::capped::Capped;
use crate::event::{EventJson, write_new_event};
use crate::query::{QueryJson, QueryJsonError};
use crate::scalar::{expected_from_text, expected_json};
use crate::schema::{about, list_up_to, named, nullable, request};

/// A batch in JSON, borrowed from its text.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BatchJson<'a> {
    #[serde(borrow)]
    events: Capped<EventJson<'a>, BATCH_EVENTS_MAX>,
    #[serde(borrow, default)]
    expect: Capped<ExpectationJson<'a>, BATCH_EXPECTATIONS_MAX>,
    #[serde(borrow, default)]
    conditions: Capped<ConditionJson<'a>, BATCH_CONDITIONS_MAX>,
    #[serde(borrow, default)]
    command: Option<CommandJson<'a>>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct ExpectationJson<'a> {
    #[serde(borrow)]
    stream: Cow<'a, str>,
    #[serde(borrow)]
    version: VersionJson<'a>,
}

/// A version, a word for one, or the version and id of an event.
#[derive(Debug, Deserialize)]
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
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct LastEventJson<'a> {
    version: u64,
    #[serde(borrow)]
    id: Cow<'a, str>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct ConditionJson<'a> {
    #[serde(borrow)]
    fail_if_any: QueryJson<'a>,
    #[serde(borrow, default)]
    after: Option<Cow<'a, str>>,
}

/// A command key in JSON: the key as base64, the request's SHA-256 as 64 hexadecimal digits.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CommandJson<'a> {
    #[serde(borrow)]
    key: Cow<'a, str>,
    #[serde(borrow)]
    request: Cow<'a, str>,
}

/// Why JSON of the right shape is not a part of a batch.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BatchJsonError {
    /// A name is malformed.
    #[error(transparent)]
    Name(#[from] NameError),
    /// An id is not a UUID.
    #[error(transparent)]
    Id(#[from] EventIdParseError),
    /// The `after` of a condition is not a checkpoint.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointParseError),
    /// The query of a condition is malformed.
    #[error(transparent)]
    Query(#[from] QueryJsonError),
    /// An expected version is malformed.
    #[error("the expected version of `{stream}` is not `any`, `none`, `exists` or a version")]
    Expected {
        /// The stream.
        stream: StreamName,
    },
    /// The command key is malformed.
    #[error("`{member}` of the command is not {expected}")]
    Command {
        /// The member.
        member: &'static str,
        /// The form that it must have.
        expected: &'static str,
    },
}

impl<'a> BatchJson<'a> {
    /// The events, to be read one by one.
    #[must_use]
    pub fn events(&self) -> &[EventJson<'a>] {
        &self.events.0
    }

    /// The expectations.
    ///
    /// # Errors
    /// [`BatchJsonError`] names the fault.
    pub fn expectations(&self) -> Result<Vec<(StreamName, Expected)>, BatchJsonError> {
        self.expect.0.iter().map(ExpectationJson::read).collect()
    }

    /// The conditions.
    ///
    /// # Errors
    /// [`BatchJsonError`] names the fault.
    pub fn conditions(&self) -> Result<Vec<Condition>, BatchJsonError> {
        self.conditions.0.iter().map(ConditionJson::read).collect()
    }

    /// The command key, if the batch has one.
    ///
    /// # Errors
    /// [`BatchJsonError::Command`].
    pub fn command(&self) -> Result<Option<CommandKey>, BatchJsonError> {
        self.command.as_ref().map(CommandJson::read).transpose()
    }
}

impl ExpectationJson<'_> {
    fn read(&self) -> Result<(StreamName, Expected), BatchJsonError> {
        let stream = StreamName::new(&self.stream)?;
        let expected = match &self.version {
            VersionJson::Number(version) => Some(Expected::Exactly(Version::new(*version))),
            VersionJson::Word(word) => expected_from_text(word),
            VersionJson::Event(LastEventJson { version, id }) => {
                Some(Expected::Event { version: Version::new(*version), id: id.parse()? })
            }
        };
        match expected {
            Some(expected) => Ok((stream, expected)),
            None => Err(BatchJsonError::Expected { stream }),
        }
    }
}

impl ConditionJson<'_> {
    fn read(&self) -> Result<Condition, BatchJsonError> {
        let after = self.after.as_deref().map(|token| token.parse()).transpose()?;
        Ok(Condition { fail_if_any: self.fail_if_any.to_query()?, after })
    }
}

impl CommandJson<'_> {
    /// The command key.
    ///
    /// # Errors
    /// [`BatchJsonError::Command`] if the key is not base64 or the request is not 64 hexadecimal digits.
    pub fn read(&self) -> Result<CommandKey, BatchJsonError> {
        let wrong = |member, expected| BatchJsonError::Command { member, expected };
        let key = BASE64_STANDARD.decode(&*self.key).map_err(|_| wrong("key", "base64"))?;
        let request = from_hex(&self.request).ok_or_else(|| wrong("request", "64 hexadecimal digits"))?;
        Ok(CommandKey { key: key.into(), request })
    }
}

/// The body of `POST /batches/repeat`, borrowed from its text.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RepeatJson<'a> {
    /// The command key.
    #[serde(borrow)]
    pub command: CommandJson<'a>,
    /// A stream that the command would write to.
    #[serde(borrow)]
    pub near: Cow<'a, str>,
}

/// Returns the body of `POST /batches/repeat`.
#[must_use]
pub fn repeat_request_json(command: &CommandKey, near: &StreamName) -> Value {
    json!({"command": command_json(command), "near": near.as_str()})
}

pub(crate) fn repeat_request_schema() -> Value {
    let near = about(named("StreamName"), "A stream that the command would write to.");
    request(vec![("command", named("CommandKey")), ("near", near)])
}

/// Returns the JSON of a command key.
#[must_use]
pub fn command_json(command: &CommandKey) -> Value {
    let request = command.request.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    json!({"key": BASE64_STANDARD.encode(&command.key), "request": request})
}

pub(crate) fn command_schema() -> Value {
    let key =
        json!({"type": "string", "contentEncoding": "base64", "pattern": BASE64_PATTERN, "minLength": 4});
    let request_hash = json!({"type": "string", "pattern": "^[0-9a-fA-F]{64}$"});
    request(vec![
        ("key", about(key, &format!("1 to {COMMAND_KEY_BYTES_MAX} bytes as base64."))),
        ("request", about(request_hash, "The SHA-256 of the request.")),
    ])
}

/// Base64 with padding.
pub(crate) const BASE64_PATTERN: &str =
    "^(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/][AQgw]==|[A-Za-z0-9+/]{2}[AEIMQUYcgkosw048]=)?$";

fn from_hex(text: &str) -> Option<[u8; 32]> {
    if text.len() != 64 || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return None;
    }
    let mut bytes = [0; 32];
    for (at, byte) in bytes.iter_mut().enumerate() {
        *byte = u8::from_str_radix(text.get(2 * at..2 * at + 2)?, 16).ok()?;
    }
    Some(bytes)
}

pub(crate) fn batch_schema() -> Value {
    let expectation = request(vec![("stream", named("StreamName")), ("version", named("Expected"))]);
    let mut events = list_up_to(BATCH_EVENTS_MAX, named("NewEventOfStream"));
    events["minItems"] = 1.into();
    request(vec![
        ("events", events),
        ("expect?", list_up_to(BATCH_EXPECTATIONS_MAX, expectation)),
        ("conditions?", list_up_to(BATCH_CONDITIONS_MAX, named("Condition"))),
        ("command?", nullable(named("CommandKey"))),
    ])
}

pub(crate) fn condition_schema() -> Value {
    let after = about(
        nullable(named("Checkpoint")),
        "`scannedTo` of the read that the batch was decided by; `null` is the whole log.",
    );
    let condition = request(vec![("failIfAny", named("Query")), ("after?", after)]);
    about(condition, "It fails if an event after the checkpoint matches the query.")
}

/// Returns the JSON of a batch.
#[must_use]
pub fn batch_json(batch: &Batch) -> Vec<u8> {
    let mut out = b"{\"events\":[".to_vec();
    for (at, event) in batch.events.iter().enumerate() {
        if at > 0 {
            out.push(b',');
        }
        write_new_event(&event.to_bytes(), &mut out);
    }
    out.push(b']');
    let expect = batch.expect.iter();
    let expect = expect
        .map(|(stream, expected)| json!({"stream": stream.as_str(), "version": expected_json(*expected)}));
    let conditions = batch.conditions.iter().map(|condition| {
        let after = condition.after.as_ref().map(ToString::to_string);
        json!({"failIfAny": QueryJson::of(&condition.fail_if_any), "after": after})
    });
    for (name, list) in [("expect", expect.collect::<Value>()), ("conditions", conditions.collect())] {
        if list.as_array().is_some_and(|list| !list.is_empty()) {
            out.extend_from_slice(format!(",\"{name}\":{list}").as_bytes());
        }
    }
    if let Some(command) = &batch.command {
        out.extend_from_slice(format!(",\"command\":{}", command_json(command)).as_bytes());
    }
    out.push(b'}');
    out
}
