//! Reads of a log whose files note what the disk is told of ahead.

use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use gesta_core::{Batch, EventId, EventStore as _, NewEvent, Page, Query, Read, Timestamp};

use super::LogStore;
use crate::env::{Env, File, Lock, Mode, OsEnv};
use crate::open::Options;

/// The real machine, and what was read of the files of one folder, and told of, in order.
struct Watched {
    folder: &'static str,
    opened: AtomicUsize,
    calls: Arc<Mutex<Vec<Call>>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Call {
    Told(Place),
    Read(Place),
}

/// Which file, by the order in which they were opened, and where in it.
type Place = (usize, u64);

impl Watched {
    fn over(folder: &'static str) -> (Arc<Self>, Arc<Mutex<Vec<Call>>>) {
        let calls = Arc::default();
        (Arc::new(Self { folder, opened: AtomicUsize::new(0), calls: Arc::clone(&calls) }), calls)
    }
}

struct WatchedFile {
    number: usize,
    file: Arc<dyn File>,
    calls: Arc<Mutex<Vec<Call>>>,
}

impl Env for Watched {
    fn create_dir(&self, path: &Path) -> io::Result<()> {
        OsEnv.create_dir(path)
    }

    fn open(&self, path: &Path, mode: Mode) -> io::Result<Arc<dyn File>> {
        let file = OsEnv.open(path, mode)?;
        if !path.parent().is_some_and(|folder| folder.ends_with(self.folder)) {
            return Ok(file);
        }
        let number = self.opened.fetch_add(1, Ordering::Relaxed);
        Ok(Arc::new(WatchedFile { number, file, calls: Arc::clone(&self.calls) }))
    }

    fn list(&self, folder: &Path) -> io::Result<Vec<String>> {
        OsEnv.list(folder)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        OsEnv.rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        OsEnv.remove(path)
    }

    fn sync_dir(&self, folder: &Path) -> io::Result<()> {
        OsEnv.sync_dir(folder)
    }

    fn lock(&self, path: &Path) -> io::Result<Result<Box<dyn Lock>, String>> {
        OsEnv.lock(path)
    }

    fn now(&self) -> Timestamp {
        OsEnv.now()
    }

    fn entropy(&self) -> io::Result<[u8; 16]> {
        OsEnv.entropy()
    }
}

impl File for WatchedFile {
    fn len(&self) -> io::Result<u64> {
        self.file.len()
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        self.calls.lock().unwrap().push(Call::Read((self.number, offset)));
        self.file.read_at(buffer, offset)
    }

    fn read_cached_at(&self, buffer: &mut [u8], offset: u64) -> bool {
        self.read_at(buffer, offset).is_ok_and(|read| read == buffer.len())
    }

    fn will_read(&self, offset: u64, _len: u64) {
        self.calls.lock().unwrap().push(Call::Told((self.number, offset)));
    }

    fn write_at(&self, pieces: &[&[u8]], offset: u64) -> io::Result<()> {
        self.file.write_at(pieces, offset)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.file.set_len(len)
    }

    fn fill_zeros(&self, from: u64, len: u64) -> io::Result<()> {
        self.file.fill_zeros(from, len)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.file.sync_data()
    }

    fn sync_all(&self) -> io::Result<()> {
        self.file.sync_all()
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
        let (watched, calls) = Watched::over("index");
        let log = LogStore::open_in(watched, folder.path(), &options()).unwrap();
        calls.lock().unwrap().clear();
        let page = log.read_blocking(&read).unwrap();
        let mut expected = (1..=EVENTS / RARE).map(|number| number * RARE).collect::<Vec<_>>();
        if read.direction == gesta_core::Direction::Backward {
            expected.reverse();
        }
        assert_eq!(positions(&page), expected);

        let made = std::mem::take(&mut *calls.lock().unwrap());
        let told = made.iter().enumerate().filter_map(|(at, call)| match call {
            Call::Told(place) => Some((at, *place)),
            Call::Read(_) => None,
        });
        let told = told.collect::<Vec<_>>();
        assert!(told.len() >= 4, "several blocks say where the events lie: {made:?}");
        for (at, place) in told {
            let reads = made.iter().enumerate().filter(|(_, call)| **call == Call::Read(place));
            let reads = reads.map(|(read, _)| read).collect::<Vec<_>>();
            assert!(matches!(reads[..], [read] if read > at), "told of {place:?}, then read once: {made:?}");
        }

        assert_eq!(positions(&log.read_blocking(&read).unwrap()), expected);
        let again = calls.lock().unwrap();
        assert!(!again.iter().any(|call| matches!(call, Call::Told(_))), "it is in memory: {again:?}");
    }
}

#[test]
fn of_index_blocks_that_follow_one_another_the_disk_is_not_told() {
    let folder = tempfile::tempdir().unwrap();
    filled(folder.path());
    let (watched, calls) = Watched::over("index");
    let log = LogStore::open_in(watched, folder.path(), &options()).unwrap();
    calls.lock().unwrap().clear();
    let many = gesta_core::Limit::events(8_000.try_into().unwrap());
    let page = log.read_blocking(&Read::stream("a-1".parse().unwrap()).limit(many)).unwrap();
    assert_eq!(page.events.len(), 8_000);
    let calls = calls.lock().unwrap();
    assert!(calls.len() > 8, "some blocks say where they lie: {calls:?}");
    assert!(!calls.iter().any(|call| matches!(call, Call::Told(_))), "the kernel reads on: {calls:?}");
}

#[test]
fn a_page_of_one_event_tells_the_disk_of_no_other() {
    let folder = tempfile::tempdir().unwrap();
    filled(folder.path());
    let (watched, calls) = Watched::over("index");
    let log = LogStore::open_in(watched, folder.path(), &options()).unwrap();
    calls.lock().unwrap().clear();
    let one = gesta_core::Limit::events(1.try_into().unwrap());
    let page = log.read_blocking(&Read::stream("a-rare".parse().unwrap()).limit(one)).unwrap();
    assert_eq!(positions(&page), [RARE]);
    let calls = calls.lock().unwrap();
    assert!(!calls.iter().any(|call| matches!(call, Call::Told(_))), "{calls:?}");
}

#[test]
fn readers_at_the_head_share_one_read_of_what_is_new_and_nobody_sees_more_than_is_durable() {
    let folder = tempfile::tempdir().unwrap();
    let (watched, calls) = Watched::over("segments");
    let log = LogStore::open_in(watched, folder.path(), &options()).unwrap();
    let reads = || calls.lock().unwrap().iter().filter(|call| matches!(call, Call::Read(_))).count();
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
