//! Events in JSON. Data and metadata that are JSON are embedded as they are, so that their bytes come back the same.

use std::borrow::Cow;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use gesta_core::{
    ContentKind, EventBytes, EventId, EventIdParseError, EventType, NameError, NewEvent, RecordedEvent,
    StreamName, TAGS_MAX, Tag, Timestamp, Version,
};
use serde::de::Error as _;
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;
use serde_json::{Value, json};

use crate::batch::BASE64_PATTERN;
use crate::capped::Capped;
use crate::limits::JSON_DEPTH_MAX;
use crate::scalar::{position_from_json, position_json};
use crate::schema::{self, about, between, list_up_to, named, nullable, one_of, text};
use crate::surrogates::{HalfPair, check_surrogates};
use crate::text::{as_json, as_string, too_deep, write_shown, write_string};
use crate::time::{TimeError, format_time, parse_time};

/// An event in JSON, borrowed from its text: the body of an append (without `version`, `position` and `recordedAt`) and the answer
/// of a read.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase", remote = "Self")]
pub struct EventJson<'a> {
    #[serde(borrow, default)]
    id: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    stream: Option<Cow<'a, str>>,
    #[serde(borrow, rename = "type")]
    event_type: Cow<'a, str>,
    #[serde(default)]
    schema_version: Option<u16>,
    #[serde(borrow, default, deserialize_with = "present")]
    data: Option<&'a RawValue>,
    #[serde(borrow, default)]
    data_text: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    data_base64: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    kind: Option<Cow<'a, str>>,
    #[serde(borrow, default, deserialize_with = "present")]
    metadata: Option<&'a RawValue>,
    #[serde(borrow, default)]
    metadata_base64: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    tags: Capped<Cow<'a, str>, TAGS_MAX>,
    #[serde(borrow, default)]
    time: Option<Cow<'a, str>>,
    #[serde(default)]
    version: Option<u64>,
    #[serde(default)]
    position: Option<Value>,
    #[serde(borrow, default)]
    recorded_at: Option<Cow<'a, str>>,
}

/// The end of serde's list of known members: those that the store gives.
const GIVEN_AS_LISTED: &str = ", `version`, `position`, `recordedAt`";

impl<'de: 'a, 'a> Deserialize<'de> for EventJson<'a> {
    /// As derived, but the error for an unknown member lists only the members that may be sent.
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::deserialize(deserializer).map_err(|error| {
            let text = error.to_string();
            match text.contains(GIVEN_AS_LISTED) {
                true => D::Error::custom(text.replacen(GIVEN_AS_LISTED, "", 1)),
                false => error,
            }
        })
    }
}

/// A member that is there, also as `null`: `Option` alone reads `null` as absent.
fn present<'de: 'a, 'a, D: Deserializer<'de>>(deserializer: D) -> Result<Option<&'a RawValue>, D::Error> {
    <&RawValue>::deserialize(deserializer).map(Some)
}

/// Why a JSON object is not an event.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EventJsonError {
    /// A name is malformed.
    #[error(transparent)]
    Name(#[from] NameError),
    /// The id is not a UUID.
    #[error(transparent)]
    Id(#[from] EventIdParseError),
    /// A time is malformed or out of range.
    #[error(transparent)]
    Time(#[from] TimeError),
    /// A member is missing.
    #[error("the event has no `{member}`")]
    Missing {
        /// The member.
        member: &'static str,
    },
    /// The event has a member that the store gives.
    #[error("`{member}` is given by the store: leave it out")]
    Given {
        /// The member.
        member: &'static str,
    },
    /// Two members exclude each other.
    #[error("the event has more than one of {members}: give one")]
    Twice {
        /// The members.
        members: &'static str,
    },
    /// A member is malformed.
    #[error("`{member}` is not {expected}")]
    Form {
        /// The member.
        member: &'static str,
        /// The form that it must have.
        expected: &'static str,
    },
    /// The data or the metadata nests too deep.
    #[error(
        "the {member} nests {depth} levels deep: the limit is {JSON_DEPTH_MAX} levels, which common parsers read"
    )]
    TooDeep {
        /// The member.
        member: &'static str,
        /// Its depth.
        depth: usize,
    },
    /// The data or the metadata has half a surrogate pair.
    #[error("in `{member}` {half}")]
    HalfPair {
        /// The member.
        member: &'static str,
        /// The place in the text.
        half: HalfPair,
    },
}

