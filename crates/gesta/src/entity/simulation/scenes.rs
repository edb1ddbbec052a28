//! Single scenes: one late batch, a store that stands still, callers that nobody polls, what is kept and for how long.

use std::num::NonZeroU32;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use gesta_consumer::TestClock;
use gesta_core::{EventId, EventStore, Timestamp};

use super::super::planted::{Bug, plant};
use super::check::stream;
use super::domain::{OnAccount, OnBig, Order, Want};
use super::flaky::{Faults, Flaky};
use super::tasks::{End, Tasks};
use crate::decision::Decision;
use crate::entity::limits::{BATCHES_IN_FLIGHT_MAX, COMMANDS_WAITING_MAX, GATE_AGE_MAX, UNSETTLED_IDLE_MAX};
use crate::entity::{Cache, Entities, run};
use crate::environment::Environment;
use crate::error::{LoadError, SendError};
use crate::fact::NewFact;
use crate::handle::{Call, Gesta};
use crate::testing::luck::Luck;

/// The name of an answer.
type Said = &'static str;

struct Counting(AtomicU64);

impl Environment for Counting {
    fn now(&self) -> Timestamp {
        Timestamp::from_nanos(1)
    }

    fn event_id(&self) -> EventId {
        EventId::from_u128(u128::from(self.0.fetch_add(1, Ordering::Relaxed)) + 1)
    }
}

struct Scene {
    store: Arc<Flaky>,
    clock: TestClock,
    environment: Arc<Counting>,
    entities: Arc<Entities>,
    luck: Luck,
    tasks: Tasks<(), Said>,
}

impl Scene {
    fn new(cache: Cache) -> Self {
        let (store, clock) = (Flaky::new(1, Faults::default()), TestClock::default());
        let as_store = Arc::clone(&store) as Arc<dyn EventStore>;
        let entities = Entities::new(as_store, Arc::new(clock.clone()), cache, None);
        let environment = Arc::new(Counting(AtomicU64::new(0)));
        Self { store, clock, environment, entities, luck: Luck::new(1), tasks: Tasks::new() }
    }

    fn call(&self) -> Call {
        let store = Arc::clone(&self.store) as Arc<dyn EventStore>;
        let gesta = Gesta::with_environment(store, Arc::clone(&self.environment) as Arc<dyn Environment>);
        Call { gesta: gesta.attempts(NonZeroU32::new(64).expect("not zero")), command: None, expected: None }
    }

    fn spawn<D: Decision>(&mut self, decision: D) {
        let (entities, call) = (Arc::clone(&self.entities), self.call());
        let task = async move {
            let decide = |state: &D::State| {
                let facts = decision.clone().decide(state).map_err(SendError::Refused)?;
                Ok(facts.into_iter().map(NewFact::into_fact).collect::<Result<Vec<_>, _>>()?)
            };
            match run(&entities, call, &mut decision.boundary(), decide).await {
                Ok(written) if written.facts.is_empty() => "nothing",
                Ok(_) => "done",
                Err(SendError::Refused(_)) => "refused",
                Err(SendError::Load(LoadError::Read(_))) => "cannot read",
                Err(error) => panic!("{error}"),
            }
        };
        self.tasks.spawn((), Box::pin(task));
    }

    fn order(&mut self, want: Want, on: &str) {
        let order = Order { by: 0, want, on: stream(on), to: stream(on) };
        match order.want {
            Want::Bonus => self.spawn(OnBig(order)),
            _ => self.spawn(OnAccount(order)),
        }
    }

    /// Polls every woken task until none is.
    fn poll(&mut self) -> Vec<Said> {
        let mut said = Vec::new();
        while self.tasks.has_woken() {
            if let Some(((), end)) = self.tasks.poll_any(&mut self.luck) {
                match end {
                    End::Answer(answer) => said.push(answer),
                    End::Panic(panic) => std::panic::resume_unwind(panic),
                }
            }
        }
        said
    }

    /// Lets everything come to its end.
    fn settle(&mut self) -> Vec<Said> {
        let mut said = self.poll();
        while self.store.step() {
            said.extend(self.poll());
        }
        said
    }

    fn open(&mut self, name: &str) {
        self.order(Want::Open, name);
        assert_eq!(self.settle(), ["done"]);
    }

    fn count(&self, what: &str) -> u64 {
        self.store.with(|inner| inner.counts.get(what).copied().unwrap_or_default())
    }
}

const CLIENTS: u64 = 16;
const COMMANDS: u64 = 25 * CLIENTS;

