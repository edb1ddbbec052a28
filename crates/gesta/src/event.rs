//! Events of the domain: an enum whose variants have stable names, schema versions and upcasters.

use bytes::Bytes;
use gesta_core::{EventType, Item, NameError, Query, RecordedEvent, Tag};

use crate::error::{DecodeError, EncodeError, LoadError};
use crate::key::Key;

/// The events of something, as an enum. Derive it.
///
/// Each variant has a stable name that is stored with every event: the enum's prefix and the variant in kebab case, so
/// `AccountEvent::Opened` under `bank.account` is `bank.account.opened`, whatever happens to Rust paths. The payload is a
/// JSON object of the variant's fields. Any program may declare a smaller enum with the same prefix and read only what
/// it needs.
///
/// On the enum:
/// - `#[event(prefix = "bank.account")]`: what names begin with;
/// - `#[event(ignore)]`: states that meet an event of another type in their stream pass over it. Without it that is
///   [`LoadError::UnknownType`], since a decision must not be made on half a history.
///
/// On a variant:
/// - `#[event(name = "bank.account.blocked")]`: its whole name, where it differs from the rule;
/// - `#[event(alias = "bank.account.frozen")]`: an older name that is read as well;
/// - `#[event(version = 3, upcast(1 = DepositedV1, 2 = DepositedV2))]`: its schema version, and the types that older
///   versions are read as. Each needs `Deserialize` and `From<OldType> for` the enum; a missing one does not compile.
///   A new optional field needs no new version: mark it `#[serde(default)]`.
///
/// On a field: `#[tag]` puts a tag `field:value` on the event, `#[event(tag = "order")]` a tag `order:value`; serde's
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
/// let read = OrderEvent::decode("shop.order.shipped", 1, br#"{"carrier":"ups"}"#)?;
/// assert_eq!(read, Some(OrderEvent::Shipped { carrier: "ups".into(), parcels: 1 }));
/// # Ok::<(), gesta::DecodeError>(())
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not an event enum",
    label = "not an event enum",
    note = "put `#[derive(Event)] #[event(prefix = \"...\")]` on `{Self}`"
)]
pub trait Event: Sized + Send + Sync + 'static {
    /// Every type of event in the enum, in the order of its variants.
    const TYPES: &'static [EventTypeInfo];

    /// Whether a state passes over events of other types in its stream, rather than to refuse to load.
    const IGNORES_UNKNOWN: bool;

    /// What this event is called, and the version of its schema.
    fn info(&self) -> &'static EventTypeInfo;

    /// The tags that its fields ask for.
    ///
    /// # Errors
    /// [`NameError`] for a value that cannot stand in a tag: empty, too long, or with control characters.
    fn tags(&self) -> Result<Vec<Tag>, NameError>;

    /// Its payload, as JSON.
    ///
    /// # Errors
    /// [`EncodeError`] when a field cannot be written as JSON.
    fn encode(&self) -> Result<Bytes, EncodeError>;

    /// Reads a payload as it was stored: straight into the variant's fields, through upcasters where it is older.
    /// `None` if the enum has no such type.
    ///
    /// # Errors
    /// [`DecodeError`] for a schema version newer than the enum's, and for JSON that does not fit. Neither is ever
    /// skipped.
    fn decode(event_type: &str, schema_version: u16, data: &[u8]) -> Result<Option<Self>, DecodeError>;
}

/// What one variant of an event enum is called. Made with [`EventTypeInfo::new`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct EventTypeInfo {
    /// Its stable name.
    pub name: &'static str,
    /// Older names that are read as well.
    pub aliases: &'static [&'static str],
    /// The newest version of its schema, which is what is written.
    pub version: u16,
}

impl EventTypeInfo {
    /// A stable name, older names that are read as well, and the newest schema version.
    #[must_use]
    pub const fn new(name: &'static str, aliases: &'static [&'static str], version: u16) -> Self {
        Self { name, aliases, version }
    }
}

/// The query for exactly the events of an enum, by type: it meets no others.
#[must_use]
pub fn query<E: Event>() -> Query {
    Item { types: types::<E>(), ..Item::default() }.into()
}

/// The names of an enum's events, older ones included.
pub(crate) fn types<E: Event>() -> Vec<EventType> {
    let names = E::TYPES.iter().flat_map(|info| std::iter::once(&info.name).chain(info.aliases));
    names.map(|name| EventType::new(name).expect("the derive checked the name")).collect()
}

/// A typed event with everything the log says about it. Reads like its [`RecordedEvent`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recorded<E> {
    /// The event.
    pub event: E,
    /// The event as the log has it: who, when, where.
    pub recorded: RecordedEvent,
}

impl<E: Event> Recorded<E> {
    /// Decodes an event; `None` if its type is not one of the enum's.
    ///
    /// # Errors
    /// [`LoadError::UnknownSchemaVersion`], [`LoadError::Undecodable`].
    pub fn decode(recorded: RecordedEvent) -> Result<Option<Self>, LoadError> {
        let event = E::decode(recorded.event_type(), recorded.schema_version(), recorded.data_slice());
        let event = event.map_err(|error| LoadError::of_event(&recorded, error))?;
        Ok(event.map(|event| Self { event, recorded }))
    }

    /// The id of the entity whose stream this event stands in; `None` if the stream is of another kind.
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

/// A value that can stand in a tag. Keys, texts, numbers, and options and lists of them can.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot stand in a tag",
    note = "tags are made of text, numbers, `bool`, types with `#[derive(Key)]`, and `Option` and `Vec` of them; implement `gesta::TagValue` for others"
)]
pub trait TagValue {
    /// Gives each value: none for `None`, one for most, several for a list.
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
