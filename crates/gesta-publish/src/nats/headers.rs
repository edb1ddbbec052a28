//! The headers of a message: a CloudEvent in binary mode, and what JetStream reads.

use async_nats::HeaderMap;
use async_nats::header::{NATS_EXPECTED_STREAM, NATS_MESSAGE_ID};
use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};

use crate::message::Message;

/// The characters of a value that CloudEvents writes percent-encoded, beside those that are not ASCII.
const ENCODED: &AsciiSet = &CONTROLS.add(b' ').add(b'"').add(b'%');

/// The headers of a message to a stream.
pub(super) fn headers_of(message: &Message<'_>, stream: &str) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, text) in message.event.attributes() {
        headers.insert(format!("ce-{name}"), utf8_percent_encode(&text, ENCODED).to_string());
    }
    // It may hold any text, and a header no line break.
    let content_type = utf8_percent_encode(&message.event.data_content_type(), CONTROLS).to_string();
    headers.insert("content-type", content_type);
    headers.insert(NATS_MESSAGE_ID, message.id.to_string());
    headers.insert(NATS_EXPECTED_STREAM, stream);
    headers
}
