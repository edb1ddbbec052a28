//! Faults that the simulation has found, each with the few steps that show it; and faults that random simulations
//! rarely meet.

use std::path::{Path, PathBuf};

use gesta_conformance::sample::{self, Sample as _};
use gesta_core::{AppendError, Batch, Place, Query, Read, ReadError};
use gesta_log::sim::{self, Betrayal, Failure, Machine, Operation, PlannedFault, ROOT};
use gesta_log::{LogStore, Options};

/// All of these tests, to see which planted bugs they find.
#[cfg(feature = "planted-bugs")]
pub(crate) const CHECKS: &[fn()] = &[
    a_header_that_is_torn_between_sectors_is_a_torn_write,
    a_manifest_whose_rename_was_not_synced_is_synced_before_it_is_used,
    a_log_on_a_full_disk_shows_what_may_have_been_acknowledged,
    a_copy_that_was_never_listed_is_no_sign_of_a_stale_manifest,
    a_frame_that_extends_past_the_end_of_its_file_is_torn,
    a_spare_that_lost_its_space_is_removed,
    the_start_of_a_segment_is_durable_before_a_manifest_relies_on_it,
    a_segment_that_was_ended_by_a_sync_that_failed_is_ended_again,
    a_frame_of_another_history_is_detected,
    a_frame_of_another_history_after_a_damaged_one_is_detected,
    the_log_continues_after_a_segment_that_another_history_ends,
    a_segment_of_another_history_is_not_shown,
    an_idle_frame_whose_sync_failed_is_written_again,
    a_foreign_file_among_the_segments_is_left_alone,
    a_sector_that_the_disk_lost_is_detected,
    a_run_that_ends_where_a_segment_begins_is_usable,
    a_segment_that_the_manifest_contradicts_is_lost,
];

const HEADER_BYTES: usize = 4096;

fn options() -> Options {
    Options { segment_size_bytes: 64 << 10, ..Options::default() }
}

fn open(machine: &Machine) -> LogStore {
    sim::open(machine, &options()).unwrap()
}

/// Options with which each batch becomes a run.
fn small_runs() -> Options {
    Options { index_run_bytes: 1 << 10, ..options() }
}

/// Opens a log that must take writes: nothing that happened to it is damage.
fn open_whole(machine: &Machine) -> LogStore {
    let log = open(machine);
    assert_eq!(log.read_only(), None, "{:?}", log.recovery());
    assert!(log.recovery().flaws.is_empty(), "{:?}", log.recovery());
    log
}

fn batch(number: u128, size: usize) -> Batch {
    let event = sample::event("s-1", number).of_type("sim.happened");
    Batch::new([event.with_data(format!("\"{number:>size$}\""))])
}

fn append(log: &LogStore, number: u128, size: usize) {
    log.append_blocking(batch(number, size)).unwrap();
}

/// The ids of all shown events.
fn shown(log: &LogStore) -> Vec<u128> {
    let page = log.read_blocking(&Read::log(Query::All)).unwrap();
    assert!(page.end);
    page.events.iter().map(|event| u128::from_be_bytes(*event.id().as_bytes())).collect()
}

/// Drops a log like a killed process: nothing more is written.
fn kill(machine: &Machine, log: LogStore) {
    machine.kill();
    drop(log);
}

fn cut_power(machine: &Machine, log: LogStore) {
    machine.cut_power_with(0);
    drop(log);
}

fn segment(id: u64) -> PathBuf {
    Path::new(ROOT).join(format!("segments/{id:012}.seg"))
}

/// Offsets of a segment's frames, and the end of the last one.
fn frame_offsets(machine: &Machine, id: u64) -> Vec<usize> {
    let bytes = machine.content(&segment(id)).unwrap();
    let mut offsets = vec![HEADER_BYTES];
    while let Some(header) =
        bytes[offsets[offsets.len() - 1]..].get(..64).filter(|own| own.starts_with(b"GFRM"))
    {
        let len = u32::from_le_bytes(header[8..12].try_into().unwrap());
        offsets.push(offsets[offsets.len() - 1] + len as usize);
    }
    offsets
}

