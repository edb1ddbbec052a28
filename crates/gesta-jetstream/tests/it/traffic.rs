//! Processes that append while a cluster has faults, and what is judged of them.

use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Condvar, Mutex};
use std::time::{Duration, Instant};

use gesta_core::{AppendError, Batch, EventStore, Limit, NewEvent, Place, Query, Read, Retry};
use gesta_jetstream::JetStreamStore;
use pollster::block_on;

use crate::opening::event;

/// Appends that are acknowledged after a fault, before the next one.
const AFTER_FAULT: usize = 40;
/// How long appends may wait for a cluster that has a majority: elections, and servers that read what they have missed.
const PATIENCE: Duration = Duration::from_secs(120);

/// Appends of several processes.
#[derive(Default)]
pub(crate) struct Traffic {
    numbers: AtomicU64,
    acknowledged: Mutex<Acknowledged>,
    /// Told at each acknowledgement.
    one_more: Condvar,
    is_over: AtomicBool,
}

#[derive(Default)]
struct Acknowledged {
    numbers: Vec<u128>,
    last: Option<Instant>,
    /// The longest time without an acknowledgement.
    stall: Duration,
}

impl Traffic {
    /// Has two threads for each store append until the faults are done. Then checks the stores, and that a new copy has what was acknowledged
    /// once. Prints the counts and the longest stall.
    #[expect(clippy::print_stdout, reason = "the night reports the counts")]
    pub(crate) fn check(
        what: &str,
        stores: &[JetStreamStore],
        reader: impl FnOnce() -> JetStreamStore,
        faults: impl FnOnce(&Self),
    ) {
        let traffic = Self { numbers: AtomicU64::new(1), ..Self::default() };
        std::thread::scope(|scope| {
            for store in stores.iter().chain(stores) {
                scope.spawn(|| traffic.append(store));
            }
            // A failed test ends, too.
            let _end = EndOf(&traffic.is_over);
            traffic.wait_for_more();
            faults(&traffic);
            traffic.wait_for_more();
        });
        let heads = stores.iter().map(|store| block_on(store.head_now()).unwrap()).collect::<Vec<_>>();
        assert!(
            heads.windows(2).all(|pair| pair[0] == pair[1]),
            "the processes have different heads: {heads:?}"
        );
        let Acknowledged { numbers, stall, .. } = traffic.acknowledged.into_inner().unwrap();
        let written = check_written(&reader(), &numbers);
        println!(
            "{what}: {} acknowledged, {written} written, longest stall {:.1} s",
            numbers.len(),
            stall.as_secs_f64()
        );
    }

    /// Appends one event after the other until the end, and sends again what has no answer.
    fn append(&self, store: &JetStreamStore) {
        // The test must not wait for a thread that has panicked.
        let _end = EndOf(&self.is_over);
        while !self.is_over.load(Ordering::Relaxed) {
            let number = u128::from(self.numbers.fetch_add(1, Ordering::Relaxed));
            let stream = format!("a-{}", number % 7).parse().unwrap();
            let batch = Batch::new([NewEvent { stream, ..event(number) }]);
            while let Err(error) = block_on(store.append(batch.clone())) {
                let passes = matches!(error.retry(), Retry::AfterPause | Retry::Unknown);
                assert!(passes && !matches!(error, AppendError::ReadOnly { .. }), "{error}");
            }
            self.note(number);
        }
    }

    fn note(&self, number: u128) {
        let mut acknowledged = self.acknowledged.lock().unwrap();
        let now = Instant::now();
        let since = acknowledged.last.replace(now).map_or(Duration::ZERO, |last| now - last);
        acknowledged.stall = acknowledged.stall.max(since);
        acknowledged.numbers.push(number);
        self.one_more.notify_all();
    }

    /// Waits until some more appends are acknowledged.
    pub(crate) fn wait_for_more(&self) {
        let begun = Instant::now();
        let mut acknowledged = self.acknowledged.lock().unwrap();
        let goal = acknowledged.numbers.len() + AFTER_FAULT;
        while acknowledged.numbers.len() < goal {
            assert!(begun.elapsed() < PATIENCE, "nothing is acknowledged in {PATIENCE:?}");
            acknowledged = self.one_more.wait_timeout(acknowledged, PATIENCE).unwrap().0;
        }
    }

    /// Lets the appends go on for a time, which is how long a fault lasts.
    pub(crate) fn go_on_for(&self, time: Duration) {
        let end = Instant::now() + time;
        let mut acknowledged = self.acknowledged.lock().unwrap();
        while let Some(rest) = end.checked_duration_since(Instant::now()) {
            acknowledged = self.one_more.wait_timeout(acknowledged, rest).unwrap().0;
        }
    }
}

/// Ends the traffic when it is dropped.
struct EndOf<'a>(&'a AtomicBool);

impl Drop for EndOf<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Checks that everything acknowledged is written once. Returns the number of events that are written.
fn check_written(store: &JetStreamStore, acknowledged: &[u128]) -> usize {
    let (mut from, mut ids) = (Place::Start, Vec::new());
    loop {
        let all = Limit::events(std::num::NonZeroU32::MAX);
        let page = block_on(store.read(Read::log_from(Query::All, from).limit(all))).unwrap();
        ids.extend(page.events.iter().map(|event| u128::from_be_bytes(*event.id().as_bytes())));
        if page.end {
            break;
        }
        from = Place::At(page.scanned_to);
    }
    let different = ids.iter().copied().collect::<HashSet<_>>();
    assert_eq!(different.len(), ids.len(), "an event is written twice");
    let lost = acknowledged.iter().filter(|number| !different.contains(number)).count();
    assert_eq!(lost, 0, "acknowledged events are lost");
    ids.len()
}
