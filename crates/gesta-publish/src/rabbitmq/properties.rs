//! The properties of a message: a CloudEvent in binary mode.

use lapin::BasicProperties;
use lapin::types::{AMQPValue, FieldTable, ShortString};

use crate::fault::Fault;
use crate::message::Message;

/// The mode of a message that outlives a restart of the broker.
const PERSISTENT: u8 = 2;
/// Bytes that the properties beside the headers take at most.
const OTHERS_BYTES: usize = 1_024;

/// The properties of a message. They have to fit into one frame.
pub(super) fn properties_of(message: &Message<'_>, frame_bytes_max: usize) -> Result<BasicProperties, Fault> {
    let mut headers = FieldTable::default();
    let mut bytes = OTHERS_BYTES;
    for (name, text) in message.event.attributes() {
        let name = format!("cloudEvents:{name}");
        // A name and its length, a type, a text and its length.
        bytes += name.len() + text.len() + 6;
        headers.insert(short("the name of an attribute", name)?, AMQPValue::LongString(text.into()));
    }
    if bytes > frame_bytes_max {
        return Err(Fault::Unfit {
            reason: format!(
                "the headers have about {bytes} bytes: the broker takes {frame_bytes_max} (`frame_max`)"
            ),
        });
    }
    Ok(BasicProperties::default()
        .with_content_type(short("the content type", message.event.data_content_type().into_owned())?)
        .with_headers(headers)
        .with_delivery_mode(PERSISTENT)
        .with_message_id(message.id.to_string().into()))
}

fn short(what: &str, text: String) -> Result<ShortString, Fault> {
    let bytes = text.len();
    ShortString::try_new(text)
        .map_err(|_| Fault::Unfit { reason: format!("{what} has {bytes} bytes: 255 are allowed") })
}
