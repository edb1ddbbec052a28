//! Streams that a view holds back because it cannot apply one of their events: the decisions, without a database.
//!
//! *Invariant.* An event is applied only if every earlier event of its stream that the view takes was applied, or skipped by an
//! operator.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;

use gesta_core::{Position, RecordedEvent, Version};

use crate::limits::{PARKED_ERROR_CHARACTERS, PARKED_STREAMS_MAX};
use crate::run_error::{EventPlace, RunError};

/// What a view does at an event that it cannot apply.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum OnError {
    /// It stops before the event.
    #[default]
    Stop,
    /// It parks the stream of the event and goes on with the others.
    Park,
}

impl OnError {
    /// The policy with a name in a definition: `stop` or `park`.
    pub(crate) fn by_name(name: &str) -> Option<Self> {
        match name {
            "stop" => Some(Self::Stop),
            "park" => Some(Self::Park),
            _ => None,
        }
    }
}

/// A stream that a view holds back. None of its events from `version` on are in the rows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ParkedStream {
    /// The stream.
    pub stream: String,
    /// The first version that is held.
    pub version: Version,
    /// The position of the event that failed last.
    pub position: Position,
    /// The error of that event. It names the event, and is cut at 1,000 characters.
    pub error: String,
}

impl ParkedStream {
    fn new(event: &RecordedEvent, error: &RunError) -> Self {
        let error = error.to_string().chars().take(PARKED_ERROR_CHARACTERS).collect();
        let (stream, version, position) = (event.stream().to_owned(), event.version(), event.position());
        Self { stream, version, position, error }
    }

    /// The same stream, held from a later version on.
    pub(crate) fn moved(&self, version: Version) -> Self {
        assert!(version > self.version, "a parked stream moves forward");
        Self { version, ..self.clone() }
    }
}

/// The parked streams of a version, as its database has them. A clone shares the entries.
#[derive(Debug, Clone, PartialEq, Default)]
pub(crate) struct ParkedStreams(Arc<BTreeMap<String, Arc<ParkedStream>>>);

impl ParkedStreams {
    pub(crate) fn get(&self, stream: &str) -> Option<&Arc<ParkedStream>> {
        self.0.get(stream)
    }

    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    /// All of them, by name.
    pub(crate) fn all(&self) -> Vec<Arc<ParkedStream>> {
        self.0.values().cloned().collect()
    }

    pub(crate) fn names(&self) -> Vec<String> {
        self.0.keys().cloned().collect()
    }

    /// These, and those of another version of the view. For a stream of both, the other version counts.
    pub(crate) fn with(mut self, other: &Self) -> Self {
        if self.0.is_empty() {
            return other.clone();
        }
        if !Arc::ptr_eq(&self.0, &other.0) && !other.0.is_empty() {
            let others = other.0.iter().map(|(stream, parked)| (stream.clone(), Arc::clone(parked)));
            Arc::make_mut(&mut self.0).extend(others);
        }
        self
    }

    /// Follows a transaction that was committed.
    pub(crate) fn apply(&mut self, changes: &[ParkedChange]) {
        if changes.is_empty() {
            return;
        }
        let streams = Arc::make_mut(&mut self.0);
        for change in changes {
            match change {
                ParkedChange::Put(parked) => streams.insert(parked.stream.clone(), Arc::clone(parked)),
                ParkedChange::Remove(stream) => streams.remove(stream),
            };
        }
    }
}

impl FromIterator<ParkedStream> for ParkedStreams {
    fn from_iter<I: IntoIterator<Item = ParkedStream>>(streams: I) -> Self {
        let named = streams.into_iter().map(|parked| (parked.stream.clone(), Arc::new(parked)));
        Self(Arc::new(named.collect()))
    }
}

/// A change of the parked streams, in the transaction of a page.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum ParkedChange {
    /// The stream is held from this version on.
    Put(Arc<ParkedStream>),
    /// The stream is not held any more.
    Remove(String),
}

impl ParkedChange {
    fn stream(&self) -> &str {
        match self {
            Self::Put(parked) => &parked.stream,
            Self::Remove(stream) => stream,
        }
    }
}

/// How the events of a page are applied in its transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Pieces {
    /// All at once.
    Whole,
    /// One after the other, so that an error is that of its event and of no later one.
    Single,
}

impl Pieces {
    /// The pieces of a page; one without events has one.
    pub(crate) fn of(self, events: &[RecordedEvent]) -> Vec<&[RecordedEvent]> {
        match self {
            Self::Single if !events.is_empty() => events.chunks(1).collect(),
            _ => vec![events],
        }
    }
}

