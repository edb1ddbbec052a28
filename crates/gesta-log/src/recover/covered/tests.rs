//! An open reports every change to the file of a segment that a run covers, with the lost positions.

use std::path::Path;
use std::sync::Arc;

use gesta_conformance::sample::{self, Sample as _};
use gesta_core::{Batch, Place, Query, Read, ReadError};

use crate::damage::Damage;
use crate::env::{Machine, SimEnv};
use crate::folder::segment_path;
use crate::format::{DurableMark, Manifest, SegmentState};
use crate::operations::verify_in;
use crate::options::Options;
use crate::store::LogStore;

const LOG: &str = "/log";
const EVENTS: u64 = 60;

fn open(machine: &Machine) -> LogStore {
    let options = Options { segment_size_bytes: 64 << 10, index_run_bytes: 256 << 10, ..Options::default() };
    LogStore::open_inline(Arc::new(SimEnv::new(machine)), Path::new(LOG), &options).unwrap()
}

/// A closed log in batches of two events. One run covers several of its segments.
fn log() -> Machine {
    log_of(b'1')
}

/// A log whose events have that byte as data. The machine draws the same salts for every byte.
fn log_of(data: u8) -> Machine {
    log_with(EVENTS, data)
}

/// A log of `events` events.
fn log_with(events: u64, data: u8) -> Machine {
    let machine = Machine::new(1);
    let log = open(&machine);
    for batch in 0..events / 2 {
        let event =
            |number: u64| sample::event(&format!("account-{number}"), number).with_data(vec![data; 5_000]);
        let pending = log.enqueue_inline(Batch::new([event(2 * batch + 1), event(2 * batch + 2)]));
        log.commit_inline();
        log.keep_inline();
        pending.answer().unwrap();
    }
    machine
}

/// A segment that a run covers completely and that is not the run's last one, with its positions.
fn inner(machine: &Machine) -> (u64, u64, u64) {
    let manifest = Manifest::load(&SimEnv::new(machine), Path::new(LOG)).unwrap().unwrap();
    let run = &manifest.runs[0];
    let sealed = manifest.segments.iter().filter_map(|entry| match entry.state {
        SegmentState::Sealed(sealed) => {
            Some((entry.header.id, sealed.first_position, sealed.first_position + sealed.events - 1))
        }
        _ => None,
    });
    let mut inner = sealed.filter(|(_, first, last)| *first > run.first && *last < run.last);
    inner.next_back().expect("a run covers a segment")
}

/// Changes a segment to active in the manifest: only the next segment settled its end when the process stopped.
fn unseal(machine: &Machine, segment: u64) {
    let env = SimEnv::new(machine);
    let mut manifest = Manifest::load(&env, Path::new(LOG)).unwrap().unwrap();
    let entry = manifest.segments.iter_mut().find(|entry| entry.header.id == segment).unwrap();
    entry.state = SegmentState::Active;
    manifest.replace(&env, Path::new(LOG)).unwrap();
}

/// Changes the bytes of a segment; `None` removes its file.
fn change(machine: &Machine, segment: u64, change: impl FnOnce(Vec<u8>) -> Option<Vec<u8>>) {
    let path = segment_path(Path::new(LOG), segment);
    match change(machine.content(&path).unwrap()) {
        Some(bytes) => machine.put(&path, bytes),
        None => machine.unlink(&path),
    }
}

/// Opens a damaged log. The lost positions are reported and not shown, and all others are shown.
fn meet(machine: &Machine) -> Vec<Damage> {
    meet_of(machine, EVENTS)
}

/// The same for a log of `events` events.
fn meet_of(machine: &Machine, events: u64) -> Vec<Damage> {
    assert!(!verify_in(&SimEnv::new(machine), Path::new(LOG)).unwrap().is_sound());
    let log = open(machine);
    let damage = log.recovery().damage.clone();
    assert!(log.read_only().is_some(), "{damage:?}");
    let (mut shown, mut from) = (Vec::new(), Place::Start);
    loop {
        from = Place::At(match log.read_blocking(&Read::log_from(Query::All, from)) {
            Ok(page) if page.end => {
                shown.extend(page.events.iter().map(|event| event.position().sequence));
                break;
            }
            Ok(page) => {
                shown.extend(page.events.iter().map(|event| event.position().sequence));
                page.scanned_to
            }
            Err(ReadError::DataLoss { resume, .. }) => resume,
            Err(error) => panic!("{error}"),
        });
    }
    let is_lost = |at: &u64| damage.iter().any(|damage| (damage.from..=damage.to).contains(at));
    assert_eq!(shown, (1..=events).filter(|at| !is_lost(at)).collect::<Vec<_>>(), "{damage:?}");
    damage
}

