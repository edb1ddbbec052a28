//! The handle of applications: a store, an environment, and metadata for every event.

use std::num::NonZeroU32;
use std::sync::Arc;

use gesta_core::{
    Checkpoint, CommandKey, EventId, EventStore, Expected, Placed, RecordedEvent, StreamName, Version,
};

use crate::boundary::{At, Boundary};
use crate::decider::Decider;
use crate::decision::Decision;
use crate::environment::{Environment, SystemEnvironment};
use crate::error::{LoadError, SendError};
use crate::event::{Event, Recorded};
use crate::fact::{Fact, NewFact};
use crate::key::Key;
use crate::load::{AsOf, Loaded, load, load_at, load_boundary};
use crate::meta::Meta;
use crate::state::State;

/// The default number of attempts to decide and append a command. Each failed attempt means that another writer got
/// through.
const ATTEMPTS: NonZeroU32 = NonZeroU32::new(32).unwrap();

/// An event store, as applications use it. Cheap to clone.
///
/// # Example
/// ```
/// # use gesta::*;
/// # #[derive(Debug, Clone, Key)] #[key("counter")] struct CounterId(u64);
/// # #[derive(Debug, PartialEq, Event)] #[event(prefix = "counter")] enum CounterEvent { Counted }
/// # #[derive(Debug, Clone, Command)] enum CounterCommand { Count }
/// # #[derive(Debug, Default)] struct Counter(u64);
/// # impl State for Counter { type Event = CounterEvent; fn evolve(&mut self, _: CounterEvent) { self.0 += 1 } }
/// # impl Decider for Counter {
/// #     type Id = CounterId; type Command = CounterCommand; type Error = std::convert::Infallible;
/// #     fn decide(&self, _: CounterCommand) -> Result<Vec<CounterEvent>, Self::Error> { Ok(vec![CounterEvent::Counted]) }
/// # }
/// # fn main() -> Result<(), Box<dyn std::error::Error>> { gesta::testing::block_on(async {
/// let gesta = gesta::testing::store();
/// let committed = gesta.with(Meta::new().actor("ann")).send::<Counter>(&CounterId(7), CounterCommand::Count).await?;
/// assert_eq!(committed.events, [CounterEvent::Counted]);
/// assert_eq!(gesta.load::<Counter>(&CounterId(7)).await?.state.0, 1);
/// # Ok(()) }) }
/// ```
#[derive(Clone)]
pub struct Gesta {
    store: Arc<dyn EventStore>,
    environment: Arc<dyn Environment>,
    meta: Arc<Meta>,
    attempts: NonZeroU32,
}

impl std::fmt::Debug for Gesta {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Gesta")
            .field("meta", &self.meta)
            .field("attempts", &self.attempts)
            .finish_non_exhaustive()
    }
}

/// The result of a command. Its events are durable.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Committed<E> {
    /// The events, in order. Empty if the command was accepted without an event.
    pub events: Vec<E>,
    /// The versions and positions of the events, in the same order.
    pub places: Vec<Placed>,
    /// The version of the last event of each stream written to; without events, of each entity that was read.
    pub versions: Vec<(StreamName, Version)>,
    /// A view that has reached this checkpoint includes the events. Without events: how far the log was read.
    pub checkpoint: Checkpoint,
    /// True if this is the answer to an earlier sending of the same command. Nothing was written now.
    pub repeated: bool,
}

impl<E> Committed<E> {
    /// The version of the first stream. For a command to one entity: its new version, or `None` if it has no event.
    #[must_use]
    pub fn version(&self) -> Option<Version> {
        self.versions.first().map(|(_, version)| *version)
    }
}

impl Gesta {
    /// A handle on a store, with the system's clock and random event ids.
    #[must_use]
    pub fn new(store: Arc<dyn EventStore>) -> Self {
        Self::with_environment(store, Arc::new(SystemEnvironment))
    }

    /// A handle on a store, with the caller's clock and event ids.
    #[must_use]
    pub fn with_environment(store: Arc<dyn EventStore>, environment: Arc<dyn Environment>) -> Self {
        Self { store, environment, meta: Arc::default(), attempts: ATTEMPTS }
    }

