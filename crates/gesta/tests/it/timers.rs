//! Timers of processes on a running store: fired once and in time, cancelled, paused, far away, and over restarts.

use std::sync::Arc;
use std::time::Duration;

use gesta::process::{HostedProcess, TimerSettings, Timers};
use gesta::testing::block_on;
use gesta::*;
use gesta_consumer::{Clock, ConsumerState, SystemClock, TestClock};
use gesta_core::{KeyName, KeyValueStore, MemoryKeyValueStore};

const SECOND: Duration = Duration::from_secs(1);
const FIRED: &str = "gesta.process.timer-fired";

#[derive(Debug, Clone, Key)]
#[key("unused")]
struct AlarmId(u64);

/// Sets or cancels the alarm of one process.
#[derive(Debug, Event)]
#[event(prefix = "home.alarm")]
enum Asked {
    Set { alarm: u64, seconds: u64 },
    Cancelled { alarm: u64 },
}

#[derive(Debug, Event)]
#[event(prefix = "home.alarm-process")]
enum Rang {
    Rang,
}

#[derive(Debug, Default)]
struct Alarm;

impl State for Alarm {
    type Event = Rang;
    fn evolve(&mut self, _: Rang) {}
}

impl Process for Alarm {
    const NAME: &'static str = "alarm";
    type Id = AlarmId;
    type Input = Asked;
    type Effect = ();
    type Outcome = ();
    type Timer = ();

    fn correlate(input: &Recorded<Asked>) -> Option<AlarmId> {
        let (Asked::Set { alarm, .. } | Asked::Cancelled { alarm }) = &input.event;
        Some(AlarmId(*alarm))
    }

    fn react(&self, _: &AlarmId, trigger: Trigger<Self>) -> Reaction<Self> {
        match trigger {
            Trigger::Event(Asked::Set { seconds, .. }) => {
                Reaction::none().timer((), Duration::from_secs(seconds))
            }
            Trigger::Event(Asked::Cancelled { .. }) => Reaction::none().cancel(()),
            Trigger::Timer(()) => Reaction::record(Rang::Rang),
            Trigger::Outcome(()) => Reaction::none(),
        }
    }
}

struct Nothing;

impl Perform<Alarm> for Nothing {
    async fn perform(&self, _: &EffectContext<'_>, (): ()) -> Result<(), Failure> {
        Ok(())
    }
}

/// A house with a clock, and a group that delivers each input once.
struct House {
    clock: TestClock,
    gesta: Gesta,
    process: HostedProcess,
    values: Arc<dyn KeyValueStore>,
}

impl House {
    fn new() -> Self {
        let clock = TestClock::default();
        let wall = clock.clone();
        let store = MemoryStore::new(StoreId::from_bytes([7; 16]), 1, move || wall.now());
        let environment = ClockEnvironment::new(Arc::new(clock.clone()));
        let gesta = Gesta::with_environment(Arc::new(store), Arc::new(environment));
        let process = HostedProcess::new::<Alarm>(Nothing).unwrap();
        Self { clock, gesta, process, values: Arc::new(MemoryKeyValueStore::new()) }
    }

    fn timers(&self, kept_max: usize) -> Timers {
        let mut settings = TimerSettings::default();
        settings.clock = Arc::new(self.clock.clone());
        settings.values = Some(self.values.clone());
        settings.kept_max = kept_max;
        self.process.start_timers(self.gesta.clone(), settings).unwrap()
    }

    /// Records an input and has the process take it.
    fn ask(&self, asked: Asked) {
        let id = self.gesta.event_store().locate(When::Head);
        let number = 1 + u128::from(block_on(id).unwrap().sequence(0));
        let event = NewEvent::json(
            EventId::from_u128(number),
            "panel-1".parse().unwrap(),
            asked.info().name.parse().unwrap(),
            self.clock.now(),
            asked.encode().unwrap(),
        );
        block_on(async {
            self.gesta.event_store().append(Batch::new([event])).await.unwrap();
            let input = self.events("home.alarm.set", "home.alarm.cancelled").pop().unwrap();
            self.process.handle(&self.gesta, &[input]).await.unwrap();
        });
    }

    fn set(&self, alarm: u64, seconds: u64) {
        self.ask(Asked::Set { alarm, seconds });
    }

    fn events(&self, one: &str, other: &str) -> Vec<RecordedEvent> {
        let types = [one, other].map(|name| name.parse().unwrap());
        block_on(self.gesta.event_store().read(Read::log(Query::types(types)))).unwrap().events
    }

    /// The streams of the timers that fired, in order.
    fn fired(&self) -> Vec<String> {
        self.events(FIRED, FIRED).iter().map(|event| event.stream().to_owned()).collect()
    }

