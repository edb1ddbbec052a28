//! Events of the domain: an enum with stable names, schema versions and upcasters.

use bytes::Bytes;
use gesta_core::{EventType, Item, NameError, Query, RecordedEvent, Tag};

use crate::compensation::{Compensated, EventRef};
use crate::error::{DecodeError, EncodeError, LoadError};
use crate::key::Key;

/// An enum of events. Derive it.
///
/// Each variant has a stable name that is stored with every event: the enum's prefix and the variant in kebab case.
/// `AccountEvent::Opened` with the prefix `bank.account` is stored as `bank.account.opened`. The payload is a JSON object
/// of the variant's fields; a variant around a struct stores the struct's fields. Another program can declare a smaller
/// enum with the same prefix and read only the events it needs.
///
/// On the enum:
/// - `#[event(prefix = "bank.account")]`: the prefix of the names;
/// - `#[event(ignore)]`: states skip events of other types in their stream. Without it, such an event is
///   [`LoadError::UnknownType`], since a decision must not be made on half a history;
/// - `#[event(schema)]`, with the cargo feature `schema`: the enum owns its types. Their fields, and the types that other
///   versions are read as, need `JsonSchema`. See the module `schema`;
/// - `#[event(retired("bank.account.audited" = 2))]`: a type that is no longer written. Its versions 1 to 2 are read as
///   nothing; a newer version is an error.
///
/// On a variant:
/// - `#[event(name = "bank.account.blocked")]`: the full name, if it differs from the rule;
/// - `#[event(alias = "bank.account.frozen")]`: an older name that is also read. It shares the schema versions;
/// - `#[event(version = 3, upcast(1 = DepositedV1, 2 = DepositedV2))]`: the schema version, and how each older version is
///   read. A new optional field needs no new version: mark it `#[serde(default)]`;
/// - `#[event(version = 2, ahead(3 = DepositedV3))]`: a version that the next release writes, and that this one reads.
///
/// An older version, and one ahead, is read as one of:
/// - `OldType`: one event. The type needs `Deserialize`, and the enum `From<OldType>`; a missing one does not compile;
/// - `many OldType`: any number of events, with `impl From<OldType> for Vec<Enum>`. Keep their number and order: a process
///   tells the pieces apart by their index;
/// - `same`: the fields of the current version, for a change that reads old data as well;
/// - `drop`: nothing.
///
/// Upcasters run in Rust, when events are read through this enum. Views in SQL read the JSON as it was stored, so such a view
/// over an event with several schema versions must handle each stored form.
///
/// On a field: `#[tag]` puts the tag `field:value` on the event, `#[event(tag = "order")]` the tag `order:value`. Serde's
/// attributes work as usual.
///
/// # Example
/// ```
/// # use gesta::Event;
/// #[derive(Debug, PartialEq, Event)]
/// #[event(prefix = "shop.order")]
/// enum OrderEvent {
///     Placed { #[tag] customer: String },
///     #[event(version = 2, upcast(1 = ShippedV1))]
///     Shipped { carrier: String, parcels: u32 },
///     Cancelled,
/// }
///
/// #[derive(serde::Deserialize)]
/// struct ShippedV1 { carrier: String }
/// impl From<ShippedV1> for OrderEvent {
///     fn from(old: ShippedV1) -> Self {
///         OrderEvent::Shipped { carrier: old.carrier, parcels: 1 }
///     }
/// }
///
/// let mut read = Vec::new();
/// let known = OrderEvent::decode("shop.order.shipped", 1, br#"{"carrier":"ups"}"#, &mut |event| read.push(event))?;
/// assert!(known);
/// assert_eq!(read, [OrderEvent::Shipped { carrier: "ups".into(), parcels: 1 }]);
/// # Ok::<(), gesta::DecodeError>(())
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not an event enum",
    label = "not an event enum",
    note = "put `#[derive(Event)] #[event(prefix = \"...\")]` on `{Self}`"
)]
pub trait Event: Sized + Send + Sync + 'static {
    /// All event types of the enum, in the order of the variants.
    const TYPES: &'static [EventTypeInfo];

    /// The types that are read as nothing, each with its last schema version.
    const RETIRED: &'static [EventTypeInfo] = &[];

    /// True if states skip events of other types in their stream; false if such an event is an error.
    const IGNORES_UNKNOWN: bool;

    /// The name and schema version of this event.
    fn info(&self) -> &'static EventTypeInfo;

    /// The tags from its fields.
    ///
    /// # Errors
    /// [`NameError`] for a value that cannot be part of a tag: empty, too long, or with control characters.
    fn tags(&self) -> Result<Vec<Tag>, NameError>;

    /// The payload, a JSON object.
    ///
    /// # Errors
    /// [`EncodeError`] when a field cannot be written as JSON.
    fn encode(&self) -> Result<Bytes, EncodeError>;

    /// Decodes a stored payload, through an upcaster if its schema version is not the current one, and passes the events
    /// to `take`: one, or any number for a version that is read as `many`, `drop`, or is retired. Returns `false` if the
    /// enum has no such type; `take` is not called then, nor after an error.
    ///
    /// # Errors
    /// [`DecodeError`] for a schema version newer than the enum's, and for JSON that does not fit. Neither is skipped.
    fn decode(
        event_type: &str,
        schema_version: u16,
        data: &[u8],
        take: &mut dyn FnMut(Self),
    ) -> Result<bool, DecodeError>;

    /// The schemas of every version of every type, for an enum with `#[event(schema)]`; none for any other.
    #[cfg(feature = "schema")]
    #[must_use]
    fn schemas() -> Vec<crate::schema::EventSchema> {
        Vec::new()
    }

    /// The fields in the payload of a type, in its newest schema version. `None` if the enum has no such type, or if the
    /// fields are not known, as with `#[serde(flatten)]`.
    #[must_use]
    fn fields(event_type: &str) -> Option<&'static [&'static str]> {
        let _ = event_type;
        None
    }
}

