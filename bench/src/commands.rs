//! Commands to accounts: in Gesta, in this process, and by `cqrs-es` and `disintegrate` on PostgreSQL, in turns.
//!
//! Each of them has one event of about a hundred bytes for each command, synced to the disk before the answer.

mod account;
mod frameworks;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bench_core::{append_line, median_by};
use gesta_core::EventStore;
use gesta_log::{LogStore, Options};

use crate::asked::Asked;
use crate::rivals::postgres::{CommitDelay, Postgres};
use account::Sent;
use frameworks::{CQRS_ES, DISINTEGRATE, FRAMEWORKS, Framework};

/// Workers that each send the next command when they have the answer to the one before.
const WORKERS: [u64; 3] = [1, 16, 64];
/// Events of the accounts that are loaded.
const HISTORIES: [u64; 4] = [100, 1_000, 10_000, 100_000];
/// Events between two snapshots, for all that take some.
const EVERY: u64 = 500;

pub fn run(asked: &Asked) {
    let folder = bench_core::folder();
    let postgres = Postgres::start(folder.path(), CommitDelay::None);
    send(asked, &postgres.url());
    load(asked, &postgres.url());
}

/// Commands a second, by workers, to an account each and to one account.
fn send(asked: &Asked, url: &str) {
    println!("\n### commands: one event each, durable\n");
    println!("| workers | accounts | | commands/s | p50 µs | p99 µs | conflicts | Gesta is |");
    println!("| ---: | ---: | --- | ---: | ---: | ---: | ---: | ---: |");
    let lasts = asked.lasts(3.0);
    for workers in WORKERS {
        compare_sending(asked, url, workers, workers, lasts);
        if workers > 1 {
            compare_sending(asked, url, workers, 1, lasts);
        }
    }
}

fn compare_sending(asked: &Asked, url: &str, workers: u64, accounts: u64, lasts: Duration) {
    let mut rounds: [Vec<Sent>; 1 + FRAMEWORKS.len()] = Default::default();
    for _ in 0..asked.rounds {
        let folder = bench_core::folder();
        rounds[0].push(account::send(&open(folder.path()), workers, accounts, lasts));
        for (rounds, framework) in rounds[1..].iter_mut().zip(FRAMEWORKS) {
            rounds.push(framework.send(url, workers, accounts, lasts));
        }
    }
    let medians = rounds.iter().map(|rounds| median_by(rounds, |sent| sent.rate)).collect::<Vec<_>>();
    let ours = medians[0].rate;
    for (name, sent) in names().zip(medians) {
        let Sent { rate, p50, p99, conflicts } = sent;
        let times = ours / rate;
        println!(
            "| {workers} | {accounts} | {name} | {rate:.0} | {p50} | {p99} | {conflicts} | {times:.1}× |"
        );
        let row = format!("{workers},{accounts},{name},{rate:.0},{p50},{p99},{conflicts}");
        let heading = "workers,accounts,name,commands_per_second,p50_us,p99_us,conflicts";
        append_line(&asked.out.join("commands.csv"), heading, &row);
    }
}

fn names() -> impl Iterator<Item = &'static str> {
    std::iter::once("Gesta").chain(FRAMEWORKS.map(Framework::name))
}

/// The time to load one account, by the length of its history.
fn load(asked: &Asked, url: &str) {
    println!("\n### loads of one account, µs\n");
    println!(
        "| events | Gesta | Gesta, snapshot | Gesta, kept | cqrs-es | disintegrate | disintegrate, snapshot |"
    );
    println!("|{}", " ---: |".repeat(7));
    for events in HISTORIES.into_iter().filter(|events| asked.events.is_none_or(|most| *events <= most)) {
        let folder = bench_core::folder();
        let [all, snapshot, kept] = account::load(&open(&folder.path().join("log")), folder.path(), events);
        // Snapshots of cqrs-es 0.5.0 apply the events of the command that takes them twice, so their states are wrong.
        let cqrs_es = CQRS_ES.load(url, events, 0);
        let [disintegrate, its_snapshot] = [0, EVERY].map(|every| DISINTEGRATE.load(url, events, every));
        let row = [events as f64, all, snapshot, kept, cqrs_es, disintegrate, its_snapshot];
        let cells = row.map(|cell| format!("{cell:.0}"));
        println!("| {} |", cells.join(" | "));
        let heading = "events,gesta,gesta_snapshot,gesta_kept,cqrs_es,disintegrate,disintegrate_snapshot";
        append_line(&asked.out.join("loads.csv"), heading, &cells.join(","));
    }
}

fn open(folder: &Path) -> Arc<dyn EventStore> {
    Arc::new(LogStore::open(folder, &Options::default()).expect("a log"))
}
