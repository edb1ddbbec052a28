//! The declaration that states of a type are kept as snapshots, and its fingerprint.

use std::any::TypeId;
use std::fmt;
use std::num::NonZeroU64;

use bytes::Bytes;
use gesta_core::{Fingerprint, Snapshot};
use schemars::JsonSchema;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::canonical::canonical;
use crate::event::Event;
use crate::state::State;

/// The declaration that states of type `S` are kept as snapshots. Made by [`macro@crate::snapshot`].
pub struct Snapshots<S> {
    every: NonZeroU64,
    version: u32,
    name: &'static str,
    code: &'static str,
    schema: fn() -> Value,
    encode: fn(&S) -> Result<Vec<u8>, serde_json::Error>,
    decode: fn(&[u8]) -> Result<S, serde_json::Error>,
    is_same: fn(&S, &S) -> bool,
}

impl<S> Clone for Snapshots<S> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<S> Copy for Snapshots<S> {}

impl<S> fmt::Debug for Snapshots<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Snapshots")
            .field("name", &self.name)
            .field("every", &self.every)
            .field("version", &self.version)
            .finish_non_exhaustive()
    }
}

impl<S: State> Snapshots<S> {
    /// Declares a snapshot about every `every` events. `code` is the source of `evolve`, or anything that changes with
    /// it; `version` is raised by hand when something else changes the state.
    ///
    /// # Panics
    /// If `every` is 0.
    #[must_use]
    pub fn new(every: u64, version: u32, name: &'static str, code: &'static str) -> Self
    where
        S: Serialize + DeserializeOwned + JsonSchema + PartialEq,
    {
        let every = NonZeroU64::new(every).expect("a snapshot is taken about every 1 or more events");
        Self {
            every,
            version,
            name,
            code,
            schema: || schemars::schema_for!(S).to_value(),
            encode: |state| serde_json::to_vec(state),
            decode: |json| serde_json::from_slice(json),
            is_same: S::eq,
        }
    }

    /// The identity of this kind of state. A change of the type, of `evolve`, or of the events' versions gives another.
    #[must_use]
    pub fn fingerprint(&self) -> Fingerprint {
        let mut hash = Sha256::new();
        let mut add = |part: &[u8]| {
            hash.update((part.len() as u64).to_le_bytes());
            hash.update(part);
        };
        add(b"gesta snapshot 1");
        add(self.name.as_bytes());
        add(&self.version.to_le_bytes());
        add(canonical(&(self.schema)()).to_string().as_bytes());
        add(self.code.as_bytes());
        add(&[u8::from(S::Event::IGNORES_UNKNOWN)]);
        add(&(S::Event::TYPES.len() as u64).to_le_bytes());
        for info in S::Event::TYPES.iter().chain(S::Event::RETIRED) {
            add(info.name.as_bytes());
            info.aliases.iter().for_each(|alias| add(alias.as_bytes()));
            add(&info.version.to_le_bytes());
        }
        Fingerprint::from_bytes(hash.finalize().into())
    }

    /// The JSON Schema of the state, with its documentation.
    #[cfg(feature = "http")]
    pub(crate) fn schema(&self) -> Value {
        (self.schema)()
    }

    pub(crate) fn decode(&self, json: &[u8]) -> Result<S, String> {
        (self.decode)(json).map_err(|error| error.to_string())
    }

    /// The state as JSON, or why it is not read back as it was.
    pub(crate) fn encode(&self, state: &S) -> Result<Bytes, String> {
        let json = (self.encode)(state).map_err(|error| error.to_string())?;
        let read_back = self.decode(&json)?;
        if !self.is_same(state, &read_back) {
            return Err(
                "read back, it is another state: serde skips a field, or `==` looks at more".to_owned()
            );
        }
        Ok(json.into())
    }

    pub(super) fn is_same(&self, one: &S, other: &S) -> bool {
        (self.is_same)(one, other)
    }
}

/// A declaration with its type erased.
#[derive(Clone, Copy)]
pub struct Declared {
    pub(super) type_id: TypeId,
    pub(super) name: &'static str,
    pub(super) every: NonZeroU64,
    pub(super) fingerprint: fn() -> Fingerprint,
    pub(super) take: super::take::Take,
}

