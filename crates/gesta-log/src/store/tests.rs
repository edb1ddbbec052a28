//! The log on a machine whose writes and syncs fail.

use std::io;
use std::path::Path;
use std::pin::pin;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::task::{Context, Waker};
use std::time::Duration;

use gesta_conformance::sample::{self, Sample as _};
use gesta_core::{
    AppendError, Batch, Checkpoint, CommandKey, Direction, EventStore, Limit, Listing, Place, Query, Read,
    ReadError, Timestamp, When,
};

use super::LogStore;
use crate::env::{Call, Mode, Tap, Tapped};
use crate::index::{LookupError, ReadMode};
use crate::locks;
use crate::options::{Clock, Options};
use crate::read_only::ReadOnlyCause;
use crate::shared::Shared;
use crate::testing::{batch, options};

/// Faults that a test switches on.
struct Faults {
    sync: AtomicBool,
    write: AtomicBool,
    space: AtomicBool,
    /// The number of segments still to be refused for lack of space.
    small: AtomicU64,
    /// Writes panic.
    panic: AtomicBool,
    /// The number of index files that can still be made.
    index_files: AtomicU64,
    /// Gets a message when the name of an index file is about to be made durable.
    indexed: Mutex<Option<mpsc::Sender<()>>>,
}

impl Default for Faults {
    fn default() -> Self {
        Self {
            sync: AtomicBool::new(false),
            write: AtomicBool::new(false),
            space: AtomicBool::new(false),
            small: AtomicU64::new(0),
            panic: AtomicBool::new(false),
            index_files: AtomicU64::new(u64::MAX),
            indexed: Mutex::new(None),
        }
    }
}

fn is_index(folder: Option<&Path>) -> bool {
    folder.is_some_and(|folder| folder.ends_with("index"))
}

fn fail_if(fault: &AtomicBool, kind: io::ErrorKind) -> io::Result<()> {
    if fault.load(Ordering::SeqCst) { Err(kind.into()) } else { Ok(()) }
}

impl Tap for Faults {
    fn before(&self, path: &Path, call: Call) -> io::Result<()> {
        match call {
            Call::Open(Mode::CreateNew) if is_index(path.parent()) => {
                let left = &self.index_files;
                let made = left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1));
                made.map(drop).map_err(|_| io::Error::other("no more index files"))
            }
            Call::Write => {
                assert!(!self.panic.load(Ordering::SeqCst), "a write that panics");
                fail_if(&self.write, io::ErrorKind::Other)
            }
            Call::FillZeros => {
                let refused =
                    self.small.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1));
                match refused {
                    Ok(_) => Err(io::ErrorKind::StorageFull.into()),
                    Err(_) => fail_if(&self.space, io::ErrorKind::StorageFull),
                }
            }
            Call::Sync => fail_if(&self.sync, io::ErrorKind::Other),
            Call::SyncDir if is_index(Some(path)) => {
                let indexed = locks::lock(&self.indexed);
                if let Some(indexed) = &*indexed {
                    // An error means that the test no longer listens.
                    let _ = indexed.send(());
                }
                Ok(())
            }
            Call::Open(_) | Call::Read(_) | Call::WillRead(_) | Call::SyncDir => Ok(()),
        }
    }
}

fn count(log: &LogStore) -> usize {
    log.read_blocking(&Read::log(Query::All)).unwrap().events.len()
}

/// Makes a closed log that holds one batch. The next open writes nothing until an append. After an append in the same
/// log, a test would race with the idle frame.
fn closed_log(number: u64) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    LogStore::open(folder.path(), &options()).unwrap().append_blocking(batch(number)).unwrap();
    folder
}

