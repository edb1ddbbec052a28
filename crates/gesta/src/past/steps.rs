//! The history of an entity, event by event, forward and back.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use bytes::Bytes;
use gesta_core::{Checkpoint, Direction, EventStore, Read, RecordedEvent, Select, StreamName, Version, When};
use serde::Serialize;
use serde_json::Value;

use super::diff::{DiffError, FieldChange, changes};
use crate::boundary::fold_one;
use crate::error::LoadError;
use crate::pages::PAGE;
use crate::state::State;

/// The events between two kept states: going back folds at most this many, where the state declares snapshots.
const KEPT_EVERY: u64 = 1_000;

/// An event of an entity, and what it changed.
#[derive(Debug, Clone, PartialEq)]
pub struct EventStep {
    /// The event.
    pub event: RecordedEvent,
    /// What differs in the state.
    pub changes: Vec<FieldChange>,
    /// The state after it.
    pub state: Value,
}

impl EventStep {
    /// The actor that was recorded.
    #[must_use]
    pub fn who(&self) -> Option<&str> {
        self.event.tag("$actor")
    }

    /// The cause that was recorded: the id of an event, or the name of something outside.
    #[must_use]
    pub fn cause(&self) -> Option<&str> {
        self.event.tag("$causation")
    }

    /// The reason that was recorded, in words.
    #[must_use]
    pub fn reason(&self) -> Option<String> {
        let metadata = serde_json::from_slice::<Value>(self.event.metadata_slice()).ok()?;
        metadata.get("reason")?.as_str().map(str::to_owned)
    }
}

/// A walk through the history of an entity, as it was when the walk began. It stands before the first event at first.
///
/// Going forward folds one event. Going back folds from the last kept state on: the state after every 1,000 events is kept where
/// it declares snapshots, and otherwise the entity is folded from its first event.
pub struct Steps {
    store: Arc<dyn EventStore>,
    stream: StreamName,
    until: Checkpoint,
    fold: Box<dyn Fold>,
    /// The last event that is folded in.
    at: Option<Version>,
    /// Encoded states, by the version after which they are.
    kept: BTreeMap<Version, Bytes>,
    /// Events that were read and come next.
    ahead: VecDeque<RecordedEvent>,
}

impl Steps {
    pub(crate) async fn of<S: State + Serialize>(
        store: Arc<dyn EventStore>,
        stream: StreamName,
    ) -> Result<Self, LoadError> {
        let until = store.locate(When::Head).await?;
        let fold = Box::new(Folded(S::default()));
        let (kept, ahead) = (BTreeMap::new(), VecDeque::new());
        Ok(Self { store, stream, until, fold, at: None, kept, ahead })
    }

    /// The version of the event that the walk stands at; `None` before the first one.
    #[must_use]
    pub const fn version(&self) -> Option<Version> {
        self.at
    }

    /// Steps to the next event; `None` at the end.
    ///
    /// # Errors
    /// [`DiffError`]. The walk stays where it is, unless the state after the event cannot be shown: then it stands at that event.
    pub async fn next(&mut self) -> Result<Option<EventStep>, DiffError> {
        let before = self.fold.json()?;
        let Some(event) = self.fold_next().await? else { return Ok(None) };
        let state = self.fold.json()?;
        Ok(Some(EventStep { event, changes: changes(&before, &state), state }))
    }

    /// Steps back to the event before; `None` before the first one.
    ///
    /// # Errors
    /// [`DiffError`].
    pub async fn back(&mut self) -> Result<Option<EventStep>, DiffError> {
        let Some(at) = self.at else { return Ok(None) };
        match at.get().checked_sub(1) {
            Some(before) => self.goto(Version::new(before)).await.map(Some),
            None => {
                self.seek(None).await?;
                Ok(None)
            }
        }
    }

    /// Goes to the event with a version.
    ///
    /// # Errors
    /// [`DiffError`]: [`LoadError::NoSuchVersion`] if there is none. The walk stands at the last event then.
    pub async fn goto(&mut self, version: Version) -> Result<EventStep, DiffError> {
        self.seek(version.get().checked_sub(1).map(Version::new)).await?;
        let step = self.next().await?;
        step.ok_or_else(|| self.no_such(version).into())
    }

    /// Folds or unfolds the state to that after a version.
    async fn seek(&mut self, to: Option<Version>) -> Result<(), LoadError> {
        let kept = to.and_then(|to| self.kept.range(..=to).next_back());
        let kept = kept.map(|(version, state)| (*version, state.clone()));
        if self.at > to || kept.as_ref().is_some_and(|(version, _)| Some(*version) > self.at) {
            self.ahead.clear();
            self.at = kept.and_then(|(version, state)| self.fold.restore(&state).then_some(version));
            if self.at.is_none() {
                self.fold.clear();
            }
        }
        while self.at < to {
            if self.fold_next().await?.is_none() {
                let asked = to.expect("nothing comes before the first event").next();
                return Err(self.no_such(asked));
            }
        }
        Ok(())
    }

    async fn fold_next(&mut self) -> Result<Option<RecordedEvent>, LoadError> {
        if self.ahead.is_empty() {
            self.read_on().await?;
        }
        let Some(event) = self.ahead.front() else { return Ok(None) };
        self.fold.evolve(event)?;
        let version = event.version();
        self.at = Some(version);
        if version.next().get().is_multiple_of(KEPT_EVERY)
            && let Some(state) = self.fold.encode()
        {
            self.kept.insert(version, state);
        }
        Ok(self.ahead.pop_front())
    }

    async fn read_on(&mut self) -> Result<(), LoadError> {
        let from = self.at.map_or(Version::FIRST, Version::next);
        let select = Select::Stream { name: self.stream.clone(), from: Some(from) };
        let until = Some(self.until.clone());
        let read = Read { select, direction: Direction::Forward, until, limit: PAGE };
        self.ahead = self.store.read(read).await?.events.into();
        Ok(())
    }

    fn no_such(&self, asked: Version) -> LoadError {
        LoadError::NoSuchVersion { stream: self.stream.clone(), asked, last: self.at }
    }
}

/// A state with its type erased.
trait Fold: Send {
    fn evolve(&mut self, event: &RecordedEvent) -> Result<(), LoadError>;
    fn json(&self) -> Result<Value, serde_json::Error>;
    /// The state as bytes; `None` if its type does not declare snapshots.
    fn encode(&self) -> Option<Bytes>;
    /// Takes the state from bytes. Returns false if they cannot be read.
    fn restore(&mut self, state: &Bytes) -> bool;
    fn clear(&mut self);
}

struct Folded<S>(S);

impl<S: State + Serialize> Fold for Folded<S> {
    fn evolve(&mut self, event: &RecordedEvent) -> Result<(), LoadError> {
        fold_one(&mut self.0, event)
    }

    fn json(&self) -> Result<Value, serde_json::Error> {
        serde_json::to_value(&self.0)
    }

    fn encode(&self) -> Option<Bytes> {
        S::snapshots()?.encode(&self.0).ok()
    }

    fn restore(&mut self, state: &Bytes) -> bool {
        let state = S::snapshots().and_then(|snapshots| snapshots.decode(state).ok());
        state.map(|state| self.0 = state).is_some()
    }

    fn clear(&mut self) {
        self.0 = S::default();
    }
}
