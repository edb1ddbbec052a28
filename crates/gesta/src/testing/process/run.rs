//! One run of a test: a store in memory, a group that delivers by choices, timers, and perhaps a crash.

use std::collections::{BTreeMap, VecDeque};
use std::num::{NonZeroU32, NonZeroU64};
use std::pin::pin;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use gesta_consumer::Failed;
use gesta_consumer::group::Then;
use gesta_core::{
    Batch, Checkpoint, EventId, Limit, MemoryStore, Page, Place, Query, Read, RecordedEvent, StoreId,
    Timestamp,
};

use super::super::{FIRST_TIME_NANOS, Unpark, block_on};
use super::choices::Choices;
use super::stepped::SteppedStore;
use crate::environment::Environment;
use crate::fact::Fact;
use crate::handle::Gesta;
use crate::process::HostedProcess;
use crate::process::timers::{Round, Schedule, Step, entry_of, lock, step, timer_sets};

/// Steps of one delivery or one timer. More is a performer that never ends.
const STEPS_MAX: usize = 100_000;

/// When a run crashes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Crash {
    Never,
    /// Right after the step of that number, from 1.
    After(usize),
}

/// What is delivered again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Repeats {
    AtTheEnd,
    EachAndAtTheEnd,
}

/// How a run ended.
pub(super) struct Ended {
    pub(super) choices: Choices,
    /// The steps of the first deliveries, without repeats.
    pub(super) steps: usize,
    pub(super) log: Vec<RecordedEvent>,
    pub(super) deliveries: Vec<String>,
}

/// A clock that the test moves, and ids that count.
struct RunEnvironment {
    nanos: AtomicI64,
    ids: AtomicU64,
}

impl Environment for RunEnvironment {
    fn now(&self) -> Timestamp {
        Timestamp::from_nanos(self.nanos.load(Ordering::Relaxed))
    }

    fn event_id(&self) -> EventId {
        EventId::from_u128(u128::from(self.ids.fetch_add(1, Ordering::Relaxed)))
    }
}

pub(super) struct Run {
    hosted: Arc<HostedProcess>,
    memory: Arc<MemoryStore>,
    gesta: Gesta,
    environment: Arc<RunEnvironment>,
    schedule: Arc<Mutex<Schedule>>,
    choices: Choices,
    crash: Crash,
    steps: usize,
    /// The inputs that are not handled, by stream.
    left: BTreeMap<String, VecDeque<RecordedEvent>>,
    /// Why a stream waits, until something else was handled.
    waiting: BTreeMap<String, String>,
    handled: Vec<RecordedEvent>,
    scanned_to: Place,
    deliveries: Vec<String>,
}

impl Run {
    pub(super) fn new(hosted: Arc<HostedProcess>, choices: Choices, crash: Crash) -> Self {
        let (nanos, ids) = (AtomicI64::new(FIRST_TIME_NANOS), AtomicU64::new(1));
        let environment = Arc::new(RunEnvironment { nanos, ids });
        let (clock, store) = (environment.clone(), StoreId::from_bytes(*b"gesta test store"));
        let memory = Arc::new(MemoryStore::new(store, 1, move || clock.now()));
        let gesta = Gesta::with_environment(Arc::new(SteppedStore(memory.clone())), environment.clone());
        let schedule = Schedule::new(Checkpoint::start(store, 1), usize::MAX);
        Self {
            hosted,
            memory,
            gesta,
            environment,
            schedule: Arc::new(Mutex::new(schedule)),
            choices,
            crash,
            steps: 0,
            left: BTreeMap::new(),
            waiting: BTreeMap::new(),
            handled: Vec::new(),
            scanned_to: Place::Start,
            deliveries: Vec::new(),
        }
    }

    /// What was delivered, in order.
    pub(super) fn deliveries(&self) -> &[String] {
        &self.deliveries
    }

    pub(super) fn end(self) -> Ended {
        let log = self.log();
        Ended { choices: self.choices, steps: self.steps, log, deliveries: self.deliveries }
    }

    pub(super) fn append(&mut self, facts: &[Fact]) -> Result<(), String> {
        let events = self.gesta.new_events(facts).map_err(|error| error.to_string())?;
        for event in events {
            let appended = self.memory.append_now(Batch::new([event]));
            appended.map_err(|error| format!("a given event cannot be stored: {error}"))?;
        }
        Ok(())
    }

    pub(super) fn set_time(&mut self, time: Timestamp) -> Result<(), String> {
        self.environment.nanos.store(time.as_nanos(), Ordering::Relaxed);
        self.fire_all()
    }

    pub(super) fn pass(&mut self, pause: Duration) -> Result<(), String> {
        let nanos = i64::try_from(pause.as_nanos()).unwrap_or(i64::MAX);
        let now = self.environment.now().as_nanos().saturating_add(nanos);
        self.set_time(Timestamp::from_nanos(now))
    }

    /// Delivers until everything is handled or waits.
    pub(super) fn deliver_all(&mut self, repeats: Repeats) -> Result<(), String> {
        self.waiting.clear();
        loop {
            self.find_inputs();
            let can_be_delivered = |stream: &&String| !self.waiting.contains_key(*stream);
            let options = self.left.keys().filter(can_be_delivered).cloned().collect::<Vec<_>>();
            if options.is_empty() {
                return Ok(());
            }
            let stream = &options[self.choices.choose(options.len())];
            self.deliver(stream, repeats)?;
            // Timers without a pause are due at once.
            self.fire_all()?;
        }
    }

