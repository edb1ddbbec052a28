//! Damage is found, located and reported. It is never served or cut, and sound data raises no alarm.

use std::fs;

use gesta_core::{
    AppendError, Batch, Checkpoint, Direction, EventId, EventStore, Item, ListToken, Listing, NewEvent,
    Place, Position, Query, Read, ReadError, Select, StreamName, Version,
};
use gesta_log::{LogStore, Options, ReadOnlyCause, verify};

use crate::town::{
    append, change, crash_copy, data_of, event, log_of, open, options, read_all, resume, segments, stream,
    uncovered,
};

/// Flips a bit in the data of an event, and returns the number of its segment.
fn flip(folder: &std::path::Path, number: u64, size: usize) -> u64 {
    let (path, at) = data_of(folder, number, size);
    change(&path, |bytes| bytes[at] ^= 0x04);
    path.file_stem().unwrap().to_str().unwrap().parse().unwrap()
}

#[test]
fn a_flipped_byte_is_located_and_all_other_events_are_read() {
    let folder = log_of(200, 500);
    let segment = flip(folder.path(), 101, 500);
    let log = open(&folder);
    let damage = log.recovery().damage.clone();
    assert_eq!(damage.len(), 1, "{damage:?}");
    assert_eq!((damage[0].segment, damage[0].from, damage[0].to), (segment, 101, 102), "the whole batch");

    let (events, met) = read_all(&log, &Query::All);
    assert_eq!(events.len(), 398);
    let numbers = events.iter().map(|event| event.position().sequence).collect::<Vec<_>>();
    assert_eq!(numbers, (1..=400).filter(|at| !(101..=102).contains(at)).collect::<Vec<_>>());
    let [ReadError::DataLoss { location, from, to, .. }] = &met[..] else { panic!("{met:?}") };
    assert_eq!((from.sequence, to.sequence), (101, 102));
    assert!(location.contains(&format!("segment {segment} at offset")), "{location}");

    let report = {
        drop(log);
        verify(folder.path()).unwrap()
    };
    assert_eq!(report.recovery.damage, damage);
    assert!(!report.is_sound());
    assert_eq!(report.events, 398);
}

#[test]
fn a_checkpoint_at_a_damaged_event_is_accepted() {
    let folder = log_of(200, 500);
    flip(folder.path(), 101, 500);
    let log = open(&folder);
    // The event is lost, so its mark cannot be compared.
    let at = Position { partition: 0, sequence: 102 };
    let place = Checkpoint::start(log.id(), 1).with_mark(at, 0xbeef);
    let read = Read::log_from(Query::All, Place::At(place.clone()));
    assert_eq!(log.read_blocking(&read).unwrap().events[0].position().sequence, 103);
    let sound = place.with_mark(Position { sequence: 103, ..at }, 0xbeef);
    let refused = log.read_blocking(&Read::log_from(Query::All, Place::At(sound))).unwrap_err();
    assert!(matches!(refused, ReadError::Diverged { .. }), "{refused}");
}

#[test]
fn streams_without_damage_are_read_completely() {
    let folder = log_of(200, 500);
    // Events 100 and 101 belong to streams 1 and 2; the batch of 101 and 102 to streams 2 and 0.
    flip(folder.path(), 101, 500);
    let log = open(&folder);
    let read = |number| log.read_blocking(&Read::stream(stream(number)));
    let page = read(1).unwrap();
    assert_eq!(
        (page.events.len(), page.end),
        (134, true),
        "stream 1 is read across the damage without a gap"
    );
    assert_eq!(pollster::block_on(log.stream(stream(1))).unwrap().unwrap().version.get(), 133);

    let page = read(2).unwrap();
    assert_eq!((page.events.len(), page.end), (33, false), "the page ends at the damage");
    let rest = Select::Stream { name: stream(2), from: Some(Version::new(33)) };
    let ReadError::DataLoss { from, .. } = log.read_blocking(&rest.into()).unwrap_err() else {
        panic!("it is damage");
    };
    assert_eq!(from.sequence, 101);
    let unknown = read(77).unwrap_err();
    assert!(resume(&unknown).is_some(), "an unknown stream may have had events in the damage");
}