#[test]
fn after_a_failed_write_or_sync_nothing_is_written_and_batches_in_flight_are_in_doubt() {
    let faults: [fn(&Faults) -> &AtomicBool; 2] = [|faults| &faults.sync, |faults| &faults.write];
    for fault in faults {
        let folder = closed_log(1);
        let machine = Tapped::by(Faults::default());
        let log = LogStore::open_in(machine.clone(), folder.path(), &options()).unwrap();
        fault(&machine.tap).store(true, Ordering::SeqCst);
        assert!(matches!(log.append_blocking(batch(2)), Err(AppendError::InDoubt { .. })));
        fault(&machine.tap).store(false, Ordering::SeqCst);
        for number in [2, 3] {
            let error = log.append_blocking(batch(number)).unwrap_err();
            let AppendError::ReadOnly { reason } = error else { panic!("{error}") };
            assert!(reason.contains("writing segment 1 failed"), "{reason}");
        }
        assert!(log.append_blocking(batch(1)).unwrap().repeated, "a repeat of a durable batch is answered");
        assert_eq!(count(&log), 1, "unsynced events are not visible");
        assert!(log.read_only().is_some());
        drop(log);
        let log = LogStore::open(folder.path(), &options()).unwrap();
        assert_eq!(log.read_only(), None);
        log.append_blocking(batch(2)).unwrap();
        assert_eq!(count(&log), 2, "the batch in doubt was written once");
    }
}

#[test]
fn a_full_disk_refuses_appends_until_there_is_space_again() {
    let folder = tempfile::tempdir().unwrap();
    let machine = Tapped::by(Faults::default());
    let log = LogStore::open_in(machine.clone(), folder.path(), &options()).unwrap();
    log.append_blocking(batch(1)).unwrap();
    machine.tap.space.store(true, Ordering::SeqCst);
    let mut number = 1;
    let error = loop {
        number += 1;
        match log.append_blocking(batch(number)) {
            Ok(_) => assert!(number < 100, "the segments run out"),
            Err(error) => break error,
        }
    };
    let AppendError::StorageFull { reason } = error else { panic!("{error}") };
    let named = format!("`{}` has no room for a segment of", folder.path().join("segments").display());
    assert!(reason.contains(&named), "{reason}");
    assert!(log.append_blocking(batch(1)).unwrap().repeated);
    assert_eq!(count(&log) as u64, number - 1);
    machine.tap.space.store(false, Ordering::SeqCst);
    assert!(!log.append_blocking(batch(number)).unwrap().repeated, "the refused batch was not written");
    assert_eq!(count(&log) as u64, number);
}

#[test]
fn a_segment_is_as_large_as_the_device_has_room_for() {
    for (refused, size_bytes) in [(0, 1 << 20), (1, 512 << 10), (3, 128 << 10), (20, 12 << 10)] {
        let folder = tempfile::tempdir().unwrap();
        let machine = Tapped::by(Faults::default());
        let log = LogStore::open_in(machine.clone(), folder.path(), &Options::default()).unwrap();
        machine.tap.small.store(refused, Ordering::SeqCst);
        let appended = log.append_blocking(batch(1));
        machine.tap.small.store(0, Ordering::SeqCst);
        if refused == 20 {
            let Err(AppendError::StorageFull { reason }) = appended else { panic!("{appended:?}") };
            let sizes = format!("of 1048576 bytes, nor for a smaller one of {size_bytes}");
            assert!(reason.contains(&sizes), "{reason}");
            log.append_blocking(batch(1)).unwrap();
            continue;
        }
        appended.unwrap();
        let segment = crate::folder::segment_path(folder.path(), 1);
        assert_eq!(std::fs::metadata(segment).unwrap().len(), size_bytes);
    }
}

/// A folder that cannot be written to. Any attempt panics.
#[cfg(feature = "sim")]
struct ReadOnlyFolder;

#[cfg(feature = "sim")]
impl Tap for ReadOnlyFolder {
    fn before(&self, path: &Path, call: Call) -> io::Result<()> {
        match call {
            Call::Open(Mode::Read) | Call::Read(_) | Call::WillRead(_) => Ok(()),
            call => panic!("{call:?} of `{}`", path.display()),
        }
    }

