//! The cost of one more reader at the head: appends at a fixed rate, and live subscriptions in tasks that get each
//! event.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use bench_core::{
    Call, Events, Gesta, Latencies, Meter, Process, Streams, Used, append_line, batch_of, runtime,
};
use gesta_core::{EventStore, Place, Query, Subscription};
use gesta_log::LogStore;

use crate::asked::Asked;

const EVENTS_PER_SECOND: u64 = 10_000;
/// Threads that append: enough for single events at this rate, since each waits for a sync.
const CALLERS: u64 = 8;
const READERS: [u64; 5] = [0, 1, 4, 16, 64];

pub fn run(asked: &Asked) {
    let lasts = asked.lasts(3.0);
    println!("\n### tail: {EVENTS_PER_SECOND} events/s, durable, and subscriptions that are given each\n");
    println!(
        "| events at once | readers | appended/s | CPU µs/event | CPU µs/event/reader | p50 µs | p99 µs | reads/event | read from disk B/event |"
    );
    println!("| ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |");
    for batch in [1, 10] {
        let mut alone = 0.0;
        for readers in READERS {
            let name = format!("{batch} at once, {readers} readers");
            if !name.contains(&asked.only) {
                continue;
            }
            let row = Row::measure(batch, readers, lasts);
            if readers == 0 {
                alone = row.processor();
            }
            row.print(asked, alone);
        }
    }
}

/// The figures for one number of readers.
struct Row {
    batch: u64,
    readers: u64,
    events: u64,
    took: Duration,
    used: Used,
    /// Time from acknowledgement to delivery, of each event to each reader; zero if the reader was first.
    delays: Latencies,
}

/// The time of each event's acknowledgement, by position, in nanoseconds from the start; zero if it is not
/// acknowledged yet.
struct Acknowledged {
    start: Instant,
    times: Vec<AtomicU64>,
}

impl Acknowledged {
    fn now(&self) -> u64 {
        u64::try_from(self.start.elapsed().as_nanos()).expect("a short while")
    }

    fn note(&self, position: u64) {
        self.times[usize::try_from(position).expect("an index")].store(self.now(), Ordering::Release);
    }
}

impl Row {
    fn measure(batch: u64, readers: u64, lasts: Duration) -> Self {
        let folder = bench_core::folder();
        let gesta = Gesta::open(folder.path(), Call::Blocking);
        let log = Arc::clone(gesta.log());
        let batches =
            u64::try_from(lasts.as_millis()).expect("a short while") * EVENTS_PER_SECOND / 1_000 / batch;
        let count = batches * batch;
        let subscriptions: Vec<_> = (0..readers)
            .map(|_| {
                let store = Arc::clone(&log) as Arc<dyn EventStore>;
                runtime().block_on(Subscription::new(store, Query::All, Place::End)).expect("a subscription")
            })
            .collect();
        let times = (0..=count).map(|_| AtomicU64::new(0)).collect();
        let acknowledged = Arc::new(Acknowledged { start: Instant::now(), times });
        let meter = Meter::start(Process::Own, folder.path());
        let tasks: Vec<_> = subscriptions
            .into_iter()
            .map(|subscription| runtime().spawn(follow(subscription, Arc::clone(&acknowledged), count)))
            .collect();
        append_all(&log, &acknowledged, batch, batches);
        let given = tasks.into_iter().map(|task| runtime().block_on(task).expect("a reader does not fail"));
        let given: Vec<_> = given.collect();
        let (took, used) = (acknowledged.start.elapsed(), meter.stop());
        let mut delays = Latencies::default();
        for given in given {
            for (position, at) in given {
                let times = &acknowledged.times[usize::try_from(position).expect("an index")];
                delays.note(Duration::from_nanos(at.saturating_sub(times.load(Ordering::Acquire))));
            }
        }
        Self { batch, readers, events: count, took, used, delays: Latencies::merge([delays]) }
    }

    /// Processor time of the process for each event, in microseconds.
    fn processor(&self) -> f64 {
        self.used.processor.as_secs_f64() * 1e6 / self.events as f64
    }

    fn print(&self, asked: &Asked, alone: f64) {
        let each = (self.processor() - alone) / self.readers as f64;
        let per_event = |count: u64| count as f64 / self.events as f64;
        let micros = |share| self.delays.quantile(share).as_secs_f64() * 1e6;
        let row = format!(
            "{},{},{:.0},{:.2},{each:.2},{:.0},{:.0},{:.2},{:.1}",
            self.batch,
            self.readers,
            self.events as f64 / self.took.as_secs_f64(),
            self.processor(),
            micros(0.5),
            micros(0.99),
            per_event(self.used.read_calls),
            per_event(self.used.read_bytes),
        );
        println!("| {} |", row.replace(',', " | ").replace("NaN", "–"));
        let heading = "batch,readers,events_per_second,cpu_us_per_event,cpu_us_per_event_and_reader,p50_us,p99_us,reads_per_event,read_bytes_per_event";
        append_line(&asked.out.join("tail.csv"), heading, &row);
    }
}

/// Appends batches that are due at a fixed rate.
fn append_all(log: &LogStore, acknowledged: &Acknowledged, batch: u64, batches: u64) {
    let events = Events::new(Streams::Turns(1_000));
    let interval = Duration::from_secs(batch) / u32::try_from(EVENTS_PER_SECOND).expect("a small rate");
    std::thread::scope(|scope| {
        for caller in 0..CALLERS {
            let events = &events;
            scope.spawn(move || {
                for number in (0..batches).filter(|number| number % CALLERS == caller) {
                    let batch = batch_of(&events.take(caller, batch));
                    let due = acknowledged.start + interval * u32::try_from(number).expect("a short while");
                    std::thread::sleep(due.saturating_duration_since(Instant::now()));
                    let appended = log.append_blocking(batch).expect("an append");
                    appended.places.iter().for_each(|place| acknowledged.note(place.position.sequence));
                }
            });
        }
    });
}

/// Follows the log for `count` events. Returns the time of each delivery.
async fn follow(
    mut subscription: Subscription,
    acknowledged: Arc<Acknowledged>,
    count: u64,
) -> Vec<(u64, u64)> {
    let mut given = Vec::with_capacity(usize::try_from(count).expect("memory for it"));
    while (given.len() as u64) < count {
        let page = subscription.next().await.expect("a page");
        let now = acknowledged.now();
        given.extend(page.events.iter().map(|event| (event.position().sequence, now)));
    }
    assert!(given.iter().zip(1..).all(|((position, _), expected)| *position == expected), "each event once");
    given
}
