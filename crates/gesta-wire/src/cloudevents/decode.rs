//! Reads a CloudEvent from its JSON and makes it an event.

use std::borrow::Cow;
use std::fmt;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use gesta_core::{
    ContentKind, EventId, EventType, NameError, NewEvent, StreamName, TAGS_MAX, Tag, Timestamp,
};
use percent_encoding::percent_decode_str;
use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;
use uuid::Uuid;

use super::{NAMESPACE, PLACED, STORE_SOURCE, is_attribute_name, kind_of, media_type_of};
use crate::capped::beyond;
use crate::limits::{CLOUD_EVENT_ATTRIBUTES_MAX, JSON_DEPTH_MAX};
use crate::surrogates::{HalfPair, check_surrogates};
use crate::text::{too_deep, write_string};
use crate::time::{TimeError, parse_time};

/// A CloudEvent in JSON, borrowed from its text: its attributes, each with the bytes of its value.
#[derive(Debug, Clone)]
pub struct CloudEvent<'a> {
    attributes: Vec<(Cow<'a, str>, &'a RawValue)>,
}

/// Why a JSON object is not a CloudEvent that can be stored.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CloudEventError {
    /// A required attribute is missing.
    #[error("the event has no `{name}`, which CloudEvents 1.0 requires")]
    Missing {
        /// The attribute.
        name: &'static str,
    },
    /// The event names no stream.
    #[error("the event has no `subject`, which names its stream: add it")]
    NoStream,
    /// An attribute is given twice.
    #[error("the event has `{name}` twice")]
    Twice {
        /// The attribute.
        name: String,
    },
    /// An attribute is malformed.
    #[error("`{name}` is not {expected}")]
    Form {
        /// The attribute.
        name: String,
        /// The form that it must have.
        expected: &'static str,
    },
    /// A name is malformed.
    #[error(transparent)]
    Name(#[from] NameError),
    /// The time is malformed or out of range.
    #[error(transparent)]
    Time(#[from] TimeError),
    /// The data nests too deep.
    #[error(
        "`data` nests {depth} levels deep: the limit is {JSON_DEPTH_MAX} levels, which common parsers read"
    )]
    TooDeep {
        /// The depth of the data.
        depth: usize,
    },
    /// An attribute or the data has half a surrogate pair.
    #[error("in `{name}` {half}")]
    HalfPair {
        /// The attribute.
        name: String,
        /// The place in the text.
        half: HalfPair,
    },
}

impl<'de: 'a, 'a> Deserialize<'de> for CloudEvent<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(AttributesVisitor)
    }
}

struct AttributesVisitor;

impl<'de> Visitor<'de> for AttributesVisitor {
    type Value = CloudEvent<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a CloudEvent: a JSON object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<CloudEvent<'de>, A::Error> {
        let mut attributes = Vec::with_capacity(12);
        while let Some(Name(name)) = map.next_key()? {
            if attributes.len() == CLOUD_EVENT_ATTRIBUTES_MAX {
                return Err(beyond("the event", CLOUD_EVENT_ATTRIBUTES_MAX, "attributes"));
            }
            attributes.push((name, map.next_value()?));
        }
        Ok(CloudEvent { attributes })
    }
}

/// A name, borrowed if it can be: `Cow` alone never borrows within other types.
#[derive(serde::Deserialize)]
struct Name<'a>(#[serde(borrow)] Cow<'a, str>);

impl<'a> CloudEvent<'a> {
    /// The event to append. `source` is the text that it was read from: the data shares its bytes. `stream` is the stream, if it is
    /// not the `subject`. `now` is the time of an event without one.
    ///
    /// # Errors
    /// [`CloudEventError`] names the attribute that is wrong.
    pub fn to_new_event(
        &self,
        source: &Bytes,
        stream: Option<StreamName>,
        now: Timestamp,
    ) -> Result<NewEvent, CloudEventError> {
        self.check()?;
        for (name, value) in &self.attributes {
            let checked = check_surrogates(value.get(), source);
            checked.map_err(|half| CloudEventError::HalfPair { name: name.clone().into_owned(), half })?;
        }
        let stream = match stream {
            Some(stream) => stream,
            None => StreamName::new(self.text("subject")?.ok_or(CloudEventError::NoStream)?)?,
        };
        let (kind, data) = self.data(source)?;
        let id = self.event_id()?;
        let tags = self.text("gestatags")?.map_or(Ok(Vec::new()), |tags| parse_tags(&tags))?;
        Ok(NewEvent {
            id,
            stream,
            event_type: EventType::new(self.required("type")?)?,
            schema_version: self.schema_version()?,
            kind,
            data,
            metadata: self.metadata(id, kind)?,
            tags,
            time: self.text("time")?.map_or(Ok(now), |time| parse_time(&time))?,
        })
    }

