//! Figures: `cargo run --release -p test-servers -- with postgres -- cargo test --release -p gesta-postgres
//! --test it -- --ignored --nocapture figures`.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use gesta_core::{Batch, EventId, EventStore, NewEvent, Timestamp};
use gesta_postgres::Options;
use tokio::runtime::Builder;
use tokio_postgres::NoTls;

use crate::database::{Schema, shared};

/// How long each figure is measured.
const TIME: Duration = Duration::from_secs(10);

/// A batch with one event of about 300 bytes, three terms, in one of 10,000 streams.
fn batch(number: u64) -> Batch {
    let stream = format!("account-{}", number % 10_000).parse().unwrap();
    let data = format!("{{\"text\":\"{}\"}}", "x".repeat(240));
    let id = EventId::from_u128(u128::from(number) << 20 | 1);
    let event =
        NewEvent::json(id, stream, "account.credited".parse().unwrap(), Timestamp::from_nanos(1), data);
    Batch::new([event.with_tags([format!("owner:{}", number % 1_000).parse().unwrap()])])
}

/// Runs clients until the time is over. Returns calls a second and the latencies in milliseconds: p50, p99.
async fn run<F: Future<Output = ()> + Send + 'static>(
    clients: usize,
    call: impl Fn(u64) -> F + Clone + Send + 'static,
) -> (f64, f64, f64) {
    let (begun, next) = (Instant::now(), Arc::new(AtomicU64::new(1)));
    let mut running = Vec::new();
    for _ in 0..clients {
        let (call, next) = (call.clone(), Arc::clone(&next));
        running.push(tokio::spawn(async move {
            let mut times = Vec::new();
            while begun.elapsed() < TIME {
                let sent = Instant::now();
                call(next.fetch_add(1, Ordering::Relaxed)).await;
                times.push(sent.elapsed().as_secs_f64() * 1e3);
            }
            times
        }));
    }
    let mut times = Vec::new();
    for client in running {
        times.extend(client.await.unwrap());
    }
    let rate = times.len() as f64 / begun.elapsed().as_secs_f64();
    times.sort_by(f64::total_cmp);
    (rate, times[times.len() / 2], times[times.len() * 99 / 100])
}

/// What a program would write by hand: a lock, the head, an insert, for each append.
async fn naive(server: &str, schema: &Schema, clients: usize) -> (f64, f64, f64) {
    let mut connections = Vec::new();
    for _ in 0..clients {
        let (client, connection) = tokio_postgres::connect(server, NoTls).await.unwrap();
        drop(tokio::spawn(connection));
        client.batch_execute(&format!("set search_path to {}", schema.name)).await.unwrap();
        let insert = "insert into event select coalesce((select max(position) from event), 0) + 1, $1, \
                      coalesce((select max(version) from event where stream = $1), -1) + 1, $2";
        let insert = client.prepare(insert).await.unwrap();
        connections.push(Arc::new((tokio::sync::Mutex::new(client), insert)));
    }
    let connections = Arc::new(connections);
    run(clients, move |number| {
        let own = Arc::clone(&connections[usize::try_from(number).unwrap() % clients]);
        async move {
            let (client, insert) = &*own;
            let client = client.lock().await;
            let (stream, data) = (format!("account-{}", number % 10_000), vec![b'x'; 300]);
            let (begun, inserted, committed) = tokio::join!(
                client.batch_execute("begin; select pg_advisory_xact_lock(7)"),
                async { client.execute(insert, &[&stream, &data]).await },
                client.batch_execute("commit"),
            );
            begun.unwrap();
            inserted.unwrap();
            committed.unwrap();
        }
    })
    .await
}

#[test]
#[ignore = "it measures"]
fn figures() {
    let Some(server) = shared() else { return };
    let runtime = Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    for clients in [1, 64, 256] {
        let schema = Schema::new(&server);
        let store = schema.open(&Options::default());
        let own = Arc::clone(&store);
        let (rate, p50, p99) = runtime.block_on(run(clients, move |number| {
            let store = Arc::clone(&own);
            async move { drop(store.append(batch(number)).await.unwrap()) }
        }));
        println!("gesta-postgres, {clients} clients: {rate:.0} appends/s, p50 {p50:.1} ms, p99 {p99:.1} ms");
    }
    let schema = Schema::new(&server);
    schema.run(&format!(
        "create schema {0}; create table {0}.event (position bigint primary key, stream text not null, version bigint not null, \
         data bytea not null, unique (stream, version))",
        schema.name
    ));
    let (rate, p50, p99) = runtime.block_on(naive(&server, &schema, 64));
    println!("naive, 64 connections: {rate:.0} appends/s, p50 {p50:.1} ms, p99 {p99:.1} ms");
}
