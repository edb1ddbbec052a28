//! Accounts by `cqrs-es` and `disintegrate` on PostgreSQL, for the figure `commands` of the benchmark beside this one.
//!
//! `bench-frameworks FRAMEWORK URL send WORKERS ACCOUNTS SECONDS` prints commands/s, p50 and p99 in µs, and conflicts.
//! `bench-frameworks FRAMEWORK URL load EVENTS EVERY` prints the median of loads of one account in µs; EVERY is the
//! distance of snapshots, or 0 for none.

mod cqrs;
mod disintegrated;

use std::future::Future;
use std::sync::Arc;
use std::time::{Duration, Instant};

use sqlx::PgPool;
use sqlx::postgres::PgPoolOptions;

/// As many connections as the largest number of workers.
const CONNECTIONS: u32 = 64;
/// Loads of one account. Their median counts.
const LOADS: usize = 15;
/// Events of one command while a history is made.
pub const BATCH: u64 = 1_000;

/// The text of each event, about a hundred bytes as in Gesta's accounts.
pub fn note() -> String {
    "a deposit at the counter of the branch in the main street, checked by two people, receipt handed out"
        .to_owned()
}

/// Accounts of one framework.
pub trait Accounts: Send + Sync + 'static {
    /// Sends one command. Returns `false` after a conflict with another worker.
    fn deposit(&self, account: u64, events: u64) -> impl Future<Output = bool> + Send;

    /// Loads one account and returns its number of deposits.
    fn load(&self, account: u64) -> impl Future<Output = u64> + Send;
}

#[tokio::main]
async fn main() {
    let arguments = std::env::args().skip(1).collect::<Vec<_>>();
    let arguments = arguments.iter().map(String::as_str).collect::<Vec<_>>();
    let [framework, url, what @ ..] = &arguments[..] else { panic!("give a framework, a URL and a figure") };
    let pool = PgPoolOptions::new().max_connections(CONNECTIONS).min_connections(CONNECTIONS);
    let pool = pool.connect(url).await.expect("a database");
    let number = |text: &str| text.parse::<u64>().expect("a number");
    match (*framework, what) {
        ("cqrs-es", ["send", workers, accounts, seconds]) => {
            let made = cqrs::Bank::new(pool).await;
            send(made, number(workers), number(accounts), number(seconds)).await;
        }
        ("cqrs-es", ["load", events, "0"]) => load(cqrs::Bank::new(pool).await, number(events)).await,
        ("disintegrate", ["send", workers, accounts, seconds]) => {
            let made = disintegrated::Bank::new(pool).await;
            send(made, number(workers), number(accounts), number(seconds)).await;
        }
        ("disintegrate", ["load", events, "0"]) => {
            load(disintegrated::Bank::new(pool).await, number(events)).await;
        }
        ("disintegrate", ["load", events, every]) => {
            load(disintegrated::Snapshots::new(pool, number(every)).await, number(events)).await;
        }
        _ => panic!("unknown: {arguments:?}"),
    }
}

/// Removes what an earlier run has left.
pub async fn empty(pool: &PgPool) {
    let tables = "drop schema public cascade; create schema public";
    sqlx::raw_sql(tables).execute(pool).await.expect("an empty database");
}

/// Workers that each send a command when they have the answer to the one before. A conflict is tried again at once.
async fn send(bank: impl Accounts, workers: u64, accounts: u64, seconds: u64) {
    let bank = Arc::new(bank);
    let lasts = Duration::from_secs(seconds);
    let begun = Instant::now();
    let tasks = (0..workers).map(|worker| {
        let bank = Arc::clone(&bank);
        tokio::spawn(async move {
            let (mut took, mut conflicts) = (Vec::new(), 0);
            while begun.elapsed() < lasts {
                let sent = Instant::now();
                while !bank.deposit(worker % accounts, 1).await {
                    conflicts += 1;
                }
                took.push(sent.elapsed());
            }
            (took, conflicts)
        })
    });
    let (mut took, mut conflicts) = (Vec::new(), 0);
    for task in tasks.collect::<Vec<_>>() {
        let (of_worker, lost) = task.await.expect("a worker");
        took.extend(of_worker);
        conflicts += lost;
    }
    let rate = took.len() as f64 / begun.elapsed().as_secs_f64();
    took.sort_unstable();
    let part = |of: f64| took[((took.len() - 1) as f64 * of) as usize].as_micros();
    println!("{rate:.0} {} {} {conflicts}", part(0.5), part(0.99));
}

/// Makes an account with a history, and loads it.
async fn load(bank: impl Accounts, events: u64) {
    let mut left = events;
    while left > 0 {
        let some = left.min(BATCH);
        assert!(bank.deposit(0, some).await, "no other worker is there");
        left -= some;
    }
    let mut took = Vec::new();
    for _ in 0..LOADS {
        let begun = Instant::now();
        assert_eq!(bank.load(0).await, events);
        took.push(begun.elapsed());
    }
    took.sort_unstable();
    println!("{}", took[LOADS / 2].as_micros());
}
