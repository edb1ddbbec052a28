//! Writes an event of the log as a CloudEvent.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use gesta_core::{ContentKind, RecordedEvent, StoreId};
use serde_json::value::RawValue;

use super::decode::CloudEvent;
use super::{STORE_SOURCE, media_type_of};
use crate::wire::{as_json, as_string, too_deep, write_string};
use gesta::http::format_time;

/// Appends an event as a CloudEvent on one line, without a line break at its end.
///
/// The `source` of an event that was not imported with one is `urn:gesta:store:` and the id of the store. Text that escapes would
/// make longer than base64 is written as `data_base64`, so a line is never much longer than the event's data as base64.
pub fn write_cloud_event(event: &RecordedEvent, store: StoreId, out: &mut Vec<u8>) {
    let attributes = Attributes::of(event);
    out.extend_from_slice(b"{\"specversion\":\"1.0\"");
    match attributes.find("id") {
        Some(id) => raw(out, "id", id.get()),
        None => string(out, "id", &event.id().to_string()),
    }
    match attributes.find("source") {
        Some(source) => raw(out, "source", source.get()),
        None => string(out, "source", &format!("{STORE_SOURCE}{store}")),
    }
    string(out, "type", event.event_type());
    string(out, "subject", event.stream());
    string(out, "time", &format_time(event.time()));
    match attributes.find("datacontenttype") {
        Some(media_type) => raw(out, "datacontenttype", media_type.get()),
        None => string(out, "datacontenttype", media_type_of(event.kind())),
    }
    if event.schema_version() != 1 {
        raw(out, "schemaversion", &event.schema_version().to_string());
    }
    write_tags(event, out);
    string(out, "recordedtime", &format_time(event.recorded_at()));
    attributes.write_others(event.metadata_slice(), out);
    write_data(event, out);
    out.push(b'}');
}

/// The attributes in the metadata, if an import of a CloudEvent wrote it.
struct Attributes<'a>(Option<CloudEvent<'a>>);

impl<'a> Attributes<'a> {
    /// The attributes, if an import of them gives the same id and the same metadata.
    fn of(event: &'a RecordedEvent) -> Self {
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

    fn find(&self, name: &str) -> Option<&'a RawValue> {
        self.0.as_ref()?.value(name)
    }

    /// Writes the extensions, or the whole metadata.
    fn write_others(&self, metadata: &[u8], out: &mut Vec<u8>) {
        match (&self.0, std::str::from_utf8(metadata)) {
            (None, Ok("")) => {}
            (Some(event), _) => event.extensions().for_each(|(name, value)| raw(out, name, value.get())),
            (None, Ok(text)) => string(out, "gestametadata", text),
            (None, Err(_)) => string(out, "gestametadatabase64", &BASE64_STANDARD.encode(metadata)),
        }
    }
}

fn write_tags(event: &RecordedEvent, out: &mut Vec<u8>) {
    let tags = event.tags().map(|tag| tag.replace('%', "%25").replace(',', "%2C")).collect::<Vec<_>>();
    if !tags.is_empty() {
        string(out, "gestatags", &tags.join(","));
    }
}

fn write_data(event: &RecordedEvent, out: &mut Vec<u8>) {
    let bytes = event.data_slice();
    let one_line = |json: &&RawValue| !json.get().contains(['\n', '\r']) && too_deep(json.get()).is_none();
    match event.kind() {
        ContentKind::Octets if bytes.is_empty() => {}
        ContentKind::Json if let Some(json) = as_json(bytes).filter(one_line) => raw(out, "data", json.get()),
        ContentKind::Text if let Some(text) = as_string(bytes) => string(out, "data", text),
        _ => string(out, "data_base64", &BASE64_STANDARD.encode(bytes)),
    }
}

fn string(out: &mut Vec<u8>, name: &str, text: &str) {
    begin(out, name);
    write_string(text, out);
}

fn raw(out: &mut Vec<u8>, name: &str, json: &str) {
    begin(out, name);
    out.extend_from_slice(json.as_bytes());
}

fn begin(out: &mut Vec<u8>, name: &str) {
    out.extend_from_slice(b",\"");
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(b"\":");
}
