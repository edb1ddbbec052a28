//! The lines of a file for an audit: events, then a manifest.

use std::borrow::Cow;

use gesta_core::RecordedEvent;
use gesta_wire::write_event_line;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use serde_json::value::RawValue;

use super::between::Between;
use super::redact::{Pointer, redact};

/// The version of the format.
pub(super) const FORMAT: u32 = 2;

/// An event as it is stored.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct EventLine<'a> {
    /// The event's leaf, in hexadecimal: a digest of all that is stored, with its place and time.
    #[serde(borrow)]
    pub(super) leaf: Cow<'a, str>,
    /// The parts of the data that digests replace, as JSON pointers.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) redacted: Vec<Pointer>,
    #[serde(borrow)]
    pub(super) event: &'a RawValue,
}

/// The last line of a file: it says what the lines before it hold.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Manifest {
    /// [`FORMAT`].
    pub(super) audit: u32,
    /// The id of the store.
    pub(super) store: String,
    /// The events that were asked for.
    pub(super) query: Value,
    /// The times that were asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) between: Option<Between>,
    /// The place in the log after which the events begin.
    pub(super) after: String,
    /// The place in the log up to which the events go.
    pub(super) until: String,
    /// True if the log can get no more events in the time that was asked for.
    pub(super) closed: bool,
    pub(super) events: u64,
    /// How many events are redacted.
    pub(super) redacted: u64,
    /// The SHA-256 of all lines before this one, with their line breaks.
    pub(super) sha256: String,
}

/// The line of an event, without its line break, and the pointers that named something in it.
pub(super) fn event_line(event: &RecordedEvent, pointers: &[Pointer]) -> (String, Vec<Pointer>) {
    let mut json = Vec::with_capacity(512);
    write_event_line(event, &mut json);
    let json = String::from_utf8(json).expect("the JSON of an event is text");
    let (json, redacted) = redact(json, pointers);
    let event_json = RawValue::from_string(json).expect("the JSON of an event is JSON");
    let line = EventLine { leaf: hex(&event.leaf()).into(), redacted, event: &event_json };
    let text = serde_json::to_string(&line).expect("texts can be written as JSON");
    (text, line.redacted)
}

/// Bytes as hexadecimal digits.
pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