    fn is_writable(&self) -> bool {
        false
    }
}

#[cfg(feature = "sim")]
#[test]
fn a_log_in_a_read_only_folder_is_read_and_reports_the_events_it_leaves_out() {
    let folder = tempfile::tempdir().unwrap();
    // Without threads there is no idle frame, so no watermark covers the last batch.
    let log = LogStore::open_inline(Arc::new(crate::env::OsEnv), folder.path(), &options()).unwrap();
    (1..=3).for_each(|number| drop(log.append_blocking(batch(number)).unwrap()));
    let copy = tempfile::tempdir().unwrap();
    std::fs::create_dir(copy.path().join("segments")).unwrap();
    for name in ["manifest", "segments/000000000001.seg"] {
        std::fs::copy(folder.path().join(name), copy.path().join(name)).unwrap();
    }
    let log = LogStore::open_in(Tapped::by(ReadOnlyFolder), copy.path(), &options()).unwrap();
    let reason = log.read_only().unwrap().reason;
    let unwritable = format!("`{}` cannot be written to", copy.path().display());
    assert!(reason.contains(&unwritable) && reason.contains("events 3 to 3 are valid"), "{reason}");
    assert_eq!((count(&log), log.recovery().damage.len()), (2, 0));
    assert!(log.recovery().may_miss_events);
    let refused = log.append_blocking(batch(4));
    assert!(matches!(refused, Err(AppendError::ReadOnly { .. })), "{refused:?}");
    drop(log);

    let log = LogStore::open(copy.path(), &options()).unwrap();
    assert_eq!((log.read_only(), count(&log)), (None, 3), "nothing is lost");
    drop(log);
    let log = LogStore::open_in(Tapped::by(ReadOnlyFolder), copy.path(), &options()).unwrap();
    let reason = log.read_only().unwrap().reason;
    assert!(!reason.contains("valid") && count(&log) == 3, "it was closed cleanly: {reason}");
    assert!(!log.recovery().may_miss_events);
}

#[test]
fn a_read_that_panics_is_unavailable_and_other_reads_go_on() {
    let folder = tempfile::tempdir().unwrap();
    let log = LogStore::open(folder.path(), &options()).unwrap();
    log.append_blocking(batch(1)).unwrap();
    let broken = |_: &Shared, mode| match mode {
        ReadMode::Memory => Err(LookupError::NotInMemory.into()),
        ReadMode::Disk => panic!("a bug of ours"),
    };
    let error = pollster::block_on(log.look::<()>(broken)).unwrap_err();
    assert!(matches!(error, ReadError::Unavailable { .. }), "{error}");
    let page = pollster::block_on(log.read(Read::log(Query::All))).unwrap();
    assert_eq!(page.events.len(), 1);
}

#[test]
fn write_failed_returns_when_a_write_fails_and_afterwards() {
    let folder = tempfile::tempdir().unwrap();
    let machine = Tapped::by(Faults::default());
    let log = LogStore::open_in(machine.clone(), folder.path(), &options()).unwrap();
    log.append_blocking(batch(1)).unwrap();
    let mut context = Context::from_waker(Waker::noop());
    assert!(pin!(log.write_failed()).poll(&mut context).is_pending());
    let reason = std::thread::scope(|scope| {
        let waiting = scope.spawn(|| pollster::block_on(log.write_failed()));
        machine.tap.sync.store(true, Ordering::SeqCst);
        log.append_blocking(batch(2)).unwrap_err();
        waiting.join().unwrap()
    });
    assert!(reason.reason.contains("writing segment 1 failed"), "{reason}");
    assert_eq!(reason.cause, ReadOnlyCause::WriteFailed);
    assert_eq!((log.read_only(), pollster::block_on(log.write_failed())), (Some(reason.clone()), reason));
}

