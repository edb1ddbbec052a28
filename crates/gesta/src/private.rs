//! What the derives expand to calls of. No part of the promise to users.

use bytes::Bytes;
use serde::de::DeserializeOwned;

pub use crate::command::read_input;
pub use crate::key::canonical as canonical_key;
pub use serde;

use crate::error::{DecodeError, EncodeError};
use crate::event::{EventTypeInfo, TagValue};
use gesta_core::{NameError, Tag};

/// Room for the JSON of most events, so that writing one allocates once.
const PAYLOAD_BYTES_USUAL: usize = 128;

type JsonWriter<'a> = serde_json::Serializer<&'a mut Vec<u8>>;

/// Writes a payload through serde.
pub fn encode_with(
    info: &'static EventTypeInfo,
    write: impl FnOnce(&mut JsonWriter<'_>) -> Result<(), serde_json::Error>,
) -> Result<Bytes, EncodeError> {
    let mut json = Vec::with_capacity(PAYLOAD_BYTES_USUAL);
    let written = write(&mut serde_json::Serializer::new(&mut json));
    written.map_err(|error| EncodeError::Json { event_type: info.name, reason: error.to_string() })?;
    Ok(json.into())
}

/// The payload of a variant without fields.
pub fn encode_unit() -> Result<Bytes, EncodeError> {
    Ok(Bytes::from_static(b"{}"))
}

/// Reads a payload straight into its type.
#[inline]
pub fn decode<T: DeserializeOwned>(event_type: &'static str, data: &[u8]) -> Result<T, DecodeError> {
    serde_json::from_slice(data).map_err(|source| DecodeError::Json { event_type, source })
}

/// Reads a payload of an older schema version, and brings it up to date.
pub fn decode_old<Old: DeserializeOwned + Into<E>, E>(
    event_type: &'static str,
    data: &[u8],
) -> Result<E, DecodeError> {
    decode::<Old>(event_type, data).map(Into::into)
}

/// Adds the tags of one field.
pub fn add_tags(tags: &mut Vec<Tag>, key: &str, value: &(impl TagValue + ?Sized)) -> Result<(), NameError> {
    let mut result = Ok(());
    value.each_tag_value(&mut |value| match Tag::from_parts(key, value) {
        Ok(tag) => tags.push(tag),
        Err(error) => result = Err(error),
    });
    result
}
