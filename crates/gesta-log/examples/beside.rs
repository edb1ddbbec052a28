//! Measures how a backup and a scrub slow down appends: sequential appends alone, and during either one, with and
//! without a rate.
//!
//! `cargo run --release -p gesta-log --example beside -- FOLDER MEGABYTES SECONDS`

#![expect(clippy::print_stdout, reason = "it prints measurements")]

use std::num::NonZeroU64;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use gesta_core::{Batch, EventId, NewEvent, Timestamp};
use gesta_log::{BackupOptions, Cancel, LogStore, Options, Scrub, ScrubOptions};

type Failure = Box<dyn std::error::Error + Send + Sync>;

const EVENT_BYTES: usize = 512;

fn main() -> Result<(), Failure> {
    let arguments = std::env::args().skip(1).collect::<Vec<_>>();
    let [folder, megabytes, seconds] = &arguments[..] else {
        return Err("usage: beside FOLDER MEGABYTES SECONDS".into());
    };
    let (folder, seconds) = (Path::new(folder), Duration::from_secs(seconds.parse()?));
    let options = Options { segment_size_bytes: 64 << 20, scrub: Scrub::Off, ..Options::default() };
    let log = LogStore::open(folder.join("log"), &options)?;
    let mut next = fill(&log, megabytes.parse::<u128>()? << 20)?;
    for name in ["alone", "alone, again"] {
        measure(&log, &mut next, name, |_| alone(seconds))?;
    }
    for rate in [None, Some(50 << 20), Some(10 << 20)] {
        let name = format!("backup, {}", named(rate));
        measure(&log, &mut next, &name, |log| backup(log, folder, seconds, rate))?;
        let name = format!("scrub, {}", named(rate));
        measure(&log, &mut next, &name, |log| scrub(log, seconds, rate))?;
    }
    Ok(())
}

fn named(rate: Option<u64>) -> String {
    rate.map_or("no rate".to_owned(), |rate| format!("{} MiB/s", rate >> 20))
}

fn event(number: u128) -> Batch {
    let (stream, kind) = (format!("account-{}", number % 1_000), "account.changed");
    let (stream, kind) = (stream.parse().expect("a name"), kind.parse().expect("a type"));
    let data = vec![b'1'; EVENT_BYTES];
    Batch::new([NewEvent::json(EventId::from_u128(number), stream, kind, Timestamp::from_nanos(0), data)])
}

/// Fills the log with `bytes` bytes of data, in large batches.
fn fill(log: &LogStore, bytes: u128) -> Result<u128, Failure> {
    let mut next = u128::from(std::process::id()) << 64;
    let end = next + bytes / EVENT_BYTES as u128;
    while next < end {
        let events = (next..next + 1_000).flat_map(|number| event(number).events);
        log.append_blocking(Batch::new(events))?;
        next += 1_000;
    }
    Ok(next)
}

/// Appends one event after the other while `beside` runs, and prints how long each took.
fn measure(
    log: &LogStore,
    next: &mut u128,
    name: &str,
    beside: impl FnOnce(&LogStore) -> Result<u64, Failure> + Send,
) -> Result<(), Failure> {
    let done = AtomicBool::new(false);
    let (mut taken, bytes, elapsed) = std::thread::scope(|scope| {
        let beside = scope.spawn(|| {
            let started = Instant::now();
            let bytes = beside(log);
            done.store(true, Ordering::Relaxed);
            (bytes, started.elapsed())
        });
        let mut taken = Vec::new();
        while !done.load(Ordering::Relaxed) {
            let batch = event(*next);
            let started = Instant::now();
            log.append_blocking(batch)?;
            taken.push(started.elapsed());
            *next += 1;
        }
        let (bytes, elapsed) = beside.join().expect("the thread does not panic");
        Ok::<_, Failure>((taken, bytes?, elapsed))
    })?;
    taken.sort_unstable();
    let at = |per_mille: usize| taken[(taken.len() * per_mille / 1_000).min(taken.len() - 1)].as_micros();
    let rate = u128::from(bytes) / elapsed.as_millis().max(1) / 1_000;
    println!(
        "{name:<28} {:>7} appends, microseconds p50 {:>5} p99 {:>6} p99.9 {:>6} worst {:>7}; {rate} MB/s",
        taken.len(),
        at(500),
        at(990),
        at(999),
        at(1_000)
    );
    Ok(())
}

/// Waits: nothing runs beside the appends.
fn alone(seconds: Duration) -> Result<u64, Failure> {
    std::thread::sleep(seconds);
    Ok(0)
}

/// Takes one backup after the other, each into an empty folder.
fn backup(log: &LogStore, folder: &Path, seconds: Duration, rate: Option<u64>) -> Result<u64, Failure> {
    let (started, mut bytes) = (Instant::now(), 0);
    let options =
        BackupOptions { bytes_per_second: rate.and_then(NonZeroU64::new), ..BackupOptions::default() };
    while started.elapsed() < seconds {
        let to = tempfile::tempdir_in(folder)?;
        bytes += log.backup(to.path(), &options)?.copied_bytes;
    }
    Ok(bytes)
}

/// Runs one scrub after the other.
fn scrub(log: &LogStore, seconds: Duration, rate: Option<u64>) -> Result<u64, Failure> {
    let (started, mut bytes) = (Instant::now(), 0);
    let bytes_per_second = rate.and_then(NonZeroU64::new);
    while started.elapsed() < seconds {
        let options = ScrubOptions { bytes_per_second, after: None, cancel: Cancel::default() };
        bytes += log.scrub(&options)?.segments.iter().map(|own| own.bytes).sum::<u64>();
    }
    Ok(bytes)
}
