//! A store in a folder and one in PostgreSQL, with the same calls: empty, and with many events.

use std::num::NonZeroU32;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use gesta_core::{
    Batch, EventId, EventStore, Expected, Limit, NewEvent, Place, Query, Read, StreamName, Timestamp,
    Version, When,
};
use gesta_log::LogStore;
use gesta_postgres::PostgresStore;
use pollster::block_on;

use crate::asked::Asked;
use crate::rivals::postgres::{CommitDelay, Postgres};

/// Clients that each wait for their answer.
const CLIENTS: u64 = 64;
/// Streams of the events that fill a store, each with a few events.
const STREAMS: u64 = 100_000;
/// Calls whose median is taken.
const CALLS: usize = 500;

pub fn run(asked: &Asked) {
    let folder = bench_core::folder();
    let postgres = Postgres::start(folder.path(), CommitDelay::None);
    let log = LogStore::open(&folder.path().join("log"), &gesta_log::Options::default()).expect("a log");
    let url = format!("{}?schema=stores", postgres.url()).parse().expect("an address");
    let database = PostgresStore::open(&url, &gesta_postgres::Options::default()).expect("a store");
    let stores: [(&str, Arc<dyn EventStore>); 2] =
        [("folder", Arc::new(log)), ("PostgreSQL", Arc::new(database))];
    let events = asked.events.unwrap_or(1_000_000);
    println!("\n### stores: single events of 300 bytes with one tag, durable\n");
    println!("| | {} |\n| --- | ---: | ---: |", stores.each_ref().map(|(name, _)| *name).join(" | "));
    let shown = stores.each_ref().map(|(_, store)| measure(store, asked.lasts(5.0), events));
    for ((name, folder), (_, database)) in shown[0].iter().zip(&shown[1]) {
        println!("| {name} | {folder:.0} | {database:.0} |");
    }
}

/// The figures of a store, in the order of the table.
fn measure(store: &Arc<dyn EventStore>, lasts: Duration, events: u64) -> Vec<(String, f64)> {
    let next = AtomicU64::new(1);
    let mut shown = vec![("lone append, p50, µs, empty".to_owned(), lone_append(store, &next))];
    let anywhere = |store: &dyn EventStore, number| {
        block_on(store.append(Batch::new([event(number)]))).expect("an append");
    };
    shown.push((format!("appends/s by {CLIENTS} clients"), by_clients(store, lasts, &next, &anywhere)));
    shown.push((format!("conditional appends/s by {CLIENTS} clients"), conditional(store, lasts)));
    shown.push(("wake-up after an append, p50, µs".to_owned(), wake_up(store, &next)));
    fill(store, &next, events);
    shown.push((format!("lone append, p50, µs, {events} events"), lone_append(store, &next)));
    shown.push(("whole log, events/s".to_owned(), read_all(store)));
    shown.push(("one stream, p50, µs".to_owned(), read_streams(store)));
    shown
}

fn event(number: u64) -> NewEvent {
    of_stream(
        format!("account-{}", number % STREAMS).parse().expect("a name"),
        u128::from(number) << 20 | 1,
        number,
    )
}

fn of_stream(stream: StreamName, id: u128, number: u64) -> NewEvent {
    let data = format!("{{\"text\":\"{}\"}}", "x".repeat(240));
    let kind = "account.credited".parse().expect("a name");
    let event = NewEvent::json(EventId::from_u128(id), stream, kind, Timestamp::from_nanos(1), data);
    event.with_tags([format!("owner:{}", number % 1_000).parse().expect("a tag")])
}

/// The median time of calls one after the other, in µs.
fn median(mut call: impl FnMut(usize)) -> f64 {
    let mut times = (0..CALLS)
        .map(|at| {
            let begun = Instant::now();
            call(at);
            begun.elapsed()
        })
        .collect::<Vec<_>>();
    times.sort_unstable();
    times[CALLS / 2].as_nanos() as f64 / 1e3
}