    /// The value of an attribute as text, if it is there and not null.
    ///
    /// # Errors
    /// [`CloudEventError::Form`] if it is not a string.
    pub fn text(&self, name: &str) -> Result<Option<Cow<'a, str>>, CloudEventError> {
        let Some(value) = self.value(name) else { return Ok(None) };
        let text = serde_json::from_str::<Option<Name<'a>>>(value.get());
        let text = text.map_err(|_| form(name, "a string"))?;
        Ok(text.map(|Name(text)| text))
    }

    /// The JSON of an attribute or a member of the event, if it is there.
    #[must_use]
    pub fn value(&self, name: &str) -> Option<&'a RawValue> {
        self.attributes.iter().find(|(given, _)| given == name).map(|(_, value)| *value)
    }

    /// The extensions, in their order.
    pub(super) fn extensions(&self) -> impl Iterator<Item = (&str, &'a RawValue)> {
        let attributes = self.attributes.iter().map(|(name, value)| (&**name, *value));
        attributes.filter(|(name, _)| !PLACED.contains(name) && !FIRST.contains(name))
    }

    pub(super) fn required(&self, name: &'static str) -> Result<Cow<'a, str>, CloudEventError> {
        self.text(name)?.filter(|text| !text.is_empty()).ok_or(CloudEventError::Missing { name })
    }

    fn check(&self) -> Result<(), CloudEventError> {
        if self.required("specversion")? != "1.0" {
            return Err(form("specversion", "`1.0`"));
        }
        self.check_names()
    }

    /// Checks that names are as the specification requires and that none is given twice.
    pub(super) fn check_names(&self) -> Result<(), CloudEventError> {
        for (at, (name, _)) in self.attributes.iter().enumerate() {
            if !is_attribute_name(name) && name != "data_base64" {
                return Err(form(
                    name,
                    "a name of lower-case letters and digits, as CloudEvents 1.0 requires",
                ));
            }
            if self.attributes[..at].iter().any(|(earlier, _)| earlier == name) {
                return Err(CloudEventError::Twice { name: name.clone().into_owned() });
            }
        }
        Ok(())
    }

    /// The id of the event: `id`, or the UUID made from `source` and `id`.
    pub(super) fn event_id(&self) -> Result<EventId, CloudEventError> {
        let (id, source) = (self.required("id")?, self.required("source")?);
        Ok(id.parse().unwrap_or_else(|_| {
            let name = [source.as_bytes(), &[0], id.as_bytes()].concat();
            EventId::from_bytes(Uuid::new_v5(&NAMESPACE, &name).into_bytes())
        }))
    }

    /// The kind that `datacontenttype` names, or `kind` if there is none.
    pub(super) fn kind_or(&self, kind: ContentKind) -> ContentKind {
        self.text("datacontenttype").ok().flatten().map_or(kind, |media_type| kind_of(&media_type))
    }

    fn schema_version(&self) -> Result<u16, CloudEventError> {
        let Some(value) = self.value("schemaversion") else { return Ok(1) };
        let digits = value.get().trim_matches('"');
        digits.parse().map_err(|_| form("schemaversion", "a number from 0 to 65535"))
    }

    fn data(&self, source: &Bytes) -> Result<(ContentKind, Bytes), CloudEventError> {
        let named = self.text("datacontenttype")?.map(|media_type| kind_of(&media_type));
        let data = self.value("data");
        let encoded = self.text("data_base64")?;
        if data.is_some() && encoded.is_some() {
            return Err(form("data_base64", "allowed beside `data`"));
        }
        if let Some(text) = encoded {
            let bytes = BASE64_STANDARD.decode(&*text).map_err(|_| form("data_base64", "base64"))?;
            return Ok((named.unwrap_or(ContentKind::Octets), bytes.into()));
        }
        let Some(json) = data else { return Ok((named.unwrap_or(ContentKind::Octets), Bytes::new())) };
        let kind = named.unwrap_or(ContentKind::Json);
        if kind == ContentKind::Json {
            if let Some(depth) = too_deep(json.get()) {
                return Err(CloudEventError::TooDeep { depth });
            }
            return Ok((kind, source.slice_ref(json.get().as_bytes())));
        }
        let text =
            self.text("data")?.ok_or_else(|| form("data", "a string, though the content is not JSON"))?;
        Ok((kind, Bytes::copy_from_slice(text.as_bytes())))
    }

    /// The metadata: the value of `gestametadata`, or the attributes without another place.
    fn metadata(&self, id: EventId, kind: ContentKind) -> Result<Bytes, CloudEventError> {
        if let Some(text) = self.text("gestametadata")? {
            return Ok(Bytes::copy_from_slice(text.as_bytes()));
        }
        if let Some(text) = self.text("gestametadatabase64")? {
            let bytes = BASE64_STANDARD.decode(&*text).map_err(|_| form("gestametadatabase64", "base64"))?;
            return Ok(bytes.into());
        }
        self.attributes_as_metadata(id, kind).map(Bytes::from)
    }

    /// An object of the attributes that the event itself does not keep: first `id`, `source` and `datacontenttype`, then the
    /// extensions in their order. Empty if the only one is a `source` that an export writes.
    pub(super) fn attributes_as_metadata(
        &self,
        id: EventId,
        kind: ContentKind,
    ) -> Result<Vec<u8>, CloudEventError> {
        let mut members = Vec::with_capacity(64);
        if self.text("id")?.is_some_and(|given| given != id.to_string()) {
            write_member("id", self.value("id"), &mut members);
        }
        write_member("source", self.value("source"), &mut members);
        if self.text("datacontenttype")?.is_some_and(|given| given != media_type_of(kind)) {
            write_member("datacontenttype", self.value("datacontenttype"), &mut members);
        }
        let placed = |name: &str| PLACED.contains(&name) || FIRST.contains(&name);
        for (name, value) in self.attributes.iter().filter(|(name, _)| !placed(name)) {
            if value.get().starts_with(['{', '[']) {
                return Err(form(name, "a string, a number or a boolean, as CloudEvents 1.0 requires"));
            }
            write_member(name, Some(value), &mut members);
        }
        let mut source = Vec::new();
        write_member("source", self.value("source"), &mut source);
        if members == source && self.text("source")?.is_some_and(|source| source.starts_with(STORE_SOURCE)) {
            return Ok(Vec::new());
        }
        if members.is_empty() {
            members.push(b'{');
        }
        members.push(b'}');
        Ok(members)
    }
}

/// The attributes that come first in the metadata.
const FIRST: [&str; 3] = ["id", "source", "datacontenttype"];

fn write_member(name: &str, value: Option<&RawValue>, out: &mut Vec<u8>) {
    let Some(value) = value.filter(|value| value.get() != "null") else { return };
    out.push(if out.is_empty() { b'{' } else { b',' });
    write_string(name, out);
    out.push(b':');
    out.extend_from_slice(value.get().as_bytes());
}

fn form(name: &str, expected: &'static str) -> CloudEventError {
    CloudEventError::Form { name: name.to_owned(), expected }
}

fn parse_tags(text: &str) -> Result<Vec<Tag>, CloudEventError> {
    let parts = text.split(',').filter(|part| !part.is_empty()).take(TAGS_MAX + 1);
    parts
        .map(|part| {
            let tag = percent_decode_str(part).decode_utf8().map_err(|_| form("gestatags", "UTF-8"))?;
            Ok(Tag::new(tag)?)
        })
        .collect()
}