/// The number of operations before the first one that matches the predicate.
fn operations_before(
    machine: &Machine,
    work: impl FnOnce(&Machine),
    is_it: impl Fn(Operation, &Path) -> bool,
) -> u64 {
    let rehearsal = machine.fork();
    rehearsal.record();
    work(&rehearsal);
    let recorded = rehearsal.recorded();
    let found = recorded.iter().position(|(operation, path)| is_it(*operation, path));
    found.expect("the log does that") as u64
}

/// The number of all operations of `work`.
fn operations_of(machine: &Machine, work: impl FnOnce(&Machine)) -> u64 {
    let rehearsal = machine.fork();
    rehearsal.record();
    work(&rehearsal);
    rehearsal.recorded().len() as u64
}

/// A log whose last frames are whole and in doubt: its process was killed, and no watermark covers them.
fn log_in_doubt() -> Machine {
    let machine = Machine::new(1);
    let log = open(&machine);
    append(&log, 1, 40);
    append(&log, 2, 40);
    append(&log, 3, 40);
    kill(&machine, log);
    machine
}

#[test]
fn a_header_that_is_torn_between_sectors_is_a_torn_write() {
    let machine = Machine::new(1);
    let log = open(&machine);
    append(&log, 1, 40);
    // The next frame but one begins 16 bytes before the end of a sector, so its header lies in two sectors.
    let end = *frame_offsets(&machine, 1).last().unwrap();
    let overhead = end - frame_offsets(&machine, 1)[1] - 40;
    let size = (end + overhead + 600).next_multiple_of(512) - 16 - end - overhead;
    append(&log, 2, size);
    let begins = *frame_offsets(&machine, 1).last().unwrap();
    assert_eq!(begins % 512, 496, "the header lies in two sectors");
    let whole = machine.content(&segment(1)).unwrap();
    append(&log, 3, 40);
    kill(&machine, log);
    let mut torn = machine.content(&segment(1)).unwrap();
    torn[begins + 16..].fill(0);
    assert_ne!(torn, whole, "the header is partly there");
    machine.put(&segment(1), torn);
    let log = open_whole(&machine);
    assert!((1..=16).contains(&log.recovery().quarantined_bytes), "{:?}", log.recovery());
    assert_eq!(shown(&log), [1, 2]);
}

#[test]
fn a_manifest_whose_rename_was_not_synced_is_synced_before_it_is_used() {
    let machine = log_in_doubt();
    // The manifest that lists the copy of the frames in doubt is renamed, and the folder is not synced.
    let is_sync = |operation, path: &Path| operation == Operation::SyncFolder && path == Path::new(ROOT);
    let renamed = operations_before(
        &machine,
        |machine| drop(open(machine)),
        |operation, path| operation == Operation::Rename && path.ends_with("manifest"),
    );
    machine.plan_fault(Some(PlannedFault { after: renamed + 1, failure: Failure::Eio, lasts: false }));
    machine.record();
    assert!(sim::open(&machine, &options()).is_err());
    let (operation, path) = machine.recorded().pop().unwrap();
    assert!(is_sync(operation, &path), "{operation:?} {path:?} failed");
    machine.kill();
    // At each operation of the next process, a power cut may undo the rename.
    let operations = operations_of(&machine, |machine| drop(open(machine)));
    for after in 0..operations {
        let machine = machine.fork();
        machine.stop_after(after);
        drop(sim::open(&machine, &options()));
        machine.cut_power_with(0);
        assert_eq!(shown(&open_whole(&machine)), [1, 2, 3], "stopped after {after} operations");
    }
    let log = open_whole(&machine);
    append(&log, 4, 40);
    cut_power(&machine, log);
    assert_eq!(shown(&open_whole(&machine)), [1, 2, 3, 4]);
}

#[test]
fn a_log_on_a_full_disk_shows_what_may_have_been_acknowledged() {
    let machine = log_in_doubt();
    machine.plan_fault(Some(PlannedFault { after: 0, failure: Failure::NoSpace, lasts: true }));
    // Syncs and writes in place need no additional space.
    let log = sim::open(&machine, &options());
    machine.plan_fault(None);
    drop(log);
    machine.set_faults(sim::Faults { no_space: 10_000, ..sim::Faults::default() });
    let log = open(&machine);
    assert_eq!(log.read_only().unwrap().cause, gesta_log::ReadOnlyCause::StorageFull);
    assert_eq!(shown(&log), [1, 2, 3]);
    drop(log);
    machine.set_faults(sim::Faults::default());
    assert_eq!(shown(&open_whole(&machine)), [1, 2, 3]);
}