#[test]
fn a_panic_while_a_batch_is_decided_ends_all_writing_and_harms_nothing() {
    type Append = fn(&LogStore, Batch) -> Result<gesta_core::Appended, AppendError>;
    let ways: [Append; 2] =
        [LogStore::append_blocking, |log, batch| pollster::block_on(EventStore::append(log, batch))];
    for append in ways {
        let folder = tempfile::tempdir().unwrap();
        let (clock, breaks) = fragile_clock();
        let log = LogStore::open(folder.path(), &Options { clock: Some(clock), ..options() }).unwrap();
        append(&log, batch(1)).unwrap();
        breaks.store(true, Ordering::SeqCst);
        let broken = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| append(&log, batch(2))));
        assert!(broken.is_err());
        check_panicked(&log, 1);
        drop(log);
        let log = LogStore::open(folder.path(), &options()).unwrap();
        assert_eq!(log.read_only(), None, "{:?}", log.recovery());
        append(&log, batch(2)).unwrap();
        assert_eq!(count(&log), 2);
    }
}

/// A clock that panics once it is switched on.
fn fragile_clock() -> (Clock, Arc<AtomicBool>) {
    let breaks = Arc::new(AtomicBool::new(false));
    let told = Arc::clone(&breaks);
    let clock = move || {
        assert!(!told.load(Ordering::SeqCst), "a clock that fails");
        Timestamp::from_nanos(1)
    };
    (Arc::new(clock), breaks)
}

/// Holds up the next sync: sends a message when it begins, and waits for one to continue.
#[derive(Default)]
struct Gate(Mutex<Option<(mpsc::Sender<()>, mpsc::Receiver<()>)>>);

impl Tap for Gate {
    fn before(&self, _path: &Path, call: Call) -> io::Result<()> {
        let gate = if call == Call::Sync { self.0.lock().unwrap().take() } else { None };
        if let Some((begun, go_on)) = gate {
            begun.send(()).unwrap();
            go_on.recv().unwrap();
        }
        Ok(())
    }
}

#[test]
fn after_a_panic_no_answer_depends_on_a_group_that_is_still_being_synced() {
    let folder = closed_log(9);
    let machine = Tapped::by(Gate::default());
    let (clock, breaks) = fragile_clock();
    let options = Options { clock: Some(clock), ..options() };
    let log = LogStore::open_in(machine.clone(), folder.path(), &options).unwrap();
    let ((begun, begins), (go_on, goes_on)) = (mpsc::channel(), mpsc::channel());
    *machine.tap.0.lock().unwrap() = Some((begun, goes_on));
    std::thread::scope(|scope| {
        let syncing = scope.spawn(|| log.append_blocking(batch(1)));
        begins.recv().unwrap();
        breaks.store(true, Ordering::SeqCst);
        let append = || log.append_blocking(batch(2));
        assert!(std::panic::catch_unwind(std::panic::AssertUnwindSafe(append)).is_err());
        let answers = [1, 3].map(|number| log.append_blocking(batch(number)).unwrap_err());
        assert!(
            matches!(answers, [AppendError::InDoubt { .. }, AppendError::ReadOnly { .. }]),
            "{answers:?}"
        );
        assert_eq!(count(&log), 1);
        go_on.send(()).unwrap();
        assert!(!syncing.join().unwrap().unwrap().repeated);
    });
    check_panicked(&log, 2);
}

#[test]
fn a_panic_while_a_group_is_written_ends_all_writing_and_harms_nothing() {
    let folder = closed_log(1);
    let machine = Tapped::by(Faults::default());
    let log = LogStore::open_in(machine.clone(), folder.path(), &options()).unwrap();
    machine.tap.panic.store(true, Ordering::SeqCst);
    let answer = pollster::block_on(log.append(batch(2)));
    assert!(matches!(answer, Err(AppendError::InDoubt { .. })), "{answer:?}");
    machine.tap.panic.store(false, Ordering::SeqCst);
    pollster::block_on(log.write_failed());
    check_panicked(&log, 1);
    drop(log);
    let log = LogStore::open(folder.path(), &options()).unwrap();
    log.append_blocking(batch(2)).unwrap();
    assert_eq!(count(&log), 2, "the batch in doubt was written once");
}

