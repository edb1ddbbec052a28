//! Decisions: rules that span several entities, or everything that carries a tag.

use bytes::Bytes;
use gesta_core::{
    Checkpoint, Condition, EventType, Expected, Item, NameError, Place, Query, Read, RecordedEvent, Select,
    StreamName, Tag, Version,
};

use crate::command::FieldInfo;
use crate::error::{EncodeError, LoadError};
use crate::event::{Event, TagValue, types};
use crate::key::Key;
use crate::state::{Decider, State};

/// A rule that looks at several things at once and records its outcome atomically.
///
/// Its boundary says what it looks at: entities, and events that share a tag. All parts are read at one place in the
/// log, and what it decides is recorded only if none of them has changed since; otherwise it is decided again.
/// A boundary over tags needs a store whose conditions may span the whole log.
///
/// An event may be recorded in a stream outside the boundary; then nothing is said of that stream.
///
/// Where it spans entities only, [`macro@crate::decision`] makes one of a function: of
/// `fn transfer(from: &At<Account>, to: &At<Account>, amount: u64) -> Result<Vec<NewFact>, Refused>` the struct `Transfer`,
/// with the two ids and the amount.
///
/// # Example
/// A rule over a tag: an e-mail address is taken once.
/// ```
/// # use gesta::*;
/// # #[derive(Debug, Clone, Key)] #[key("customer")] struct CustomerId(String);
/// #[derive(Debug, Event)]
/// #[event(prefix = "shop.customer")]
/// enum CustomerEvent {
///     Registered { #[tag] email: String },
/// }
///
/// /// Whether an e-mail address is taken.
/// #[derive(Default)]
/// struct Taken(bool);
/// impl State for Taken {
///     type Event = CustomerEvent;
///     fn evolve(&mut self, _: CustomerEvent) {
///         self.0 = true;
///     }
/// }
///
/// #[derive(Debug, Refusal)]
/// enum Refused {
///     /// The e-mail address is taken.
///     EmailTaken,
/// }
///
/// #[derive(Clone)]
/// struct Register { id: CustomerId, email: String }
/// impl Decision for Register {
///     type State = At<Taken>;
///     type Error = Refused;
///     fn boundary(&self) -> At<Taken> {
///         At::tagged("email", &self.email)
///     }
///     fn decide(self, taken: &At<Taken>) -> Result<Vec<NewFact>, Refused> {
///         if taken.0 {
///             return Err(Refused::EmailTaken);
///         }
///         Ok(vec![NewFact::new(&self.id, &CustomerEvent::Registered { email: self.email })])
///     }
/// }
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a decision",
    label = "not a decision",
    note = "implement `gesta::Decision`: `type State`, `type Error`, `fn boundary` and `fn decide`"
)]
pub trait Decision: Clone + Send + Sync + 'static {
    /// What it looks at: an [`At`], a tuple of up to four, or a `Vec` of them.
    type State: Boundary;
    /// Why it refuses.
    type Error: std::error::Error + Send + Sync + 'static;

    /// Its inputs, for those who ask what is hosted; empty where they are not said. [`macro@crate::decision`] says them.
    const FIELDS: &'static [FieldInfo] = &[];

    /// What it looks at, not loaded yet.
    fn boundary(&self) -> Self::State;

    /// What happens because of it. An empty list means: accepted, and nothing to record.
    ///
    /// # Errors
    /// The domain's own refusal. Nothing is recorded then.
    fn decide(self, state: &Self::State) -> Result<Vec<NewFact>, Self::Error>;
}

/// An event to be recorded in the stream of some entity. Made by [`Decider::emit`](crate::Decider::emit).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewFact(Result<Fact, EncodeError>);

/// An event, written as bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Fact {
    pub(crate) stream: StreamName,
    pub(crate) event_type: EventType,
    pub(crate) schema_version: u16,
    pub(crate) data: Bytes,
    pub(crate) tags: Vec<Tag>,
}

