//! Consistency boundaries: the states that a decision reads, which must not change until it is recorded.

use std::any::TypeId;

use gesta_core::{
    Checkpoint, Condition, EventId, Expected, Item, Place, Query, Read, RecordedEvent, Select, Snapshot,
    StreamName, Tag, Version,
};

use crate::entity::{AnyState, Borrower, EncodedEvent, Held};
use crate::error::{EncodeError, LoadError};
use crate::event::{Event, TagValue, types};
use crate::fact::NewFact;
use crate::key::{Key, KeyError};
use crate::process::is_process_event;
use crate::snapshot::{Declared, restored};
use crate::state::State;

/// The states that a decision reads: an [`At`], a `Vec` of boundaries, or a tuple of up to eight, in any nesting.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a consistency boundary",
    label = "not a boundary",
    note = "use `At<State>`, a `Vec` of boundaries, or a tuple of up to eight, such as `(At<Course>, Vec<At<Student>>)`"
)]
pub trait Boundary: Send + Sync + 'static {
    /// The parts to load.
    #[doc(hidden)]
    fn parts(&mut self) -> Vec<&mut dyn Part>;
}

/// One part of a boundary, with its state's type erased.
#[doc(hidden)]
pub trait Part: Send {
    /// What to read next, forward.
    fn next(&self) -> Result<Select, LoadError>;
    /// Applies an event.
    fn apply(&mut self, event: &RecordedEvent) -> Result<(), LoadError>;
    /// Records that everything up to there was read.
    fn reached(&mut self, scanned_to: Checkpoint);
    /// The expected version of the part's stream, if it has one.
    fn expectation(&self) -> Option<(StreamName, Option<Version>)>;
    /// The append condition of the part, if it is a query.
    fn condition(&self) -> Option<Condition>;
    /// How far it was read.
    fn scanned_to(&self) -> Option<&Checkpoint>;
    /// How its state is kept as snapshots, with its stream; `None` if it is folded from its events each time.
    fn declared(&self) -> Option<(Declared, StreamName)> {
        None
    }
    /// Takes the state from a snapshot. Returns false if it cannot be decoded.
    fn restore(&mut self, snapshot: &Snapshot) -> bool {
        let _ = snapshot;
        false
    }
    /// The part as a borrower of a state that is kept between commands; `None` if its state is read for each.
    fn borrower(&mut self) -> Option<&mut dyn Borrower> {
        None
    }
}

/// A state and the events it is folded from: the stream of an entity, or the events that share a tag.
///
/// It dereferences to the state, which is the default state until the boundary is loaded.
#[derive(Debug, Clone)]
pub struct At<S> {
    scope: Result<Scope, BadScope>,
    state: S,
    version: Option<Version>,
    scanned_to: Option<Checkpoint>,
}

#[derive(Debug, Clone)]
enum Scope {
    Stream(StreamName),
    Query(Item),
}

/// Why an [`At`] selects no events. Reported when the boundary is loaded.
#[derive(Debug, Clone)]
enum BadScope {
    Key(KeyError),
    Tag(gesta_core::NameError),
    Empty { tag: String },
}

impl BadScope {
    fn load_error(&self) -> LoadError {
        match self.clone() {
            Self::Key(error) => error.into(),
            Self::Tag(error) => error.into(),
            Self::Empty { tag } => LoadError::EmptyBoundary { tag: Some(tag) },
        }
    }

    fn encode_error(&self) -> EncodeError {
        match self.clone() {
            Self::Key(error) => error.into(),
            Self::Tag(error) => error.into(),
            Self::Empty { .. } => EncodeError::NoStream,
        }
    }
}

impl<S: State> At<S> {
    fn new(scope: Result<Scope, BadScope>) -> Self {
        Self { scope, state: S::default(), version: None, scanned_to: None }
    }

    /// The stream of an entity. The decision fails if the stream grows before it is recorded.
    #[must_use]
    pub fn entity<K: Key>(id: &K) -> Self {
        Self::new(id.stream().map(Scope::Stream).map_err(BadScope::Key))
    }

    /// A stream. The decision fails if the stream grows before it is recorded.
    #[must_use]
    pub fn stream(name: StreamName) -> Self {
        Self::new(Ok(Scope::Stream(name)))
    }