/// Damages a sealed segment, then one that the manifest lists as active. Passes the segment's positions and the
/// reported damage to `met`.
fn check(harm: impl Fn(Vec<u8>) -> Option<Vec<u8>>, met: impl Fn((u64, u64), &Damage)) {
    for is_sealed in [true, false] {
        let machine = log();
        let (segment, first, last) = inner(&machine);
        if !is_sealed {
            unseal(&machine, segment);
        }
        change(&machine, segment, &harm);
        let damage = meet(&machine);
        assert_eq!((damage.len(), damage[0].segment), (1, segment), "{damage:?}, sealed: {is_sealed}");
        met((first, last), &damage[0]);
    }
}

fn is_all(held: (u64, u64), damage: &Damage) {
    assert_eq!((damage.from, damage.to), held, "{damage}");
}

#[test]
fn a_missing_file_is_reported_as_loss() {
    check(|_| None, is_all);
}

#[test]
fn a_replaced_file_is_reported_as_loss() {
    let other = log();
    let other = other.content(&segment_path(Path::new(LOG), 1)).unwrap();
    check(|_| Some(other.clone()), is_all);
    check(|bytes| Some(vec![b'z'; bytes.len()]), is_all);
}

#[test]
fn a_file_of_another_history_is_reported_as_loss() {
    let other = log_of(b'2');
    let (segment, ..) = inner(&other);
    let other = other.content(&segment_path(Path::new(LOG), segment)).unwrap();
    check(|_| Some(other.clone()), is_all);
}

#[test]
fn a_short_file_loses_the_batches_after_its_end() {
    let cut = |bytes: Vec<u8>| Some(bytes[..bytes.len() - 6_000].to_vec());
    check(cut, |(_, last), damage| {
        assert_eq!((damage.from, damage.to), (last - 1, last), "the batch that was cut: {damage}");
    });
}

#[test]
fn a_damaged_header_loses_nothing() {
    let machine = log();
    let (segment, ..) = inner(&machine);
    change(&machine, segment, |mut bytes| {
        bytes[..4_096].fill(7);
        Some(bytes)
    });
    let log = open(&machine);
    assert_eq!((log.read_only(), log.recovery().flaws.len()), (None, 1));
    drop(log);
    change(&machine, segment, |mut bytes| {
        bytes[..4_096 + 64].fill(7);
        Some(bytes)
    });
    let log = open(&machine);
    assert!(log.recovery().damage.is_empty(), "the later frames are intact: {:?}", log.recovery());
}

#[test]
fn a_missing_segment_without_events_is_reported() {
    let machine = Machine::new(1);
    let env = SimEnv::new(&machine);
    let log = open(&machine);
    crate::testing::append(&log, [crate::testing::batch(1)]);
    drop(log);
    let manifest = Manifest::load(&env, Path::new(LOG)).unwrap().unwrap();
    let entry = manifest.segments[0].clone();
    let gone = crate::recover::Listed { entry, segment: None };
    let damage = super::look_at_covered(&[gone], 1, &[]).unwrap();
    assert_eq!((damage.len(), damage[0].loses_events()), (1, false), "{damage:?}");
}

#[test]
fn complete_segments_are_not_reported() {
    let machine = log();
    let (segment, ..) = inner(&machine);
    unseal(&machine, segment);
    let log = open(&machine);
    assert_eq!(log.read_only(), None);
    drop(log);
    assert!(verify_in(&SimEnv::new(&machine), Path::new(LOG)).unwrap().is_sound());
}