#[test]
fn backward_reads_stop_at_damage_and_can_continue_below_it() {
    let folder = log_of(200, 500);
    flip(folder.path(), 101, 500);
    let log = open(&folder);
    let (mut events, mut met, mut from) = (Vec::new(), 0, Place::End);
    loop {
        match log.read_blocking(&Read::log_from(Query::All, from).backward()) {
            Ok(page) => {
                events.extend(page.events.iter().map(|event| event.position().sequence));
                if page.end {
                    break;
                }
                from = Place::At(page.scanned_to);
            }
            Err(error) => {
                met += 1;
                from = Place::At(resume(&error).unwrap());
            }
        }
    }
    assert_eq!(met, 1);
    assert_eq!(events, (1..=400).rev().filter(|at| !(101..=102).contains(at)).collect::<Vec<_>>());
}

#[test]
fn a_damaged_log_refuses_writes_with_the_cause_but_answers_repeats() {
    let folder = log_of(200, 500);
    flip(folder.path(), 101, 500);
    let log = open(&folder);
    let error = log.append_blocking(Batch::new([event(9_999, 10)])).unwrap_err();
    let AppendError::ReadOnly { reason } = error else { panic!("{error}") };
    assert!(reason.contains("positions 101 to 102 are lost"), "{reason}");
    assert!(log.append_blocking(Batch::new([event(7, 500)])).unwrap().repeated);
    let list = |after| {
        let listing = Listing { category: None, after, limit: 10.try_into().unwrap() };
        pollster::block_on(log.streams(listing))
    };
    let page = list(None).unwrap();
    assert_eq!(page.streams.len(), 3);
    assert!(list(page.next).is_err(), "after the last page: the damage may hide a stream");
}

#[test]
fn a_missing_segment_is_reported_as_data_loss() {
    let folder = log_of(200, 500);
    let paths = segments(&folder);
    fs::remove_file(&paths[1]).unwrap();
    let log = open(&folder);
    let damage = &log.recovery().damage;
    assert_eq!((damage.len(), damage[0].segment), (1, 2), "{damage:?}");
    let (events, met) = read_all(&log, &Query::All);
    let lost = damage[0].to - damage[0].from + 1;
    assert_eq!((events.len() as u64 + lost, met.len()), (400, 1));
    assert!(log.read_only().is_some());
}

#[test]
fn a_damaged_segment_header_is_reported_and_read_from_the_manifest() {
    let folder = log_of(20, 500);
    change(&segments(&folder)[0], |bytes| bytes[50] ^= 1);
    let log = open(&folder);
    assert_eq!(log.recovery().flaws.len(), 1);
    assert_eq!((log.read_only(), read_all(&log, &Query::All).0.len()), (None, 40));
}

#[test]
fn damage_in_an_open_log_is_reported_and_all_other_events_are_read() {
    let folder = log_of(20, 500);
    let log = open(&folder);
    assert_eq!(read_all(&log, &Query::All).0.len(), 40);
    flip(folder.path(), 22, 500);
    let (events, met) = read_all(&log, &Query::All);
    let [ReadError::DataLoss { from, to, .. }] = &met[..] else { panic!("{met:?}") };
    assert_eq!((from.sequence, to.sequence, events.len()), (21, 22, 38), "no half of its batch is returned");

    let mut read = Read::log(Query::All).backward();
    read.select = Select::Log { query: Query::All, from: Place::End, lanes: None };
    let page = log.read_blocking(&read).unwrap();
    assert_eq!((page.events.len(), page.end), (18, false));
    read.select = Select::Log { query: Query::All, from: Place::At(page.scanned_to), lanes: None };
    let resume = resume(&log.read_blocking(&read).unwrap_err()).unwrap();
    read.select = Select::Log { query: Query::All, from: Place::At(resume), lanes: None };
    assert_eq!(log.read_blocking(&read).unwrap().events.len(), 21);
}

#[test]
fn the_loss_of_the_last_segment_is_not_a_clean_end() {
    let folder = log_of(200, 500);
    let holds_events = |path: &&std::path::PathBuf| fs::read(path).unwrap()[4096] != 0;
    let paths = segments(&folder);
    fs::remove_file(paths.iter().rfind(holds_events).unwrap()).unwrap();
    let log = open(&folder);
    let (events, met) = read_all(&log, &Query::All);
    assert!(events.len() < 400 && met.len() == 1, "{} events, {met:?}", events.len());
    assert!(log.read_only().is_some());
}