impl<'a> EventJson<'a> {
    /// The stream that the event names, if it names one.
    #[must_use]
    pub fn stream(&self) -> Option<&str> {
        self.stream.as_deref()
    }

    /// The event to append. `source` is the text that it was read from: data and metadata share its bytes. `id` and `now` give the
    /// id and the time of an event without them.
    ///
    /// # Errors
    /// [`EventJsonError`] names the member that is wrong.
    pub fn to_new_event(
        &self,
        source: &Bytes,
        stream: StreamName,
        id: impl FnOnce() -> EventId,
        now: Timestamp,
    ) -> Result<NewEvent, EventJsonError> {
        let given = [
            ("version", self.version.is_some()),
            ("position", self.position.is_some()),
            ("recordedAt", self.recorded_at.is_some()),
        ];
        if let Some((member, _)) = given.into_iter().find(|(_, is_there)| *is_there) {
            return Err(EventJsonError::Given { member });
        }
        for (member, json) in [("data", self.data), ("metadata", self.metadata)] {
            json.map_or(Ok(()), |json| check_json(member, json.get(), source))?;
        }
        self.content(source, stream, id, now)
    }

    /// The event in the answer of a read.
    ///
    /// # Errors
    /// [`EventJsonError`] if the text is not what [`write_event`] writes.
    pub fn to_recorded(&self, source: &Bytes) -> Result<RecordedEvent, EventJsonError> {
        let missing = |member| EventJsonError::Missing { member };
        let stream = self.stream.as_deref().ok_or(missing("stream"))?.parse()?;
        let id = self.id.as_deref().ok_or(missing("id"))?.parse()?;
        let time = parse_time(self.time.as_deref().ok_or(missing("time"))?)?;
        let event = self.content(source, stream, || id, time)?;
        let position = self.position.as_ref().ok_or(missing("position"))?;
        let position = position_from_json(position)
            .ok_or(EventJsonError::Form { member: "position", expected: "a position" })?;
        let version = Version::new(self.version.ok_or(missing("version"))?);
        let recorded_at = parse_time(self.recorded_at.as_deref().ok_or(missing("recordedAt"))?)?;
        Ok(RecordedEvent::new(position, version, recorded_at, event.to_bytes()))
    }

    /// The members that an append and a read have in common.
    fn content(
        &self,
        source: &Bytes,
        stream: StreamName,
        id: impl FnOnce() -> EventId,
        now: Timestamp,
    ) -> Result<NewEvent, EventJsonError> {
        let (kind, data) = self.data(source)?;
        Ok(NewEvent {
            id: match &self.id {
                Some(text) => text.parse()?,
                None => id(),
            },
            stream,
            event_type: EventType::new(&self.event_type)?,
            schema_version: self.schema_version.unwrap_or(1),
            kind,
            data,
            metadata: self.metadata(source)?,
            tags: self.tags.0.iter().map(Tag::new).collect::<Result<_, _>>()?,
            time: self.time.as_deref().map_or(Ok(now), parse_time)?,
        })
    }

    fn data(&self, source: &Bytes) -> Result<(ContentKind, Bytes), EventJsonError> {
        match (self.data, &self.data_text, &self.data_base64) {
            (Some(json), None, None) => {
                if let Some(depth) = too_deep(json.get()) {
                    return Err(EventJsonError::TooDeep { member: "data", depth });
                }
                Ok((ContentKind::Json, source.slice_ref(json.get().as_bytes())))
            }
            (None, Some(text), None) => Ok((ContentKind::Text, Bytes::copy_from_slice(text.as_bytes()))),
            (None, None, Some(text)) => Ok((self.kind()?, from_base64("dataBase64", text)?)),
            (None, None, None) => Err(EventJsonError::Missing { member: "data" }),
            _ => Err(EventJsonError::Twice { members: "`data`, `dataText` and `dataBase64`" }),
        }
    }