    /// Waits until that number of timers fired. Returns all that did.
    #[track_caller]
    fn wait_fired(&self, count: usize) -> Vec<String> {
        let store = self.gesta.event_store();
        loop {
            let head = block_on(store.locate(When::Head)).unwrap();
            let fired = self.fired();
            if fired.len() >= count {
                return fired;
            }
            bounded(store.wait_past(head)).unwrap();
        }
    }
}

/// Waits for something that happens soon.
#[track_caller]
fn bounded<T>(future: impl Future<Output = T>) -> T {
    let late = SystemClock.wait(SystemClock.elapsed() + 60 * SECOND);
    let (mut future, mut late) = (std::pin::pin!(future), late);
    let first = std::future::poll_fn(|context| {
        if let std::task::Poll::Ready(value) = future.as_mut().poll(context) {
            return std::task::Poll::Ready(Some(value));
        }
        late.as_mut().poll(context).map(|()| None)
    });
    block_on(first).expect("it happens within a minute")
}

/// Waits until the consumer of the timers is in a state.
#[track_caller]
fn wait_state(timers: &Timers, wanted: &str) {
    loop {
        let changed = timers.consumer().changed().listen();
        if timers.consumer().state().name() == wanted {
            return;
        }
        bounded(changed);
    }
}

#[test]
fn a_timer_fires_when_it_is_due_and_once_with_two_hosts() {
    let house = House::new();
    house.set(1, 60);
    let hosts = [house.timers(10), house.timers(10)];
    hosts.iter().for_each(|timers| wait_state(timers, "live"));
    house.clock.advance(59 * SECOND);
    house.set(2, 1);
    house.clock.advance(SECOND);
    let mut fired = house.wait_fired(2);
    fired.sort_unstable();
    assert_eq!(fired, ["alarm-1", "alarm-2"]);
    // A later timer shows that the hosts had time to fire the first ones again.
    house.set(3, 1);
    house.clock.advance(SECOND);
    assert_eq!(house.wait_fired(3).len(), 3);
    for timers in &hosts {
        timers.request_stop();
        timers.join();
    }
    assert_eq!(house.fired().len(), 3);
    let event = house.events(FIRED, FIRED).swap_remove(0);
    assert_eq!(event.tag("$actor"), Some("process:alarm"));
    assert!(event.tag("$causation").is_some() && event.tag("$correlation").is_some());
}

#[test]
fn a_timer_that_is_cancelled_or_set_again_does_not_fire_for_its_first_time() {
    let house = House::new();
    let timers = house.timers(10);
    house.set(1, 10);
    house.set(2, 10);
    house.ask(Asked::Cancelled { alarm: 1 });
    house.set(2, 30);
    house.set(3, 20);
    wait_state(&timers, "live");
    house.clock.advance(20 * SECOND);
    assert_eq!(house.wait_fired(1), ["alarm-3"]);
    house.clock.advance(10 * SECOND);
    assert_eq!(house.wait_fired(2), ["alarm-3", "alarm-2"]);
    // The first one is counted before the second one fires.
    assert!((1..=2).contains(&timers.stats().fired), "{:?}", timers.stats());
}

#[test]
fn a_timer_that_fired_is_an_input_of_its_process() {
    let house = House::new();
    let timers = house.timers(10);
    house.set(1, 0);
    house.wait_fired(1);
    drop(timers);
    let fired = house.events(FIRED, FIRED);
    assert!(house.process.query().matches(&fired[0]));
    for _ in 0..2 {
        block_on(house.process.handle(&house.gesta, &fired)).unwrap();
    }
    assert_eq!(house.events("home.alarm-process.rang", FIRED).len(), 2, "one fired, one rang");
}

#[test]
fn far_timers_fire_in_their_order_although_few_are_kept() {
    let house = House::new();
    let timers = house.timers(3);
    let dues = [40, 5, 33, 12, 90, 70, 61, 8, 20, 50, 15];
    for (alarm, seconds) in (0..).zip(dues) {
        house.set(alarm, seconds);
    }
    wait_state(&timers, "live");
    let mut sorted = (0..).zip(dues).collect::<Vec<(u64, u64)>>();
    sorted.sort_by_key(|(_, due)| *due);
    let mut elapsed = 0;
    for (count, (alarm, due)) in (1..).zip(sorted) {
        house.clock.advance(Duration::from_secs(due - elapsed));
        elapsed = due;
        assert_eq!(house.wait_fired(count).last(), Some(&format!("alarm-{alarm}")));
        assert!(timers.stats().pending <= 3);
    }
}