#[test]
fn unknown_bytes_in_an_unused_segment_are_kept() {
    let spare = |folder: &tempfile::TempDir| segments(folder).pop().unwrap();
    let folder = log_of(80, 500);
    assert_eq!(fs::read(spare(&folder)).unwrap()[4096], 0, "the last segment is a spare");
    change(&spare(&folder), |bytes| bytes[4096..4600].fill(7));
    let log = open(&folder);
    assert!(log.read_only().is_some(), "the bytes may be acknowledged events");
    drop(log);
    change(&spare(&folder), |bytes| bytes[4096..4608].fill(0));
    change(&spare(&folder), |bytes| bytes[5000] = 7);
    let log = open(&folder);
    assert_eq!((log.read_only(), log.recovery().quarantined_bytes), (None, 1), "a torn first write");
    append(&log, 80, 500);
    assert_eq!(read_all(&log, &Query::All).0.len(), 162);
}

#[test]
fn a_torn_tail_is_quarantined_and_cut() {
    let folder = uncovered(20, 3_000);
    let (path, at) = data_of(&folder, 40, 3_000);
    change(&path, |bytes| bytes[at + 1_000..at + 3_000].fill(0));
    let log = open(&folder);
    assert_eq!(log.read_only(), None);
    assert!(log.recovery().quarantined_bytes > 3_000);
    assert_eq!(fs::read_dir(folder.path().join("quarantine")).unwrap().count(), 1);
    assert_eq!(read_all(&log, &Query::All).0.len(), 38, "the whole torn batch is gone");
    append(&log, 19, 3_000);
    drop(log);
    assert!(verify(folder.path()).unwrap().is_sound());
}

#[test]
fn an_interrupted_copy_of_the_tail_is_made_again() {
    let folder = uncovered(20, 3_000);
    let next = segments(&folder).len() + 1;
    let left = folder.path().join("segments").join(format!("{next:012}.seg.tmp"));
    fs::write(&left, "half a copy").unwrap();
    let log = open(&folder);
    assert_eq!((log.read_only(), read_all(&log, &Query::All).0.len()), (None, 40));
    assert!(log.recovery().rescued_frames > 0 && !left.exists());
}

#[test]
fn damage_that_may_be_acknowledged_is_not_cut() {
    let folder = uncovered(20, 3_000);
    let (path, at) = data_of(&folder, 40, 3_000);
    change(&path, |bytes| bytes[at + 5] ^= 1);
    let log = open(&folder);
    let reason = log.read_only().expect("an operator has to decide");
    assert_eq!(reason.cause, ReadOnlyCause::UnprovenTail, "{reason}");
    assert_eq!(read_all(&log, &Query::All).0.len(), 38);
    drop(log);
    change(&path, |bytes| bytes[at + 5] ^= 1);
    let log = open(&folder);
    assert_eq!((log.read_only(), read_all(&log, &Query::All).0.len()), (None, 40), "the bytes were kept");
}

#[test]
fn an_acknowledged_batch_of_zeros_is_not_a_clean_end() {
    let folder = log_of(20, 500);
    // The log was closed, so an idle frame states that all earlier frames are durable.
    let path = segments(&folder).into_iter().next().unwrap();
    change(&path, |bytes| {
        let begins = |window: &[u8]| window == b"GFRM";
        let idle = bytes.windows(4).rposition(begins).unwrap();
        let last_batch = bytes[..idle].windows(4).rposition(begins).unwrap();
        bytes[last_batch..idle].fill(0);
    });
    let log = open(&folder);
    let damage = &log.recovery().damage;
    assert_eq!((damage.len(), damage[0].from, damage[0].to), (1, 39, 40), "{damage:?}");
    assert!(log.read_only().is_some());
}

