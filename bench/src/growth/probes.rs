//! Reads and decisions that are the same work at every size of the log.

use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use bench_core::{
    Events, Gesta, Growing, Latencies, Rival as _, batch_of, drop_caches, mix, runtime, stream_name, tag_name,
};
use gesta_core::{AppendError, EventId, EventStore as _, Item, Query, Read};
use gesta_log::LogStore;

use super::Row;
use crate::cold::first_events;

/// Calls of each kind.
const CALLS: u64 = 2_000;

/// Streams of ten events, heads of random streams, and ids that do not exist.
pub fn reads(row: &mut Row, log: &LogStore) {
    let (mut streams, mut heads, mut absent) = Default::default();
    let (streams, heads, absent): (&mut Latencies, &mut Latencies, &mut Latencies) =
        (&mut streams, &mut heads, &mut absent);
    for call in 0..CALLS {
        let probe = Read::stream(stream_name(Growing::PROBE + mix(call) % Growing::PROBES));
        let page = streams.time(|| log.read_blocking(&probe)).expect("a page");
        assert_eq!(page.events.len() as u64, Growing::PROBE_EVENTS, "a probe has all its events");

        let name = stream_name(mix(call) % Growing::RANDOM);
        heads.time(|| pollster::block_on(log.stream(name))).expect("a head");

        // The id is neither v4 nor v7, so no event of the load has it.
        let never = Item { ids: vec![EventId::from_u128(mix(call).into())], ..Item::default() };
        let page = absent.time(|| log.read_blocking(&Read::log(never.into()))).expect("a page");
        assert!(page.events.is_empty() && page.end, "the id was never here");
    }
    row.add_calls(["stream_p50_us", "stream_p99_us"], std::mem::take(streams));
    row.add_calls(["head_p50_us", "head_p99_us"], std::mem::take(heads));
    row.add_calls(["absent_id_p50_us", "absent_id_p99_us"], std::mem::take(absent));
}

/// Checks a condition on two tags over the whole log: one that few events have, and one that every hundredth event
/// has. A second condition always fails, so nothing is written.
pub fn decisions(row: &mut Row, log: &LogStore, events: &Events) {
    let mut decided = Latencies::default();
    let fails = Query::types(["bench.happened".parse().expect("a type")]);
    for call in 0..CALLS {
        let tags = [tag_name(Growing::SCATTERED), tag_name(mix(call) % Growing::RANDOM)];
        let batch =
            batch_of(&events.take(0, 1)).fail_if(Query::tags(tags), None).fail_if(fails.clone(), None);
        let refused = decided.time(|| log.append_blocking(batch));
        assert!(
            matches!(refused, Err(AppendError::ConditionFailed { index: 1, .. })),
            "only the second condition fails: {refused:?}"
        );
    }
    row.add_calls(["condition_p50_us", "condition_p99_us"], decided);
}

/// Reads the stream that is scattered over the whole log, from the page cache and from the disk, and first events
/// from the disk.
pub fn scattered(row: &mut Row, gesta: &Gesta, folder: &Path) {
    let mut client = gesta.client(0);
    let mut read = || {
        let start = Instant::now();
        let count = runtime().block_on(client.read_stream(Growing::SCATTERED));
        count as f64 / start.elapsed().as_secs_f64()
    };
    // Earlier measurements dropped the page cache: the first read fills it.
    read();
    row.add("scattered_per_second", read());
    drop_caches(folder);
    row.add("scattered_cold_per_second", read());
    let first = first_events(&Arc::clone(gesta.log()), folder, 20);
    row.add_calls(["cold_first_p50_us", "cold_first_p99_us"], first);
}
