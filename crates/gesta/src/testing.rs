//! The test kit for deciders, decisions and processes: given, when, then, and the laws that every decider keeps.
//!
//! Events are compared as they are stored: by type, schema version, JSON and tags. Given events are stored and read back,
//! so an event that does not survive storage fails the test.
//!
//! ```
//! # use gesta::*;
//! # #[derive(Debug, Clone, Key)] #[key("door")] struct DoorId(u64);
//! # #[derive(Debug, Event)] #[event(prefix = "door")] enum DoorEvent { Opened, Closed }
//! # #[derive(Debug, Clone, Command)] enum DoorCommand { Open, Close }
//! # #[derive(Debug, PartialEq)] struct AlreadyOpen;
//! # impl std::fmt::Display for AlreadyOpen { fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result { f.write_str("already open") } }
//! # impl std::error::Error for AlreadyOpen {}
//! # #[derive(Debug, Default)] struct Door { open: bool }
//! # impl State for Door { type Event = DoorEvent; fn evolve(&mut self, event: DoorEvent) { self.open = matches!(event, DoorEvent::Opened) } }
//! # impl Decider for Door {
//! #     type Id = DoorId; type Command = DoorCommand; type Error = AlreadyOpen;
//! #     fn decide(&self, command: DoorCommand) -> Result<Vec<DoorEvent>, AlreadyOpen> {
//! #         match command {
//! #             DoorCommand::Open if self.open => Err(AlreadyOpen),
//! #             DoorCommand::Open => Ok(vec![DoorEvent::Opened]),
//! #             DoorCommand::Close if self.open => Ok(vec![DoorEvent::Closed]),
//! #             DoorCommand::Close => Ok(vec![]),
//! #         }
//! #     }
//! # }
//! use gesta::testing::given;
//!
//! given::<Door>([]).when(DoorCommand::Open).then([DoorEvent::Opened]);
//! given::<Door>([DoorEvent::Opened]).when(DoorCommand::Open).then_refused(AlreadyOpen);
//! given::<Door>([]).when(DoorCommand::Close).then_nothing();
//! ```

mod flaky;
mod hot;
#[cfg(feature = "http")]
mod http;
mod laws;
pub(crate) mod luck;
mod process;
mod recorded;

use std::collections::BTreeSet;
use std::fmt::{Debug, Write as _};
use std::future::Future;
use std::num::{NonZeroU32, NonZeroU64};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::thread::Thread;

use gesta_core::{
    Batch, EventId, Limit, MemoryStore, NewEvent, Read, StoreId, StreamName, Timestamp, with_causes,
};

use crate::boundary::{Boundary as _, fold_one};
use crate::decider::Decider;
use crate::decision::Decision;
use crate::environment::Environment;
use crate::error::SendError;
use crate::event::Event;
use crate::fact::{Fact, NewFact};
use crate::handle::Gesta;
use crate::key::Key;

pub use flaky::{Fault, Faults, Flaky};
pub use hot::{hot, hot_seed};
#[cfg(feature = "http")]
pub use http::{HttpAnswer, HttpTest, http};
pub use laws::laws;
pub use process::{GivenInputs, ThenEffects, process};
pub use recorded::recorded;
pub use serde_json::json;

/// Starts a test with the history of one entity.
///
/// # Panics
/// If an event does not survive storage.
#[track_caller]
pub fn given<D: Decider>(events: impl IntoIterator<Item = D::Event>) -> Given<D> {
    let stream = stream_of::<D>();
    let history =
        events.into_iter().map(|event| Fact::new(stream.clone(), &event)).collect::<Result<Vec<_>, _>>();
    let history = history.unwrap_or_else(|error| panic!("a given event cannot be stored: {error}"));
    let store = Arc::new(memory());
    append(&store, &history);
    let page = store.read_now(&Read::stream(stream)).expect("a stream in memory can be read");
    let mut state = D::default();
    for event in &page.events {
        fold_one(&mut state, event)
            .unwrap_or_else(|error| panic!("a given event cannot be read back: {}", with_causes(&error)));
    }
    Given { state, history }
}

/// The history of one entity and its state.
#[derive(Debug)]
pub struct Given<D> {
    state: D,
    history: Vec<Fact>,
}