#[test]
fn no_flipped_bit_makes_the_log_serve_wrong_data() {
    let folder = log_of(12, 60);
    let sound = read_all(&open(&folder), &Query::All).0;
    let paths = segments(&folder);
    let used = fs::read(&paths[0]).unwrap();
    let end = used.iter().rposition(|byte| *byte != 0).unwrap() + 700;
    let (mut detected, mut harmless) = (0, 0);
    for at in (0..64).chain((4_000..end).step_by(5)) {
        let copy = crash_copy(folder.path());
        change(&segments(&copy)[0], |bytes| bytes[at] ^= 1 << (at % 8));
        let log = LogStore::open(copy.path(), &options()).unwrap();
        let (events, met) = read_all(&log, &Query::All);
        let is_detected = log.read_only().is_some() || !met.is_empty();
        for event in &events {
            let expected = sound.iter().find(|own| own.position() == event.position());
            assert_eq!(Some(event), expected, "byte {at}: wrong data");
        }
        assert!(is_detected || events == sound, "byte {at}: silent loss");
        if is_detected { detected += 1 } else { harmless += 1 }
    }
    assert!(detected > 600 && harmless > 50, "{detected} detected, {harmless} harmless");
}

/// Makes a closed log of 600 events, 25 in each stream, one stream after the other, with one run over its first
/// segments.
fn log_with_runs() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let log = open(&folder);
    for number in 1..=600 {
        log.append_blocking(Batch::new([NewEvent { stream: part(number), ..event(number, 500) }])).unwrap();
    }
    drop(log);
    drop(open_with_runs(&folder));
    assert_eq!(fs::read_dir(folder.path().join("index")).unwrap().count(), 1, "a run covers some segments");
    folder
}

fn part(number: u64) -> StreamName {
    format!("part-{}", number.div_ceil(25)).parse().unwrap()
}

/// Opens a log that writes a run for each 256 KiB.
fn open_with_runs(folder: &tempfile::TempDir) -> LogStore {
    let options = Options { index_run_bytes: 256 << 10, ..options() };
    LogStore::open(folder.path(), &options).unwrap()
}

/// Removes a segment that a run covers, and returns its positions.
fn lose_covered_segment(folder: &tempfile::TempDir) -> std::ops::RangeInclusive<u64> {
    let path = segments(folder)[2].clone();
    fs::remove_file(path).unwrap();
    let log = open_with_runs(folder);
    let damage = &log.recovery().damage;
    assert_eq!((damage.len(), damage[0].segment), (1, 3), "{damage:?}");
    damage[0].from..=damage[0].to
}

/// Reads all readable events of a stream. The flag tells whether the read met damage.
fn read_stream(log: &LogStore, name: &StreamName, read: impl Fn(Read) -> Read) -> (Vec<u64>, bool) {
    let (mut positions, mut from) = (Vec::new(), None);
    loop {
        let select = Select::Stream { name: name.clone(), from };
        match log.read_blocking(&read(select.into())) {
            Ok(page) => {
                positions.extend(page.events.iter().map(|event| event.position().sequence));
                let is_backward = read(Read::log(Query::All)).direction == Direction::Backward;
                from = page.events.last().map(|event| event.version().get()).and_then(|version| {
                    let next = if is_backward { version.checked_sub(1) } else { Some(version + 1) };
                    next.map(Version::new)
                });
                if page.end {
                    return (positions, false);
                }
            }
            Err(ReadError::DataLoss { .. }) => return (positions, true),
            Err(error) => panic!("{error}"),
        }
    }
}

#[test]
fn damage_covered_by_the_index_affects_only_streams_with_events_there() {
    let folder = log_with_runs();
    let lost = lose_covered_segment(&folder);
    let log = open_with_runs(&folder);
    for number in (1..=600).step_by(25) {
        let (name, own) = (part(number), number..number + 25);
        let info = pollster::block_on(log.stream(name.clone())).unwrap().unwrap();
        assert_eq!(info.version.get(), 24, "the head of {name} is known even if its payload is lost");
        let is_touched = own.clone().any(|position| lost.contains(&position));
        let (forward, met) = read_stream(&log, &name, |read| read);
        assert_eq!(met, is_touched, "{name}");
        assert_eq!(forward, own.clone().take_while(|own| !lost.contains(own)).collect::<Vec<_>>());
        let (backward, met) = read_stream(&log, &name, Read::backward);
        assert_eq!(met, is_touched, "{name}");
        assert_eq!(backward, own.clone().rev().take_while(|own| !lost.contains(own)).collect::<Vec<_>>());
        let (events, met) = read_all(&log, &Query::stream(name.clone()));
        assert_eq!(
            (events.len(), met.len()),
            (own.filter(|own| !lost.contains(own)).count(), is_touched.into())
        );
        match log.read_blocking(&Read::stream(name.clone())) {
            Ok(page) => assert_eq!(page.last_version.map(Version::get), Some(24), "{name}"),
            Err(error) => assert!(resume(&error).is_some() && is_touched, "{error}"),
        }
    }
    let nobody = stream(77);
    assert_eq!(pollster::block_on(log.stream(nobody.clone())).unwrap(), None);
    assert!(log.read_blocking(&Read::stream(nobody)).unwrap().end);
}

