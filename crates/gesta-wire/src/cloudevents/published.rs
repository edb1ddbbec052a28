//! An event as a CloudEvent for a broker, whose `source` and `id` are unique together wherever it came from.

use std::borrow::Cow;

use bytes::Bytes;
use gesta_core::{RecordedEvent, StoreId};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use super::STORE_SOURCE;
use super::encode::{Attributes, Members, write_attributes, write_json};

/// The extension with the `source` of the CloudEvent that was imported.
const ORIGIN_SOURCE: &str = "gestaoriginsource";
/// The extension with the `id` of the CloudEvent that was imported.
const ORIGIN_ID: &str = "gestaoriginid";

/// The characters of a stream that its `source` writes as they are: those that RFC 3986 calls unreserved.
const ENCODED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// An event as a broker gets it.
///
/// `id` is the id of the event, and `source` is `urn:gesta:store:`, the id of the store, a slash, and the stream, percent-encoded: an
/// id is unique within its stream. `source` and `id` of an event that was imported are the extensions `gestaoriginsource` and
/// `gestaoriginid`. The extension `gestaversion` is the event's version in its stream, a decimal number. All else is as in an export.
pub struct PublishedEvent<'a> {
    event: &'a RecordedEvent,
    store: StoreId,
    attributes: Attributes<'a>,
}

impl<'a> PublishedEvent<'a> {
    /// Takes an event of a store.
    #[must_use]
    pub fn new(event: &'a RecordedEvent, store: StoreId) -> Self {
        Self { event, store, attributes: Attributes::of(event) }
    }

    /// Returns the event in the structured mode: one JSON object on one line, of the media type [`MEDIA_TYPE`](super::MEDIA_TYPE).
    #[must_use]
    pub fn to_json(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(self.event.data_slice().len() + 512);
        write_json(self.event, &mut out, |members| self.write(members));
        out
    }

    /// Returns the attributes of the binary mode as text, in their order, without `datacontenttype`. The message's body is [`Self::data`].
    #[must_use]
    pub fn attributes(&self) -> Vec<(String, String)> {
        let mut texts = Texts(vec![("specversion".to_owned(), "1.0".to_owned())]);
        self.write(&mut texts);
        texts.0.retain(|(name, _)| name != "datacontenttype");
        texts.0
    }

    /// Returns the stream of the event: the key of a message, where a broker keeps the order of a key.
    #[must_use]
    pub fn stream(&self) -> &'a str {
        self.event.stream()
    }

    /// Returns the media type of the data, for the content type of a message in binary mode.
    #[must_use]
    pub fn data_content_type(&self) -> Cow<'a, str> {
        match self.attributes.find("datacontenttype") {
            Some(given) => text_of(given.get()),
            None => super::media_type_of(self.event.kind()).into(),
        }
    }

    /// Returns the data of the event: the body of a message in binary mode.
    #[must_use]
    pub fn data(&self) -> Bytes {
        self.event.data()
    }

    fn write(&self, out: &mut impl Members) {
        let Self { event, store, attributes } = self;
        let stream = utf8_percent_encode(event.stream(), ENCODED);
        out.text("id", &event.id().to_string());
        out.text("source", &format!("{STORE_SOURCE}{store}/{stream}"));
        write_attributes(event, attributes, out);
        out.text("gestaversion", &event.version().get().to_string());
        for (name, origin) in [("source", ORIGIN_SOURCE), ("id", ORIGIN_ID)] {
            // What came through several stores keeps its first origin.
            if let (Some(given), None) = (attributes.find(name), attributes.find(origin)) {
                out.json(origin, given.get());
            }
        }
    }
}

/// Attributes as text.
struct Texts(Vec<(String, String)>);

impl Members for Texts {
    fn text(&mut self, name: &str, text: &str) {
        self.0.push((name.to_owned(), text.to_owned()));
    }

    fn json(&mut self, name: &str, json: &str) {
        // An extension without a value is none.
        if json != "null" {
            self.text(name, &text_of(json));
        }
    }
}

/// The text of a JSON string; of a number or a boolean, its JSON.
fn text_of(json: &str) -> Cow<'_, str> {
    match serde_json::from_str::<String>(json) {
        Ok(text) => text.into(),
        Err(_) => json.into(),
    }
}