impl<D: Decider> Given<D> {
    /// Sends a command to the entity.
    #[must_use = "call `then`, `then_refused` or `then_nothing`"]
    #[track_caller]
    pub fn when(self, command: D::Command) -> Then<D> {
        let events = self.state.decide(command);
        let stream = stream_of::<D>();
        let facts = events.map(|events| {
            let facts = events.iter().map(|event| Fact::new(stream.clone(), event));
            facts
                .collect::<Result<Vec<_>, _>>()
                .unwrap_or_else(|error| panic!("an event cannot be stored: {error}"))
        });
        let outcome = Outcome { given: self.history, selected: None, facts, named: Named::ByType };
        Then { stream, outcome }
    }

    /// The state after the history.
    pub fn state(&self) -> &D {
        &self.state
    }
}

/// The outcome of a command.
#[must_use = "call `then`, `then_refused` or `then_nothing`"]
pub struct Then<D: Decider> {
    stream: StreamName,
    outcome: Outcome<D::Error>,
}

impl<D: Decider> Then<D> {
    /// Expects exactly these events.
    ///
    /// # Panics
    /// If the outcome is different.
    #[track_caller]
    pub fn then(self, events: impl IntoIterator<Item = D::Event>) {
        let expected = events.into_iter().map(|event| Fact::new(self.stream.clone(), &event));
        self.outcome.check(expected.collect());
    }

    /// Expects no events and no refusal.
    ///
    /// # Panics
    /// If the outcome is different.
    #[track_caller]
    pub fn then_nothing(self) {
        self.outcome.check(Ok(Vec::new()));
    }

    /// Expects this refusal.
    ///
    /// # Panics
    /// If the outcome is different.
    #[track_caller]
    pub fn then_refused(self, error: D::Error)
    where
        D::Error: PartialEq,
    {
        self.outcome.check_refused(&error);
    }
}

/// Starts a test of a decision with the history of any entities.
#[track_caller]
pub fn given_facts(facts: impl IntoIterator<Item = NewFact>) -> GivenFacts {
    let history = facts.into_iter().map(NewFact::into_fact).collect::<Result<Vec<_>, _>>();
    GivenFacts { history: history.unwrap_or_else(|error| panic!("a given event cannot be stored: {error}")) }
}

/// The history of any entities.
#[derive(Debug)]
pub struct GivenFacts {
    history: Vec<Fact>,
}

impl GivenFacts {
    /// Executes a decision on a memory store that holds the history.
    ///
    /// # Panics
    /// If the decision fails for another reason than a refusal.
    #[must_use = "call `then`, `then_refused` or `then_nothing`"]
    #[track_caller]
    pub fn when<D: Decision>(self, decision: D) -> ThenFacts<D> {
        let store = Arc::new(memory());
        append(&store, &self.history);
        let selected = selected(&decision, &store);
        let gesta = Gesta::with_environment(store, Arc::new(TestEnvironment::default()));
        let facts = match block_on(gesta.execute(decision)) {
            Ok(committed) => {
                let facts =
                    committed.events.into_iter().map(NewFact::into_fact).collect::<Result<Vec<_>, _>>();
                Ok(facts.expect("recorded events can be encoded"))
            }
            Err(SendError::Refused(error)) => Err(error),
            Err(error) => panic!("the decision could not be executed: {}", with_causes(&error)),
        };
        let outcome =
            Outcome { given: self.history, selected: Some(selected), facts, named: Named::ByStream };
        ThenFacts { outcome }
    }
}

/// The outcome of a decision.
#[must_use = "call `then`, `then_refused` or `then_nothing`"]
pub struct ThenFacts<D: Decision> {
    outcome: Outcome<D::Error>,
}

impl<D: Decision> ThenFacts<D> {
    /// Expects exactly these events, in this order.
    ///
    /// # Panics
    /// If the outcome is different.
    #[track_caller]
    pub fn then(self, facts: impl IntoIterator<Item = NewFact>) {
        self.outcome.check(facts.into_iter().map(NewFact::into_fact).collect());
    }

    /// Expects no events and no refusal.
    ///
    /// # Panics
    /// If the outcome is different.
    #[track_caller]
    pub fn then_nothing(self) {
        self.outcome.check(Ok(Vec::new()));
    }

    /// Expects this refusal.
    ///
    /// # Panics
    /// If the outcome is different.
    #[track_caller]
    pub fn then_refused(self, error: D::Error)
    where
        D::Error: PartialEq,
    {
        self.outcome.check_refused(&error);
    }
}

/// How a message names events. Only a decision's events need their streams.
#[derive(Clone, Copy)]
enum Named {
    ByType,
    ByStream,
}