#[test]
fn damage_covered_by_the_index_affects_only_queries_that_match_events_there() {
    let folder = log_with_runs();
    let lost = lose_covered_segment(&folder);
    let log = open_with_runs(&folder);
    let query = |position: u64| {
        let ids = vec![event(position, 1).id, event(600, 1).id];
        Query::from(Item { ids, ..Item::default() })
    };
    for position in [1, lost.start() - 1, *lost.start(), *lost.end(), lost.end() + 1] {
        let (events, met) = read_all(&log, &query(position));
        let is_lost = lost.contains(&position);
        assert_eq!((events.len(), met.len()), (if is_lost { 1 } else { 2 }, is_lost.into()), "{position}");
        let page = log.read_blocking(&Read::log_from(query(position), Place::End).backward()).unwrap();
        assert_eq!((page.events.len(), page.end), (if is_lost { 1 } else { 2 }, !is_lost), "{position}");
    }
    // The read starts inside the damage, after the last match, so it misses nothing.
    let inside = Place::At(Checkpoint::new(log.id(), [lost.start() + 1]));
    let page = log.read_blocking(&Read::log_from(query(*lost.start()), inside)).unwrap();
    assert_eq!((page.events.len(), page.end), (1, true));
}

#[test]
fn a_listing_returns_the_streams_before_and_after_an_unreadable_one() {
    let folder = log_with_runs();
    let lost = lose_covered_segment(&folder);
    let log = open_with_runs(&folder);
    let (mut listed, mut after) = (Vec::new(), None);
    loop {
        let listing = Listing { category: None, after: after.clone(), limit: 5.try_into().unwrap() };
        match pollster::block_on(log.streams(listing)) {
            Ok(page) => {
                listed.extend(page.streams.into_iter().map(|info| (info.name, info.version.get())));
                after = page.next;
            }
            Err(error) => {
                let behind = resume(&error).expect("only damage is met").sequence(0) + 1;
                after = Some(ListToken(behind.to_string().into()));
            }
        }
        if after.is_none() {
            break;
        }
    }
    let readable = (1..=600).step_by(25).filter(|first| !lost.contains(first));
    assert_eq!(listed, readable.map(|first| (part(first), 24)).collect::<Vec<_>>());
}

#[test]
fn a_damage_report_lists_the_affected_streams_from_the_index() {
    let folder = log_with_runs();
    let lost = lose_covered_segment(&folder);
    let touched = |name: &StreamName| lost.clone().any(|position| part(position) == *name);
    let log = open_with_runs(&folder);
    let reports = [log.recovery().damage[0].to_string(), {
        drop(log);
        verify(folder.path()).unwrap().recovery.damage[0].to_string()
    }];
    for (report, number) in
        reports.iter().flat_map(|report| (1..=600).step_by(25).map(move |at| (report, at)))
    {
        let name = part(number);
        assert_eq!(report.contains(&format!("`{name}`")), touched(&name), "{name}: {report}");
    }
    assert!(reports[0].contains("positions") && !reports[0].contains("others"), "{}", reports[0]);
}

/// Returns the last segment of a closed log that holds frames.
fn last_used(folder: &std::path::Path) -> std::path::PathBuf {
    let holds_frames = |path: &std::path::PathBuf| fs::read(path).unwrap()[4096] != 0;
    segments(folder).into_iter().rfind(holds_frames).unwrap()
}

