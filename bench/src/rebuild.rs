//! The open of a log whose index is missing, and the rate at which the index is rebuilt beside the open log.
//!
//! The rebuild uses a thread for each available core: `taskset -c 0` shows the rate of one.

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::thread::available_parallelism;
use std::time::{Duration, Instant};

use bench_core::{Call, Events, Gesta, Guard, Load, Streams, Work, measure, resident_bytes};
use gesta_core::{Place, Query, Read};
use gesta_log::{LogStore, Options};

use crate::asked::Asked;

/// The number of streams and tags, the same as in `growth`.
const STREAMS: u64 = 1_000_000;
const ROUNDS: usize = 3;

pub fn run(asked: &Asked) {
    let scratch = bench_core::folder();
    let folder = asked.log.as_deref().unwrap_or(scratch.path());
    if !folder.join("manifest").exists() {
        fill(folder, asked);
    }
    let threads = available_parallelism().map_or(1, std::num::NonZero::get);
    println!("\n### a log without its index, on {threads} cores\n");
    println!(
        "| open, ms | first page, ms | page from the end, ms | indexed, s | events | events/s | resident, MB |"
    );
    println!("| ---: | ---: | ---: | ---: | ---: | ---: | ---: |");
    for _ in 0..ROUNDS {
        fs::remove_dir_all(folder.join("index")).expect("a log that is closed has an index");
        println!("{}", look(folder));
    }
}

fn fill(folder: &Path, asked: &Asked) {
    let gesta = Gesta::open(folder, Call::Blocking);
    let made = Arc::new(Events::new(Streams::Random(STREAMS)).tagged().with_ids(asked.ids));
    let work = Work::Append { batch: 100, guard: Guard::None };
    let load = Load { clients: 4, work, lasts: Duration::from_secs(1), rests: false };
    while made.taken() < asked.events.unwrap_or(3_000_000) {
        measure(&gesta, folder, &load, &made);
    }
}

/// Opens the log, reads a page at each end, and waits for the index.
fn look(folder: &Path) -> String {
    let begun = Instant::now();
    let log = LogStore::open(folder, &Options::default()).expect("a log");
    let opened = begun.elapsed();
    let events = log.index_progress().map_or(0, |progress| progress.of);
    let first = timed(|| log.read_blocking(&Read::log(Query::All)).expect("a page"));
    let last =
        timed(|| log.read_blocking(&Read::log_from(Query::All, Place::End).backward()).expect("a page"));
    assert!(log.wait_for_index(), "{:?}", log.index_progress());
    let indexed = begun.elapsed();
    let millis = |took: Duration| took.as_secs_f64() * 1e3;
    format!(
        "| {:.0} | {:.0} | {:.0} | {:.2} | {events} | {:.0} | {} |",
        millis(opened),
        millis(first),
        millis(last),
        indexed.as_secs_f64(),
        events as f64 / indexed.as_secs_f64(),
        resident_bytes() >> 20
    )
}

fn timed<T>(call: impl FnOnce() -> T) -> Duration {
    let begun = Instant::now();
    call();
    begun.elapsed()
}