/// Checks and closes a log with `events` events, among them batch 1, after a panic of its writer over batch 2.
fn check_panicked(log: &LogStore, events: usize) {
    let read_only = log.read_only().unwrap();
    assert_eq!(read_only.cause, ReadOnlyCause::Panicked);
    let appends = |batch: Batch| [log.append_blocking(batch.clone()), pollster::block_on(log.append(batch))];
    for answer in [2, 3].into_iter().flat_map(|number| appends(batch(number))) {
        let Err(AppendError::ReadOnly { reason }) = answer else { panic!("{answer:?}") };
        assert_eq!(reason, read_only.reason);
    }
    for answer in appends(batch(1)) {
        assert!(answer.unwrap().repeated, "a repeat of a durable batch is answered");
    }
    assert_eq!(count(log), events, "acknowledged events are there, and unsynced events are not visible");
    log.close();
    for answer in [1, 3].into_iter().flat_map(|number| appends(batch(number))) {
        assert_eq!(answer, Err(AppendError::Closed));
    }
}

/// Small segments and runs: all that has no index is built beside the open log.
fn small() -> Options {
    Options { index_run_bytes: 1 << 10, ..options() }
}

/// A closed log of several segments without its index: batches of one to three events in four streams, some with a
/// tag or a command.
fn without_index(batches: u64) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let log = LogStore::open(folder.path(), &small()).unwrap();
    for number in 0..batches {
        log.append_blocking(mixed(number)).unwrap();
    }
    drop(log);
    std::fs::remove_dir_all(folder.path().join("index")).unwrap();
    folder
}

fn mixed(number: u64) -> Batch {
    let event = |at: u64| {
        let size = usize::try_from(number * 7919 % 1_500).unwrap();
        let event = sample::event(&format!("a-{}", (number + at) % 4), 10 * number + at + 1);
        event.with_data(vec![b'x'; size]).with_tag(&format!("odd:{}", number % 2))
    };
    let batch = Batch::new((0..1 + number % 3).map(event));
    match number % 5 {
        0 => batch
            .with_command(CommandKey { key: format!("key-{number}").into_bytes().into(), request: [1; 32] }),
        _ => batch,
    }
}

/// Reads from many places in both directions, with many limits.
fn reads(log: &LogStore) -> Vec<Read> {
    let last = log.durable_position();
    let mut reads = Vec::new();
    let places = (0..last).step_by(11).map(|at| Place::At(Checkpoint::new(log.id(), [at])));
    for place in places.chain([Place::Start, Place::End]) {
        for events in [1, 2, 7, 10_000] {
            let read =
                Read::log_from(Query::All, place.clone()).limit(Limit::events(events.try_into().unwrap()));
            for direction in [Direction::Forward, Direction::Backward] {
                let at = match &place {
                    Place::At(at) => at.sequence(0),
                    Place::Start => 0,
                    Place::End => last,
                };
                let until = match direction {
                    Direction::Forward => (at + 40).min(last),
                    Direction::Backward => at.saturating_sub(40),
                };
                reads.push(Read { direction, ..read.clone() });
                let until = Some(Checkpoint::new(log.id(), [until]));
                reads.push(Read { direction, until, ..read.clone() });
            }
        }
    }
    reads
}

fn is_building(reason: &str) -> bool {
    reason.contains("the index is being rebuilt beside the open log")
}

