//! Writes an event of the log as a CloudEvent.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use gesta_core::{ContentKind, RecordedEvent, StoreId};
use serde_json::value::RawValue;

use super::decode::CloudEvent;
use super::{STORE_SOURCE, media_type_of};
use crate::text::{as_json, as_string, too_deep, write_string};
use crate::time::format_time;

/// Appends an event as a CloudEvent on one line, without a line break at its end.
///
/// The `source` of an event that was not imported with one is `urn:gesta:store:` and the id of the store. Text that escapes would
/// make longer than base64 is written as `data_base64`, so a line is never much longer than the event's data as base64.
pub fn write_cloud_event(event: &RecordedEvent, store: StoreId, out: &mut Vec<u8>) {
    let attributes = Attributes::of(event);
    write_json(event, out, |out| {
        match attributes.find("id") {
            Some(id) => out.json("id", id.get()),
            None => out.text("id", &event.id().to_string()),
        }
        match attributes.find("source") {
            Some(source) => out.json("source", source.get()),
            None => out.text("source", &format!("{STORE_SOURCE}{store}")),
        }
        write_attributes(event, &attributes, out);
    });
}

/// Writes the JSON of an event: the attributes that `write` writes, and the data.
pub(super) fn write_json(event: &RecordedEvent, out: &mut Vec<u8>, write: impl FnOnce(&mut JsonMembers<'_>)) {
    out.extend_from_slice(b"{\"specversion\":\"1.0\"");
    write(&mut JsonMembers(out));
    write_data(event, out);
    out.push(b'}');
}

/// Writes all attributes but `specversion`, `id` and `source`.
pub(super) fn write_attributes(event: &RecordedEvent, attributes: &Attributes<'_>, out: &mut impl Members) {
    out.text("type", event.event_type());
    out.text("subject", event.stream());
    out.text("time", &format_time(event.time()));
    match attributes.find("datacontenttype") {
        Some(media_type) => out.json("datacontenttype", media_type.get()),
        None => out.text("datacontenttype", media_type_of(event.kind())),
    }
    if event.schema_version() != 1 {
        out.json("schemaversion", &event.schema_version().to_string());
    }
    write_tags(event, out);
    out.text("recordedtime", &format_time(event.recorded_at()));
    attributes.write_others(event.metadata_slice(), out);
}

/// Where attributes are written: members of a JSON object, or headers of a message.
pub(super) trait Members {
    /// Writes an attribute from its text.
    fn text(&mut self, name: &str, text: &str);
    /// Writes an attribute from its JSON: a string, a number or a boolean.
    fn json(&mut self, name: &str, json: &str);
}

/// Members of a JSON object that has one already.
pub(super) struct JsonMembers<'o>(&'o mut Vec<u8>);

impl Members for JsonMembers<'_> {
    fn text(&mut self, name: &str, text: &str) {
        begin(self.0, name);
        write_string(text, self.0);
    }

    fn json(&mut self, name: &str, json: &str) {
        begin(self.0, name);
        self.0.extend_from_slice(json.as_bytes());
    }
}

/// The attributes in the metadata, if an import of a CloudEvent wrote it.
pub(super) struct Attributes<'a>(Option<CloudEvent<'a>>);

impl<'a> Attributes<'a> {
    /// The attributes, if an import of them gives the same id and the same metadata.
    pub(super) fn of(event: &'a RecordedEvent) -> Self {
        let metadata = event.metadata_slice();
        let attributes = serde_json::from_slice::<CloudEvent<'a>>(metadata).ok();
        Self(attributes.filter(|attributes| {
            let has_id = attributes.value("id").is_some();
            attributes.required("source").is_ok()
                && attributes.check_names().is_ok()
                && (!has_id || attributes.event_id() == Ok(event.id()))
                && attributes.kind_or(event.kind()) == event.kind()
                && attributes
                    .attributes_as_metadata(event.id(), event.kind())
                    .is_ok_and(|imported| imported == metadata)
        }))
    }

    pub(super) fn find(&self, name: &str) -> Option<&'a RawValue> {
        self.0.as_ref()?.value(name)
    }

    /// Writes the extensions, or the whole metadata.
    fn write_others(&self, metadata: &[u8], out: &mut impl Members) {
        match (&self.0, std::str::from_utf8(metadata)) {
            (None, Ok("")) => {}
            (Some(event), _) => event.extensions().for_each(|(name, value)| out.json(name, value.get())),
            (None, Ok(text)) => out.text("gestametadata", text),
            (None, Err(_)) => out.text("gestametadatabase64", &BASE64_STANDARD.encode(metadata)),
        }
    }
}

fn write_tags(event: &RecordedEvent, out: &mut impl Members) {
    let tags = event.tags().map(|tag| tag.replace('%', "%25").replace(',', "%2C")).collect::<Vec<_>>();
    if !tags.is_empty() {
        out.text("gestatags", &tags.join(","));
    }
}

fn write_data(event: &RecordedEvent, out: &mut Vec<u8>) {
    let bytes = event.data_slice();
    let one_line = |json: &&RawValue| !json.get().contains(['\n', '\r']) && too_deep(json.get()).is_none();
    let mut members = JsonMembers(out);
    match event.kind() {
        ContentKind::Octets if bytes.is_empty() => {}
        ContentKind::Json if let Some(json) = as_json(bytes).filter(one_line) => {
            members.json("data", json.get())
        }
        ContentKind::Text if let Some(text) = as_string(bytes) => members.text("data", text),
        _ => members.text("data_base64", &BASE64_STANDARD.encode(bytes)),
    }
}

fn begin(out: &mut Vec<u8>, name: &str) {
    out.extend_from_slice(b",\"");
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(b"\":");
}