struct Outcome<E> {
    given: Vec<Fact>,
    /// The indices of the given events that the boundary of the decision selected.
    selected: Option<BTreeSet<usize>>,
    facts: Result<Vec<Fact>, E>,
    named: Named,
}

impl<E: std::error::Error> Outcome<E> {
    #[track_caller]
    fn check(&self, expected: Result<Vec<Fact>, crate::EncodeError>) {
        let expected = expected.unwrap_or_else(|error| panic!("an expected event cannot be stored: {error}"));
        match &self.facts {
            Ok(facts) if *facts == expected => {}
            Ok(facts) => panic!(
                "the events differ from the expected ones\n{}",
                self.sections(&self.list(&expected), &self.list(facts))
            ),
            Err(error) => panic!(
                "expected events, got a refusal\n{}",
                self.sections(&self.list(&expected), &refusal(error))
            ),
        }
    }

    #[track_caller]
    fn check_refused(&self, expected: &E)
    where
        E: PartialEq,
    {
        match &self.facts {
            Err(error) if error == expected => {}
            Err(error) => panic!(
                "the refusal differs from the expected one\n{}",
                self.sections(&refusal(expected), &refusal(error))
            ),
            Ok(facts) => panic!(
                "expected a refusal, got events\n{}",
                self.sections(&refusal(expected), &self.list(facts))
            ),
        }
    }

    fn sections(&self, expected: &str, actual: &str) -> String {
        format!("{}expected\n{expected}but got\n{actual}", self.list_given())
    }

    /// The given events. For a decision, those that its boundary selected come first.
    fn list_given(&self) -> String {
        let Some(selected) = &self.selected else { return format!("given\n{}", self.list(&self.given)) };
        let of = |wanted: bool| {
            let facts = self.given.iter().enumerate().filter(|(at, _)| selected.contains(at) == wanted);
            self.list(&facts.map(|(_, fact)| fact.clone()).collect::<Vec<_>>())
        };
        format!("given, and selected by the boundary\n{}given, and not selected\n{}", of(true), of(false))
    }

    fn list(&self, facts: &[Fact]) -> String {
        if facts.is_empty() {
            return "    nothing\n".to_owned();
        }
        facts.iter().fold(String::new(), |mut text, fact| {
            let stream = match self.named {
                Named::ByType => String::new(),
                Named::ByStream => format!("{}: ", fact.stream),
            };
            writeln!(text, "    {stream}{}", text_of(fact)).expect("text can be written");
            text
        })
    }
}

/// The indices of the stored events that the boundary of a decision selects. Nothing is selected by a part that cannot be read.
fn selected<D: Decision>(decision: &D, store: &MemoryStore) -> BTreeSet<usize> {
    let mut boundary = decision.boundary();
    let reads = boundary.parts().into_iter().filter_map(|part| part.next().ok());
    let pages = reads.filter_map(|select| store.read_now(&Read::from(select).limit(whole_log())).ok());
    let places = pages.flat_map(|page| page.events).map(|event| event.position().sequence - 1);
    places.filter_map(|place| usize::try_from(place).ok()).collect()
}

/// Room for every event of a test in one page.
fn whole_log() -> Limit {
    Limit { events: NonZeroU32::MAX, bytes: NonZeroU64::MAX, examined: NonZeroU64::MAX }
}

/// A fact as messages show it: type, schema version if it is not 1, JSON, tags.
fn text_of(fact: &Fact) -> String {
    let data = String::from_utf8_lossy(&fact.data);
    let version = if fact.schema_version == 1 { String::new() } else { format!("@{}", fact.schema_version) };
    let tags = fact.tags.iter().fold(String::new(), |tags, tag| tags + " #" + tag.as_str());
    format!("{}{version} {data}{tags}", fact.event_type)
}

fn refusal<E: Debug + std::fmt::Display>(error: &E) -> String {
    format!("    refused: {error:?} ({error})\n")
}

/// Decodes an event as stored under that name and schema version. Use it to test upcasters.
///
/// # Panics
/// If the enum has no such event, the JSON does not decode, or the event is not read as exactly one: see [`stored_all`].
#[track_caller]
pub fn stored<E: Event>(event_type: &str, schema_version: u16, json: serde_json::Value) -> E {
    let mut events = stored_all(event_type, schema_version, json);
    match (events.pop(), events.len()) {
        (Some(event), 0) => event,
        (last, before) => {
            let count = before + usize::from(last.is_some());
            panic!(
                "`{event_type}` with schema version {schema_version} is read as {count} events: use `stored_all`"
            )
        }
    }
}