    /// The kind of the bytes in `dataBase64`.
    fn kind(&self) -> Result<ContentKind, EventJsonError> {
        match self.kind.as_deref() {
            None | Some("octets") => Ok(ContentKind::Octets),
            Some("json") => Ok(ContentKind::Json),
            Some("text") => Ok(ContentKind::Text),
            Some(_) => Err(EventJsonError::Form { member: "kind", expected: "`json`, `text` or `octets`" }),
        }
    }

    fn metadata(&self, source: &Bytes) -> Result<Bytes, EventJsonError> {
        match (self.metadata, &self.metadata_base64) {
            (None, None) => Ok(Bytes::new()),
            (Some(json), None) => Ok(source.slice_ref(json.get().as_bytes())),
            (None, Some(text)) => from_base64("metadataBase64", text),
            _ => Err(EventJsonError::Twice { members: "`metadata` and `metadataBase64`" }),
        }
    }
}

/// Checks what every append requires of well-formed JSON: common parsers can read it. `source` is the text that contains `json`.
///
/// # Errors
/// [`EventJsonError::TooDeep`] and [`EventJsonError::HalfPair`]. They name the member, `data` or `metadata`.
pub fn check_json(member: &'static str, json: &str, source: &[u8]) -> Result<(), EventJsonError> {
    if let Some(depth) = too_deep(json) {
        return Err(EventJsonError::TooDeep { member, depth });
    }
    check_surrogates(json, source).map_err(|half| EventJsonError::HalfPair { member, half })
}

fn from_base64(member: &'static str, text: &str) -> Result<Bytes, EventJsonError> {
    let decoded = BASE64_STANDARD.decode(text);
    decoded.map(Bytes::from).map_err(|_| EventJsonError::Form { member, expected: "base64" })
}

/// Appends the JSON of a recorded event. JSON is written as `data`, text as `dataText`, and bytes as `dataBase64`. Data that JSON
/// cannot hold byte for byte is written as base64 with its `kind`, and so is text that escapes would make longer than base64.
pub fn write_event(event: &RecordedEvent, out: &mut Vec<u8>) {
    write_recorded(event, Breaks::AsStored, out);
}

/// Appends the JSON of a recorded event without a line break. JSON that has one is written as base64, so that it can be read back
/// byte for byte.
pub fn write_event_line(event: &RecordedEvent, out: &mut Vec<u8>) {
    write_recorded(event, Breaks::InBase64, out);
}

/// What becomes of stored JSON with line breaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Breaks {
    AsStored,
    InBase64,
}

impl Breaks {
    /// Whether JSON may be written as it is.
    fn allow(self, json: &RawValue) -> bool {
        self == Self::AsStored || !json.get().contains(['\n', '\r'])
    }
}

fn write_recorded(event: &RecordedEvent, breaks: Breaks, out: &mut Vec<u8>) {
    out.push(b'{');
    write_content(event, breaks, out);
    write_shown(
        &format_args!(",\"version\":{},\"position\":{}", event.version(), position_json(event.position())),
        out,
    );
    member("recordedAt", &format_time(event.recorded_at()), out);
    out.push(b'}');
}

/// Appends the JSON of an event that is to be appended.
pub fn write_new_event(event: &EventBytes, out: &mut Vec<u8>) {
    out.push(b'{');
    write_content(event, Breaks::AsStored, out);
    out.push(b'}');
}

fn write_content(event: &EventBytes, breaks: Breaks, out: &mut Vec<u8>) {
    write_shown(&format_args!("\"id\":\"{}\"", event.id()), out);
    member("stream", event.stream(), out);
    member("type", event.event_type(), out);
    write_shown(&format_args!(",\"schemaVersion\":{}", event.schema_version()), out);
    member("time", &format_time(event.time()), out);
    write_tags(event, out);
    write_data(event, breaks, out);
    let metadata = event.metadata_slice();
    if metadata.is_empty() {
        return;
    }
    match as_json(metadata).filter(|json| breaks.allow(json)) {
        Some(json) => raw_member("metadata", json, out),
        None => member("metadataBase64", &BASE64_STANDARD.encode(metadata), out),
    }
}