    /// A handle that records this metadata with every event.
    #[must_use]
    pub fn with(&self, meta: Meta) -> Self {
        Self { meta: Arc::new(meta), ..self.clone() }
    }

    /// A handle that decides a command at most `attempts` times when others write to the same entities.
    #[must_use]
    pub fn attempts(&self, attempts: NonZeroU32) -> Self {
        Self { attempts, ..self.clone() }
    }

    /// The store underneath.
    #[must_use]
    pub fn event_store(&self) -> &Arc<dyn EventStore> {
        &self.store
    }

    /// Gives the next command a key: a repeat returns the first answer and writes nothing. Scope keys from outside with
    /// [`Idempotency`](crate::Idempotency) first.
    #[must_use]
    pub fn command_key(&self, key: CommandKey) -> Call {
        self.call().command_key(key)
    }

    /// Sends the next command only if the entity has exactly that version.
    #[must_use]
    pub fn expect_version(&self, version: Version) -> Call {
        self.call().expect(Expected::Exactly(version))
    }

    /// One command, to add options to.
    #[must_use]
    pub fn call(&self) -> Call {
        Call { gesta: self.clone(), command: None, expected: None }
    }

    /// Sends a command to an entity: loads the entity, decides, and appends the events if the entity has not changed.
    /// If it has changed, the newer events are folded in and the command is decided again. If an append may or may not
    /// have happened, the same batch is sent again a few times to settle it.
    ///
    /// # Errors
    /// [`SendError`]: the domain's refusal, the reason why nothing was written, or an outcome that is in doubt.
    ///
    /// # Cancel safety
    /// If the future is dropped, the command may or may not have happened. With a command key it can be sent again.
    pub async fn send<D: Decider>(
        &self,
        id: &D::Id,
        command: D::Command,
    ) -> Result<Committed<D::Event>, SendError<D::Error>> {
        self.call().send::<D>(id, command).await
    }

    /// Executes a decision: like [`Self::send`], for all states in its boundary at once.
    ///
    /// # Errors
    /// [`SendError`].
    ///
    /// # Cancel safety
    /// See [`Self::send`].
    pub async fn execute<D: Decision>(&self, decision: D) -> Result<Committed<NewFact>, SendError<D::Error>> {
        self.call().execute(decision).await
    }

    /// The current state of an entity; the default state if it has no events.
    ///
    /// # Errors
    /// [`LoadError`].
    pub async fn load<D: Decider>(&self, id: &D::Id) -> Result<Loaded<D>, LoadError> {
        load(&*self.store, id.stream()?).await
    }

    /// The state of an entity at an earlier point.
    ///
    /// # Errors
    /// [`LoadError`]; [`LoadError::NoSuchVersion`] if the stream has not reached the version.
    pub async fn load_at<D: Decider>(&self, id: &D::Id, as_of: AsOf) -> Result<Loaded<D>, LoadError> {
        load_at(&*self.store, id.stream()?, as_of).await
    }

    /// A state folded from a stream.
    ///
    /// # Errors
    /// [`LoadError`].
    pub async fn load_stream<S: State>(&self, stream: StreamName) -> Result<Loaded<S>, LoadError> {
        load(&*self.store, stream).await
    }

    /// Loads a boundary without deciding: several states at one place in the log.
    ///
    /// # Errors
    /// [`LoadError`].
    pub async fn look<B: Boundary>(&self, mut boundary: B) -> Result<B, LoadError> {
        load_boundary(&*self.store, &mut boundary).await?;
        Ok(boundary)
    }

    pub(crate) fn environment(&self) -> &dyn Environment {
        &*self.environment
    }

    pub(crate) fn meta(&self) -> &Meta {
        &self.meta
    }

    pub(crate) fn attempts_max(&self) -> u32 {
        self.attempts.get()
    }
}

/// One command with its options. Sending consumes it, so a key belongs to one command only.
#[derive(Debug, Clone)]
pub struct Call {
    pub(crate) gesta: Gesta,
    pub(crate) command: Option<CommandKey>,
    pub(crate) expected: Option<Expected>,
}

