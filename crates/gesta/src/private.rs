//! Functions that the derives call. Not part of the public interface.

use std::fmt::Debug;
use std::marker::PhantomData;

use bytes::Bytes;
use serde::de::{DeserializeOwned, Error};
use serde::{Deserialize, Deserializer};

pub use crate::command::read_input;
pub use crate::introspect::fields_of;
pub use crate::key::canonical as canonical_key;
#[cfg(feature = "schema")]
pub use schemars;
pub use serde;
#[cfg(feature = "schema")]
pub use serde_json::Value as Json;

use crate::decider::Decider;
use crate::error::{DecodeError, EncodeError};
use crate::event::{EventTypeInfo, TagValue};
use crate::key::Key;
use crate::refusal::{Refusal, RefusalInfo};
use crate::state::State;
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

/// Decodes a payload of another schema version into one event.
pub fn decode_old<Old: DeserializeOwned + Into<E>, E>(
    event_type: &'static str,
    data: &[u8],
    take: &mut dyn FnMut(E),
) -> Result<(), DecodeError> {
    decode::<Old>(event_type, data).map(|old| take(old.into()))
}

/// Decodes a payload of another schema version into any number of events.
pub fn decode_many<Old: DeserializeOwned + Into<Vec<E>>, E>(
    event_type: &'static str,
    data: &[u8],
    take: &mut dyn FnMut(E),
) -> Result<(), DecodeError> {
    decode::<Old>(event_type, data).map(|old| old.into().into_iter().for_each(take))
}

/// The JSON Schema (draft 2020-12) of data that is read as this type.
#[must_use]
#[cfg(feature = "schema")]
pub fn schema_of<T: schemars::JsonSchema>() -> serde_json::Value {
    let settings = schemars::generate::SchemaSettings::draft2020_12().for_deserialize();
    settings.into_generator().into_root_schema_for::<T>().to_value()
}

/// Reads an event of a retired type as nothing.
pub fn decode_retired(event_type: &'static str, schema_version: u16, last: u16) -> Result<bool, DecodeError> {
    if (1..=last).contains(&schema_version) {
        return Ok(true);
    }
    Err(DecodeError::UnknownSchemaVersion { event_type, found: schema_version, newest: last })
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

/// A state that a decision takes as an entity. Its id is one of the decision's inputs.
///
/// The lifetime makes `for<'of> S: Entity<'of>` a bound that the compiler takes for given within an item. Without one, every item that
/// has the bound would be an error if it is not met.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a decider whose id can be read",
    label = "not a decider"
)]
pub trait Entity<'of>: Decider<Id: Debug + DeserializeOwned> {}

impl<S: Decider<Id: Debug + DeserializeOwned>> Entity<'_> for S {}

/// Compiles for an entity alone.
pub const fn entity<S: Decider<Id: Debug + DeserializeOwned>>() {}

/// A state that a decision reads over tags. Its lifetime is that of [`Entity`].
#[diagnostic::on_unimplemented(message = "`{Self}` is not a state", label = "not a state")]
pub trait Tagged<'of>: State {}

impl<S: State> Tagged<'_> for S {}

/// Compiles for a state alone.
pub const fn tagged<S: State>() {}

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

/// The refusals of an error, if it lists them: `Refusals::<E>::OF`, as [`Category::OF`].
pub struct Refusals<E>(PhantomData<E>);

impl<E: Refusal> Refusals<E> {
    /// The refusals that the error lists.
    pub const OF: &'static [RefusalInfo] = E::REFUSALS;
}

/// The default of [`Refusals::OF`].
pub trait NoRefusals {
    /// None.
    const OF: &'static [RefusalInfo] = &[];
}

impl<E> NoRefusals for Refusals<E> {}

/// A table of a view.
#[cfg(feature = "views")]
#[must_use]
pub fn table(name: &str, key_columns: usize, columns: Vec<gesta_views::Column>) -> gesta_views::Table {
    gesta_views::Table { name: name.to_owned(), columns, key_columns }
}

/// The column of a field of that type.
#[cfg(feature = "views")]
#[must_use]
pub fn column<C: crate::Column>(name: &str, is_indexed: bool) -> gesta_views::Column {
    gesta_views::Column {
        name: name.to_owned(),
        column_type: C::TYPE,
        is_nullable: C::IS_NULLABLE,
        is_indexed,
    }
}

/// Refuses a column that cannot be part of a key, when the program is built.
#[cfg(feature = "views")]
pub const fn assert_key<C: crate::Column>() {
    assert!(!C::IS_NULLABLE, "a column of the key cannot be an `Option`");
    assert!(
        !matches!(C::TYPE, gesta_views::ColumnType::Real),
        "a column of the key cannot be a floating-point number"
    );
}

/// The value of a column. An error names the column.
#[cfg(feature = "views")]
pub fn to_value<C: crate::Column>(name: &str, value: &C) -> Result<gesta_views::SqlValue, crate::ViewError> {
    value.to_value().map_err(|error| format!("the column `{name}`: {error}").into())
}

/// The field of a column. An error names the column.
#[cfg(feature = "views")]
pub fn from_value<C: crate::Column>(
    name: &str,
    value: Option<gesta_views::SqlValue>,
) -> Result<C, crate::ViewError> {
    let value = value.unwrap_or(gesta_views::SqlValue::Null);
    C::from_value(value).map_err(|error| format!("the column `{name}`: {error}").into())
}