impl Declared {
    /// The declaration of a type of state; `None` if it has none.
    pub(crate) fn of<S: State>() -> Option<Self> {
        let snapshots = S::snapshots()?;
        Some(Self {
            type_id: TypeId::of::<S>(),
            name: snapshots.name,
            every: snapshots.every,
            fingerprint: || declaration::<S>().fingerprint(),
            take: super::take::take::<S>,
        })
    }
}

/// The state in a snapshot; `None` if it cannot be decoded.
pub(crate) fn restored<S: State>(snapshot: &Snapshot) -> Option<S> {
    S::snapshots()?.decode(&snapshot.state).ok()
}

/// The declaration of a type that is known to have one.
pub(super) fn declaration<S: State>() -> Snapshots<S> {
    S::snapshots().expect("a declared type of state stays declared")
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    #[derive(Debug, gesta_macros::Event)]
    #[event(prefix = "counter")]
    pub(crate) enum CounterEvent {
        Added { n: u64 },
    }

    #[derive(Debug, gesta_macros::Event)]
    #[event(prefix = "counter")]
    pub(crate) enum NewerEvent {
        #[event(version = 2, upcast(1 = AddedV1))]
        Added { n: u64, by: String },
    }

    #[derive(serde::Deserialize)]
    pub(crate) struct AddedV1 {
        n: u64,
    }

    impl From<AddedV1> for NewerEvent {
        fn from(old: AddedV1) -> Self {
            Self::Added { n: old.n, by: String::new() }
        }
    }

    macro_rules! counter {
        ($name:ident of $event:ty, $every:literal, $version:literal, $as:literal, $code:literal { $(#[$field:meta])* $sum:ident: $ty:ty }) => {
            #[derive(Debug, Default, PartialEq, serde::Serialize, serde::Deserialize, JsonSchema)]
            pub(crate) struct $name {
                $(#[$field])*
                pub(crate) $sum: $ty,
            }

            impl State for $name {
                type Event = $event;

                fn evolve(&mut self, _: $event) {
                    self.$sum += 1;
                }

                fn snapshots() -> Option<Snapshots<Self>> {
                    Some(Snapshots::new($every, $version, $as, $code))
                }
            }
        };
    }

    counter!(Counter of CounterEvent, 10, 1, "Counter", "+= 1" { sum: u64 });
    counter!(Other of CounterEvent, 10, 1, "Other", "+= 1" { sum: u64 });
    counter!(Described of CounterEvent, 99, 1, "Counter", "+= 1" { #[schemars(description = "The sum.")] sum: u64 });
    counter!(Renamed of CounterEvent, 10, 1, "Counter", "+= 1" { total: u64 });
    counter!(Retyped of CounterEvent, 10, 1, "Counter", "+= 1" { sum: u32 });
    counter!(Raised of CounterEvent, 10, 2, "Counter", "+= 1" { sum: u64 });
    counter!(Folded of CounterEvent, 10, 1, "Counter", "+= 2" { sum: u64 });
    counter!(Newer of NewerEvent, 10, 1, "Counter", "+= 1" { sum: u64 });
    counter!(Skipping of CounterEvent, 10, 1, "Counter", "+= 1" { #[serde(skip)] sum: u64 });

    fn fingerprint<S: State>() -> Fingerprint {
        declaration::<S>().fingerprint()
    }

    #[test]
    fn whatever_changes_the_state_changes_its_kind() {
        let kinds = [
            fingerprint::<Counter>(),
            fingerprint::<Other>(),
            fingerprint::<Renamed>(),
            fingerprint::<Retyped>(),
            fingerprint::<Raised>(),
            fingerprint::<Folded>(),
            fingerprint::<Newer>(),
        ];
        let different = kinds.iter().collect::<std::collections::HashSet<_>>();
        assert_eq!(different.len(), kinds.len());
        assert_eq!(
            fingerprint::<Described>(),
            fingerprint::<Counter>(),
            "comments and `every` do not matter"
        );
    }

    #[test]
    fn a_state_that_is_not_read_back_as_it_was_is_refused() {
        let snapshots = declaration::<Skipping>();
        assert!(snapshots.encode(&Skipping { sum: 0 }).is_ok());
        let reason = snapshots.encode(&Skipping { sum: 1 }).unwrap_err();
        assert!(reason.contains("serde skips a field"), "{reason}");
        let whole = declaration::<Counter>().encode(&Counter { sum: 7 }).unwrap();
        assert_eq!(declaration::<Counter>().decode(&whole), Ok(Counter { sum: 7 }));
    }
}