#[test]
fn a_copy_that_was_never_listed_is_no_sign_of_a_stale_manifest() {
    let machine = log_in_doubt();
    let is_listed = |operation, path: &Path| operation == Operation::Rename && path.ends_with("manifest");
    let listed = operations_before(&machine, |machine| drop(open(machine)), is_listed);
    machine.stop_after(listed - 1);
    assert!(sim::open(&machine, &options()).is_err());
    machine.cut_power_with(u64::MAX);
    let copies =
        |machine: &Machine| machine.paths().into_iter().filter(|path| path.ends_with("000000000002.seg"));
    assert_eq!(copies(&machine).count(), 1, "the copy exists, and no manifest lists it");
    // A watermark now covers the frames that the copy holds, so they are no longer in doubt in the original.
    let log = open_whole(&machine);
    assert_eq!(shown(&log), [1, 2, 3]);
}

#[test]
fn a_frame_that_extends_past_the_end_of_its_file_is_torn() {
    let machine = Machine::new(1);
    let log = open(&machine);
    append(&log, 1, 40);
    append(&log, 2, 900);
    kill(&machine, log);
    let begins = frame_offsets(&machine, 1)[2];
    let mut cut = machine.content(&segment(1)).unwrap();
    cut.truncate(begins + 100);
    machine.put(&segment(1), cut);
    let log = open_whole(&machine);
    assert_eq!(shown(&log), [1]);
    assert!((1..=100).contains(&log.recovery().quarantined_bytes), "{:?}", log.recovery());
}

#[test]
fn a_spare_that_lost_its_space_is_removed() {
    let machine = Machine::new(1);
    let log = open(&machine);
    append(&log, 1, 40);
    // The log continues in a second segment, which is cut at the start of its frames.
    for number in 2..40 {
        append(&log, number, 2_000);
        log.keep_inline();
        if machine.paths().contains(&segment(2)) {
            break;
        }
    }
    log.close();
    drop(log);
    let mut short = machine.content(&segment(2)).unwrap();
    short.truncate(HEADER_BYTES);
    machine.put(&segment(2), short);
    let log = open_whole(&machine);
    assert_eq!(machine.content(&segment(2)), None);
    let before = log.recovery().clone();
    (100..110).for_each(|number| append(&log, number, 5_000));
    assert_eq!((before.damage.len(), log.read_only()), (0, None));
}

#[test]
fn the_start_of_a_segment_is_durable_before_a_manifest_relies_on_it() {
    let first_sync = |operation, path: &Path| operation == Operation::Sync && path == segment(1);
    let rehearsal = Machine::new(1);
    let log = open(&rehearsal);
    rehearsal.record();
    append(&log, 1, 40);
    let last_sync = rehearsal.recorded().iter().rposition(|(operation, path)| first_sync(*operation, path));
    let machine = Machine::new(1);
    let log = open(&machine);
    // The sync of a segment's first group fails, so START is in doubt with it.
    let after = last_sync.unwrap() as u64;
    machine.plan_fault(Some(PlannedFault { after, failure: Failure::Eio, lasts: false }));
    machine.record();
    assert!(log.append_blocking(batch(1, 40)).is_err());
    assert!(machine.recorded().last().is_some_and(|(operation, path)| first_sync(*operation, path)));
    kill(&machine, log);
    // The copy is listed, and the write that ends the original segment fails.
    let rehearsal = machine.fork();
    rehearsal.record();
    drop(open(&rehearsal));
    let recorded = rehearsal.recorded();
    let listed = recorded
        .iter()
        .position(|(operation, path)| *operation == Operation::Rename && path.ends_with("manifest"));
    let listed = listed.unwrap();
    let ended = recorded[listed..]
        .iter()
        .position(|(operation, path)| (*operation, path) == (Operation::Write, &segment(1)));
    let after = (listed + ended.unwrap()) as u64;
    machine.plan_fault(Some(PlannedFault { after, failure: Failure::Eio, lasts: false }));
    assert!(sim::open(&machine, &options()).is_err());
    machine.cut_power_with(0);
    assert_eq!(shown(&open_whole(&machine)), [1]);
}