/// Clients on one account; one batch is late. Returns the conflicts in the store.
fn conflicts_after_one_late_batch() -> u64 {
    let mut scene = Scene::new(Cache::default());
    scene.open("a");
    scene.store.with(|inner| inner.late = Some((40, 10)));
    for _ in 0..CLIENTS {
        scene.order(Want::Deposit(1), "a");
    }
    let mut sent = CLIENTS;
    loop {
        let said = scene.poll();
        assert!(said.iter().all(|said| *said == "done"), "{said:?}");
        for _ in said {
            if sent < COMMANDS {
                sent += 1;
                scene.order(Want::Deposit(1), "a");
            }
        }
        if !scene.tasks.has_woken() && !scene.store.step() {
            break;
        }
    }
    assert_eq!(scene.count("recorded"), 1 + COMMANDS);
    scene.count("conflict")
}

#[test]
fn after_one_late_batch_all_is_sent_again_in_one_pass() {
    let conflicts = conflicts_after_one_late_batch();
    assert!((1..=2 * CLIENTS).contains(&conflicts), "{conflicts}");
    // Where each batch waits for its predecessor, every later command is too early as well.
    plant(Some(Bug::NoPass));
    let conflicts = conflicts_after_one_late_batch();
    plant(None);
    assert!(conflicts > COMMANDS / 2, "{conflicts}");
}

fn batches_in_flight(callers: usize) -> u64 {
    let mut scene = Scene::new(Cache::default());
    scene.open("a");
    for _ in 0..callers {
        scene.order(Want::Deposit(1), "a");
    }
    assert!(scene.poll().is_empty());
    let in_flight = scene.entities.metrics().in_flight;
    assert_eq!(scene.settle().len(), callers);
    in_flight
}

#[test]
fn an_entity_has_a_bounded_number_of_batches_in_flight() {
    let callers = BATCHES_IN_FLIGHT_MAX + 50;
    assert_eq!(batches_in_flight(callers), BATCHES_IN_FLIGHT_MAX as u64);
    plant(Some(Bug::NoWindow));
    let in_flight = batches_in_flight(callers);
    plant(None);
    assert_eq!(in_flight, callers as u64);
}

/// The batches that are alive while many commands follow one another, each sent before the one before is settled.
fn batches_alive() -> usize {
    let mut scene = Scene::new(Cache::default());
    scene.open("a");
    let mut most = 0;
    for _ in 0..300 {
        scene.order(Want::Deposit(1), "a");
        scene.poll();
        while scene.tasks.polled() > 4 {
            scene.store.step();
            scene.poll();
        }
        // Each batch holds the store.
        most = most.max(Arc::strong_count(&scene.store));
    }
    scene.settle();
    most
}

#[test]
fn a_settled_batch_lets_go_of_its_predecessors() {
    let alive = batches_alive();
    assert!(alive < 30, "{alive}");
    plant(Some(Bug::NeedsKept));
    let alive = batches_alive();
    plant(None);
    assert!(alive > 60, "{alive}");
}

#[test]
fn one_load_serves_all_who_wait_and_fails_for_all() {
    let mut scene = Scene::new(Cache::default());
    scene.store.with(|inner| inner.faults.read_fails = 1_000);
    for _ in 0..64 {
        scene.order(Want::Open, "a");
    }
    assert_eq!(scene.settle(), vec!["cannot read"; 64]);
    assert_eq!(scene.count("read failed"), 1);
    scene.store.with(|inner| inner.faults.read_fails = 0);
    scene.open("a");
    assert_eq!(scene.entities.metrics().loads, 1);
}

#[test]
fn a_caller_that_nobody_polls_at_the_gate_holds_up_the_others_for_a_second() {
    let mut scene = Scene::new(Cache::default());
    scene.open("a");
    scene.order(Want::Bonus, "a");
    assert!(scene.poll().is_empty());
    assert!(scene.tasks.forget_any(&mut Luck::new(1)));
    scene.order(Want::Deposit(1), "a");
    assert!(scene.settle().is_empty(), "the gate is shut");
    scene.clock.advance(GATE_AGE_MAX);
    assert_eq!(scene.settle(), ["done"]);
    scene.tasks.remember_all();
    assert_eq!(scene.settle(), ["done"], "it reads again and decides");
    assert_eq!(scene.entities.metrics().gates_lost, 1);
}

/// The gates that are lost where each answer of the store takes almost as long as a gate may.
fn gates_lost_with_a_slow_store() -> u64 {
    let mut scene = Scene::new(Cache::default());
    scene.open("a");
    scene.order(Want::Bonus, "a");
    assert!(scene.poll().is_empty());
    scene.order(Want::Deposit(1), "a");
    let mut said = Vec::new();
    while scene.tasks.polled() > 0 {
        scene.clock.advance(GATE_AGE_MAX * 9 / 10);
        said.extend(scene.poll());
        while !scene.tasks.has_woken() && scene.store.step() {}
        said.extend(scene.poll());
    }
    assert_eq!(said, ["done", "done"]);
    scene.entities.metrics().gates_lost
}