#[test]
fn a_closed_log_that_ends_earlier_than_before_has_lost_its_end() {
    let harms: [fn(&mut Vec<u8>); 4] = [
        |bytes| bytes.truncate(4_096 + 3_000),
        |bytes| bytes[4_096 + 3_000..].fill(0),
        |bytes| bytes.clear(),
        |bytes| bytes[4_096..].fill(0),
    ];
    for (number, harm) in harms.into_iter().enumerate() {
        let folder = log_of(20, 500);
        change(&last_used(folder.path()), harm);
        for attempt in 1..=2 {
            let log = open(&folder);
            let damage = log.recovery().damage.clone();
            assert_eq!(damage.last().map(|damage| damage.to), Some(40), "{number}, {attempt}: {damage:?}");
            let (events, met) = read_all(&log, &Query::All);
            let lost = damage.iter().map(|damage| damage.to + 1 - damage.from).sum::<u64>();
            assert_eq!((events.len() as u64 + lost, met.is_empty()), (40, false), "{number}: {damage:?}");
            let error = log.append_blocking(Batch::new([event(99, 10)])).unwrap_err();
            assert!(matches!(error, AppendError::ReadOnly { .. }), "{number}: {error}");
        }
        assert!(!verify(folder.path()).unwrap().is_sound(), "{number}");
    }
}

#[test]
fn a_segment_of_a_diverged_copy_is_another_history() {
    let folder = log_of(5, 500);
    let copy = crash_copy(folder.path());
    for (path, first) in [(folder.path(), 5), (copy.path(), 50)] {
        let log = open(path);
        (first..first + 10).for_each(|batch| append(&log, batch, 500));
    }
    // Each log alone is sound. The files have the same names, headers and salts.
    for path in [folder.path(), copy.path()] {
        assert!(verify(path).unwrap().is_sound());
    }
    fs::copy(last_used(copy.path()), last_used(folder.path())).unwrap();
    let log = open(&folder);
    let damage = log.recovery().damage.clone();
    assert!(log.read_only().is_some() && damage[0].what.contains("another history"), "{damage:?}");
    assert_eq!(damage.last().unwrap().to, 30, "{damage:?}");
    let (events, _) = read_all(&log, &Query::All);
    assert!(
        events.iter().all(|event| event.id() <= EventId::from_u128(30)),
        "no event of the copy is returned"
    );
}

#[test]
fn a_damaged_start_frame_is_a_flaw_without_loss() {
    let folder = log_of(200, 500);
    change(&segments(&folder)[1], |bytes| bytes[4_096 + 20] ^= 1);
    let log = open(&folder);
    assert_eq!((log.read_only(), log.recovery().damage.len()), (None, 0), "{:?}", log.recovery());
    let flaws = &log.recovery().flaws;
    assert!(flaws.len() == 1 && flaws[0].segment == 2 && !flaws[0].loses_events(), "{flaws:?}");
    append(&log, 200, 500);
    let (events, met) = read_all(&log, &Query::All);
    assert_eq!((events.len(), met.len()), (402, 0));
}

#[test]
fn a_missing_last_segment_leaves_the_end_of_the_loss_open() {
    let folder = log_of(200, 500);
    fs::remove_file(last_used(folder.path())).unwrap();
    let log = open(&folder);
    let damage = log.recovery().damage.last().unwrap();
    assert_eq!((damage.to, damage.end_is_known), (400, false), "the manifest states that position: {damage}");
    assert!(damage.to_string().ends_with("on are lost, up to 400 at least"), "{damage}");
    let (_, met) = read_all(&log, &Query::All);
    let [ReadError::DataLoss { location, .. }] = &met[..] else { panic!("{met:?}") };
    assert!(location.contains("the end of the loss is not known"), "{location}");
}

#[test]
fn a_stale_manifest_is_data_loss_at_the_end_for_readers() {
    let folder = log_of(100, 500);
    let stale = fs::read(folder.path().join("manifest")).unwrap();
    let log = open(&folder);
    (100..200).for_each(|batch| append(&log, batch, 500));
    drop(log);
    fs::write(folder.path().join("manifest"), stale).unwrap();
    let log = open(&folder);
    assert!(log.read_only().is_some_and(|own| own.cause == ReadOnlyCause::StaleManifest));
    let damage = log.recovery().damage.clone();
    assert_eq!(
        damage.last().map(|damage| (damage.to, damage.end_is_known)),
        Some((400, false)),
        "{damage:?}"
    );
    assert!(damage[0].what.contains("the manifest does not list it"), "the segment is intact: {damage:?}");
    let (events, met) = read_all(&log, &Query::All);
    let lost = damage.iter().map(|damage| damage.to + 1 - damage.from).sum::<u64>();
    assert_eq!((events.len() as u64 + lost, met.len()), (400, 1), "a reader meets the loss before the end");
    drop(log);
    assert!(!verify(folder.path()).unwrap().is_sound());
}