#[test]
fn while_its_index_is_built_a_log_serves_reads_by_position_and_refuses_the_rest_with_its_progress() {
    let folder = without_index(300);
    let machine = Tapped::by(Faults::default());
    machine.tap.index_files.store(2, Ordering::SeqCst);
    let log = LogStore::open_in(machine.clone(), folder.path(), &small()).unwrap();
    assert!(!log.wait_for_index(), "its files cannot be made");
    let progress = log.index_progress().unwrap();
    assert!(progress.done < progress.of && progress.failure.unwrap().contains("no more index files"));

    let pages = reads(&log).into_iter().map(|read| (log.read_blocking(&read).unwrap(), read));
    let pages = pages.collect::<Vec<_>>();
    let head = pollster::block_on(log.locate(When::Head)).unwrap();
    assert_eq!(head.sequence(0), log.durable_position());
    assert_eq!(pollster::block_on(log.wait_past(Checkpoint::new(log.id(), [3]))).unwrap(), head);
    assert_eq!(pollster::block_on(log.locate(When::Start)).unwrap().sequence(0), 0);
    let target = tempfile::tempdir().unwrap();
    assert_eq!(
        log.backup(target.path(), &crate::operations::BackupOptions::default()).unwrap().position,
        head.sequence(0)
    );
    for refused in refusals(&log) {
        assert!(is_building(&refused), "{refused}");
    }

    machine.tap.index_files.store(u64::MAX, Ordering::SeqCst);
    while !log.wait_for_index() {}
    assert_eq!((log.index_progress(), log.read_only()), (None, None));
    for (page, read) in pages {
        let now = log.read_blocking(&read).unwrap();
        assert_eq!(
            (now.events, now.scanned_to, now.end),
            (page.events, page.scanned_to, page.end),
            "{read:?}"
        );
    }
    assert!((0..300).all(|number| log.append_blocking(mixed(number)).unwrap().repeated));
    assert!(!log.append_blocking(mixed(300)).unwrap().repeated);
    drop(log);
    assert!(crate::operations::verify(folder.path()).unwrap().is_sound());
}

/// The log's errors for all calls that need its index.
fn refusals(log: &LogStore) -> Vec<String> {
    let stream = || "a-1".parse().unwrap();
    let read = |read: &Read| match log.read_blocking(read) {
        Err(ReadError::Unavailable { reason }) => reason,
        answered => panic!("{answered:?}"),
    };
    let told = |error: Option<ReadError>| match error {
        Some(ReadError::Unavailable { reason }) => reason,
        answered => panic!("{answered:?}"),
    };
    let append = |error: Option<AppendError>| match error {
        Some(AppendError::Unavailable { reason }) => reason,
        answered => panic!("{answered:?}"),
    };
    let command = CommandKey { key: b"key-0"[..].into(), request: [1; 32] };
    let listing = Listing { category: None, after: None, limit: 1.try_into().unwrap() };
    let recorded = When::RecordedUpTo(Timestamp::from_nanos(i64::MAX));
    vec![
        read(&Read::stream(stream())),
        read(&Read::log(Query::stream(stream()))),
        told(pollster::block_on(log.stream(stream())).err()),
        told(pollster::block_on(log.streams(listing)).err()),
        told(pollster::block_on(log.locate(recorded)).err()),
        append(log.append_blocking(mixed(0)).err()),
        append(pollster::block_on(log.append(mixed(1_000))).err()),
        append(pollster::block_on(log.repeat_of(command, stream())).err()),
    ]
}

#[test]
fn an_index_without_its_end_is_built_from_there() {
    let folder = without_index(300);
    let machine = Tapped::by(Faults::default());
    machine.tap.index_files.store(200, Ordering::SeqCst);
    let log = LogStore::open_in(machine, folder.path(), &small()).unwrap();
    assert!(!log.wait_for_index());
    log.close();
    assert_eq!(log.append_blocking(mixed(0)), Err(AppendError::Closed));
    drop(log);
    let kept = crate::operations::stat(folder.path()).unwrap().index;
    assert!(kept.len() > 3 && kept[0].positions.0 == 1, "{kept:?}");

    let log = LogStore::open(folder.path(), &small()).unwrap();
    assert!(log.wait_for_index());
    assert!((0..300).all(|number| log.append_blocking(mixed(number)).unwrap().repeated));
    drop(log);
    assert!(crate::operations::verify(folder.path()).unwrap().is_sound());
}