#[test]
fn a_gate_stays_shut_as_long_as_its_owner_gets_on() {
    assert_eq!(gates_lost_with_a_slow_store(), 0);
    plant(Some(Bug::GateNotRenewed));
    let gates_lost = gates_lost_with_a_slow_store();
    plant(None);
    assert_eq!(gates_lost, 1);
}

#[test]
fn a_caller_that_is_dropped_at_the_gate_opens_it() {
    let mut scene = Scene::new(Cache::default());
    scene.open("a");
    scene.order(Want::Bonus, "a");
    assert!(scene.poll().is_empty());
    scene.order(Want::Deposit(1), "a");
    assert!(scene.poll().is_empty());
    // The owner of the gate came first.
    scene.tasks.drop_first();
    assert_eq!(scene.settle(), ["done"]);
}

#[test]
fn a_command_whose_caller_is_gone_takes_its_effect_and_is_driven_by_the_next() {
    let mut scene = Scene::new(Cache::default());
    scene.open("a");
    scene.order(Want::Deposit(5), "a");
    assert!(scene.poll().is_empty());
    scene.tasks.drop_first();
    while scene.store.step() {}
    assert_eq!(scene.entities.metrics().in_flight, 1);
    scene.order(Want::Withdraw(5), "a");
    assert_eq!(scene.settle(), ["done"]);
    assert_eq!(scene.entities.metrics().in_flight, 0);
}

#[test]
fn too_many_waiting_commands_are_refused() {
    let scene = Scene::new(Cache::default());
    let admitted = (0..COMMANDS_WAITING_MAX).map(|_| scene.entities.admit()).collect::<Option<Vec<_>>>();
    assert!(admitted.is_some());
    assert!(scene.entities.admit().is_none());
    drop(admitted);
    assert!(scene.entities.admit().is_some());
}

#[test]
fn the_least_recently_used_states_are_dropped_first() {
    let mut scene = Scene::new(Cache { entities_max: 2, bytes_max: 1 << 20 });
    for name in ["a", "b", "c"] {
        scene.open(name);
    }
    let metrics = scene.entities.metrics();
    assert_eq!((metrics.entities, metrics.evicted, metrics.loads), (2, 1, 3));
    for (name, loads) in [("b", 3), ("c", 3), ("b", 3), ("a", 4), ("b", 4), ("c", 5)] {
        scene.order(Want::Deposit(1), name);
        assert_eq!(scene.settle(), ["done"]);
        assert_eq!(scene.entities.metrics().loads, loads, "{name}");
    }
}

#[test]
fn kept_states_stay_within_their_bytes() {
    let mut scene = Scene::new(Cache { entities_max: 1_000, bytes_max: 3_000 });
    for number in 0..50 {
        scene.open(&number.to_string());
        assert!(scene.entities.metrics().bytes <= 3_000);
    }
    let metrics = scene.entities.metrics();
    assert!((2..10).contains(&metrics.entities), "{metrics:?}");
}

#[test]
fn without_a_cache_every_command_reads_and_nothing_stays() {
    let mut scene = Scene::new(Cache::none());
    scene.open("a");
    for _ in 0..16 {
        scene.order(Want::Deposit(1), "a");
    }
    assert_eq!(scene.settle(), vec!["done"; 16]);
    assert_eq!((scene.count("conflict"), scene.entities.metrics().entities), (0, 0));
}

#[test]
fn an_unused_entity_keeps_a_batch_in_flight_for_a_minute() {
    let mut scene = Scene::new(Cache { entities_max: 1, bytes_max: 1 << 20 });
    scene.open("a");
    scene.order(Want::Deposit(1), "a");
    assert!(scene.poll().is_empty());
    scene.tasks.drop_first();
    scene.store.with(|inner| inner.holds_appends = true);
    scene.read("b");
    assert_eq!(scene.entities.metrics().in_flight, 1, "`a` stays, `b` is dropped");
    scene.clock.advance(UNSETTLED_IDLE_MAX);
    scene.read("b");
    let metrics = scene.entities.metrics();
    assert_eq!((metrics.in_flight, metrics.entities), (0, 1));
}

impl Scene {
    /// Keeps a state of a stream without an append, while the store answers reads only.
    fn read(&mut self, on: &str) {
        self.order(Want::Check, on);
        while self.tasks.polled() > 0 {
            self.poll();
            self.store.step();
        }
    }
}