#[test]
fn a_segment_that_was_ended_by_a_sync_that_failed_is_ended_again() {
    let machine = log_in_doubt();
    let rehearsal = machine.fork();
    rehearsal.record();
    drop(open(&rehearsal));
    let recorded = rehearsal.recorded();
    let is_end =
        |(operation, path): &(Operation, PathBuf)| *operation == Operation::SetLength && *path == segment(1);
    let ended = recorded.iter().position(is_end).unwrap();
    assert_eq!(recorded[ended + 1], (Operation::Sync, segment(1)));
    machine.plan_fault(Some(PlannedFault { after: ended as u64 + 1, failure: Failure::Eio, lasts: false }));
    assert!(sim::open(&machine, &options()).is_err());
    machine.kill();
    let log = open_whole(&machine);
    append(&log, 4, 40);
    cut_power(&machine, log);
    let log = open_whole(&machine);
    assert_eq!(shown(&log), [1, 2, 3, 4]);
    log.close();
    drop(log);
    let end = frame_offsets(&machine, 1).pop().unwrap();
    assert_eq!(machine.content(&segment(1)).unwrap().len(), end, "the segment ends with END");
}

#[test]
fn an_idle_frame_whose_sync_failed_is_written_again() {
    // A failed sync may still write some sectors, at random.
    for seed in 0..8 {
        let machine = Machine::new(seed);
        let log = open(&machine);
        append(&log, 1, 40);
        let end = *frame_offsets(&machine, 1).last().unwrap();
        let overhead = end - frame_offsets(&machine, 1)[1] - 40;
        // The idle frame ends its sector, so that no later frame writes that sector again.
        let size = (end + overhead + 600).next_multiple_of(512) - 64 - end - overhead;
        append(&log, 2, size);
        let begins = *frame_offsets(&machine, 1).last().unwrap();
        assert_eq!(begins % 512, 448, "the idle frame ends its sector");
        machine.plan_fault(Some(PlannedFault { after: 1, failure: Failure::Eio, lasts: false }));
        log.rest_inline();
        assert_eq!(machine.fired(), 1, "the sync of the idle frame failed");
        kill(&machine, log);
        let log = open_whole(&machine);
        append(&log, 3, 40);
        append(&log, 4, 40);
        cut_power(&machine, log);
        assert_eq!(shown(&open_whole(&machine)), [1, 2, 3, 4], "seed {seed}");
    }
}

/// The ids of all shown events, with reads continued after damage, and the ranges of positions that are reported as
/// lost.
fn shown_and_lost(log: &LogStore) -> (Vec<u128>, Vec<(u64, u64)>) {
    let (mut ids, mut lost, mut from) = (Vec::new(), Vec::new(), Place::Start);
    loop {
        match log.read_blocking(&Read::log_from(Query::All, from)) {
            Ok(page) => {
                ids.extend(page.events.iter().map(|event| u128::from_be_bytes(*event.id().as_bytes())));
                if page.end {
                    return (ids, lost);
                }
                from = Place::At(page.scanned_to);
            }
            Err(ReadError::DataLoss { from: first, to, resume, .. }) => {
                lost.push((first.sequence, to.sequence));
                from = Place::At(resume);
            }
            Err(error) => panic!("a read fails for another reason than damage: {error}"),
        }
    }
}

/// Two histories of one log. Both have event 1; then one has events 10 to 13 and the other 20 to 23, in frames at the
/// same offsets of the same segment. Only the chain distinguishes them. Returns the machine of the first, the bytes
/// of both, and the offsets of their frames: START, event 1, an idle frame, the four, an idle frame, and the end.
fn two_histories() -> (Machine, Vec<u8>, Vec<u8>, Vec<usize>) {
    let machine = Machine::new(1);
    let log = open(&machine);
    append(&log, 1, 40);
    log.close();
    drop(log);
    let other = machine.fork();
    let histories = [(&machine, 10), (&other, 20)].map(|(machine, first)| {
        let log = open_whole(machine);
        (first..first + 4).for_each(|number| append(&log, number, 40));
        log.close();
        drop(log);
        (machine.content(&segment(1)).unwrap(), frame_offsets(machine, 1))
    });
    let [(own, offsets), (others, other_offsets)] = histories;
    assert_eq!(offsets, other_offsets, "both histories have frames of the same sizes");
    assert_eq!(offsets.len(), 9);
    (machine, own, others, offsets)
}

