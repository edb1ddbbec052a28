//! The world of one seed: processes, callers, a flaky store, and the schedule.

use std::collections::BTreeMap;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use gesta_consumer::{Clock, TestClock};
use gesta_core::{
    Batch, BoxFuture, CommandKey, EventId, EventStore, Expected, NewEvent, StreamName, Timestamp, Version,
};

use super::check::{Answer, CallRecord, Violation, check_answer, check_end, log_of, stream};
use super::domain::{
    Account, OnAccount, OnBig, OnBoth, OnHolds, OnTwo, Order, Planned, Refused, Want, panic_after,
};
use super::flaky::{Faults, Flaky};
use super::tasks::{End, Tasks};
use crate::answer::Written;
use crate::boundary::At;
use crate::decision::Decision;
use crate::entity::{Cache, Entities, run};
use crate::environment::Environment;
use crate::error::SendError;
use crate::fact::NewFact;
use crate::handle::{Call, Gesta};
use crate::meta::Meta;
use crate::testing::luck::Luck;

/// What a world is like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Shape {
    /// One process, and a store that only takes its time.
    Calm,
    Faulty,
    /// Five times the faults.
    Stormy,
}

/// Commands of one world.
const COMMANDS: usize = 40;
/// Commands that are not answered at one time.
const COMMANDS_AT_ONCE: usize = 12;
/// Steps in which all must be answered. A store that is down most of the time takes 100,000 in one world of some thousands.
const STEPS_MAX: u32 = 1_000_000;
/// Seconds after which somebody polls a forgotten caller again: more than the age of a gate.
const FORGOTTEN_SECONDS: u64 = 5;

