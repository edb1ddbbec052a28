//! The handle of applications: the entities of a store, an environment, and metadata for every event.

use std::convert::Infallible;
use std::num::NonZeroU32;
use std::ops::ControlFlow;
use std::sync::Arc;

use gesta_consumer::SystemClock;
use gesta_core::{
    Checkpoint, CommandKey, EventStore, Expected, Lanes, NewEvent, Placed, ReadError, RecordedEvent,
    SnapshotStore, StreamName, Timestamp, Version, When,
};
use serde::Serialize;

use crate::answer::Written;
use crate::boundary::{At, Boundary};
use crate::decider::Decider;
use crate::decision::Decision;
use crate::entity::{self, Cache, CacheMetrics, Entities};
use crate::environment::{Environment, SystemEnvironment};
use crate::error::{EncodeError, LoadError, SendError};
use crate::event::{Event, decode_all};
use crate::fact::{Fact, NewFact};
use crate::key::Key;
use crate::load::{AsOf, Loaded, Source, load, load_at, load_boundary};
use crate::meta::Meta;
use crate::past::{self, CategoryError, Cut, Cuts, DiffError, FieldChange, Steps, WhatIf};
use crate::snapshot::{SnapshotMetrics, SnapshotOptions, SnapshotService};
use crate::state::State;

/// The default number of attempts to append a command. Each failed attempt means that another writer got through.
const ATTEMPTS: NonZeroU32 = NonZeroU32::new(32).unwrap();

