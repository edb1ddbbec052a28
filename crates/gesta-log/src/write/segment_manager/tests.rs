//! Segments that are made ahead of time: how the manifest lists them, and what their loss means.

use std::path::Path;

use super::*;
use crate::env::{Machine, SimEnv};
use crate::format::Manifest;
use crate::operations::verify_in;
use crate::store::LogStore;
use crate::testing::{LOG, append, batch, open};

fn manifest(machine: &Machine) -> Manifest {
    Manifest::load(&SimEnv::new(machine), Path::new(LOG)).unwrap().unwrap()
}

fn states(machine: &Machine) -> Vec<u8> {
    let states = manifest(machine).segments.into_iter().map(|entry| match entry.state {
        SegmentState::Sealed(_) => b'S',
        SegmentState::Active => b'A',
        SegmentState::Spare => b'-',
    });
    states.collect()
}

/// Runs a log until its manifest lists its segments as `expected`. Also returns the number of events.
fn running_until(expected: &[u8]) -> (Machine, LogStore, u64) {
    let machine = Machine::new(1);
    let log = open(&machine);
    let met = (1..100).find(|number| {
        append(&log, [batch(*number)]);
        states(&machine) == expected
    });
    let events = met.expect("the manifest reaches that state");
    (machine, log, events)
}

/// The machine as a killed process leaves it.
fn killed(machine: &Machine, log: LogStore) -> Machine {
    let left = machine.fork();
    left.kill();
    drop(log);
    left
}

/// Removes the last segment of a log that was killed, and opens the rest.
fn without_last_segment(machine: &Machine) -> (LogStore, u64) {
    let last = manifest(machine).segments.pop().unwrap().header.id;
    machine.unlink(&segment_path(Path::new(LOG), last));
    (open(machine), last)
}

#[test]
fn an_open_makes_no_segment() {
    let machine = Machine::new(1);
    for _ in 0..2 {
        let log = open(&machine);
        assert!(log.read_only().is_none() && states(&machine).is_empty());
    }
    let log = open(&machine);
    append(&log, [batch(1)]);
    assert_eq!(states(&machine), b"A");
    drop(log);
    drop(open(&machine));
    assert_eq!(states(&machine), b"A");
}

#[test]
fn a_segment_is_listed_as_active_before_the_log_goes_on_in_it() {
    let (machine, log, events) = running_until(b"AA");
    let last = manifest(&machine).segments.pop().unwrap().header.id;
    let unused = machine.content(&segment_path(Path::new(LOG), last)).unwrap();
    assert!(unused[4096..].iter().all(|byte| *byte == 0), "no frame is written yet");
    append(&log, [batch(events + 1), batch(events + 2)]);
    assert_eq!(states(&machine), b"SA");
}

#[test]
fn a_missing_spare_loses_no_events() {
    let (machine, log, events) = running_until(b"A-");
    let machine = killed(&machine, log);
    let (log, spare) = without_last_segment(&machine);
    assert_eq!((log.read_only(), &log.recovery().damage[..]), (None, &[][..]));
    let flaws = log.recovery().flaws.iter().map(|flaw| (flaw.segment, flaw.loses_events()));
    assert_eq!(flaws.collect::<Vec<_>>(), [(spare, false)]);
    assert_eq!(log.durable_position(), events, "the last position is unchanged");
    append(&log, (1..10).map(|number| batch(events + number)));
    drop(log);
    assert!(verify_in(&SimEnv::new(&machine), Path::new(LOG)).unwrap().is_sound());
}

#[test]
fn a_missing_active_segment_is_reported_as_a_loss() {
    let (machine, log, events) = running_until(b"AA");
    let machine = killed(&machine, log);
    let (log, active) = without_last_segment(&machine);
    assert!(log.read_only().is_some());
    let damage = &log.recovery().damage;
    assert_eq!((damage.len(), damage[0].segment, damage[0].from), (1, active, events + 1), "{damage:?}");
    assert_eq!(states(&machine), b"AA", "it stays listed");
}

#[test]
fn a_clean_close_lists_an_unused_next_segment_as_a_spare() {
    let (machine, log, events) = running_until(b"AA");
    drop(log);
    assert_eq!(states(&machine), b"A-");
    let (log, _) = without_last_segment(&machine);
    assert_eq!((log.read_only(), log.durable_position()), (None, events));
}

#[test]
fn a_spare_listed_by_an_earlier_version_may_hold_frames() {
    let (machine, log, events) = running_until(b"A-");
    let machine = killed(&machine, log);
    let path = Path::new(LOG).join("manifest");
    let mut bytes = machine.content(&path).unwrap();
    let at = bytes.len() - 4 - crate::format::SEGMENT_BYTES + 8;
    bytes[at] = 0;
    let body = bytes.len() - 4;
    let checksum = crate::format::crc32c(&bytes[..body]).to_le_bytes();
    bytes[body..].copy_from_slice(&checksum);
    machine.put(&path, bytes);
    let sound = machine.fork();
    drop(open(&sound));
    assert_eq!(states(&sound), b"A-", "its file is there and empty");
    let (log, _) = without_last_segment(&machine);
    assert!(log.read_only().is_some() && log.recovery().damage[0].from == events + 1);
}

#[test]
fn a_spare_too_small_for_a_frame_is_replaced() {
    let machine = Machine::new(1);
    let log = crate::sim::open(&machine, &crate::options::Options::default()).unwrap();
    append(&log, (1..=4).map(|number| crate::testing::batch_of(number, vec![b'1'; 200_000])));
    assert_eq!(states(&machine), b"A-");
    let small = manifest(&machine).segments.pop().unwrap();
    append(&log, [crate::testing::batch_of(5, vec![b'1'; 3_000_000])]);
    assert_eq!(states(&machine), b"SA-");
    let large = manifest(&machine).segments.swap_remove(1);
    assert!(large.size_bytes >= 6_000_000 && large.header.salt != small.header.salt);
    let segments =
        machine.paths().iter().filter(|path| path.extension().is_some_and(|own| own == "seg")).count();
    assert_eq!(segments, 3, "the small one is gone");
}

#[test]
fn a_smaller_segment_is_tried_down_to_what_a_frame_needs() {
    let wanted = Wanted { size_bytes: 1 << 20, least_bytes: 300 << 10 };
    let mut tried = vec![wanted.size_bytes];
    while let Some(next) = wanted.smaller_than(tried[tried.len() - 1]) {
        tried.push(next);
    }
    assert_eq!(tried, [1 << 20, 512 << 10, 300 << 10]);
}
