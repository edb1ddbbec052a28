//! CloudEvents 1.0 in JSON, in and out: the one mapping that server and command line share.
//!
//! | CloudEvents | Gesta |
//! | --- | --- |
//! | `subject` | the stream |
//! | `type`, `time` | the same; a missing `time` is the time of the import |
//! | `id` | the id, if it is a UUID; otherwise UUIDv5 in [`NAMESPACE`] of `source`, a zero byte, and `id` |
//! | `data`, `data_base64` | the data, byte for byte |
//! | `datacontenttype` | the content kind: JSON (also when missing), text, or octets |
//! | extension `schemaversion` | the schema version, 1 when missing |
//! | extension `gestatags` | the tags, joined by commas; `%` and `,` within one are written `%25` and `%2C` |
//! | extension `gestametadata` | the metadata, as text; `gestametadatabase64` where it is none |
//! | extension `recordedtime` | written by an export, left out by an import |
//! | `source` that is a store's, where nothing else is left for the metadata | no metadata |
//! | `source`, other attributes, and those that would not come back as they were | members of the metadata |
//!
//! What an export writes, an import reads to the same events: id, stream, type, schema version, kind, data, metadata, tags and
//! time. What an import read, an export writes again with the same id, source and extensions.

mod decode;
mod encode;

pub use decode::{CloudEvent, CloudEventError};
pub use encode::write_cloud_event;

use uuid::Uuid;

/// The media type of one event.
pub const MEDIA_TYPE: &str = "application/cloudevents+json";
/// The media type of an array of events.
pub const BATCH_MEDIA_TYPE: &str = "application/cloudevents-batch+json";
/// The namespace of ids that were no UUIDs: `0b2f6a1e-5d0c-5c7b-9a86-64f21c7e3d90`, fixed for ever.
pub const NAMESPACE: Uuid = Uuid::from_u128(0x0b2f_6a1e_5d0c_5c7b_9a86_64f2_1c7e_3d90);

/// How the source of an event begins that did not come in with one: the id of its store follows.
const STORE_SOURCE: &str = "urn:gesta:store:";

/// Attributes that have a place of their own, so that none of them is an extension in the metadata.
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
];

/// Whether a name can be one of an attribute: the specification allows lower-case letters and digits.
fn is_attribute_name(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit())
}

/// What kind of content a media type names.
fn kind_of(media_type: &str) -> gesta_core::ContentKind {
    let essence = media_type.split(';').next().unwrap_or("").trim().to_ascii_lowercase();
    match essence.as_str() {
        "application/json" | "text/json" => gesta_core::ContentKind::Json,
        json if json.ends_with("+json") => gesta_core::ContentKind::Json,
        text if text.starts_with("text/") => gesta_core::ContentKind::Text,
        _ => gesta_core::ContentKind::Octets,
    }
}

/// The media type that an export names a kind by.
const fn media_type_of(kind: gesta_core::ContentKind) -> &'static str {
    match kind {
        gesta_core::ContentKind::Json => "application/json",
        gesta_core::ContentKind::Text => "text/plain",
        _ => "application/octet-stream",
    }
}

#[cfg(test)]
mod tests;