/// What follows an error in a page.
#[derive(Debug)]
pub(crate) enum Then {
    /// The page is tried again, without what was parked.
    Again,
    /// The page fails.
    Fail(RunError),
}

/// One page on its way into the database. It is tried again without each stream that fails, until the rest succeeds.
pub(crate) struct Parking<'p> {
    view: &'p str,
    policy: OnError,
    parked: &'p ParkedStreams,
    events: &'p [RecordedEvent],
    /// What becomes of a stream whose held events are the page, unless one of them fails again.
    released: Option<ParkedChange>,
    fresh: BTreeMap<String, Arc<ParkedStream>>,
    pieces: Pieces,
}

impl<'p> Parking<'p> {
    /// A page that the view follows the log with.
    pub(crate) fn new(
        view: &'p str,
        policy: OnError,
        parked: &'p ParkedStreams,
        events: &'p [RecordedEvent],
    ) -> Self {
        let (released, fresh, pieces) = (None, BTreeMap::new(), Pieces::Whole);
        Self { view, policy, parked, events, released, fresh, pieces }
    }

    /// Events of a parked stream, which are applied again. Without an error, `released` becomes of the stream.
    pub(crate) fn again(
        view: &'p str,
        parked: &'p ParkedStreams,
        events: &'p [RecordedEvent],
        released: ParkedChange,
    ) -> Self {
        Self { released: Some(released), ..Self::new(view, OnError::Park, parked, events) }
    }

    /// The events to apply.
    pub(crate) fn events(&self) -> Cow<'p, [RecordedEvent]> {
        if self.events.iter().all(|event| self.applies(event)) {
            return Cow::Borrowed(self.events);
        }
        self.events.iter().filter(|event| self.applies(event)).cloned().collect()
    }

    fn applies(&self, event: &RecordedEvent) -> bool {
        let stream = event.stream();
        match self.fresh.get(stream) {
            Some(parked) => event.version() < parked.version,
            None => self.is_released(stream) || self.parked.get(stream).is_none(),
        }
    }

    fn is_released(&self, stream: &str) -> bool {
        self.released.as_ref().is_some_and(|released| released.stream() == stream)
    }

    pub(crate) const fn pieces(&self) -> Pieces {
        self.pieces
    }

    /// The changes of the parked streams that belong to the rows of [`Self::events`].
    pub(crate) fn changes(&self) -> Vec<ParkedChange> {
        let released = self.released.iter().filter(|released| !self.fresh.contains_key(released.stream()));
        let fresh = self.fresh.values().map(|parked| ParkedChange::Put(Arc::clone(parked)));
        released.cloned().chain(fresh).collect()
    }

    /// The streams that are parked by this page.
    pub(crate) fn fresh(&self) -> impl Iterator<Item = &Arc<ParkedStream>> {
        self.fresh.values()
    }

    /// Decides what follows an error. Nothing of the page was kept.
    pub(crate) fn failed(&mut self, error: RunError) -> Then {
        let event = match error.parks().filter(|_| self.policy == OnError::Park) {
            Some(place) => self.events.iter().find(|event| event.position() == place.position),
            None => None,
        };
        let Some(event) = event else { return Then::Fail(error) };
        if error.may_be_of_an_earlier_event() && self.pieces == Pieces::Whole && self.events.len() > 1 {
            // What was parked so far may have been parked for the same reason.
            self.fresh.clear();
            self.pieces = Pieces::Single;
            return Then::Again;
        }
        if !self.has_room(event.stream()) {
            let event = EventPlace::of(event);
            let (view, message) = (self.view.to_owned(), error.to_string());
            return Then::Fail(RunError::TooManyParked { event, view, message });
        }
        self.park(event, &error);
        Then::Again
    }

    fn has_room(&self, stream: &str) -> bool {
        let is_known = |stream: &str| self.parked.get(stream).is_some();
        let fresh = self.fresh.keys().filter(|fresh| !is_known(fresh)).count();
        is_known(stream) || self.fresh.contains_key(stream) || self.parked.len() + fresh < PARKED_STREAMS_MAX
    }

    /// An event is decoded before earlier ones are applied, so the first one that fails may be reported last.
    fn park(&mut self, event: &RecordedEvent, error: &RunError) {
        let parked = Arc::new(ParkedStream::new(event, error));
        let before = self.fresh.insert(parked.stream.clone(), Arc::clone(&parked));
        assert!(
            before.is_none_or(|before| parked.version < before.version),
            "an event that is held is not applied"
        );
    }
}

#[cfg(test)]
mod simulation;