    /// The state's events that carry the tag `key:value`, in any stream. The decision fails if another one is recorded
    /// first.
    ///
    /// A list of values selects the events that carry all of these tags. No value at all (`None`, an empty list) fails
    /// with [`LoadError::EmptyBoundary`]: it would select every event of the state's types.
    #[must_use]
    pub fn tagged(key: &str, value: impl TagValue) -> Self {
        Self::tagged_all(&[(key, &value)])
    }

    /// The state's events that carry all of these tags, in any stream. See [`Self::tagged`].
    #[must_use]
    pub fn tagged_all(tags: &[(&str, &dyn TagValue)]) -> Self {
        Self::new(tag_item::<S>(tags))
    }

    /// The state's events that match an item of a query. If the item names no types, the state's types are used: an
    /// item without any field selects every event of the state's types.
    #[must_use]
    pub fn matching(mut item: Item) -> Self {
        if item.types.is_empty() {
            item.types = types::<S::Event>();
        }
        Self::new(Ok(Scope::Query(item)))
    }

    /// One recorded event of an entity. The state is the default one if the entity has no such event, or one of a type that the state
    /// does not read.
    #[must_use]
    pub fn event<K: Key>(id: &K, event: EventId) -> Self {
        let item = |stream| Item {
            stream: Some(stream),
            ids: vec![event],
            types: types::<S::Event>(),
            ..Item::default()
        };
        Self::new(id.stream().map(|stream| Scope::Query(item(stream))).map_err(BadScope::Key))
    }

    /// An event of this entity, to be recorded. The decision fails with [`EncodeError::NoStream`] if the state is over
    /// tags: use [`NewFact::new`] there.
    #[must_use]
    pub fn emit(&self, event: S::Event) -> NewFact {
        match &self.scope {
            Ok(Scope::Stream(stream)) => NewFact::of_stream(stream.clone(), event),
            Ok(Scope::Query(_)) => NewFact::failed(EncodeError::NoStream),
            Err(error) => NewFact::failed(error.encode_error()),
        }
    }
}

fn tag_item<S: State>(named: &[(&str, &dyn TagValue)]) -> Result<Scope, BadScope> {
    let mut tags = Vec::with_capacity(named.len());
    for (key, value) in named {
        let before = tags.len();
        let mut result = Ok(());
        value.each_tag_value(&mut |value| match Tag::from_parts(key, value) {
            Ok(tag) => tags.push(tag),
            Err(error) => result = Err(BadScope::Tag(error)),
        });
        result?;
        if tags.len() == before {
            return Err(BadScope::Empty { tag: (*key).to_owned() });
        }
    }
    Ok(Scope::Query(Item { types: types::<S::Event>(), tags, ..Item::default() }))
}

impl<S> At<S> {
    /// The state.
    #[must_use]
    pub const fn state(&self) -> &S {
        &self.state
    }

    /// The version of the last event that was folded in, for an entity; `None` before its first event.
    #[must_use]
    pub const fn version(&self) -> Option<Version> {
        self.version
    }

    /// The stream, unless the state is over a query.
    pub(crate) const fn stream_name(&self) -> Option<&StreamName> {
        match &self.scope {
            Ok(Scope::Stream(stream)) => Some(stream),
            _ => None,
        }
    }

    pub(crate) fn into_parts(self) -> (S, Option<Version>, Option<Checkpoint>) {
        (self.state, self.version, self.scanned_to)
    }
}

impl<S> std::ops::Deref for At<S> {
    type Target = S;

    fn deref(&self) -> &S {
        &self.state
    }
}

impl<S: State> Part for At<S> {
    fn next(&self) -> Result<Select, LoadError> {
        Ok(match self.scope.clone().map_err(|error| error.load_error())? {
            Scope::Stream(name) => Select::Stream { name, from: self.version.map(Version::next) },
            Scope::Query(item) => {
                let from = self.scanned_to.clone().map_or(Place::Start, Place::At);
                Read::log_from(item.into(), from).select
            }
        })
    }

    fn apply(&mut self, event: &RecordedEvent) -> Result<(), LoadError> {
        fold_one(&mut self.state, event)?;
        if matches!(self.scope, Ok(Scope::Stream(_))) {
            self.version = Some(event.version());
        }
        Ok(())
    }

    fn reached(&mut self, scanned_to: Checkpoint) {
        self.scanned_to = Some(scanned_to);
    }