impl NewFact {
    /// An event of that entity. One that cannot be written is reported when the decision is executed.
    #[must_use]
    pub fn new<K: Key, E: Event>(id: &K, event: &E) -> Self {
        Self(id.stream().map_err(EncodeError::from).and_then(|stream| Fact::new(stream, event)))
    }

    /// An event of that stream.
    #[must_use]
    pub fn of_stream<E: Event>(stream: StreamName, event: &E) -> Self {
        Self(Fact::new(stream, event))
    }

    pub(crate) const fn of_fact(fact: Fact) -> Self {
        Self(Ok(fact))
    }

    pub(crate) fn into_fact(self) -> Result<Fact, EncodeError> {
        self.0
    }
}

impl Fact {
    pub(crate) fn new<E: Event>(stream: StreamName, event: &E) -> Result<Self, EncodeError> {
        let info = event.info();
        Ok(Self {
            stream,
            event_type: EventType::new(info.name)?,
            schema_version: info.version,
            data: event.encode()?,
            tags: event.tags()?,
        })
    }

    /// What was recorded, without the tags that say who did it.
    pub(crate) fn of_recorded(event: &RecordedEvent) -> Result<Self, NameError> {
        let own_tags = event.tags().filter(|tag| !tag.starts_with('$'));
        Ok(Self {
            stream: event.stream().parse()?,
            event_type: event.event_type().parse()?,
            schema_version: event.schema_version(),
            data: event.data(),
            tags: own_tags.map(str::parse).collect::<Result<_, _>>()?,
        })
    }
}

/// What a decision looks at, and what must not change until it is recorded.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a consistency boundary",
    label = "not a boundary",
    note = "use `At<State>`, a tuple of them such as `(At<Account>, At<Account>)`, or a `Vec`"
)]
pub trait Boundary: Send + Sync + 'static {
    /// Its parts, to be loaded.
    #[doc(hidden)]
    fn parts(&mut self) -> Vec<&mut dyn Part>;
}

/// One part of a boundary, whatever its state.
#[doc(hidden)]
pub trait Part: Send {
    /// What to read next, forward.
    fn next(&self) -> Result<Select, NameError>;
    /// Takes in an event.
    fn apply(&mut self, event: &RecordedEvent) -> Result<(), LoadError>;
    /// Says that everything up to there was read.
    fn reached(&mut self, scanned_to: Checkpoint);
    /// What it says of a stream when the decision is recorded.
    fn expectation(&self) -> Option<(StreamName, Option<Version>)>;
    /// What it says of the log when the decision is recorded.
    fn condition(&self) -> Option<Condition>;
    /// How far it was read.
    fn scanned_to(&self) -> Option<&Checkpoint>;
}

/// A state at a place: an entity, or the events that share a tag. Reads like the state, which is empty until it is
/// loaded.
#[derive(Debug, Clone)]
pub struct At<S> {
    scope: Result<Scope, NameError>,
    state: S,
    version: Option<Version>,
    scanned_to: Option<Checkpoint>,
}

#[derive(Debug, Clone)]
enum Scope {
    Stream(StreamName),
    Query(Item),
}

impl<S: State> At<S> {
    fn new(scope: Result<Scope, NameError>) -> Self {
        Self { scope, state: S::default(), version: None, scanned_to: None }
    }

    /// The stream of an entity. It must not grow until the decision is recorded.
    #[must_use]
    pub fn entity<K: Key>(id: &K) -> Self {
        Self::new(id.stream().map(Scope::Stream))
    }

    /// A stream. It must not grow until the decision is recorded.
    #[must_use]
    pub fn stream(name: StreamName) -> Self {
        Self::new(Ok(Scope::Stream(name)))
    }

