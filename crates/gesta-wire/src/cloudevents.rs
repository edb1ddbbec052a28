//! CloudEvents 1.0, read and written: one mapping for server, client, command line and publishers.
//!
//! | CloudEvents | Gesta |
//! | --- | --- |
//! | `subject` | the stream |
//! | `type`, `time` | the same; without `time`, the time of the import |
//! | `id` | the id, if it is a UUID; otherwise UUIDv5 in [`NAMESPACE`] of `source`, a zero byte, and `id` |
//! | `data`, `data_base64` | the data, byte for byte |
//! | `datacontenttype` | the content kind: JSON (also if missing), text, or octets |
//! | extension `schemaversion` | the schema version; 1 if missing |
//! | extension `gestatags` | the tags, joined by commas; `%` and `,` in a tag are written `%25` and `%2C` |
//! | extension `gestametadata` | the metadata as text; `gestametadatabase64` if it is not text |
//! | extension `recordedtime` | written by an export, ignored by an import |
//! | extension `gestaversion` | the version in the stream; written for a broker ([`PublishedEvent`]), ignored by an import |
//! | a `source` that is a store, if nothing else goes to the metadata | no metadata |
//! | `source`, other attributes, an `id` and a `datacontenttype` that the event does not keep | members of the metadata |
//!
//! An import of an export gives the same events: id, stream, type, schema version, kind, data, metadata, tags and time. An export of
//! an import gives the same id, source and extensions.

use serde_json::{Value, json};

use crate::batch::BASE64_PATTERN;
use crate::schema::{about, between, named, text};

mod decode;
mod encode;
mod published;

pub use decode::{CloudEvent, CloudEventError};
pub use encode::write_cloud_event;
pub use published::PublishedEvent;

use uuid::Uuid;

/// The media type of one event.
pub const MEDIA_TYPE: &str = "application/cloudevents+json";
/// The media type of an array of events.
pub const BATCH_MEDIA_TYPE: &str = "application/cloudevents-batch+json";
/// The namespace of ids made from ids that are not UUIDs: `0b2f6a1e-5d0c-5c7b-9a86-64f21c7e3d90`. It never changes.
pub const NAMESPACE: Uuid = Uuid::from_u128(0x0b2f_6a1e_5d0c_5c7b_9a86_64f2_1c7e_3d90);

/// The beginning of the source of an event that was not imported with one. The id of its store follows.
const STORE_SOURCE: &str = "urn:gesta:store:";

/// Attributes with a place in the event: they are not extensions in the metadata.
const PLACED: &[&str] = &[
    "specversion",
    "time",
    "subject",
    "type",
    "data",
    "data_base64",
    "schemaversion",
    "gestatags",
    "gestametadata",
    "gestametadatabase64",
    "recordedtime",
    "gestaversion",
];

/// The schema of an event in structured mode.
pub(crate) fn cloud_event_schema() -> Value {
    let not_empty = || json!({"type": "string", "minLength": 1});
    let base64 = json!({"type": "string", "contentEncoding": "base64", "pattern": BASE64_PATTERN});
    let properties = json!({
        "specversion": {"const": "1.0"},
        "id": about(not_empty(), "A UUID is the id of the event. Of any other text one is made, with `source`."),
        "source": not_empty(),
        "type": named("EventType"),
        "subject": about(named("StreamName"), "The stream."),
        "time": named("Time"),
        "datacontenttype": about(text(), "JSON also if it is missing; text for `text/…`; bytes for all others."),
        "data": {"description": "The data, byte for byte."},
        "data_base64": base64,
        "schemaversion": about(between(0, u16::MAX.into()), "The schema version; the default is 1."),
        "gestatags": about(text(), "Tags, joined by commas; `%` and `,` in a tag are `%25` and `%2C`."),
        "gestametadata": about(text(), "Metadata that is no object of attributes."),
        "gestametadatabase64": about(text(), "The same, if it is no text."),
        "recordedtime": about(named("Time"), "When the store recorded the event. It is ignored in an append."),
    });
    json!({
        "type": "object",
        "properties": properties,
        "required": ["specversion", "id", "source", "type"],
        "additionalProperties": {"description": "An extension. It goes to the metadata of the event."},
    })
}

/// Whether the name can be an attribute's: the specification allows lower-case letters and digits.
fn is_attribute_name(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit())
}

/// The content kind of a media type, such as that of `datacontenttype`.
#[must_use]
pub fn kind_of(media_type: &str) -> gesta_core::ContentKind {
    let essence = media_type.split(';').next().unwrap_or("").trim().to_ascii_lowercase();
    match essence.as_str() {
        "application/json" | "text/json" => gesta_core::ContentKind::Json,
        json if json.ends_with("+json") => gesta_core::ContentKind::Json,
        text if text.starts_with("text/") => gesta_core::ContentKind::Text,
        _ => gesta_core::ContentKind::Octets,
    }
}

/// The media type that an export writes for a kind.
const fn media_type_of(kind: gesta_core::ContentKind) -> &'static str {
    match kind {
        gesta_core::ContentKind::Json => "application/json",
        gesta_core::ContentKind::Text => "text/plain",
        _ => "application/octet-stream",
    }
}

#[cfg(test)]
mod tests;