fn lone_append(store: &Arc<dyn EventStore>, next: &AtomicU64) -> f64 {
    median(|_| {
        let batch = Batch::new([event(next.fetch_add(1, Ordering::Relaxed))]);
        block_on(store.append(batch)).expect("an append");
    })
}

/// Calls a second of all clients.
fn by_clients(
    store: &Arc<dyn EventStore>,
    lasts: Duration,
    next: &AtomicU64,
    call: &(impl Fn(&dyn EventStore, u64) + Sync),
) -> f64 {
    let (begun, calls) = (Instant::now(), AtomicU64::new(0));
    thread::scope(|scope| {
        for _ in 0..CLIENTS {
            scope.spawn(|| {
                while begun.elapsed() < lasts {
                    call(&**store, next.fetch_add(1, Ordering::Relaxed));
                    calls.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
    });
    calls.into_inner() as f64 / begun.elapsed().as_secs_f64()
}

/// Appends to a stream for each client, each with the version that the one before gave.
fn conditional(store: &Arc<dyn EventStore>, lasts: Duration) -> f64 {
    let (begun, calls) = (Instant::now(), AtomicU64::new(0));
    thread::scope(|scope| {
        for client in 0..CLIENTS {
            let calls = &calls;
            scope.spawn(move || {
                let name = format!("client-{client}").parse::<StreamName>().expect("a name");
                let mut number = 0;
                while begun.elapsed() < lasts {
                    let expected = match number {
                        0 => Expected::None,
                        count => Expected::Exactly(Version::new(count - 1)),
                    };
                    let id = u128::from(client + 1) << 64 | u128::from(number);
                    let batch =
                        Batch::new([of_stream(name.clone(), id, number)]).expect(name.clone(), expected);
                    block_on(store.append(batch)).expect("an append");
                    number += 1;
                }
                calls.fetch_add(number, Ordering::Relaxed);
            });
        }
    });
    calls.into_inner() as f64 / begun.elapsed().as_secs_f64()
}

/// The time from the answer to an append to the wake-up of one who waits for it. One that wakes before the answer counts as 0.
fn wake_up(store: &Arc<dyn EventStore>, next: &AtomicU64) -> f64 {
    let mut times = Vec::new();
    for _ in 0..CALLS {
        let head = block_on(store.locate(When::Head)).expect("a head");
        let waiting = thread::spawn({
            let store = Arc::clone(store);
            move || {
                block_on(store.wait_past(head)).expect("a wake-up");
                Instant::now()
            }
        });
        let batch = Batch::new([event(next.fetch_add(1, Ordering::Relaxed))]);
        block_on(store.append(batch)).expect("an append");
        let answered = Instant::now();
        times.push(waiting.join().expect("a thread").saturating_duration_since(answered));
    }
    times.sort_unstable();
    times[CALLS / 2].as_nanos() as f64 / 1e3
}

/// Fills the store up to this number of events, in batches of a hundred by four threads.
fn fill(store: &Arc<dyn EventStore>, next: &AtomicU64, events: u64) {
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                loop {
                    let first = next.fetch_add(100, Ordering::Relaxed);
                    if first >= events {
                        return;
                    }
                    let batch = Batch::new((first..first + 100).map(event).collect::<Vec<_>>());
                    block_on(store.append(batch)).expect("an append");
                }
            });
        }
    });
}

fn read_all(store: &Arc<dyn EventStore>) -> f64 {
    let limit = Limit::events(NonZeroU32::new(5_000).expect("not zero"));
    let (begun, mut from, mut count) = (Instant::now(), Place::Start, 0);
    loop {
        let page = block_on(store.read(Read::log_from(Query::All, from).limit(limit))).expect("a page");
        count += page.events.len();
        if page.end {
            return count as f64 / begun.elapsed().as_secs_f64();
        }
        from = Place::At(page.scanned_to);
    }
}

fn read_streams(store: &Arc<dyn EventStore>) -> f64 {
    median(|at| {
        let name = format!("account-{}", at as u64 * 199 % STREAMS).parse().expect("a name");
        let page = block_on(store.read(Read::stream(name))).expect("a page");
        assert!(!page.events.is_empty(), "it was filled");
    })
}
