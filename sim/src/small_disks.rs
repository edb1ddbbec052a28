//! Logs with segments of their usual sizes on small disks: they begin, fill the disk, and go on once there is room.

use gesta_core::{AppendError, Batch, EventId, NewEvent, Timestamp};
use gesta_log::sim::{self, Machine};
use gesta_log::{LogStore, Options};

use crate::check::read_all_events;
use crate::model::Wrong;
use crate::outcome::guarded;

/// The sizes of the disks, in MB.
const DISKS_MB: [u64; 3] = [16, 40, 64];
const BATCH_BYTES: usize = 100_000;
/// Free bytes that a batch may be refused with: room for a segment of its own, and for the manifest.
const FREE_BYTES_MAX: u64 = 1_000_000;
const FREED_BYTES: u64 = 2_000_000;

/// Fills small disks. Gives how many events they took.
///
/// # Errors
/// What was wrong, as a sentence.
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
    let mut appended = 1;
    let refused = loop {
        match append(&log, appended + 1) {
            Ok(()) => appended += 1,
            Err(error) => break error,
        }
        log.keep_inline();
    };
    let free = disk_bytes - machine.used_bytes();
    if !matches!(refused, AppendError::StorageFull { .. }) || free > FREE_BYTES_MAX {
        return Err(format!("with {free} bytes free, after {appended} events, an append fails: {refused:?}"));
    }
    machine.kill();
    drop(log);
    let log = open(&machine, disk_bytes)?;
    if append(&log, appended + 1).is_ok() {
        appended += 1;
    }
    machine.set_capacity(Some(disk_bytes + FREED_BYTES));
    append(&log, appended + 1)
        .map_err(|error| format!("there is room again, and an append fails: {error:?}"))?;
    match read_all_events(&log)?.len() as u64 == appended + 1 {
        true => Ok(appended + 1),
        false => Err(format!("{appended} events were acknowledged, and others are shown")),
    }
}

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
    let (stream, kind) = ("s-1".parse().expect("a name"), "sim.happened".parse().expect("a type"));
    let (id, data) = (EventId::from_u128(number.into()), format!("\"{}\"", "x".repeat(BATCH_BYTES)));
    log.append_blocking(Batch::new([NewEvent::json(id, stream, kind, Timestamp::from_nanos(1), data)]))
        .map(drop)
}
