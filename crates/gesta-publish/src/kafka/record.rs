//! The headers of a record: a CloudEvent in binary mode, as its protocol binding for Kafka defines them.

use rdkafka::message::{Header, OwnedHeaders};

use crate::message::Message;

/// The header with the id of the event. `ce_id` has the message id: receivers drop repeats by it, and it is unique in the store.
const EVENT_ID: &str = "ce_gestaeventid";

/// The headers of a message.
pub(super) fn headers_of(message: &Message<'_>) -> OwnedHeaders {
    let mut headers = with(OwnedHeaders::new(), "content-type", &message.event.data_content_type());
    for (name, text) in message.event.attributes() {
        headers = match name.as_str() {
            "id" => with(with(headers, "ce_id", &message.id.to_string()), EVENT_ID, &text),
            name => with(headers, &format!("ce_{name}"), &text),
        };
    }
    headers
}

fn with(headers: OwnedHeaders, key: &str, value: &str) -> OwnedHeaders {
    headers.insert(Header { key, value: Some(value) })
}