/// The members that an append may give and a read gives.
fn content() -> Vec<(&'static str, Value)> {
    let base64 = || json!({"type": "string", "contentEncoding": "base64", "pattern": BASE64_PATTERN});
    vec![
        ("type", named("EventType")),
        (
            "data?",
            json!({"description": format!("Any JSON, nested at most {JSON_DEPTH_MAX} levels deep. It is stored byte for byte.")}),
        ),
        ("dataText?", nullable(text())),
        ("dataBase64?", nullable(base64())),
        (
            "kind?",
            nullable(about(
                one_of(&["json", "text", "octets"]),
                "What the bytes in `dataBase64` are; `octets` if it is missing.",
            )),
        ),
        ("metadata?", json!({"description": "Any JSON. It is stored byte for byte."})),
        ("metadataBase64?", nullable(base64())),
        ("tags?", list_up_to(TAGS_MAX, named("Tag"))),
    ]
}

/// The event has its data in exactly one form.
fn with_data(mut object: Value) -> Value {
    let form = |name: &str, schema: Value| json!({"required": [name], "properties": {name: schema}});
    object["oneOf"] =
        json!([form("data", json!(true)), form("dataText", text()), form("dataBase64", text())]);
    object
}

fn new_event(stream: (&'static str, Value)) -> Value {
    let given = [
        stream,
        ("id?", nullable(about(named("EventId"), "By default the server makes one."))),
        ("schemaVersion?", nullable(about(between(0, u16::MAX.into()), "The default is 1."))),
        ("time?", nullable(about(named("Time"), "When it happened; the default is now."))),
    ];
    with_data(schema::request(given.into_iter().chain(content()).collect()))
}

pub(crate) fn new_event_schema() -> Value {
    new_event(("stream?", nullable(about(named("StreamName"), "The stream that the address names."))))
}

pub(crate) fn new_event_of_stream_schema() -> Value {
    new_event(("stream", named("StreamName")))
}

pub(crate) fn event_schema() -> Value {
    let given = [
        ("id", named("EventId")),
        ("stream", named("StreamName")),
        ("schemaVersion", between(0, u16::MAX.into())),
        ("time", named("Time")),
        ("version", named("Version")),
        ("position", named("Position")),
        ("recordedAt", named("Time")),
    ];
    with_data(schema::answer(given.into_iter().chain(content()).collect()))
}

fn write_tags(event: &EventBytes, out: &mut Vec<u8>) {
    let mut tags = event.tags().peekable();
    if tags.peek().is_none() {
        return;
    }
    out.extend_from_slice(b",\"tags\":[");
    for (at, tag) in tags.enumerate() {
        if at > 0 {
            out.push(b',');
        }
        write_string(tag, out);
    }
    out.push(b']');
}

fn write_data(event: &EventBytes, breaks: Breaks, out: &mut Vec<u8>) {
    let bytes = event.data_slice();
    let kind = match event.kind() {
        ContentKind::Json => {
            let json = as_json(bytes).filter(|json| too_deep(json.get()).is_none() && breaks.allow(json));
            if let Some(json) = json {
                return raw_member("data", json, out);
            }
            Some("json")
        }
        ContentKind::Text => {
            if let Some(text) = as_string(bytes) {
                return member("dataText", text, out);
            }
            Some("text")
        }
        _ => None,
    };
    member("dataBase64", &BASE64_STANDARD.encode(bytes), out);
    if let Some(kind) = kind {
        member("kind", kind, out);
    }
}

fn member(name: &str, text: &str, out: &mut Vec<u8>) {
    out.extend_from_slice(b",\"");
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(b"\":");
    write_string(text, out);
}

fn raw_member(name: &str, json: &RawValue, out: &mut Vec<u8>) {
    out.extend_from_slice(b",\"");
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(b"\":");
    out.extend_from_slice(json.get().as_bytes());
}
