//! Reads of a log whose files note what the disk is told of ahead.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard};

use gesta_core::{Batch, EventId, EventStore as _, NewEvent, Page, Query, Read, Timestamp};

use super::LogStore;
use crate::env::{Call, Tap, Tapped};
use crate::options::Options;

/// What was read of the files of one folder, and told of, in order.
struct Watched {
    folder: &'static str,
    calls: Mutex<Vec<(PathBuf, Call)>>,
}

impl Watched {
    fn over(folder: &'static str) -> Arc<Tapped<Self>> {
        Tapped::by(Self { folder, calls: Mutex::default() })
    }

    fn calls(&self) -> MutexGuard<'_, Vec<(PathBuf, Call)>> {
        self.calls.lock().unwrap()
    }
}

impl Tap for Watched {
    fn before(&self, path: &Path, call: Call) -> io::Result<()> {
        let is_watched = path.parent().is_some_and(|folder| folder.ends_with(self.folder));
        if is_watched && matches!(call, Call::Read(_) | Call::WillRead(_)) {
            self.calls().push((path.to_owned(), call));
        }
        Ok(())
    }
}

const EVENTS: u64 = 40_000;
/// Every so many events, one is of the rare stream, and of the rare type.
const RARE: u64 = 2_500;

fn options() -> Options {
    Options { index_run_bytes: 2 << 20, ..Options::default() }
}

/// A log of which the older part stands in an index file.
fn filled(folder: &Path) {
    let log = LogStore::open(folder, &options()).unwrap();
    for first in (1..=EVENTS).step_by(1_000) {
        let event = |number: u64| {
            let is_rare = number.is_multiple_of(RARE);
            let (stream, kind) = if is_rare { ("a-rare", "a.rare") } else { ("a-1", "a.b") };
            let id = EventId::from_u128(number.into());
            NewEvent::json(id, stream.parse().unwrap(), kind.parse().unwrap(), Timestamp::from_nanos(0), "{}")
        };
        log.append_blocking(Batch::new((first..first + 1_000).map(event))).unwrap();
    }
    // What has ended becomes an index file before the log is closed.
    log.close();
}

/// Whether the disk was told of anything ahead.
fn is_told(calls: &[(PathBuf, Call)]) -> bool {
    calls.iter().any(|(_, call)| matches!(call, Call::WillRead(_)))
}

fn positions(page: &Page) -> Vec<u64> {
    page.events.iter().map(|event| event.position().sequence).collect()
}

#[test]
fn the_disk_is_told_ahead_where_the_index_has_to_be_read_and_the_page_is_the_same() {
    let folder = tempfile::tempdir().unwrap();
    filled(folder.path());
    let rare_type = || Query::types(["a.rare".parse().unwrap()]);
    let stream = Read::stream("a-rare".parse().unwrap());
    for read in [
        stream.clone(),
        stream.backward(),
        Read::log(rare_type()),
        Read::log_from(rare_type(), gesta_core::Place::End).backward(),
    ] {
        let machine = Watched::over("index");
        let log = LogStore::open_in(machine.clone(), folder.path(), &options()).unwrap();
        machine.tap.calls().clear();
        let page = log.read_blocking(&read).unwrap();
        let mut expected = (1..=EVENTS / RARE).map(|number| number * RARE).collect::<Vec<_>>();
        if read.direction == gesta_core::Direction::Backward {
            expected.reverse();
        }
        assert_eq!(positions(&page), expected);

        let made = std::mem::take(&mut *machine.tap.calls());
        let told = made.iter().enumerate().filter_map(|(at, (path, call))| match call {
            Call::WillRead(offset) => Some((at, (path.clone(), Call::Read(*offset)))),
            _ => None,
        });
        let told = told.collect::<Vec<_>>();
        assert!(told.len() >= 4, "several blocks say where the events lie: {made:?}");
        for (at, read) in told {
            let reads = made.iter().enumerate().filter(|(_, call)| **call == read);
            let reads = reads.map(|(read, _)| read).collect::<Vec<_>>();
            assert!(matches!(reads[..], [read] if read > at), "told of, then once: {read:?} in {made:?}");
        }

        assert_eq!(positions(&log.read_blocking(&read).unwrap()), expected);
        let again = machine.tap.calls();
        assert!(!is_told(&again), "it is in memory: {again:?}");
    }
}