    /// Delivers the next input of a stream, and after a crash again.
    fn deliver(&mut self, stream: &str, repeats: Repeats) -> Result<(), String> {
        let event = self.left[stream][0].clone();
        let name = format!("{stream}: {}", event.event_type());
        let ended = loop {
            let (hosted, gesta) = (self.hosted.clone(), self.gesta.clone());
            match self.drive(hosted.handle(&gesta, std::slice::from_ref(&event)))? {
                Some(ended) => break ended,
                None => self.deliveries.push(format!("{name} (crash)")),
            }
        };
        match ended {
            Ok(()) => {
                self.deliveries.push(name);
                self.handled(stream);
                if repeats == Repeats::EachAndAtTheEnd { self.repeat(&event) } else { Ok(()) }
            }
            Err(Failed { then: Then::Park, error, .. }) => Err(format!("{name} was parked: {error}")),
            Err(Failed { error, .. }) => {
                self.deliveries.push(format!("{name} (waits: {error})"));
                self.waiting.insert(stream.to_owned(), error);
                Ok(())
            }
        }
    }

    /// The next input of the stream is handled.
    fn handled(&mut self, stream: &str) {
        let queue = self.left.get_mut(stream).expect("its head was delivered");
        self.handled.extend(queue.pop_front());
        if queue.is_empty() {
            self.left.remove(stream);
        }
        self.waiting.clear();
    }

    /// Delivers an input that was handled. Nothing may follow.
    fn repeat(&self, event: &RecordedEvent) -> Result<(), String> {
        let before = self.log().len();
        let ended = block_on(self.hosted.handle(&self.gesta, std::slice::from_ref(event)));
        let input = format!("{}: {}", event.stream(), event.event_type());
        match ended {
            Err(failed) => Err(format!("{input} was delivered again and not handled: {}", failed.error)),
            Ok(()) if self.log().len() > before => {
                Err(format!("{input} was delivered again and recorded events"))
            }
            Ok(()) => Ok(()),
        }
    }

    /// Delivers all inputs again, from the start.
    pub(super) fn repeat_all(&self) -> Result<(), String> {
        let mut handled = self.handled.iter().collect::<Vec<_>>();
        handled.sort_by_key(|event| event.position().sequence);
        handled.into_iter().try_for_each(|event| self.repeat(event))
    }

    /// Fails if an input was not handled.
    pub(super) fn expect_nothing_left(&self) -> Result<(), String> {
        if self.left.is_empty() {
            return Ok(());
        }
        let left = self.left.iter().map(|(stream, events)| {
            let reason = self.waiting.get(stream).map_or("it waits", String::as_str);
            format!("    {stream}: {}: {reason}", events[0].event_type())
        });
        Err(format!("everything that is left waits:\n{}", left.collect::<Vec<_>>().join("\n")))
    }

    fn fire_all(&mut self) -> Result<(), String> {
        loop {
            self.scan_timers();
            let (gesta, schedule, name) = (self.gesta.clone(), self.schedule.clone(), self.hosted.name());
            match self.drive(async move { step(&gesta, name, &schedule, Duration::ZERO).await })? {
                Some(Step::Idle { .. }) => return Ok(()),
                Some(Step::Worked(Round { error: Some(error), .. })) => {
                    return Err(format!("a timer cannot fire: {error}"));
                }
                Some(Step::Worked(round)) => {
                    (0..round.fired).for_each(|_| self.deliveries.push("a timer fires".to_owned()));
                }
                None => {}
            }
        }
    }

    fn scan_timers(&self) {
        let mut schedule = lock(&self.schedule);
        let page = self.read(timer_sets(self.hosted.name()), Place::At(schedule.scanned_to().clone()));
        let timers = page.events.iter().filter_map(|event| entry_of(event).expect("this program wrote it"));
        timers.for_each(|entry| schedule.note(entry));
        schedule.scanned(page.scanned_to);
    }

    fn find_inputs(&mut self) {
        let page = self.read(self.hosted.query().clone(), self.scanned_to.clone());
        for event in page.events {
            self.left.entry(event.stream().to_owned()).or_default().push_back(event);
        }
        self.scanned_to = Place::At(page.scanned_to);
    }

    /// All events.
    pub(super) fn log(&self) -> Vec<RecordedEvent> {
        self.read(Query::All, Place::Start).events
    }

    fn read(&self, query: Query, from: Place) -> Page {
        let limit = Limit { events: NonZeroU32::MAX, bytes: NonZeroU64::MAX, examined: NonZeroU64::MAX };
        let read = Read::log_from(query, from).limit(limit);
        self.memory.read_now(&read).expect("a store in memory can be read")
    }

    /// Runs a future. `None`: it crashed.
    fn drive<F: Future>(&mut self, future: F) -> Result<Option<F::Output>, String> {
        let waker = Waker::from(Arc::new(Unpark(std::thread::current())));
        let mut future = pin!(future);
        for _ in 0..STEPS_MAX {
            if let Poll::Ready(output) = future.as_mut().poll(&mut Context::from_waker(&waker)) {
                return Ok(Some(output));
            }
            self.steps += 1;
            if self.crash == Crash::After(self.steps) {
                return Ok(None);
            }
            // The store has woken this thread already. A performer may wait for something else.
            std::thread::park();
        }
        Err(format!("a delivery took more than {STEPS_MAX} steps"))
    }
}