    /// The state's events that carry the tag `key:value`, in any stream. No other may be recorded until the decision is.
    #[must_use]
    pub fn tagged(key: &str, value: impl TagValue) -> Self {
        let mut tags = Ok(Vec::new());
        value.each_tag_value(&mut |value| {
            if let Ok(own) = &mut tags {
                match Tag::from_parts(key, value) {
                    Ok(tag) => own.push(tag),
                    Err(error) => tags = Err(error),
                }
            }
        });
        Self::new(tags.map(|tags| Scope::Query(Item { types: types::<S::Event>(), tags, ..Item::default() })))
    }

    /// The state's events that match an item of a query. Where it names no types, they are the state's.
    #[must_use]
    pub fn matching(mut item: Item) -> Self {
        if item.types.is_empty() {
            item.types = types::<S::Event>();
        }
        Self::new(Ok(Scope::Query(item)))
    }
}

impl<S> At<S> {
    /// The state.
    #[must_use]
    pub const fn state(&self) -> &S {
        &self.state
    }

    /// For an entity: the version of its last event that was folded in; `None` before its first.
    #[must_use]
    pub const fn version(&self) -> Option<Version> {
        self.version
    }

    pub(crate) fn into_parts(self) -> (S, Option<Version>, Option<Checkpoint>) {
        (self.state, self.version, self.scanned_to)
    }
}

impl<S: Decider> At<S> {
    /// Asks this entity to do something, and gives what happens to it: how a decision lets each entity keep its own rules.
    ///
    /// # Errors
    /// The entity's refusal.
    pub fn ask(&self, command: S::Command) -> Result<Vec<NewFact>, S::Error> {
        let events = self.state.decide(command)?;
        Ok(events.iter().map(|event| self.emit(event)).collect())
    }

    /// An event of this entity, to be recorded.
    #[must_use]
    pub fn emit(&self, event: &S::Event) -> NewFact {
        match &self.scope {
            Ok(Scope::Stream(stream)) => NewFact::of_stream(stream.clone(), event),
            Ok(Scope::Query(_)) => NewFact(Err(EncodeError::NoStream)),
            Err(error) => NewFact(Err(error.clone().into())),
        }
    }
}

impl<S> std::ops::Deref for At<S> {
    type Target = S;

    fn deref(&self) -> &S {
        &self.state
    }
}

impl<S: State> Part for At<S> {
    fn next(&self) -> Result<Select, NameError> {
        Ok(match self.scope.clone()? {
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
}

/// Folds one event into a state: straight from its bytes.
pub(crate) fn fold_one<S: State>(state: &mut S, event: &RecordedEvent) -> Result<(), LoadError> {
    match S::Event::decode(event.event_type(), event.schema_version(), event.data_slice()) {
        Ok(Some(event)) => state.evolve(event),
        Ok(None) if S::Event::IGNORES_UNKNOWN => {}
        Ok(None) => {
            return Err(LoadError::UnknownType {
                stream: event.stream().to_owned(),
                version: event.version(),
                event_type: event.event_type().to_owned(),
            });
        }
        Err(error) => return Err(LoadError::of_event(event, error)),
    }
    Ok(())
}

/// What an append expects of a stream whose last known event has that version.
pub(crate) fn expected(version: Option<Version>) -> Expected {
    version.map_or(Expected::None, Expected::Exactly)
}

impl<S: State> Boundary for At<S> {
    fn parts(&mut self) -> Vec<&mut dyn Part> {
        vec![self]
    }
}

impl<S: State> Boundary for Vec<At<S>> {
    fn parts(&mut self) -> Vec<&mut dyn Part> {
        self.iter_mut().map(|part| part as &mut dyn Part).collect()
    }
}

macro_rules! tuple_boundary {
    ($($part:ident $at:tt),*) => {
        impl<$($part: State),*> Boundary for ($(At<$part>,)*) {
            fn parts(&mut self) -> Vec<&mut dyn Part> {
                vec![$(&mut self.$at),*]
            }
        }
    };
}
tuple_boundary!(A 0);
tuple_boundary!(A 0, B 1);
tuple_boundary!(A 0, B 1, C 2);
tuple_boundary!(A 0, B 1, C 2, D 3);