/// The names and schema version of one variant. Made with [`EventTypeInfo::new`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct EventTypeInfo {
    /// Its stable name.
    pub name: &'static str,
    /// Older names that are also read.
    pub aliases: &'static [&'static str],
    /// The newest schema version, which new events are written with.
    pub version: u16,
}

impl EventTypeInfo {
    /// A stable name, older names that are read as well, and the newest schema version.
    #[must_use]
    pub const fn new(name: &'static str, aliases: &'static [&'static str], version: u16) -> Self {
        Self { name, aliases, version }
    }
}

/// A query for exactly the events of an enum, by type.
#[must_use]
pub fn query<E: Event>() -> Query {
    Item { types: types::<E>(), ..Item::default() }.into()
}

/// The names of an enum's events, including older names.
pub(crate) fn types<E: Event>() -> Vec<EventType> {
    let names = E::TYPES.iter().flat_map(|info| std::iter::once(&info.name).chain(info.aliases));
    names.map(|name| EventType::new(name).expect("the derive checked the name")).collect()
}

/// A decoded event with its record in the log. It dereferences to its [`RecordedEvent`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recorded<E> {
    /// The event.
    pub event: E,
    /// The event as recorded, with its metadata, times and position.
    pub recorded: RecordedEvent,
    /// Which of the events that the recorded one is read as.
    pub piece: Piece,
}

/// One of the events that a recorded event is read as. They share its id, version and position.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Piece {
    /// Its place among them, from 0.
    pub index: u32,
    /// Their number, at least 1.
    pub of: u32,
}