/// Decodes an event as stored under that name and schema version into all the events that it is read as.
///
/// # Panics
/// If the enum has no such event, or the JSON does not decode.
#[track_caller]
pub fn stored_all<E: Event>(event_type: &str, schema_version: u16, json: serde_json::Value) -> Vec<E> {
    let mut events = Vec::new();
    match E::decode(event_type, schema_version, json.to_string().as_bytes(), &mut |event| events.push(event))
    {
        Ok(true) => events,
        Ok(false) => panic!("this enum has no event type `{event_type}`, only {}", names::<E>()),
        Err(error) => panic!("{}", with_causes(&error)),
    }
}

fn names<E: Event>() -> String {
    E::TYPES.iter().map(|info| format!("`{}`", info.name)).collect::<Vec<_>>().join(", ")
}

/// A memory store that has these events, for tests of a view or a program that reads them.
///
/// # Panics
/// If an event cannot be stored.
#[must_use]
#[track_caller]
pub fn holding(facts: impl IntoIterator<Item = NewFact>) -> MemoryStore {
    let facts = facts.into_iter().map(NewFact::into_fact).collect::<Result<Vec<_>, _>>();
    let store = memory();
    append(&store, &facts.unwrap_or_else(|error| panic!("a given event cannot be stored: {error}")));
    store
}

/// A handle on a new, empty memory store, with ids and times that are the same in every run.
#[must_use]
pub fn store() -> Gesta {
    Gesta::with_environment(Arc::new(memory()), Arc::new(TestEnvironment::default()))
}

/// An empty memory store with one partition. Its clock advances by one millisecond with every append.
#[must_use]
pub fn memory() -> MemoryStore {
    let clock = AtomicI64::new(FIRST_TIME_NANOS);
    MemoryStore::new(StoreId::from_bytes(*b"gesta test store"), 1, move || {
        Timestamp::from_nanos(clock.fetch_add(MILLISECOND_NANOS, Ordering::Relaxed))
    })
}

/// 2026-01-01T00:00:00Z.
const FIRST_TIME_NANOS: i64 = 1_767_225_600_000_000_000;
const MILLISECOND_NANOS: i64 = 1_000_000;

/// Ids 1, 2, 3, …, and a clock that starts at 2026-01-01 and advances by one millisecond with each call.
#[derive(Debug, Default)]
pub struct TestEnvironment {
    ids: AtomicU64,
    ticks: AtomicI64,
}

impl Environment for TestEnvironment {
    fn now(&self) -> Timestamp {
        Timestamp::from_nanos(
            FIRST_TIME_NANOS + MILLISECOND_NANOS * self.ticks.fetch_add(1, Ordering::Relaxed),
        )
    }

    fn event_id(&self) -> EventId {
        EventId::from_u128(u128::from(self.ids.fetch_add(1, Ordering::Relaxed)) + 1)
    }
}

fn append(store: &MemoryStore, history: &[Fact]) {
    let environment = TestEnvironment::default();
    // Counted down from the largest id, so that they never meet the ids of the test's commands.
    let id = || EventId::from_u128(u128::MAX - u128::from_be_bytes(*environment.event_id().as_bytes()));
    for fact in history {
        let event = NewEvent::json(
            id(),
            fact.stream.clone(),
            fact.event_type.clone(),
            environment.now(),
            fact.data.clone(),
        );
        let event =
            NewEvent { schema_version: fact.schema_version, ..event }.with_tags(fact.tags.iter().cloned());
        store
            .append_now(Batch::new([event]))
            .unwrap_or_else(|error| panic!("a given event cannot be stored: {error}"));
    }
}

/// Runs a future to its end on this thread, for tests without a runtime.
pub fn block_on<F: Future>(future: F) -> F::Output {
    let waker = Waker::from(Arc::new(Unpark(std::thread::current())));
    let mut future = std::pin::pin!(future);
    loop {
        match future.as_mut().poll(&mut Context::from_waker(&waker)) {
            Poll::Ready(output) => return output,
            Poll::Pending => std::thread::park(),
        }
    }
}

/// Wakes a thread that is parked.
struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

fn stream_of<D: Decider>() -> StreamName {
    StreamName::new(format!("{}-given", D::Id::KIND)).expect("a category makes a stream name")
}