/// An event store, as applications use it. Cheap to clone.
///
/// A handle keeps the states of recently used entities, within the bounds of its [`Cache`], and puts the commands to one
/// entity in line: they do not conflict with each other, and one sync of the store serves many of them. Clones share
/// this, so a program makes one handle for a store and clones it. Two handles made with [`Gesta::new`], or two
/// processes, are correct on the same entities, and slow where both write to one at the same time.
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
    entities: Arc<Entities>,
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
    /// The events, in order. Empty if the command was accepted without an event. The events of a repeat are those that the
    /// recorded ones are read as today: a newer program may read one as several, or as none.
    pub events: Vec<E>,
    /// The versions and positions of the recorded events, in the same order.
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
        let entities = Entities::new(store, Arc::new(SystemClock), Cache::default(), None);
        Self { entities, environment, meta: Arc::default(), attempts: ATTEMPTS }
    }

    /// A handle that keeps states within these bounds. It shares none with the handle that it is made from, so a program
    /// does this once, at the start.
    #[must_use]
    pub fn cache(&self, cache: Cache) -> Self {
        self.on_entities(cache, self.entities.snapshots().cloned())
    }

    /// What the states and the line of commands of this handle and its clones have done.
    #[must_use]
    pub fn cache_metrics(&self) -> CacheMetrics {
        self.entities.metrics()
    }

    /// A handle that records this metadata with every event.
    #[must_use]
    pub fn with(&self, meta: Meta) -> Self {
        Self { meta: Arc::new(meta), ..self.clone() }
    }

    /// A handle that tries a command at most `attempts` times when other processes write to the same entities. What its
    /// own commands do to each other does not count.
    #[must_use]
    pub fn attempts(&self, attempts: NonZeroU32) -> Self {
        Self { attempts, ..self.clone() }
    }

    /// A handle that begins loads from snapshots, and takes them, of the states that declare it with
    /// [`macro@crate::snapshot`].
    ///
    /// One thread takes them, beside the commands. It ends with the last clone of this handle. The snapshot store may
    /// be slow, down or emptied at any time: loads fold more events then. The handle shares no kept state with the one
    /// that it is made from, so a program does this once, at the start.
    #[must_use]
    pub fn snapshots(&self, store: Arc<dyn SnapshotStore>) -> Self {
        self.snapshots_with(store, SnapshotOptions::default())
    }

    /// Like [`Self::snapshots`], with options.
    #[must_use]
    pub fn snapshots_with(&self, store: Arc<dyn SnapshotStore>, options: SnapshotOptions) -> Self {
        let service = SnapshotService::start(Arc::clone(self.event_store()), store, options);
        self.on_entities(self.entities.cache(), Some(Arc::new(service)))
    }

    /// What happened to each kind of state that is kept as snapshots, since the start of the process.
    #[must_use]
    pub fn snapshot_metrics(&self) -> Vec<SnapshotMetrics> {
        self.entities.snapshots().map(|snapshots| snapshots.metrics()).unwrap_or_default()
    }

    /// Waits until every snapshot that is due has been taken, or could not be. For tests, and for figures.
    pub async fn snapshots_settled(&self) {
        if let Some(snapshots) = self.entities.snapshots() {
            snapshots.settled().await;
        }
    }

    /// The store underneath.
    #[must_use]
    pub fn event_store(&self) -> &Arc<dyn EventStore> {
        self.entities.store()
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

    /// Sends a command to an entity: brings its state up to date, decides, and appends the events if the entity has not
    /// changed. If it has changed, the newer events are folded in and the command is decided again. If an append may or
    /// may not have happened, the same batch is sent again a few times to settle it.
    ///
    /// An answer is true of the log: a refusal was so at some moment after the call, and acknowledged events are durable.
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

    /// Looks at the current state of an entity, or its default state if it has no events. The closure sees the kept
    /// state and may be called more than once; the last result is returned, with the version that it was made from.
    ///
    /// It costs no read of the history where the state is kept. The result is true of the log at some moment after the
    /// call, and all of it is durable. Commands to the entity wait while the closure runs.
    ///
    /// # Errors
    /// [`LoadError`].
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
    /// # let gesta = gesta::testing::store();
    /// gesta.send::<Counter>(&CounterId(7), CounterCommand::Count).await?;
    /// let count = gesta.inspect(&CounterId(7), |counter: &Counter, _| counter.0).await?;
    /// assert_eq!((count.state, count.version), (1, Some(Version::FIRST)));
    /// # Ok(()) }) }
    /// ```
    pub async fn inspect<D: Decider, T>(
        &self,
        id: &D::Id,
        mut look: impl FnMut(&D, Option<Version>) -> T,
    ) -> Result<Loaded<T>, LoadError> {
        let mut seen = None;
        let decide = |at: &At<D>| {
            seen = Some((look(at.state(), at.version()), at.version()));
            Ok(Vec::new())
        };
        let read = self.call().run::<_, Infallible>(&mut D::at(id), decide).await;
        let checkpoint = read.map_err(inspect_error)?.checkpoint;
        let (state, version) = seen.expect("a command is answered after it was decided");
        Ok(Loaded { state, version, checkpoint })
    }

    /// The current state of an entity; the default state if it has no events. It is folded from the history, or from
    /// the newest snapshot on, for the caller to own: [`Self::inspect`] is cheaper where a look is enough.
    ///
    /// # Errors
    /// [`LoadError`].
    pub async fn load<D: Decider>(&self, id: &D::Id) -> Result<Loaded<D>, LoadError> {
        load(self.source(), id.stream()?).await
    }

    /// The state of an entity at an earlier point.
    ///
    /// # Errors
    /// [`LoadError`]; [`LoadError::NoSuchVersion`] if the stream has not reached the version.
    pub async fn load_at<D: Decider>(&self, id: &D::Id, as_of: AsOf) -> Result<Loaded<D>, LoadError> {
        load_at(self.source(), id.stream()?, as_of).await
    }

    /// The states of an entity at many moments: `visit` gets each cut with the state there. Nothing is called for an entity without
    /// events.
    ///
    /// Cuts of a calendar read the stream once for its times, and once for its events; cuts by events read it once. By [`By::Time`](crate::past::By::Time), where events came
    /// late, a state is folded again.
    ///
    /// # Errors
    /// [`LoadError`].
    pub async fn series<D: Decider>(
        &self,
        id: &D::Id,
        cuts: &Cuts,
        mut visit: impl FnMut(Cut, &D) + Send,
    ) -> Result<(), LoadError> {
        let visit = |cut: Cut, state: &D| {
            visit(cut, state);
            ControlFlow::Continue(())
        };
        past::series((&**self.event_store(), self.environment().now()), id.stream()?, cuts, visit).await
    }

    /// The place after all events that were recorded at a time or earlier, once no more can be: the answer never changes. Load a state
    /// there with [`AsOf::Checkpoint`].
    ///
    /// Unless the log has a later event, this writes to the store; see [`When::ClosedAt`](gesta_core::When::ClosedAt).
    ///
    /// # Errors
    /// [`ReadError`]; [`ReadError::NotYet`] while the store's clock has not passed the time.
    pub async fn closed_at(&self, time: Timestamp) -> Result<Checkpoint, ReadError> {
        self.event_store().locate(When::ClosedAt(time)).await
    }

    /// The states of all entities of a category at many moments: `visit` gets each entity that has an event, in the order of the
    /// streams, at each cut. `lanes` takes a part of the category.
    ///
    /// It is one pass over the category, with a state in memory for each entity.
    ///
    /// # Errors
    /// [`CategoryError`]: [`CategoryError::TooManyEntities`] where the states weigh more than 256 MiB;
    /// [`CategoryError::LateEvent`] if the cuts count [`By::Time`](crate::past::By::Time) and an event came late.
    pub async fn series_of_category<D: Decider>(
        &self,
        cuts: &Cuts,
        lanes: Option<Lanes>,
        mut visit: impl FnMut(&D::Id, Cut, &D) + Send,
    ) -> Result<(), CategoryError> {
        let visit = |id: &D::Id, cut: Cut, state: &D| {
            visit(id, cut, state);
            ControlFlow::Continue(())
        };
        past::series_of_category::<D>((&**self.event_store(), self.environment().now()), cuts, lanes, visit)
            .await
    }

    /// A walk through the history of an entity, event by event: what each one changed, who sent it, and why.
    ///
    /// # Errors
    /// [`LoadError`].
    pub async fn steps<D: Decider + Serialize>(&self, id: &D::Id) -> Result<Steps, LoadError> {
        Steps::of::<D>(Arc::clone(self.event_store()), id.stream()?).await
    }

    /// What differs between the states of an entity at two points, as JSON.
    ///
    /// # Errors
    /// [`DiffError`].
    pub async fn diff<D: Decider + Serialize>(
        &self,
        id: &D::Id,
        from: AsOf,
        to: AsOf,
    ) -> Result<Vec<FieldChange>, DiffError> {
        let (before, after) = (self.load_at::<D>(id, from).await?, self.load_at::<D>(id, to).await?);
        Ok(past::changes(&serde_json::to_value(before.state)?, &serde_json::to_value(after.state)?))
    }

    /// The state of an entity as it would be with other events. Nothing is written.
    ///
    /// # Errors
    /// [`LoadError`]; [`LoadError::NoSuchVersion`] if the stream lacks a version that is named.
    pub async fn what_if<D: Decider>(
        &self,
        id: &D::Id,
        what: WhatIf<D::Event>,
    ) -> Result<Loaded<D>, LoadError> {
        past::what_if(&**self.event_store(), id.stream()?, what).await
    }

    /// A state folded from a stream.
    ///
    /// # Errors
    /// [`LoadError`].
    pub async fn load_stream<S: State>(&self, stream: StreamName) -> Result<Loaded<S>, LoadError> {
        load(self.source(), stream).await
    }

    /// Loads a boundary without deciding: several states at one place in the log.
    ///
    /// # Errors
    /// [`LoadError`].
    pub async fn look<B: Boundary>(&self, mut boundary: B) -> Result<B, LoadError> {
        load_boundary(self.source(), &mut boundary).await?;
        Ok(boundary)
    }

    /// Where this handle loads states from.
    pub(crate) fn source(&self) -> Source<'_> {
        self.entities.source()
    }

    /// A handle that keeps its own states and shares none with this one.
    fn on_entities(&self, cache: Cache, snapshots: Option<Arc<SnapshotService>>) -> Self {
        let store = Arc::clone(self.event_store());
        Self { entities: Entities::new(store, Arc::new(SystemClock), cache, snapshots), ..self.clone() }
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

    /// The facts as events, with ids, the time, and the metadata of this handle.
    pub(crate) fn new_events(&self, facts: &[Fact]) -> Result<Vec<NewEvent>, EncodeError> {
        let (meta, environment) = (self.meta(), self.environment());
        let (tags, metadata) = (meta.tags()?, meta.to_bytes());
        let time = meta.happened_at().unwrap_or_else(|| environment.now());
        let events = facts.iter().map(|fact| NewEvent {
            schema_version: fact.schema_version,
            metadata: metadata.clone(),
            tags: fact.tags.iter().chain(&tags).cloned().collect(),
            ..NewEvent::json(
                environment.event_id(),
                fact.stream.clone(),
                fact.event_type.clone(),
                time,
                fact.data.clone(),
            )
        });
        Ok(events.collect())
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
        let events = if written.repeated { read_all(&written.events)? } else { decided };
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

    /// Runs the command over a boundary.
    pub(crate) async fn run<B: Boundary, E>(
        self,
        boundary: &mut B,
        decide: impl FnMut(&B) -> Result<Vec<Fact>, SendError<E>>,
    ) -> Result<Written, SendError<E>> {
        let entities = Arc::clone(&self.gesta.entities);
        entity::run(&entities, self, boundary, decide).await
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
        self.run(&mut D::at(id), decide).await
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
        self.run(&mut decision.boundary(), decide).await
    }
}

/// Why a state could not be looked at. Beyond a failed load, only these are left: too many commands wait, or other
/// writers went on each time that the state was read at a gate.
fn inspect_error(error: SendError<Infallible>) -> LoadError {
    match error {
        SendError::Load(error) => error,
        _ => ReadError::Overloaded.into(),
    }
}

fn read_all<E: Event>(events: &[RecordedEvent]) -> Result<Vec<E>, LoadError> {
    let read = events.iter().map(|event| Ok(decode_all::<E>(event)?.unwrap_or_default()));
    Ok(read.collect::<Result<Vec<_>, LoadError>>()?.into_iter().flatten().collect())
}