/// A closed log whose last run ends in the last used segment, with its number of events and the number that runs
/// cover. Its manifest names no durable frame, so only its runs prove a loss.
fn log_with_run_at_its_end(data: u8) -> (Machine, u64, u64) {
    for events in (40..EVENTS).step_by(2) {
        let machine = log_with(events, data);
        let env = SimEnv::new(&machine);
        let mut manifest = Manifest::load(&env, Path::new(LOG)).unwrap().unwrap();
        let used = manifest.segments.iter().filter(|entry| matches!(entry.state, SegmentState::Sealed(_)));
        let last_sealed = used.map(|entry| entry.header.id).max().unwrap();
        let Some(run) = manifest.runs.last() else { continue };
        let covered = run.last;
        let SegmentState::Sealed(sealed) =
            manifest.segments.iter().find(|own| own.header.id == last_sealed).unwrap().state
        else {
            unreachable!()
        };
        if covered > sealed.first_position + sealed.events {
            manifest.durable = DurableMark::default();
            manifest.replace(&env, Path::new(LOG)).unwrap();
            return (machine, events, covered);
        }
    }
    panic!("no run ends in the last segment");
}

/// The segment where the last run ends.
fn last_used(machine: &Machine) -> u64 {
    let env = SimEnv::new(machine);
    let manifest = Manifest::load(&env, Path::new(LOG)).unwrap().unwrap();
    let sealed = manifest.segments.iter().filter(|entry| matches!(entry.state, SegmentState::Sealed(_)));
    sealed.map(|entry| entry.header.id).max().unwrap() + 1
}

type Harm = fn(Vec<u8>) -> Vec<u8>;

/// Ways to lose the end of a segment.
fn ends() -> [(&'static str, Harm); 4] {
    [
        ("cut within its first batch", |bytes| bytes[..4_096 + 1_000].to_vec()),
        ("zeros from within its first batch on", |mut bytes| {
            bytes[4_096 + 1_000..].fill(0);
            bytes
        }),
        ("cut to nothing", |_| Vec::new()),
        ("zeros after the header", |mut bytes| {
            bytes[4_096..].fill(0);
            bytes
        }),
    ]
}

#[test]
fn a_log_that_ends_before_a_listed_run_lost_the_events_of_the_run() {
    for (how, harm) in ends() {
        for is_run_there in [true, false] {
            let (machine, _, covered) = log_with_run_at_its_end(b'1');
            change(&machine, last_used(&machine), |bytes| Some(harm(bytes)));
            if !is_run_there {
                let run = Manifest::load(&SimEnv::new(&machine), Path::new(LOG)).unwrap().unwrap().runs[0].id;
                machine.unlink(&Path::new(LOG).join("index").join(format!("{run:012}.run")));
            }
            for attempt in 1..=2 {
                let damage = meet_of(&machine, covered);
                let last = damage.last().unwrap();
                assert!(
                    last.loses_events() && last.to == covered,
                    "{how}, {attempt}, {is_run_there}: {damage:?}"
                );
            }
        }
    }
}

#[test]
fn a_run_still_finds_its_streams_after_its_last_frame_is_lost() {
    let (machine, _, covered) = log_with_run_at_its_end(b'1');
    change(&machine, last_used(&machine), |bytes| Some(bytes[..4_096].to_vec()));
    let log = open(&machine);
    let stream = |number: u64| format!("account-{number}").parse().unwrap();
    let known = pollster::block_on(gesta_core::EventStore::stream(&log, stream(1))).unwrap();
    assert_eq!(known.unwrap().version.get(), 0);
    let lost = log.read_blocking(&Read::stream(stream(covered))).unwrap_err();
    assert!(matches!(lost, ReadError::DataLoss { .. }), "{lost}");
    let never = pollster::block_on(gesta_core::EventStore::stream(&log, stream(9_999))).unwrap();
    assert!(never.is_none(), "the run shows that the stream has no event");
}

#[test]
fn another_history_after_a_run_is_reported_and_never_indexed() {
    let (machine, _, covered) = log_with_run_at_its_end(b'1');
    let (other, ..) = log_with_run_at_its_end(b'2');
    let segment = last_used(&machine);
    let other = other.content(&segment_path(Path::new(LOG), segment)).unwrap();
    change(&machine, segment, |_| Some(other.clone()));
    let before = Manifest::load(&SimEnv::new(&machine), Path::new(LOG)).unwrap().unwrap();
    let damage = meet_of(&machine, covered);
    assert!(damage[0].what.contains("another history") && damage[0].to == covered, "{damage:?}");
    let after = Manifest::load(&SimEnv::new(&machine), Path::new(LOG)).unwrap().unwrap();
    assert_eq!(before.runs, after.runs, "the evidence of the loss stays listed");
}
