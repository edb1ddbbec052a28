//! Appends at a fixed rate, each with the time of its acknowledgement.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use bench_core::{Events, Streams, batch_of};
use gesta_log::LogStore;

pub const EVENTS_PER_SECOND: u64 = 10_000;
/// Threads that append: enough for single events at this rate, since each waits for a sync.
const CALLERS: u64 = 8;

/// The number of batches of a size that are due in a time.
pub fn batches_in(lasts: Duration, batch: u64) -> u64 {
    u64::try_from(lasts.as_millis()).expect("a short while") * EVENTS_PER_SECOND / 1_000 / batch
}

/// The time of each event's acknowledgement, by position, in nanoseconds from the start; zero if it is not
/// acknowledged yet.
pub struct Acknowledged {
    start: Instant,
    times: Vec<AtomicU64>,
}

impl Acknowledged {
    /// Times for the events that get the positions up to a number, from now on.
    pub fn start(count: u64) -> Self {
        Self { start: Instant::now(), times: (0..=count).map(|_| AtomicU64::new(0)).collect() }
    }

    /// The time since the start, in nanoseconds.
    pub fn now(&self) -> u64 {
        u64::try_from(self.start.elapsed().as_nanos()).expect("a short while")
    }

    /// The time from an acknowledgement to a later moment; zero if that moment was first.
    pub fn delay(&self, position: u64, at: u64) -> Duration {
        Duration::from_nanos(at.saturating_sub(self.time(position).load(Ordering::Acquire)))
    }

    fn note(&self, position: u64) {
        self.time(position).store(self.now(), Ordering::Release);
    }

    fn time(&self, position: u64) -> &AtomicU64 {
        &self.times[usize::try_from(position).expect("an index")]
    }
}

/// Appends batches that are due at a fixed rate.
pub fn append_all(log: &LogStore, acknowledged: &Acknowledged, batch: u64, batches: u64) {
    let events = Events::new(Streams::Turns(1_000));
    let interval = Duration::from_secs(batch) / u32::try_from(EVENTS_PER_SECOND).expect("a small rate");
    std::thread::scope(|scope| {
        for caller in 0..CALLERS {
            let events = &events;
            scope.spawn(move || {
                for number in (0..batches).filter(|number| number % CALLERS == caller) {
                    let batch = batch_of(&events.take(caller, batch));
                    let due = acknowledged.start + interval * u32::try_from(number).expect("a short while");
                    std::thread::sleep(due.saturating_duration_since(Instant::now()));
                    let appended = log.append_blocking(batch).expect("an append");
                    appended.places.iter().for_each(|place| acknowledged.note(place.position.sequence));
                }
            });
        }
    });
}
