//! Reads of a log whose files record reads and readahead hints.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard};

use gesta_conformance::sample::{self, Sample as _};
use gesta_core::{Batch, EventId, EventStore as _, Page, Query, Read};

use super::LogStore;
use crate::env::{Call, Tap, Tapped};
use crate::options::{Options, Scrub};

/// Records the reads and readahead hints on the files of one folder, in order.
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
/// One in this many events has the rare stream and the rare type.
const RARE: u64 = 2_500;

fn options() -> Options {
    // A scrub would read as well.
    Options { index_run_bytes: 2 << 20, scrub: Scrub::Off, ..Options::default() }
}

/// A log whose older part lies in an index file.
fn filled(folder: &Path) {
    let log = LogStore::open(folder, &options()).unwrap();
    for first in (1..=EVENTS).step_by(1_000) {
        let event = |number: u64| {
            let is_rare = number.is_multiple_of(RARE);
            let (stream, kind) = if is_rare { ("a-rare", "a.rare") } else { ("a-1", "a.b") };
            sample::event(stream, number).of_type(kind)
        };
        log.append_blocking(Batch::new((first..first + 1_000).map(event))).unwrap();
    }
    // Full tables are written as index files before the log is closed.
    log.close();
}

/// True if there was a readahead hint.
fn is_told(calls: &[(PathBuf, Call)]) -> bool {
    calls.iter().any(|(_, call)| matches!(call, Call::WillRead(_)))
}

fn positions(page: &Page) -> Vec<u64> {
    page.events.iter().map(|event| event.position().sequence).collect()
}

#[test]
fn index_reads_use_readahead_hints_and_the_page_is_the_same() {
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
        assert!(told.len() >= 4, "there are hints for several blocks: {made:?}");
        for (at, read) in told {
            let reads = made.iter().enumerate().filter(|(_, call)| **call == read);
            let reads = reads.map(|(read, _)| read).collect::<Vec<_>>();
            assert!(matches!(reads[..], [read] if read > at), "a hint, then one read: {read:?} in {made:?}");
        }

        assert_eq!(positions(&log.read_blocking(&read).unwrap()), expected);
        let again = machine.tap.calls();
        assert!(!is_told(&again), "the blocks are in memory: {again:?}");
    }
}

#[test]
fn consecutive_index_blocks_get_no_readahead_hints() {
    let folder = tempfile::tempdir().unwrap();
    filled(folder.path());
    let machine = Watched::over("index");
    let log = LogStore::open_in(machine.clone(), folder.path(), &options()).unwrap();
    machine.tap.calls().clear();
    let many = gesta_core::Limit::events(8_000.try_into().unwrap());
    let page = log.read_blocking(&Read::stream("a-1".parse().unwrap()).limit(many)).unwrap();
    assert_eq!(page.events.len(), 8_000);
    let calls = machine.tap.calls();
    assert!(calls.len() > 8, "several blocks were read: {calls:?}");
    assert!(!is_told(&calls), "the kernel reads ahead itself: {calls:?}");
}

#[test]
fn a_page_of_one_event_gives_no_readahead_hints() {
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
fn readers_at_the_head_share_one_read_of_new_events_and_see_only_durable_ones() {
    let folder = tempfile::tempdir().unwrap();
    let machine = Watched::over("segments");
    let log = LogStore::open_in(machine.clone(), folder.path(), &options()).unwrap();
    let reads = || machine.tap.calls().iter().filter(|(_, call)| matches!(call, Call::Read(_))).count();
    let mut at = pollster::block_on(log.locate(gesta_core::When::Head)).unwrap();
    for round in 0..3 {
        let ids = 3 * round + 1..3 * round + 4;
        log.append_blocking(Batch::new(ids.clone().map(|id: u128| sample::event("a-1", id)))).unwrap();
        let before = reads();
        let new = Read::log_from(Query::All, gesta_core::Place::At(at));
        let pages = [(); 3].map(|()| pollster::block_on(log.read(new.clone())).unwrap());
        assert_eq!(reads(), before + 1, "only one of the three read the file");
        for page in &pages {
            let given = page.events.iter().map(|event| event.id()).collect::<Vec<_>>();
            assert_eq!(given, ids.clone().map(EventId::from_u128).collect::<Vec<_>>(), "a whole batch");
            assert_eq!((&page.scanned_to, page), (&page.head, &pages[0]));
        }
        at = pages[0].scanned_to.clone();
    }
}

#[test]
fn a_checkpoint_of_this_process_costs_no_read_and_an_older_one_costs_one() {
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
    assert_eq!(reads(), 0, "this log issued the checkpoint");
    drop(log);
    let log = open();
    comes_back(&log);
    assert_eq!(reads(), 1, "its record was read");
    comes_back(&log);
    assert_eq!(reads(), 0, "the checkpoint was checked before");
}
