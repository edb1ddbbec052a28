//! Logs with segments of the usual sizes on small disks: they start, fill the disk, and continue when there is space.

use gesta_conformance::sample::{self, Sample as _};
use gesta_core::{AppendError, Batch};
use gesta_log::sim::{self, Machine};
use gesta_log::{LogStore, Options};

use crate::check::read_all_events;
use crate::model::Wrong;
use crate::outcome::guarded;

/// The sizes of the disks, in MB.
const DISKS_MB: [u64; 3] = [16, 40, 64];
const BATCH_BYTES: usize = 100_000;
/// Free bytes with which a batch may be refused: space for another segment and for the manifest.
const FREE_BYTES_MAX: u64 = 1_000_000;
const FREED_BYTES: u64 = 2_000_000;

/// Fills small disks. Returns the number of events that they took.
///
/// # Errors
/// The first failed check, as a sentence.
pub fn fill_small_disks() -> Result<u64, String> {
    let mut events = 0;
    for size_mb in DISKS_MB {
        events += guarded(|| fill(size_mb * 1_000_000))
            .map_err(|wrong| format!("a disk of {size_mb} MB: {wrong}"))?;
    }
    Ok(events)
}

fn fill(disk_bytes: u64) -> Result<u64, Wrong> {
    let machine = Machine::new(disk_bytes);
    machine.set_capacity(Some(disk_bytes));
    let log = open(&machine, disk_bytes)?;
    append(&log, 1).map_err(|error| format!("an empty log takes no append: {error:?}"))?;
    machine.kill();
    drop(log);
    let log = open(&machine, disk_bytes)?;
    let mut appended = 1 + append_until_full(&log, 2, &machine, disk_bytes)?;

    let disk_bytes = disk_bytes + FREED_BYTES;
    machine.set_capacity(Some(disk_bytes));
    append(&log, appended + 1)
        .map_err(|error| format!("an append fails after space was freed: {error:?}"))?;
    appended += 1;
    appended += append_until_full(&log, appended + 1, &machine, disk_bytes)?;
    machine.kill();
    drop(log);
    // On a full disk the log may be read-only, but all events are readable.
    let log = sim::open(&machine, &Options::default());
    let log = log.map_err(|error| format!("on a full disk, the log does not open: {error:?}"))?;
    check_count(&log, appended)?;
    machine.kill();
    drop(log);
    let disk_bytes = disk_bytes + FREED_BYTES;
    machine.set_capacity(Some(disk_bytes));
    let log = open(&machine, disk_bytes)?;
    append(&log, appended + 1)
        .map_err(|error| format!("an append fails after space was freed: {error:?}"))?;
    check_count(&log, appended + 1)?;
    Ok(appended + 1)
}

/// Appends from number `first` on until the disk is full. Returns the number of acknowledged events.
fn append_until_full(log: &LogStore, first: u64, machine: &Machine, disk_bytes: u64) -> Result<u64, Wrong> {
    let mut number = first;
    let refused = loop {
        if let Err(error) = append(log, number) {
            break error;
        }
        number += 1;
        log.keep_inline();
    };
    let free = disk_bytes - machine.used_bytes();
    match refused {
        AppendError::StorageFull { .. } if free <= FREE_BYTES_MAX => Ok(number - first),
        _ => Err(format!("with {free} bytes free, event {number} is refused: {refused:?}")),
    }
}

fn check_count(log: &LogStore, appended: u64) -> Result<(), Wrong> {
    match read_all_events(log)?.len() as u64 {
        shown if shown == appended => Ok(()),
        shown => Err(format!("{appended} events were acknowledged, and {shown} are shown")),
    }
}

/// Opens a log that must take writes.
fn open(machine: &Machine, disk_bytes: u64) -> Result<LogStore, Wrong> {
    let free = disk_bytes - machine.used_bytes();
    let log = sim::open(machine, &Options::default())
        .map_err(|error| format!("with {free} bytes free, the log does not open: {error:?}"))?;
    match log.read_only() {
        Some(reason) => Err(format!("with {free} bytes free, the log takes no writes: {reason}")),
        None => Ok(log),
    }
}

fn append(log: &LogStore, number: u64) -> Result<(), AppendError> {
    let event = sample::event("s-1", number).of_type("sim.happened");
    let event = event.with_data(format!("\"{}\"", "x".repeat(BATCH_BYTES)));
    log.append_blocking(Batch::new([event])).map(drop)
}