    fn expectation(&self) -> Option<(StreamName, Option<Version>)> {
        match &self.scope {
            Ok(Scope::Stream(name)) => Some((name.clone(), self.version)),
            _ => None,
        }
    }

    fn condition(&self) -> Option<Condition> {
        match &self.scope {
            Ok(Scope::Query(item)) => Some(Condition {
                fail_if_any: Query::Any(vec![item.clone()]),
                after: self.scanned_to.clone(),
            }),
            _ => None,
        }
    }

    fn scanned_to(&self) -> Option<&Checkpoint> {
        self.scanned_to.as_ref()
    }

    fn declared(&self) -> Option<(Declared, StreamName)> {
        match &self.scope {
            Ok(Scope::Stream(name)) => Some((Declared::of::<S>()?, name.clone())),
            _ => None,
        }
    }

    fn restore(&mut self, snapshot: &Snapshot) -> bool {
        let Some(state) = restored::<S>(snapshot) else { return false };
        self.state = state;
        self.version = Some(snapshot.version);
        true
    }

    fn borrower(&mut self) -> Option<&mut dyn Borrower> {
        matches!(self.scope, Ok(Scope::Stream(_))).then_some(self)
    }
}

impl<S: State> Borrower for At<S> {
    fn kind(&self) -> TypeId {
        TypeId::of::<S>()
    }

    fn empty(&self) -> Box<dyn AnyState> {
        Box::new(Held(Some(S::default())))
    }

    fn borrow(&mut self, from: &mut dyn AnyState, version: Option<Version>) {
        self.state = held::<S>(from).take().expect("a state is lent while it is there");
        self.version = version;
    }

    fn give_back(&mut self, to: &mut dyn AnyState) {
        *held::<S>(to) = Some(std::mem::take(&mut self.state));
        self.version = None;
    }
}

fn held<S: State>(state: &mut dyn AnyState) -> &mut Option<S> {
    &mut state.as_any().downcast_mut::<Held<S>>().expect("a state is found by its type").0
}

/// Folds one recorded event into a state. See [`fold`].
pub(crate) fn fold_one<S: State>(state: &mut S, event: &RecordedEvent) -> Result<(), LoadError> {
    fold(state, EncodedEvent::recorded(event))
}

/// Folds one event into a state, straight from its bytes: all the events that it is read as. Events of the type
/// `gesta.process.*` are passed over: they are the library's.
pub(crate) fn fold<S: State>(state: &mut S, event: EncodedEvent<'_>) -> Result<(), LoadError> {
    if is_process_event(event.event_type) {
        return Ok(());
    }
    let EncodedEvent { event_type, schema_version, data, .. } = event;
    match S::Event::decode(event_type, schema_version, data, &mut |event| state.evolve(event)) {
        Ok(known) if known || S::Event::IGNORES_UNKNOWN => Ok(()),
        Ok(_) => Err(LoadError::unknown_type_of(event)),
        Err(error) => Err(LoadError::of_encoded(event, error)),
    }
}

/// The expectation of an append on a stream whose last known event has that version.
pub(crate) fn expected(version: Option<Version>) -> Expected {
    version.map_or(Expected::None, Expected::Exactly)
}

impl<S: State> Boundary for At<S> {
    fn parts(&mut self) -> Vec<&mut dyn Part> {
        vec![self]
    }
}

impl<B: Boundary> Boundary for Vec<B> {
    fn parts(&mut self) -> Vec<&mut dyn Part> {
        self.iter_mut().flat_map(Boundary::parts).collect()
    }
}

macro_rules! tuple_boundary {
    ($($part:ident $at:tt),*) => {
        impl<$($part: Boundary),*> Boundary for ($($part,)*) {
            fn parts(&mut self) -> Vec<&mut dyn Part> {
                let mut parts = Vec::new();
                $(parts.extend(self.$at.parts());)*
                parts
            }
        }
    };
}
tuple_boundary!(A 0);
tuple_boundary!(A 0, B 1);
tuple_boundary!(A 0, B 1, C 2);
tuple_boundary!(A 0, B 1, C 2, D 3);
tuple_boundary!(A 0, B 1, C 2, D 3, E 4);
tuple_boundary!(A 0, B 1, C 2, D 3, E 4, F 5);
tuple_boundary!(A 0, B 1, C 2, D 3, E 4, F 5, G 6);
tuple_boundary!(A 0, B 1, C 2, D 3, E 4, F 5, G 6, H 7);
