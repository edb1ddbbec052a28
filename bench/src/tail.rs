//! The cost of one more reader at the head: appends at a fixed rate, and live subscriptions in tasks that get each
//! event.

use std::sync::Arc;
use std::time::Duration;

use bench_core::{Call, Gesta, Latencies, Meter, Process, Used, append_line, runtime};
use gesta_core::{EventStore, Place, Query, Subscription};

use crate::asked::Asked;
use crate::paced::{Acknowledged, EVENTS_PER_SECOND, append_all, batches_in};

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

impl Row {
    fn measure(batch: u64, readers: u64, lasts: Duration) -> Self {
        let folder = bench_core::folder();
        let gesta = Gesta::open(folder.path(), Call::Blocking);
        let log = Arc::clone(gesta.log());
        let batches = batches_in(lasts, batch);
        let count = batches * batch;
        let subscriptions: Vec<_> = (0..readers)
            .map(|_| {
                let store = Arc::clone(&log) as Arc<dyn EventStore>;
                runtime().block_on(Subscription::new(store, Query::All, Place::End)).expect("a subscription")
            })
            .collect();
        let acknowledged = Arc::new(Acknowledged::start(count));
        let meter = Meter::start(Process::Own, folder.path());
        let tasks: Vec<_> = subscriptions
            .into_iter()
            .map(|subscription| runtime().spawn(follow(subscription, Arc::clone(&acknowledged), count)))
            .collect();
        append_all(&log, &acknowledged, batch, batches);
        let given = tasks.into_iter().map(|task| runtime().block_on(task).expect("a reader does not fail"));
        let given: Vec<_> = given.collect();
        let (took, used) = (Duration::from_nanos(acknowledged.now()), meter.stop());
        let mut delays = Latencies::default();
        for (position, at) in given.into_iter().flatten() {
            delays.note(acknowledged.delay(position, at));
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