impl<E: Event> Recorded<E> {
    /// Decodes an event into the events that it is read as, in order: one, unless its schema version says otherwise. An
    /// empty list is an event that is read as nothing; `None` one whose type the enum does not have.
    ///
    /// # Errors
    /// [`LoadError::UnknownSchemaVersion`], [`LoadError::Undecodable`].
    pub fn decode(recorded: &RecordedEvent) -> Result<Option<Vec<Self>>, LoadError> {
        let Some(events) = decode_all(recorded)? else { return Ok(None) };
        let of = u32::try_from(events.len()).expect("four billion events do not fit into memory");
        let pieces = (0..of).zip(events).map(|(index, event)| Self {
            event,
            recorded: recorded.clone(),
            piece: Piece { index, of },
        });
        Ok(Some(pieces.collect()))
    }

    /// The event that this one compensates, if it was recorded as a compensation.
    #[must_use]
    pub fn compensates(&self) -> Option<Compensated> {
        Compensated::by(&self.recorded)
    }

    /// The event as others refer to it.
    #[must_use]
    pub fn event_ref(&self) -> EventRef {
        let stream = self.recorded.stream().parse().expect("the stream of a recorded event has a name");
        EventRef { stream, id: self.recorded.id() }
    }

    /// The id of the entity that the event belongs to; `None` if its stream is of another kind.
    #[must_use]
    pub fn key<K: Key>(&self) -> Option<K> {
        let (kind, id) = self.recorded.stream().split_once('-')?;
        (kind == K::KIND).then(|| K::parse(id).ok()).flatten()
    }
}

impl<E> std::ops::Deref for Recorded<E> {
    type Target = RecordedEvent;

    fn deref(&self) -> &RecordedEvent {
        &self.recorded
    }
}

/// The events that a recorded one is read as; `None` if the enum does not have its type.
pub(crate) fn decode_all<E: Event>(recorded: &RecordedEvent) -> Result<Option<Vec<E>>, LoadError> {
    let (mut events, data) = (Vec::with_capacity(1), recorded.data_slice());
    let known =
        E::decode(recorded.event_type(), recorded.schema_version(), data, &mut |event| events.push(event));
    let known = known.map_err(|error| LoadError::of_event(recorded, error))?;
    Ok(known.then_some(events))
}

/// A value that can be part of a tag: keys, strings, numbers, and options and lists of them.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be the value of a tag",
    note = "the value of a tag is a string, a number, `bool`, a type with `#[derive(Key)]`, or an `Option` or `Vec` of them; implement `gesta::TagValue` for other types"
)]
pub trait TagValue {
    /// Passes each value to `take`: none for `None`, one for most types, several for a list.
    fn each_tag_value(&self, take: &mut dyn FnMut(&str));
}

macro_rules! tag_value {
    ($($displayed:ty),*) => {$(
        impl TagValue for $displayed {
            fn each_tag_value(&self, take: &mut dyn FnMut(&str)) {
                take(&self.to_string());
            }
        }
    )*};
}
tag_value!(bool, char, u8, u16, u32, u64, u128, i8, i16, i32, i64, i128, uuid::Uuid);
tag_value!(std::num::NonZeroU32, std::num::NonZeroU64);

impl TagValue for str {
    fn each_tag_value(&self, take: &mut dyn FnMut(&str)) {
        take(self);
    }
}

impl TagValue for String {
    fn each_tag_value(&self, take: &mut dyn FnMut(&str)) {
        take(self);
    }
}

impl<T: TagValue + ?Sized> TagValue for &T {
    fn each_tag_value(&self, take: &mut dyn FnMut(&str)) {
        (**self).each_tag_value(take);
    }
}

impl<T: TagValue> TagValue for Option<T> {
    fn each_tag_value(&self, take: &mut dyn FnMut(&str)) {
        self.iter().for_each(|value| value.each_tag_value(take));
    }
}

impl<T: TagValue> TagValue for Vec<T> {
    fn each_tag_value(&self, take: &mut dyn FnMut(&str)) {
        self.iter().for_each(|value| value.each_tag_value(take));
    }
}
