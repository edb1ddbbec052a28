//! Appends at a fixed rate, and the delay of their answers.

use std::time::{Duration, Instant};

use bench_core::{Events, Latencies, batch_of};
use gesta_log::LogStore;

use super::Row;

const EVENTS_PER_SECOND: u64 = 200_000;
const BATCH: u64 = 100;
const CALLERS: u64 = 8;

/// Each batch is due at a fixed moment, independent of earlier batches, and its time counts from then: a store that
/// stalls pays for every batch that became due during the stall.
pub fn run(row: &mut Row, log: &LogStore, events: &Events, lasts: Duration) {
    let interval = Duration::from_secs(BATCH) / u32::try_from(EVENTS_PER_SECOND).expect("a small rate");
    let batches = u32::try_from(lasts.as_nanos() / interval.as_nanos()).expect("a short while");
    let start = Instant::now();
    let caller = |caller: u64| {
        let mut lags = Latencies::default();
        for number in (0..batches).filter(|number| u64::from(*number) % CALLERS == caller) {
            let batch = batch_of(&events.take(caller, BATCH));
            let due = start + interval * number;
            std::thread::sleep(due.saturating_duration_since(Instant::now()));
            log.append_blocking(batch).expect("an append");
            lags.note(due.elapsed());
        }
        lags
    };
    let lags = std::thread::scope(|scope| {
        let callers: Vec<_> = (0..CALLERS).map(|number| scope.spawn(move || caller(number))).collect();
        Latencies::merge(callers.into_iter().map(|caller| caller.join().expect("a caller does not fail")))
    });
    let took = start.elapsed();
    row.add("steady_per_second", (lags.count() as u64 * BATCH) as f64 / took.as_secs_f64());
    row.add("steady_longest_ms", lags.quantile(1.0).as_secs_f64() * 1e3);
    row.add_calls(["steady_p50_us", "steady_p99_us"], lags);
}