#[test]
fn damage_found_while_the_index_is_built_is_reported_as_at_open() {
    for at in [10_000, 40_000] {
        let folder = without_index(300);
        let path = folder.path().join("segments/000000000003.seg");
        let mut bytes = std::fs::read(&path).unwrap();
        bytes[at] ^= 1;
        std::fs::write(&path, bytes).unwrap();
        let copy = tempfile::tempdir().unwrap();
        std::fs::create_dir(copy.path().join("segments")).unwrap();
        for entry in std::fs::read_dir(folder.path().join("segments")).unwrap() {
            let entry = entry.unwrap();
            std::fs::copy(entry.path(), copy.path().join("segments").join(entry.file_name())).unwrap();
        }
        std::fs::copy(folder.path().join("manifest"), copy.path().join("manifest")).unwrap();

        // This part is loaded into tables before the log is open.
        let in_open = LogStore::open(copy.path(), &options()).unwrap();
        let log = LogStore::open(folder.path(), &small()).unwrap();
        assert!(log.wait_for_index());
        assert_eq!(log.recovery(), in_open.recovery());
        assert_eq!(log.recovery().damage.len(), 1);
        assert_eq!(log.read_only(), in_open.read_only());
        for read in reads(&log) {
            let found = [&log, &in_open].map(|log| log.read_blocking(&read).map(|page| page.events));
            assert_eq!(found[0], found[1], "{read:?}");
        }
        let Err(AppendError::ReadOnly { .. }) = log.append_blocking(mixed(1_000)) else {
            panic!("it is damaged")
        };
        assert!(log.append_blocking(mixed(0)).unwrap().repeated);
    }
}

#[test]
fn reads_do_not_skip_damage_while_the_index_is_built() {
    let folder = without_index(300);
    let path = folder.path().join("segments/000000000003.seg");
    let mut bytes = std::fs::read(&path).unwrap();
    bytes[40_000] ^= 1;
    std::fs::write(&path, bytes).unwrap();
    let machine = Tapped::by(Faults::default());
    machine.tap.index_files.store(0, Ordering::SeqCst);
    let log = LogStore::open_in(machine, folder.path(), &small()).unwrap();
    assert!(!log.wait_for_index());
    for direction in [Direction::Forward, Direction::Backward] {
        let (mut from, mut seen) =
            (if direction == Direction::Forward { Place::Start } else { Place::End }, 0);
        let error = loop {
            match log.read_blocking(&Read { direction, ..Read::log_from(Query::All, from) }) {
                Ok(page) => {
                    assert!(!page.end, "{direction:?}");
                    seen += page.events.len();
                    from = Place::At(page.scanned_to);
                }
                Err(error) => break error,
            }
        };
        let ReadError::Unavailable { reason } = error else { panic!("{error:?}") };
        assert!(seen > 0 && reason.contains("segment 3 is damaged"), "{reason}");
    }
}

#[test]
fn a_failed_table_is_written_again_without_another_full_table() {
    let folder = tempfile::tempdir().unwrap();
    let machine = Tapped::by(Faults::default());
    let (sender, indexed) = mpsc::channel();
    *machine.tap.indexed.lock().unwrap() = Some(sender);
    let log = LogStore::open_in(machine.clone(), folder.path(), &small()).unwrap();
    machine.tap.index_files.store(0, Ordering::SeqCst);
    log.append_blocking(batch(1)).unwrap();
    machine.tap.index_files.store(u64::MAX, Ordering::SeqCst);
    indexed.recv_timeout(Duration::from_secs(60)).expect("it is tried again");
}
