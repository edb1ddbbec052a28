//! Functions that the derives call. Not part of the public interface.

use std::marker::PhantomData;

use bytes::Bytes;
use serde::de::{DeserializeOwned, Error};
use serde::{Deserialize, Deserializer};

pub use crate::command::read_input;
pub use crate::introspect::fields_of;
pub use crate::key::canonical as canonical_key;
pub use serde;

use crate::error::{DecodeError, EncodeError};
use crate::event::{EventTypeInfo, TagValue};
use crate::key::Key;
use gesta_core::{NameError, Tag};

/// Capacity for the JSON of most events, so that one allocation is enough.
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

/// Decodes a payload straight into its type.
#[inline]
pub fn decode<T: DeserializeOwned>(event_type: &'static str, data: &[u8]) -> Result<T, DecodeError> {
    serde_json::from_slice(data).map_err(|source| DecodeError::Json { event_type, source })
}

/// Decodes a payload of an older schema version and upcasts it.
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

/// Reads an id in a decision's input with the checks of an id in a URL. `Deserialize` alone would accept an empty one.
pub fn read_id<'de, K: Key + Deserialize<'de>, D: Deserializer<'de>>(from: D) -> Result<K, D::Error> {
    K::deserialize(from).and_then(check_id)
}

/// Reads a list of ids with the checks of ids in URLs.
pub fn read_ids<'de, K: Key + Deserialize<'de>, D: Deserializer<'de>>(from: D) -> Result<Vec<K>, D::Error> {
    Vec::<K>::deserialize(from)?.into_iter().map(check_id).collect()
}

fn check_id<K: Key, E: Error>(id: K) -> Result<K, E> {
    id.stream().map(|_| id.clone()).map_err(E::custom)
}

/// The category of a field's type, if it is a key: `Category::<T>::OF`.
///
/// The inherent constant exists for keys only and takes precedence. For any other type, the constant of the trait is
/// used.
pub struct Category<T>(PhantomData<T>);

impl<T: Key> Category<T> {
    /// The category of the key.
    pub const OF: Option<&'static str> = Some(T::KIND);
}

/// The default of [`Category::OF`].
pub trait NoCategory {
    /// No category.
    const OF: Option<&'static str> = None;
}

impl<T> NoCategory for Category<T> {}