#[test]
fn a_frame_of_another_history_is_detected() {
    // Frames from the other history (3 to 6 are the events, 7 is the idle frame); the shown events; the lost events.
    let cases = [
        (4..5, vec![1, 10, 12, 13], (3, 3)),
        (4..6, vec![1, 10, 13], (3, 4)),
        (5..8, vec![1, 10, 11], (4, 5)),
        (4..8, vec![1, 10], (3, 5)),
        (6..7, vec![1, 10, 11, 12], (5, 5)),
    ];
    for (foreign, whole, lost) in cases {
        let (machine, mut own, others, offsets) = two_histories();
        let range = offsets[foreign.start]..offsets[foreign.end];
        own[range.clone()].copy_from_slice(&others[range]);
        machine.put(&segment(1), own);
        let log = open(&machine);
        assert!(log.read_only().is_some(), "frames {foreign:?} are accepted");
        assert_eq!(shown_and_lost(&log), (whole, vec![lost]), "frames {foreign:?}");
        let damage = &log.recovery().damage;
        assert_eq!((damage[0].from, damage[0].to), lost, "frames {foreign:?}: {damage:?}");
        assert!(damage[0].what.contains("another history"), "{damage:?}");
    }
}

#[test]
fn a_frame_of_another_history_after_a_damaged_one_is_detected() {
    let (machine, mut own, others, offsets) = two_histories();
    own[offsets[4] + 100] ^= 1;
    let range = offsets[5]..offsets[7];
    own[range.clone()].copy_from_slice(&others[range]);
    machine.put(&segment(1), own);
    let log = open(&machine);
    assert_eq!(
        shown_and_lost(&log),
        (vec![1, 10], vec![(3, 5)]),
        "the header of 11 names the frame after it"
    );
}

/// Two histories of one log in several segments. Both have event 1; then one has events 100 to 139 and the other has
/// `others`. Returns the machine of the first, the other's first segment, and the offsets of the frames in the first
/// history's first segment.
fn two_long_histories(others: std::ops::Range<u128>, size: usize) -> (Machine, Vec<u8>, Vec<usize>) {
    let machine = Machine::new(1);
    let log = open(&machine);
    append(&log, 1, 3_000);
    log.close();
    drop(log);
    let other = machine.fork();
    let fill = |machine: &Machine, numbers: std::ops::Range<u128>, size: usize| {
        let log = open_whole(machine);
        numbers.for_each(|number| append(&log, number, size));
        log.close();
        drop(log);
    };
    fill(&machine, 100..140, 3_000);
    fill(&other, others, size);
    let offsets = frame_offsets(&machine, 1);
    (machine, other.content(&segment(1)).unwrap(), offsets)
}

#[test]
fn the_log_continues_after_a_segment_that_another_history_ends() {
    let (machine, others, offsets) = two_long_histories(200..240, 3_000);
    let mut own = machine.content(&segment(1)).unwrap();
    // Three batches before the end come from the other history.
    let (from, to) = (offsets[offsets.len() - 5], offsets[offsets.len() - 2]);
    own[from..to].copy_from_slice(&others[from..to]);
    machine.put(&segment(1), own);
    let log = open(&machine);
    let (ids, lost) = shown_and_lost(&log);
    assert!(ids.iter().all(|id| *id == 1 || (100..140).contains(id)), "{ids:?}");
    assert_eq!((ids.len(), lost.len()), (38, 1), "{lost:?}");
    assert_eq!(lost[0].1 - lost[0].0, 2);
}

#[test]
fn a_segment_of_another_history_is_not_shown() {
    // Frames that end at the same offset or later, with and without END; frames that end earlier. (Without END, the
    // segment looks like one that has lost its end.)
    let cases = [
        (200..240, 3_000, true),
        (200..240, 3_000, false),
        (200..300, 1_000, true),
        (200..300, 1_000, false),
        (200..240, 3_500, true),
    ];
    for (numbers, size, has_end) in cases {
        let (machine, mut others, offsets) = two_long_histories(numbers.clone(), size);
        if !has_end {
            let end = others.windows(4).rposition(|window| window == b"GFRM").unwrap();
            others[end..].fill(0);
        }
        machine.put(&segment(1), others);
        let log = open(&machine);
        let (ids, lost) = shown_and_lost(&log);
        // START and END are not batches, and one frame is idle.
        let in_first = offsets.len() as u64 - 4;
        assert!(log.read_only().is_some());
        assert_eq!(lost, [(1, in_first)], "{numbers:?} of {size}");
        assert_eq!(ids, (100 + u128::from(in_first) - 1..140).collect::<Vec<_>>(), "{numbers:?} of {size}");
    }
}