#[test]
fn of_index_blocks_that_follow_one_another_the_disk_is_not_told() {
    let folder = tempfile::tempdir().unwrap();
    filled(folder.path());
    let machine = Watched::over("index");
    let log = LogStore::open_in(machine.clone(), folder.path(), &options()).unwrap();
    machine.tap.calls().clear();
    let many = gesta_core::Limit::events(8_000.try_into().unwrap());
    let page = log.read_blocking(&Read::stream("a-1".parse().unwrap()).limit(many)).unwrap();
    assert_eq!(page.events.len(), 8_000);
    let calls = machine.tap.calls();
    assert!(calls.len() > 8, "some blocks say where they lie: {calls:?}");
    assert!(!is_told(&calls), "the kernel reads on: {calls:?}");
}

#[test]
fn a_page_of_one_event_tells_the_disk_of_no_other() {
    let folder = tempfile::tempdir().unwrap();
    filled(folder.path());
    let machine = Watched::over("index");
    let log = LogStore::open_in(machine.clone(), folder.path(), &options()).unwrap();
    machine.tap.calls().clear();
    let one = gesta_core::Limit::events(1.try_into().unwrap());
    let page = log.read_blocking(&Read::stream("a-rare".parse().unwrap()).limit(one)).unwrap();
    assert_eq!(positions(&page), [RARE]);
    let calls = machine.tap.calls();
    assert!(!is_told(&calls), "{calls:?}");
}

#[test]
fn readers_at_the_head_share_one_read_of_what_is_new_and_nobody_sees_more_than_is_durable() {
    let folder = tempfile::tempdir().unwrap();
    let machine = Watched::over("segments");
    let log = LogStore::open_in(machine.clone(), folder.path(), &options()).unwrap();
    let reads = || machine.tap.calls().iter().filter(|(_, call)| matches!(call, Call::Read(_))).count();
    let mut at = pollster::block_on(log.locate(gesta_core::When::Head)).unwrap();
    for round in 0..3 {
        let ids = 3 * round + 1..3 * round + 4;
        let event = |id| {
            let (stream, kind) = ("a-1".parse().unwrap(), "a.b".parse().unwrap());
            NewEvent::json(EventId::from_u128(id), stream, kind, Timestamp::from_nanos(0), "{}")
        };
        log.append_blocking(Batch::new(ids.clone().map(event))).unwrap();
        let before = reads();
        let new = Read::log_from(Query::All, gesta_core::Place::At(at));
        let pages = [(); 3].map(|()| pollster::block_on(log.read(new.clone())).unwrap());
        assert_eq!(reads(), before + 1, "one of the three read the file");
        for page in &pages {
            let given = page.events.iter().map(|event| event.id()).collect::<Vec<_>>();
            assert_eq!(given, ids.clone().map(EventId::from_u128).collect::<Vec<_>>(), "a whole batch");
            assert_eq!((&page.scanned_to, page), (&page.head, &pages[0]));
        }
        at = pages[0].scanned_to.clone();
    }
}

#[test]
fn a_place_that_comes_back_costs_no_read_and_one_of_another_process_costs_one() {
    let folder = tempfile::tempdir().unwrap();
    filled(folder.path());
    let machine = Watched::over("segments");
    let reads = || {
        let calls = std::mem::take(&mut *machine.tap.calls());
        calls.iter().filter(|(_, call)| matches!(call, Call::Read(_))).count()
    };
    let open = || {
        let log = LogStore::open_in(machine.clone(), folder.path(), &options()).unwrap();
        reads();
        log
    };
    let log = open();
    let limit = gesta_core::Limit::events(10.try_into().unwrap());
    let page = log.read_blocking(&Read::log(Query::All).limit(limit)).unwrap();
    assert!(reads() > 0);
    let comes_back = |log: &LogStore| pollster::block_on(log.wait_past(page.scanned_to.clone())).unwrap();
    assert_eq!(comes_back(&log), page.head);
    assert_eq!(reads(), 0, "it was given out by this log");
    drop(log);
    let log = open();
    comes_back(&log);
    assert_eq!(reads(), 1, "its record was read");
    comes_back(&log);
    assert_eq!(reads(), 0, "it was checked before");
}
