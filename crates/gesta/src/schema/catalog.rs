//! The event enums of a host that own their types: what they write, and how they read what is stored.

use std::any::TypeId;
use std::collections::BTreeMap;

use bytes::Bytes;

use super::EventSchema;
use crate::error::{DecodeError, EncodeError};
use crate::event::Event;

/// An event enum, its type erased.
#[derive(Clone)]
pub struct EventEnum {
    id: TypeId,
    name: &'static str,
    schemas: Vec<EventSchema>,
    read: fn(&str, u16, &[u8]) -> Rewritten,
}

/// The events that a stored one is read as; `None` if no enum owns its type.
type Rewritten = Result<Option<Vec<Written>>, RewriteError>;

/// An event as it is written today.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Written {
    pub(crate) event_type: &'static str,
    pub(crate) version: u16,
    pub(crate) data: Bytes,
}

/// A stored event is not read, or not written again.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RewriteError {
    #[error(transparent)]
    Decode(#[from] DecodeError),
    #[error(transparent)]
    Encode(#[from] EncodeError),
}

impl std::fmt::Debug for EventEnum {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("EventEnum").field("name", &self.name).finish_non_exhaustive()
    }
}

impl EventEnum {
    /// An enum with `#[event(schema)]`; `None` for an enum without, which reads types that others own.
    #[must_use]
    pub fn of<E: Event>() -> Option<Self> {
        let schemas = E::schemas();
        let (id, name) = (TypeId::of::<E>(), std::any::type_name::<E>());
        (!schemas.is_empty()).then_some(Self { id, name, schemas, read: rewrite::<E> })
    }

    /// The schemas of all versions of its types.
    pub(crate) fn schemas(&self) -> &[EventSchema] {
        &self.schemas
    }
}

fn rewrite<E: Event>(event_type: &str, version: u16, data: &[u8]) -> Rewritten {
    let mut events = Vec::new();
    if !E::decode(event_type, version, data, &mut |event| events.push(event))? {
        return Ok(None);
    }
    let written = events.iter().map(|event: &E| {
        let info = event.info();
        Ok(Written { event_type: info.name, version: info.version, data: event.encode()? })
    });
    written.collect::<Result<Vec<_>, _>>().map(Some)
}

/// The event enums of a host. Each type has one owner.
#[derive(Debug, Clone, Default)]
pub struct Catalog {
    enums: Vec<EventEnum>,
}

/// Two enums of a host own the same type.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "event type `{event_type}` has two owners, `{first}` and `{second}`: leave `schema` out of the enum that only reads it"
)]
pub struct TwoOwners {
    /// The name of the type.
    pub event_type: String,
    /// An enum that owns it.
    pub first: &'static str,
    /// Another one.
    pub second: &'static str,
}

impl Catalog {
    /// A catalog of these enums. The same enum may come more than once.
    ///
    /// # Errors
    /// [`TwoOwners`].
    pub fn new(enums: impl IntoIterator<Item = EventEnum>) -> Result<Self, TwoOwners> {
        let mut catalog = Self::default();
        for of_host in enums {
            if catalog.enums.iter().all(|known| known.id != of_host.id) {
                catalog.enums.push(of_host);
            }
        }
        let mut owners: BTreeMap<&str, &EventEnum> = BTreeMap::new();
        for owner in &catalog.enums {
            for name in names(owner) {
                match owners.insert(name, owner) {
                    Some(first) if first.id != owner.id => {
                        let event_type = name.to_owned();
                        return Err(TwoOwners { event_type, first: first.name, second: owner.name });
                    }
                    _ => {}
                }
            }
        }
        Ok(catalog)
    }

    /// True if no enum of the host owns its types.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.enums.is_empty()
    }

    /// The schemas of all versions of all types.
    #[must_use]
    pub fn schemas(&self) -> Vec<EventSchema> {
        self.enums.iter().flat_map(|owner| owner.schemas.iter().cloned()).collect()
    }

    /// The names of all types, older names too.
    pub(crate) fn names(&self) -> impl Iterator<Item = &'static str> {
        self.enums.iter().flat_map(names)
    }

    /// Reads a stored event and writes what it is read as. `None` if no enum owns the type.
    pub(crate) fn rewrite(&self, event_type: &str, version: u16, data: &[u8]) -> Rewritten {
        let owner = self.enums.iter().find(|owner| names(owner).any(|name| name == event_type));
        owner.map_or(Ok(None), |owner| (owner.read)(event_type, version, data))
    }
}

/// The names that an enum owns, with repeats.
fn names(owner: &EventEnum) -> impl Iterator<Item = &'static str> {
    owner.schemas.iter().flat_map(|schema| std::iter::once(schema.name).chain(schema.aliases.iter().copied()))
}