#[test]
fn a_run_that_ends_where_a_segment_begins_is_usable() {
    let machine = Machine::new(1);
    let log = open(&machine);
    // More than a table may hold in memory, and less than the amount for which the index is rebuilt beside the open
    // log.
    (1..26).for_each(|number| append(&log, number, 8));
    kill(&machine, log);
    // Frames in doubt are copied, so the log continues in a new segment. At first the index of the copied frames
    // cannot be written.
    let is_run = |operation, path: &Path| {
        operation == Operation::Create && path.extension().is_some_and(|own| own == "run")
    };
    let reopen = |machine: &Machine| sim::open(machine, &small_runs()).unwrap();
    let before = operations_before(&machine, |machine| drop(reopen(machine)), is_run);
    machine.plan_fault(Some(PlannedFault { after: before, failure: Failure::Eio, lasts: false }));
    let log = reopen(&machine);
    assert_eq!(machine.fired(), 1);
    (20..30).for_each(|number| append(&log, number, 400));
    log.close();
    drop(log);
    let report = sim::verify(&machine).unwrap();
    assert!(report.is_sound() && report.index_files > 0, "{report:?}");
}

#[test]
fn a_segment_that_the_manifest_contradicts_is_lost() {
    // Two histories of one log, with the same sizes in the same segment. The segment of one meets the manifest and the
    // index of the other.
    let machine = Machine::new(1);
    let log = sim::open(&machine, &small_runs()).unwrap();
    append(&log, 1, 40);
    log.close();
    drop(log);
    let other = machine.fork();
    for (machine, first) in [(&machine, 10), (&other, 20)] {
        let log = sim::open(machine, &small_runs()).unwrap();
        (first..first + 4).for_each(|number| append(&log, number, 900));
        log.close();
        drop(log);
    }
    machine.put(&segment(1), other.content(&segment(1)).unwrap());
    let log = sim::open(&machine, &small_runs()).unwrap();
    assert!(log.read_only().is_some(), "the manifest names frames that the segment does not hold");
    assert_eq!(shown_and_lost(&log), (vec![], vec![(1, 3), (4, 5)]));
    let stream = Read::log(Query::stream("s-1".parse().unwrap()));
    assert!(matches!(log.read_blocking(&stream), Err(ReadError::DataLoss { .. })));
    let again = log.append_blocking(batch(10, 900));
    assert!(again.as_ref().is_ok_and(|again| again.repeated), "10 was acknowledged: {again:?}");
    for number in [20, 30] {
        let refused = log.append_blocking(batch(number, 900));
        assert!(matches!(refused, Err(AppendError::ReadOnly { .. })), "{number}: {refused:?}");
    }
}

#[test]
fn a_foreign_file_among_the_segments_is_left_alone() {
    let machine = Machine::new(1);
    let path = Path::new(ROOT).join("segments/notes.txt");
    machine.put(&path, b"not a segment".to_vec());
    let log = open_whole(&machine);
    append(&log, 1, 40);
    log.close();
    drop(log);
    assert_eq!(shown(&open_whole(&machine)), [1]);
    assert_eq!(machine.content(&path).unwrap(), b"not a segment");
}

#[test]
fn a_sector_that_the_disk_lost_is_detected() {
    for how in [Betrayal::Stale, Betrayal::Misdirected] {
        let machine = Machine::new(1);
        let log = open(&machine);
        append(&log, 1, 40);
        machine.betray_after(0, how);
        append(&log, 2, 2_000);
        append(&log, 3, 2_000);
        append(&log, 4, 2_000);
        log.close();
        cut_power(&machine, log);
        let log = open(&machine);
        let lost = log.recovery().damage.iter().filter(|damage| damage.loses_events());
        assert_eq!(lost.map(|damage| (damage.from, damage.to)).collect::<Vec<_>>(), [(2, 2)], "{how:?}");
    }
}
