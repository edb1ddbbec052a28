//! The headers of a record: a CloudEvent in binary mode, as its protocol binding for Kafka defines them, and the message id.

use rdkafka::message::{Header, OwnedHeaders};

use crate::message::Message;

/// The header with the message id, since records have no field for it. Headers of the CloudEvent begin with `ce_`.
const MESSAGE_ID: &str = "message-id";

/// The headers of a message.
pub(super) fn headers_of(message: &Message<'_>) -> OwnedHeaders {
    let mut headers = with(OwnedHeaders::new(), "content-type", &message.event.data_content_type());
    for (name, text) in message.event.attributes() {
        headers = with(headers, &format!("ce_{name}"), &text);
    }
    with(headers, MESSAGE_ID, &message.id.to_string())
}

fn with(headers: OwnedHeaders, key: &str, value: &str) -> OwnedHeaders {
    headers.insert(Header { key, value: Some(value) })
}
