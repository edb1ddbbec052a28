//! The world of one seed: producers, a careless group that delivers inputs again and at once, and workers that die.

use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZeroU32;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};

use gesta_consumer::Failed;
use gesta_consumer::group::Then;
use gesta_core::{
    Batch, BoxFuture, Checkpoint, EventId, Limit, MemoryStore, NewEvent, Page, Place, Query, Read,
    RecordedEvent, StoreId, StreamName, Timestamp,
};

use super::check::{Violation, check_log};
use super::domain::{Input, Performer, Sim};
use super::service::Service;
use super::store::SteppedStore;
use crate::environment::Environment;
use crate::event::Event;
use crate::handle::Gesta;
use crate::process::HostedProcess;
use crate::process::timers::{Round, Step, lock};
use crate::random::Random;

/// Steps of a world, and of these the stormy ones. After those nobody dies and nothing is lost.
const STEPS: u32 = 400;
const STORMY_STEPS: u32 = 300;
/// Rounds of the orderly end, in which every stream is delivered until all is acknowledged.
const ROUNDS_MAX: u32 = 2_000;
/// Steps of the timers in one round.
const STEPS_OF_TIMERS_MAX: u32 = 10_000;

/// A clock that the world moves, and ids that count.
pub(super) struct SimEnvironment {
    nanos: AtomicI64,
    ids: AtomicU64,
}

const SECOND: i64 = 1_000_000_000;

impl SimEnvironment {
    fn advance(&self, seconds: i64) {
        self.nanos.fetch_add(seconds * SECOND, Ordering::Relaxed);
    }
}

impl Environment for SimEnvironment {
    fn now(&self) -> Timestamp {
        Timestamp::from_nanos(self.nanos.load(Ordering::Relaxed))
    }

    fn event_id(&self) -> EventId {
        EventId::from_u128((1 << 64) + u128::from(self.ids.fetch_add(1, Ordering::Relaxed)))
    }
}