#[test]
fn timers_go_on_from_their_place_after_a_restart() {
    let house = House::new();
    let timers = house.timers(10);
    for alarm in 0..5 {
        house.set(alarm, 1 + alarm);
    }
    // The state `live` may be that of the empty log.
    while timers.stats().pending < 5 {
        std::thread::yield_now();
    }
    house.clock.advance(3 * SECOND);
    assert_eq!(house.wait_fired(3).len(), 3);
    drop(timers);
    let entry = block_on(house.values.get(KeyName::new("timers/alarm").unwrap())).unwrap().unwrap();
    let value: serde_json::Value = serde_json::from_slice(&entry.value).unwrap();
    let place = value["place"].as_str().unwrap().parse::<Checkpoint>().unwrap();
    let set = house.events("gesta.process.timer-set", "gesta.process.timer-set");
    assert_eq!(place.sequence(0), set[3].position().sequence - 1, "before the first timer that is pending");

    house.clock.advance(9 * SECOND);
    let timers = house.timers(10);
    assert_eq!(house.wait_fired(5).len(), 5);
    drop(timers);
    // Without the place, the log is read from its start, and nothing fires again.
    let house = House { values: Arc::new(MemoryKeyValueStore::new()), ..house };
    let timers = house.timers(10);
    house.set(9, 0);
    house.wait_fired(6);
    house.set(10, 0);
    assert_eq!(house.wait_fired(7).len(), 7);
    drop(timers);
}

#[test]
fn a_timer_that_came_due_during_a_pause_fires_after_it() {
    let house = House::new();
    let timers = house.timers(10);
    house.set(1, 10);
    wait_state(&timers, "live");
    timers.consumer().pause("ann");
    wait_state(&timers, "paused");
    house.clock.advance(10 * SECOND);
    timers.consumer().resume();
    assert_eq!(house.wait_fired(1), ["alarm-1"]);
}

#[test]
fn a_timer_of_a_newer_program_stops_the_timers_visibly() {
    let house = House::new();
    let timers = house.timers(10);
    let event = NewEvent::json(
        EventId::from_u128(1),
        "alarm-1".parse().unwrap(),
        "gesta.process.timer-set".parse().unwrap(),
        house.clock.now(),
        "{}",
    );
    let event = NewEvent { schema_version: 2, ..event };
    block_on(house.gesta.event_store().append(Batch::new([event]))).unwrap();
    wait_state(&timers, "stopped");
    let ConsumerState::Stopped { why } = timers.consumer().state() else { panic!("it stopped") };
    assert!(why.to_string().contains("a timer cannot be read"), "{why}");
}

/// 10,000 timers that become due within 10 s, on a log on the disk. Prints how late they fire.
#[test]
#[ignore = "a figure that takes 15 s: `cargo test --profile simulation -p gesta --test it ten_thousand -- --ignored --nocapture`"]
fn ten_thousand_timers_fire_within_a_second_of_their_time() {
    const TIMERS: u64 = 10_000;
    let folder = tempfile::tempdir().unwrap();
    let log = Arc::new(gesta_log::LogStore::open(folder.path(), &gesta_log::Options::default()).unwrap());
    let gesta = Gesta::new(log.clone());
    let start = SystemClock.now().as_nanos() + 3_000_000_000;
    let dues = (0..TIMERS).map(|number| start + i64::try_from(number).unwrap() * 1_000_000);
    let events = (0..).zip(dues).map(|(number, due)| {
        let (stream, kind) = (format!("alarm-{number}"), "gesta.process.timer-set");
        let data = format!(r#"{{"timer":null,"due":{due}}}"#);
        let id = EventId::from_u128(number + 1);
        NewEvent::json(id, stream.parse().unwrap(), kind.parse().unwrap(), SystemClock.now(), data)
    });
    block_on(log.append(Batch::new(events))).unwrap();
    let process = HostedProcess::new::<Alarm>(Nothing).unwrap();
    let _timers = process.start_timers(gesta, TimerSettings::default()).unwrap();
    let fired = || Query::types([FIRED.parse().unwrap()]);
    let mut late = Vec::new();
    let mut fired = block_on(Subscription::new(log.clone(), fired(), Place::Start)).unwrap();
    while (late.len() as u64) < TIMERS {
        for event in bounded(fired.next()).unwrap().events {
            let number = event.stream().strip_prefix("alarm-").unwrap().parse::<i64>().unwrap();
            late.push(event.recorded_at().as_nanos() - (start + number * 1_000_000));
        }
    }
    late.sort_unstable();
    let [p50, p99, max] = [late[late.len() / 2], late[late.len() * 99 / 100], late[late.len() - 1]];
    println!("late: p50 {} ms, p99 {} ms, max {} ms", p50 / 1_000_000, p99 / 1_000_000, max / 1_000_000);
    assert!(late[0] >= 0, "none fires early");
    assert!(p99 < 1_000_000_000, "p99 is {p99} ns");
    assert_eq!(late.len() as u64, TIMERS);
}