impl Call {
    /// Gives the command a key: a repeat returns the first answer, before anything is decided.
    #[must_use]
    pub fn command_key(mut self, key: CommandKey) -> Self {
        self.command = Some(key);
        self
    }

    /// Fails with [`SendError::VersionMismatch`] unless the entity is as expected.
    #[must_use]
    pub fn expect(mut self, expected: Expected) -> Self {
        self.expected = Some(expected);
        self
    }

    /// Fails with [`SendError::VersionMismatch`] unless the entity has exactly that version.
    #[must_use]
    pub fn expect_version(self, version: Version) -> Self {
        self.expect(Expected::Exactly(version))
    }

    /// Like [`Gesta::send`], with these options.
    ///
    /// # Errors
    /// [`SendError`].
    ///
    /// # Cancel safety
    /// See [`Gesta::send`].
    pub async fn send<D: Decider>(
        self,
        id: &D::Id,
        command: D::Command,
    ) -> Result<Committed<D::Event>, SendError<D::Error>> {
        let mut decided = Vec::new();
        let written = self.send_facts::<D>(id, command, &mut decided).await?;
        let events = if written.repeated { decode_all(&written.events)? } else { decided };
        Ok(written.with(events))
    }

    /// Like [`Gesta::execute`], with these options. An expected version is refused: the decision's boundary sets the
    /// expectations.
    ///
    /// # Errors
    /// [`SendError`].
    ///
    /// # Cancel safety
    /// See [`Gesta::send`].
    pub async fn execute<D: Decision>(self, decision: D) -> Result<Committed<NewFact>, SendError<D::Error>> {
        let written = self.execute_facts(decision).await?;
        let facts = written.facts.iter().cloned().map(NewFact::of_fact).collect();
        Ok(written.with(facts))
    }

    /// Sends the command and leaves the decided events in `decided`.
    pub(crate) async fn send_facts<D: Decider>(
        self,
        id: &D::Id,
        command: D::Command,
        decided: &mut Vec<D::Event>,
    ) -> Result<Written, SendError<D::Error>> {
        let stream = id.stream().map_err(LoadError::from)?;
        let decide = |state: &At<D>| {
            *decided = state.decide(command.clone()).map_err(SendError::Refused)?;
            let facts = decided.iter().map(|event| Fact::new(stream.clone(), event));
            Ok(facts.collect::<Result<Vec<_>, _>>()?)
        };
        self.run(D::at(id), decide).await
    }

    pub(crate) async fn execute_facts<D: Decision>(
        self,
        decision: D,
    ) -> Result<Written, SendError<D::Error>> {
        if self.expected.is_some() {
            let reason = "a decision takes no expected version: its boundary sets the expectations";
            return Err(SendError::Invalid { reason });
        }
        let decide = |state: &D::State| {
            let facts = decision.clone().decide(state).map_err(SendError::Refused)?;
            Ok(facts.into_iter().map(NewFact::into_fact).collect::<Result<Vec<_>, _>>()?)
        };
        self.run(decision.boundary(), decide).await
    }
}

/// What a call wrote, or for a repeat, what the first sending wrote.
pub(crate) struct Written {
    pub(crate) facts: Vec<Fact>,
    /// The ids of the events, in the same order.
    pub(crate) ids: Vec<EventId>,
    /// For a repeat, the events as recorded; otherwise empty.
    pub(crate) events: Vec<RecordedEvent>,
    pub(crate) places: Vec<Placed>,
    pub(crate) versions: Vec<(StreamName, Version)>,
    pub(crate) checkpoint: Checkpoint,
    pub(crate) repeated: bool,
}

impl Written {
    fn with<E>(self, events: Vec<E>) -> Committed<E> {
        let Self { places, versions, checkpoint, repeated, .. } = self;
        Committed { events, places, versions, checkpoint, repeated }
    }
}

fn decode_all<E: Event>(events: &[RecordedEvent]) -> Result<Vec<E>, LoadError> {
    let decoded = events.iter().map(|event| Recorded::<E>::decode(event.clone()));
    decoded.filter_map(|event| Some(event.transpose()?.map(|recorded| recorded.event))).collect()
}