/// How often things happened.
#[derive(Debug, Default)]
pub(super) struct Counts(BTreeMap<&'static str, u64>);

impl Counts {
    fn count(&mut self, what: &'static str) {
        *self.0.entry(what).or_default() += 1;
    }

    pub(super) fn add(&mut self, other: &Self) {
        for (what, count) in &other.0 {
            *self.0.entry(what).or_default() += count;
        }
    }

    /// A simulation in which something never happens shows nothing about it.
    pub(super) fn assert_each_happened(&self) {
        println!("{:?}", self.0);
        for what in [
            "death",
            "handled",
            "deferred",
            "retried",
            "released",
            "delivered again",
            "timer fired",
            "timers restarted",
            "two timer services",
            "clock back",
        ] {
            assert!(self.0.contains_key(what), "never {what}: {:?}", self.0);
        }
    }
}

/// A worker with a delivery.
struct Worker {
    events: Vec<RecordedEvent>,
    work: BoxFuture<'static, Result<(), Failed>>,
}

type Input3 = (String, EventId);

pub(super) struct World {
    random: Random,
    memory: Arc<MemoryStore>,
    store: Arc<SteppedStore>,
    gesta: Gesta,
    hosted: Arc<HostedProcess>,
    environment: Arc<SimEnvironment>,
    processes: u64,
    workers: Vec<Worker>,
    /// One or two, of the same process.
    services: Vec<Service>,
    kept_max: usize,
    acknowledged: BTreeSet<Input3>,
    /// The labels that others may need.
    labels: Vec<(u64, StreamName, String)>,
    streams: BTreeMap<StreamName, u128>,
    /// The inputs of each stream, up to some place in the log.
    inputs: BTreeMap<String, Vec<RecordedEvent>>,
    inputs_at: Place,
    is_stormy: bool,
    counts: Counts,
    violation: Option<Violation>,
}

impl World {
    pub(super) fn new(seed: u64) -> Self {
        let mut random = Random::new(seed);
        let environment =
            Arc::new(SimEnvironment { nanos: AtomicI64::new(1_000 * SECOND), ids: AtomicU64::new(0) });
        let clock = environment.clone();
        let memory = Arc::new(MemoryStore::new(StoreId::from_bytes([7; 16]), 1, move || clock.now()));
        let store = Arc::new(SteppedStore::new(memory.clone(), random.next()));
        let luck = Arc::new(Mutex::new(Random::new(random.next())));
        let gesta = Gesta::with_environment(store.clone(), environment.clone());
        let start = Checkpoint::start(StoreId::from_bytes([7; 16]), 1);
        let kept_max = 2 + random.below(4);
        let hosted = Arc::new(HostedProcess::new::<Sim>(Performer(luck)).expect("the name is valid"));
        Self {
            processes: 1 + random.next() % 3,
            services: vec![Service::new(start, kept_max)],
            kept_max,
            random,
            memory,
            store,
            gesta,
            hosted,
            environment,
            workers: Vec::new(),
            acknowledged: BTreeSet::new(),
            labels: Vec::new(),
            streams: BTreeMap::new(),
            inputs: BTreeMap::new(),
            inputs_at: Place::Start,
            is_stormy: true,
            counts: Counts::default(),
            violation: None,
        }
    }

    pub(super) fn run(mut self) -> Result<Counts, Violation> {
        self.play();
        if let Some(violation) = self.violation {
            return Err(violation);
        }
        check_log(&self.log(), self.environment.now())?;
        Ok(self.counts)
    }

    /// Plays the world to its end.
    pub(super) fn play(&mut self) {
        for step in 0..STEPS {
            if step == STORMY_STEPS {
                self.is_stormy = false;
                self.store.calm_down();
            }
            self.step();
        }
        self.workers.clear();
        self.finish();
    }

    pub(super) fn history(&self) -> String {
        let log = self.log();
        log.iter().fold(String::new(), |text, event| {
            let data = String::from_utf8_lossy(event.data_slice());
            format!("{text}{} {} {} {data}\n", event.stream(), event.version(), event.event_type())
        })
    }

    fn step(&mut self) {
        match self.random.below(100) {
            0..8 if self.is_stormy => self.produce(),
            0..26 => self.deliver(),
            26..30 if self.is_stormy && !self.workers.is_empty() => {
                let dies = self.random.below(self.workers.len());
                self.workers.swap_remove(dies);
                self.counts.count("death");
            }
            30..35 => self.pass_time(),
            35..38 if self.is_stormy => self.restart_timers(),
            38..56 => self.run_timers(),
            _ if !self.workers.is_empty() => {
                let index = self.random.below(self.workers.len());
                self.poll(index);
            }
            _ => {}
        }
    }

    fn pass_time(&mut self) {
        if self.is_stormy && self.random.chance(15) {
            let back = 1 + i64::try_from(self.random.below(60)).expect("it is small");
            self.environment.advance(-back);
            self.counts.count("clock back");
        } else {
            self.environment.advance(*self.random.choose(&[1, 3, 5, 20, 900]));
        }
    }

    /// A service starts from the place of an older one, instead of the others or beside the newest.
    fn restart_timers(&mut self) {
        let place = self.random.choose(&self.services).place();
        let starts = Service::new(place, self.kept_max);
        if self.random.chance(50) {
            self.services.clear();
        }
        self.services.push(starts);
        if self.services.len() > 2 {
            self.services.remove(0);
        }
        self.counts.count("timers restarted");
    }

    fn run_timers(&mut self) {
        let index = self.random.below(self.services.len());
        if self.services.len() > 1 {
            self.counts.count("two timer services");
        }
        let service = &mut self.services[index];
        if self.random.chance(30) {
            service.scan(&self.memory, 1 + u32::try_from(self.random.below(6)).expect("it is small"));
        }
        if self.is_stormy && self.random.chance(5) {
            service.stop();
        }
        for _ in 0..=self.random.below(4) {
            if let Poll::Ready(Step::Worked(round)) = service.poll(&self.gesta) {
                (0..round.fired).for_each(|_| self.counts.count("timer fired"));
            }
        }
    }

    /// Appends an input. The ids are the same in every stream.
    fn produce(&mut self) {
        let process = self.random.next() % self.processes;
        let letter = *self.random.choose(&["a", "b", "c"]);
        let stream = format!("{letter}-{process}").parse::<StreamName>().expect("a valid name");
        let count = self.streams.entry(stream.clone()).or_default();
        *count += 1;
        let (id, label) = (EventId::from_u128(*count), format!("{stream} {count}"));
        let others = self.labels.iter().filter(|(of, other, _)| *of == process && *other != stream);
        let others = others.map(|(_, _, label)| label.clone()).collect::<Vec<_>>();
        let is_needing = !others.is_empty() && self.random.chance(30);
        let needs = is_needing.then(|| self.random.choose(&others).clone());
        let is_silent = self.random.chance(30);
        if !is_silent {
            self.labels.push((process, stream.clone(), label.clone()));
        }
        let input = Input::Came { process, label, needs, is_silent };
        let (event_type, data) = (input.info().name, input.encode().expect("it is JSON"));
        let event_type = event_type.parse().expect("the derive checked it");
        let event = NewEvent::json(id, stream, event_type, self.environment.now(), data);
        self.memory.append_now(Batch::new([event])).expect("the id is new");
    }

    /// Gives a worker up to three events of a stream: any that were acknowledged, and the first one that was not.
    fn deliver(&mut self) {
        self.find_inputs();
        let mut starts = Vec::new();
        for (stream, events) in &self.inputs {
            for (start, event) in events.iter().enumerate() {
                let is_acknowledged = self.acknowledged.contains(&name_of(event));
                if self.is_stormy || !is_acknowledged {
                    starts.push((stream, start, is_acknowledged));
                }
                if !is_acknowledged {
                    break;
                }
            }
        }
        if starts.is_empty() {
            return;
        }
        let (stream, start, is_acknowledged) = starts[self.random.below(starts.len())];
        if is_acknowledged {
            self.counts.count("delivered again");
        }
        let count = 1 + self.random.below(3);
        let events = self.inputs[stream][start..].iter().take(count).cloned().collect::<Vec<_>>();
        self.workers.push(self.worker(events));
    }

    fn worker(&self, events: Vec<RecordedEvent>) -> Worker {
        let (hosted, gesta, given) = (self.hosted.clone(), self.gesta.clone(), events.clone());
        Worker { events, work: Box::pin(async move { hosted.handle(&gesta, &given).await }) }
    }

    fn poll(&mut self, index: usize) {
        let worker = &mut self.workers[index];
        if let Poll::Ready(settled) = worker.work.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
            let worker = self.workers.swap_remove(index);
            self.settle(&worker.events, settled);
        }
    }

    fn settle(&mut self, events: &[RecordedEvent], ended: Result<(), Failed>) {
        let handled = ended.as_ref().map_or_else(|failed| failed.handled, |()| events.len());
        self.acknowledged.extend(events[..handled].iter().map(name_of));
        self.counts.count(match ended {
            Ok(()) => "handled",
            Err(Failed { then: Then::Retry { .. }, .. }) => "retried",
            Err(Failed { error, .. }) if error.ends_with("is deferred") => "deferred",
            Err(Failed { then: Then::Release { .. }, .. }) => "released",
            Err(Failed { error, .. }) => {
                self.violation.get_or_insert(Violation(format!("parked: {error}")));
                "parked"
            }
        });
    }

    /// Lets time pass and delivers every stream in order, until nothing is left to do.
    fn finish(&mut self) {
        if self.random.chance(50) {
            let place = self.services[0].place();
            self.services = vec![Service::new(place, self.kept_max)];
        }
        self.services.truncate(1);
        for _ in 0..ROUNDS_MAX {
            let next_due = self.fire_all();
            let has_delivered = self.deliver_all();
            match next_due {
                Some(due) => {
                    self.environment.nanos.fetch_max(due.as_nanos(), Ordering::Relaxed);
                }
                None if !has_delivered => {
                    // Later than every timer, so that one that was lost shows.
                    self.environment.advance(100_000);
                    return;
                }
                None => {}
            }
        }
        self.violation.get_or_insert(Violation("the end is never reached".to_owned()));
    }

    /// Delivers the next input of every stream. Returns false if all are acknowledged.
    fn deliver_all(&mut self) -> bool {
        self.find_inputs();
        let is_new = |event: &&RecordedEvent| !self.acknowledged.contains(&name_of(event));
        let next = self.inputs.values().filter_map(|events| events.iter().find(is_new));
        let next = next.cloned().collect::<Vec<_>>();
        for event in &next {
            let worker = self.worker(vec![event.clone()]);
            self.workers.push(worker);
            while !self.workers.is_empty() {
                self.poll(0);
            }
        }
        !next.is_empty()
    }

    /// Fires what is due. Returns when the next timer is due.
    fn fire_all(&mut self) -> Option<Timestamp> {
        let service = &mut self.services[0];
        service.scan(&self.memory, 1_000_000);
        for _ in 0..STEPS_OF_TIMERS_MAX {
            match service.poll(&self.gesta) {
                Poll::Ready(Step::Idle { next }) => return next,
                Poll::Ready(Step::Worked(Round { error: Some(error), .. })) => {
                    self.violation.get_or_insert(Violation(format!("a timer cannot fire: {error}")));
                    return None;
                }
                _ => {}
            }
        }
        let pending = lock(&service.schedule).pending();
        self.violation.get_or_insert(Violation(format!("the timers never rest: {pending} are kept")));
        None
    }

    fn find_inputs(&mut self) {
        let page = self.read(self.hosted.query(), self.inputs_at.clone());
        for event in page.events {
            self.inputs.entry(event.stream().to_owned()).or_default().push(event);
        }
        self.inputs_at = Place::At(page.scanned_to);
    }

    fn log(&self) -> Vec<RecordedEvent> {
        self.read(&Query::All, Place::Start).events
    }

    fn read(&self, query: &Query, from: Place) -> Page {
        let limit = Limit::events(NonZeroU32::new(1_000_000).expect("it is not 0"));
        let read = Read::log_from(query.clone(), from).limit(limit);
        let page = self.memory.read_now(&read).expect("it is in memory");
        assert!(page.end, "the limit is larger than the log");
        page
    }
}

fn name_of(event: &RecordedEvent) -> Input3 {
    (event.stream().to_owned(), event.id())
}
