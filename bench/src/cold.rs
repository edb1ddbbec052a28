//! The first event of a stream that has not been read, from a cold disk.

use std::path::Path;
use std::sync::Arc;

use bench_core::{
    Call, Events, Gesta, Growing, Guard, Latencies, Rival as _, Streams, append_line, drop_caches, mix,
    runtime, stream_name,
};
use gesta_core::{Limit, Read};
use gesta_log::LogStore;

use crate::asked::Asked;

/// Streams that are read. The caches are dropped before each.
const STREAMS: u64 = 100;

pub fn run(asked: &Asked) {
    let events = asked.events.unwrap_or(1_000_000);
    let folder = bench_core::folder();
    let gesta = Gesta::open(folder.path(), Call::Blocking);
    let made = Events::new(Streams::Growing).tagged().with_ids(asked.ids);
    let mut client = gesta.client(0);
    while made.taken() < events {
        runtime().block_on(client.append(&made.take(0, 1_000), Guard::None));
    }
    let calls = first_events(gesta.log(), folder.path(), STREAMS);
    let [p50, p99] = [0.5, 0.99].map(|share| calls.quantile(share).as_secs_f64() * 1e6);
    println!(
        "\n### first event of a cold stream, {events} events stored: p50 {p50:.0} µs, p99 {p99:.0} µs\n"
    );
    append_line(&asked.out.join("cold.csv"), "events,p50_us,p99_us", &format!("{events},{p50:.1},{p99:.1}"));
}

/// Reads the first event of each of `streams` streams, and drops the caches before each.
pub fn first_events(log: &Arc<LogStore>, folder: &Path, streams: u64) -> Latencies {
    let mut calls = Latencies::default();
    for probe in 0..streams {
        let name = stream_name(Growing::PROBE + mix(probe) % Growing::PROBES);
        let read = Read::stream(name).limit(Limit::events(1.try_into().expect("not zero")));
        drop_caches(folder);
        let page = calls.time(|| log.read_blocking(&read)).expect("a page");
        assert_eq!(page.events.len(), 1, "the log is long enough to contain every probe");
    }
    Latencies::merge([calls])
}