/// How often things happened.
#[derive(Debug, Clone, Default)]
pub(super) struct Counts(BTreeMap<&'static str, u64>);

impl Counts {
    fn count(&mut self, what: &'static str) {
        self.add_to(what, 1);
    }

    fn add_to(&mut self, what: &'static str, count: u64) {
        *self.0.entry(what).or_default() += count;
    }

    pub(super) fn of(&self, what: &str) -> u64 {
        self.0.get(what).copied().unwrap_or_default()
    }

    pub(super) fn add(&mut self, other: &Self) {
        other.0.iter().for_each(|(what, count)| self.add_to(what, *count));
    }

    /// One process without faults decides nothing again.
    fn check_calm(&self) -> Result<(), Violation> {
        let never = ["conflict", "decided again: predecessor", "decided again: verified", "gate lost"];
        match never.iter().find(|what| self.of(what) > 0) {
            Some(what) => Err(Violation(format!("{what} without faults: {:?}", self.0))),
            None => Ok(()),
        }
    }

    /// A simulation in which something never happens shows nothing about it.
    pub(super) fn assert_each_happened(&self) {
        for what in [
            "conflict",
            "condition failed",
            "crash",
            "decided again: conflict",
            "decided again: predecessor",
            "decided again: verified",
            "done",
            "down",
            "dropped",
            "early",
            "evicted",
            "forgotten",
            "in doubt",
            "inspected",
            "mismatch",
            "nothing to record",
            "overloaded",
            "panicked",
            "process ended",
            "read failed",
            "refused",
            "reordered",
            "repeated",
            "rested on undurable events",
            "time-out",
        ] {
            assert!(self.of(what) > 0, "never {what}: {:?}", self.0);
        }
    }
}

/// Ids that count, over all processes.
struct SimEnvironment {
    ids: AtomicU64,
    clock: TestClock,
}

impl Environment for SimEnvironment {
    fn now(&self) -> Timestamp {
        self.clock.now()
    }

    fn event_id(&self) -> EventId {
        EventId::from_u128(u128::from(self.ids.fetch_add(1, Ordering::Relaxed)) + 1)
    }
}

pub(super) struct World {
    luck: Luck,
    shape: Shape,
    store: Arc<Flaky>,
    environment: Arc<SimEnvironment>,
    clock: TestClock,
    processes: Vec<Arc<Entities>>,
    cache: Cache,
    tasks: Tasks<(usize, usize), Answer>,
    records: Vec<CallRecord>,
    /// Orders that were sent under a key.
    keyed: Vec<Order>,
    chances: Chances,
    counts: Counts,
}

/// Chances in thousandths of the steps.
#[derive(Debug, Clone, Copy, Default)]
struct Chances {
    raw: usize,
    dropped: usize,
    forgotten: usize,
    panic: usize,
    ends: usize,
}

impl World {
    pub(super) fn new(seed: u64, shape: Shape) -> Self {
        let mut luck = Luck::new(seed);
        let faults = faults(&mut luck, shape);
        let mut chance = |usual: usize| vary(&mut luck, usual, shape);
        let (raw, dropped, forgotten, panic, ends) =
            (chance(20), chance(3), chance(3), chance(10), chance(1));
        let chances = Chances { raw, dropped, forgotten, panic, ends };
        let store = Flaky::new(luck.next(), faults);
        let clock = TestClock::default();
        let environment = Arc::new(SimEnvironment { ids: AtomicU64::new(0), clock: clock.clone() });
        let entities_max = [10_000, 10_000, 1, 1, 0][luck.below(5)];
        let bytes_max = if entities_max == 0 { 0 } else { 1 << 20 };
        let cache = if shape == Shape::Calm { Cache::default() } else { Cache { entities_max, bytes_max } };
        let count = if shape == Shape::Calm { 1 } else { 1 + luck.below(2) };
        let mut world = Self {
            luck,
            shape,
            store,
            environment,
            clock,
            processes: Vec::new(),
            cache,
            tasks: Tasks::new(),
            records: Vec::new(),
            keyed: Vec::new(),
            chances,
            counts: Counts::default(),
        };
        world.processes = (0..count).map(|_| world.process()).collect();
        world
    }

    fn process(&self) -> Arc<Entities> {
        let store = Arc::clone(&self.store) as Arc<dyn EventStore>;
        Entities::new(store, Arc::new(self.clock.clone()), self.cache, None)
    }

    pub(super) fn run(mut self) -> Result<Counts, Violation> {
        self.play()?;
        self.finish()?;
        check_end(&self.records, &self.store)?;
        if self.shape == Shape::Calm {
            self.counts.check_calm()?;
        }
        Ok(self.counts)
    }

    /// The log, as text.
    pub(super) fn history(&self) -> String {
        log_of(&self.store.durable()).iter().fold(String::new(), |text, event| {
            let data = String::from_utf8_lossy(event.data_slice());
            format!("{text}{} {} {} {data}\n", event.stream(), event.version(), event.event_type())
        })
    }

    /// Sends all commands, and lets things happen until all are answered.
    pub(super) fn play(&mut self) -> Result<(), Violation> {
        let mut steps = 0;
        let mut stands_still = 0;
        while self.records.len() < COMMANDS || self.tasks.polled() > 0 {
            steps += 1;
            if steps > STEPS_MAX {
                return Err(Violation(format!("no progress: {:?}", self.unanswered())));
            }
            if self.tasks.has_woken() || self.records.len() < COMMANDS {
                self.step()?;
                stands_still = 0;
                continue;
            }
            if self.store.step() {
                continue;
            }
            // Nobody is awake and the store has nothing to do: only time can help.
            self.clock.advance(Duration::from_secs(1));
            stands_still += 1;
            if stands_still > FORGOTTEN_SECONDS {
                return Err(Violation(format!("the world stands still: {:?}", self.unanswered())));
            }
        }
        Ok(())
    }

    fn unanswered(&self) -> Vec<&CallRecord> {
        self.records.iter().filter(|record| record.answer.is_none()).collect()
    }

    fn step(&mut self) -> Result<(), Violation> {
        let Chances { raw, dropped, forgotten, panic, ends } = self.chances;
        match self.luck.below(1_000) {
            0..150 if self.records.len() < COMMANDS && self.tasks.polled() < COMMANDS_AT_ONCE => self.send(),
            0..400 => drop(self.store.step()),
            400..410 if self.shape != Shape::Calm => {
                self.clock.advance(Duration::from_millis(1 << self.luck.below(17)))
            }
            _ if self.luck.chance(raw) => self.append_raw(),
            _ if self.luck.chance(dropped) => {
                if let Some((_, record)) = self.tasks.drop_any(&mut self.luck) {
                    self.gone(record, "dropped");
                }
            }
            _ if self.luck.chance(forgotten) => {
                if self.tasks.forget_any(&mut self.luck) {
                    self.counts.count("forgotten");
                }
            }
            _ if self.luck.chance(ends) => self.end_process(),
            _ => {
                panic_after(if self.luck.chance(panic) { self.luck.below(4) as u64 } else { u64::MAX });
                let over = self.tasks.poll_any(&mut self.luck);
                panic_after(u64::MAX);
                if let Some(((_, record), end)) = over {
                    self.answered(record, end)?;
                }
            }
        }
        Ok(())
    }

    fn gone(&mut self, record: usize, how: &'static str) {
        self.records[record].answer = Some(Answer::Gone);
        self.counts.count(how);
    }

    /// A process ends without a word, and another one takes its place.
    fn end_process(&mut self) {
        let at = self.luck.below(self.processes.len());
        for (_, record) in self.tasks.drop_where(|(process, _)| process == at) {
            self.gone(record, "dropped");
        }
        self.count_again(at);
        self.processes[at] = self.process();
        self.counts.count("process ended");
    }

    fn append_raw(&mut self) {
        let on = self.account();
        let data = r#"{"by":1000000,"amount":1,"after":0}"#;
        let event_type = "sim.account.moved".parse().expect("it is valid");
        let id = self.environment.event_id();
        let event = NewEvent::json(id, on, event_type, Timestamp::from_nanos(1), data);
        self.store.append_raw(Batch::new([event]));
        self.counts.count("raw append");
    }

    fn account(&mut self) -> StreamName {
        let name = ["a", "b"][self.luck.below(2)];
        stream(name)
    }

    fn want(&mut self) -> Want {
        let amount = [1, 2, 3, 4, 5, 6, 7][self.luck.below(7)];
        match self.luck.below(if self.shape == Shape::Calm { 22 } else { 24 }) {
            0..3 => Want::Open,
            3..10 => Want::Deposit(amount),
            10..14 => Want::Withdraw(amount),
            14 => Want::Check,
            15..17 => Want::Hold(amount),
            17..19 => Want::WithdrawFree(amount),
            19..22 => Want::Transfer(amount),
            _ => Want::Bonus,
        }
    }

    /// A call by a new caller: a new order, or one that is or was under way under the same key.
    fn send(&mut self) {
        let call = self.records.len() as u64;
        let (on, want) = (self.account(), self.want());
        let to = stream(if on == stream("a") { "b" } else { "a" });
        let mut order = Order { by: call, want, on, to };
        let mut has_key = false;
        let mut expected = None;
        let is_inspection = self.luck.chance(60);
        if is_inspection {
        } else if self.luck.chance(250) {
            has_key = true;
            match self.keyed.last() {
                Some(known) if self.luck.chance(500) => order = known.clone(),
                _ => self.keyed.push(order.clone()),
            }
        } else if self.luck.chance(150) && !matches!(order.want, Want::Transfer(_)) {
            let version = self.version_of(&order.on);
            expected = version.checked_add_signed([0, 0, -1, 1][self.luck.below(4)]);
        }
        let arrived = log_of(&self.store.durable()).len();
        let record = CallRecord { call, order, has_key, expected, is_inspection, arrived, answer: None };
        let process = self.luck.below(self.processes.len());
        let future = self.call(&record, process);
        self.tasks.spawn((process, self.records.len()), future);
        self.records.push(record);
    }

    fn version_of(&self, stream: &StreamName) -> u64 {
        let log = log_of(&self.store.durable());
        log.iter().filter(|event| event.stream() == stream.as_str()).count().saturating_sub(1) as u64
    }

    fn call(&self, record: &CallRecord, process: usize) -> BoxFuture<'static, Answer> {
        let CallRecord { call, order, has_key, expected, is_inspection, .. } = record.clone();
        let store = Arc::clone(&self.store) as Arc<dyn EventStore>;
        let gesta = Gesta::with_environment(store, Arc::clone(&self.environment) as Arc<dyn Environment>);
        let gesta =
            gesta.with(Meta::new().entry("call", call)).attempts(NonZeroU32::new(64).expect("not zero"));
        let key = has_key.then(|| CommandKey { key: format!("key-{}", order.by).into(), request: [7; 32] });
        let expected = expected.map(|version| Expected::Exactly(Version::new(version)));
        let request = Call { gesta, command: key, expected };
        let entities = Arc::clone(&self.processes[process]);
        if is_inspection {
            return Box::pin(inspect(entities, request, order.on));
        }
        match order.want {
            Want::Hold(_) => Box::pin(execute(entities, request, OnHolds(order))),
            Want::WithdrawFree(_) => Box::pin(execute(entities, request, OnBoth(order))),
            Want::Transfer(_) => Box::pin(execute(entities, request, OnTwo(order))),
            Want::Bonus => Box::pin(execute(entities, request, OnBig(order))),
            _ => Box::pin(execute(entities, request, OnAccount(order))),
        }
    }

    fn answered(&mut self, at: usize, end: End<Answer>) -> Result<(), Violation> {
        let answer = match end {
            End::Answer(answer) => answer,
            End::Panic(panic) if panic.is::<Planned>() => Answer::Panicked,
            End::Panic(panic) => std::panic::resume_unwind(panic),
        };
        self.counts.count(match &answer {
            Answer::Done { ids, .. } if ids.is_empty() => "nothing to record",
            Answer::Done { repeated: true, .. } => "repeated",
            Answer::Done { .. } => "done",
            Answer::Refused(_) => "refused",
            Answer::Mismatch { .. } => "mismatch",
            Answer::Shown { .. } => "inspected",
            Answer::InDoubt { .. } => "in doubt",
            Answer::Failed(_) => "failed",
            Answer::Panicked => "panicked",
            Answer::Gone => "dropped",
        });
        self.records[at].answer = Some(answer);
        check_answer(&self.records[at], &self.store)
    }

    /// Everybody polls again, nothing fails any more, and what is under way comes to its end.
    fn finish(&mut self) -> Result<(), Violation> {
        self.store.with(|inner| inner.faults = Faults::default());
        self.chances = Chances::default();
        self.tasks.remember_all();
        self.play()?;
        // One more command for each entity drives what nobody polls.
        for process in 0..self.processes.len() {
            for name in ["a", "b"] {
                self.settle(process, stream(name))?;
            }
        }
        while self.store.step() {}
        for at in 0..self.processes.len() {
            self.count_again(at);
            let metrics = self.processes[at].metrics();
            let keys = self.processes[at].keys.len();
            if metrics.in_flight > 0 || keys > 0 {
                let held = format!("{} batches and {keys} keys are kept for ever", metrics.in_flight);
                return Err(Violation(held));
            }
        }
        let counts = self.store.with(|inner| std::mem::take(&mut inner.counts));
        counts.into_iter().for_each(|(what, count)| self.counts.add_to(what, count));
        Ok(())
    }

    fn count_again(&mut self, process: usize) {
        let metrics = self.processes[process].metrics();
        for (what, count) in [
            ("decided again: conflict", metrics.conflicts),
            ("decided again: predecessor", metrics.predecessors),
            ("decided again: verified", metrics.wrong_answers),
            ("gate lost", metrics.gates_lost),
            ("early", metrics.early),
            ("evicted", metrics.evicted),
            ("hit", metrics.hits),
            ("load", metrics.loads),
        ] {
            self.counts.add_to(what, count);
        }
    }

    /// A decision at the gate: it waits until nothing is in flight.
    fn settle(&mut self, process: usize, on: StreamName) -> Result<(), Violation> {
        let call = self.records.len() as u64;
        let order = Order { by: call, want: Want::Bonus, to: on.clone(), on };
        let arrived = log_of(&self.store.durable()).len();
        let record = CallRecord {
            call,
            order,
            has_key: false,
            expected: None,
            is_inspection: false,
            arrived,
            answer: None,
        };
        let future = self.call(&record, process);
        self.tasks.spawn((process, self.records.len()), future);
        self.records.push(record);
        self.play()
    }
}

/// The faults of a world: some worlds lack some of them.
fn faults(luck: &mut Luck, shape: Shape) -> Faults {
    let mut chance = |usual: usize| vary(luck, usual, shape);
    Faults {
        reorder: chance(150),
        crash: chance(30),
        time_out: chance(80),
        overload: chance(30),
        read_fails: chance(10),
        goes_down: chance(10),
    }
}

fn vary(luck: &mut Luck, usual: usize, shape: Shape) -> usize {
    let varied = match luck.below(10) {
        0..4 => 0,
        4..6 => 4 * usual,
        _ => usual,
    };
    match shape {
        Shape::Calm => 0,
        Shape::Faulty => varied,
        Shape::Stormy => (5 * varied).min(500),
    }
}

async fn execute<D: Decision<Error = Refused>>(entities: Arc<Entities>, call: Call, decision: D) -> Answer {
    let decide = |state: &D::State| {
        let facts = decision.clone().decide(state).map_err(SendError::Refused)?;
        Ok(facts.into_iter().map(NewFact::into_fact).collect::<Result<Vec<_>, _>>()?)
    };
    answer(run(&entities, call, &mut decision.boundary(), decide).await)
}

async fn inspect(entities: Arc<Entities>, call: Call, stream: StreamName) -> Answer {
    let mut shown = None;
    let mut boundary = At::<Account>::stream(stream);
    let read = |at: &At<Account>| {
        let version = at.version().map(Version::get);
        shown = Some(Answer::Shown { balance: at.balance, moves: at.moves, version });
        Ok(Vec::new())
    };
    let read = run::<_, Refused>(&entities, call, &mut boundary, read).await;
    match answer(read) {
        Answer::Done { .. } => shown.expect("it was read"),
        other => other,
    }
}

fn answer(result: Result<Written, SendError<Refused>>) -> Answer {
    match result {
        Ok(Written { ids, repeated, .. }) => Answer::Done { ids, repeated },
        Err(SendError::Refused(Refused(text))) => Answer::Refused(text),
        Err(SendError::VersionMismatch { actual, .. }) => {
            Answer::Mismatch { actual: actual.map(Version::get) }
        }
        Err(SendError::InDoubt { batch, .. }) => {
            Answer::InDoubt { ids: batch.events.iter().map(|event| event.id).collect() }
        }
        Err(error) => Answer::Failed(error.to_string()),
    }
}
