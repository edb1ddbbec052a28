//! The log on a machine whose writes and syncs fail.

use std::io;
use std::path::Path;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Waker};

use gesta_core::{AppendError, Batch, EventId, EventStore, NewEvent, Query, Read, ReadError, Timestamp};

use super::LogStore;
use crate::env::{Env, File, Lock, Mode, OsEnv};
use crate::index::{Fault, Reach};
use crate::open::Options;
use crate::shared::Shared;

/// The real machine, until it is told to fail.
#[derive(Default)]
struct Fragile {
    faults: Arc<Faults>,
}

#[derive(Default)]
struct Faults {
    sync: AtomicBool,
    write: AtomicBool,
    space: AtomicBool,
}

struct FragileFile {
    file: Arc<dyn File>,
    faults: Arc<Faults>,
}

fn fail_if(fault: &AtomicBool, kind: io::ErrorKind) -> io::Result<()> {
    if fault.load(Ordering::SeqCst) { Err(kind.into()) } else { Ok(()) }
}

impl Env for Fragile {
    fn create_dir(&self, path: &Path) -> io::Result<()> {
        OsEnv.create_dir(path)
    }

    fn open(&self, path: &Path, mode: Mode) -> io::Result<Arc<dyn File>> {
        let file = OsEnv.open(path, mode)?;
        Ok(Arc::new(FragileFile { file, faults: Arc::clone(&self.faults) }))
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

impl File for FragileFile {
    fn len(&self) -> io::Result<u64> {
        self.file.len()
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        self.file.read_at(buffer, offset)
    }

    fn write_at(&self, pieces: &[&[u8]], offset: u64) -> io::Result<()> {
        fail_if(&self.faults.write, io::ErrorKind::Other)?;
        self.file.write_at(pieces, offset)
    }

    fn write_over_zeros(&self, pieces: &[&[u8]], offset: u64, zeros_to: u64) -> io::Result<()> {
        fail_if(&self.faults.write, io::ErrorKind::Other)?;
        self.file.write_over_zeros(pieces, offset, zeros_to)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.file.set_len(len)
    }

    fn fill_zeros(&self, from: u64, len: u64) -> io::Result<()> {
        fail_if(&self.faults.space, io::ErrorKind::StorageFull)?;
        self.file.fill_zeros(from, len)
    }

    fn sync_data(&self) -> io::Result<()> {
        fail_if(&self.faults.sync, io::ErrorKind::Other)?;
        self.file.sync_data()
    }

    fn sync_all(&self) -> io::Result<()> {
        fail_if(&self.faults.sync, io::ErrorKind::Other)?;
        self.file.sync_all()
    }
}

fn options() -> Options {
    Options { segment_size_bytes: 64 << 10, ..Options::default() }
}

fn batch(number: u64) -> Batch {
    let (stream, kind) = ("a-1".parse().unwrap(), "a.b".parse().unwrap());
    let id = EventId::from_u128(u128::from(number));
    Batch::new([NewEvent::json(id, stream, kind, Timestamp::from_nanos(0), vec![b'x'; 5_000])])
}

fn count(log: &LogStore) -> usize {
    log.read_blocking(&Read::log(Query::All)).unwrap().events.len()
}

#[test]
fn after_a_failed_write_or_sync_nothing_is_written_and_what_was_in_flight_is_in_doubt() {
    let faults: [fn(&Faults) -> &AtomicBool; 2] = [|faults| &faults.sync, |faults| &faults.write];
    for fault in faults {
        let folder = tempfile::tempdir().unwrap();
        let machine = Arc::new(Fragile::default());
        let log = LogStore::open_in(machine.clone(), folder.path(), &options()).unwrap();
        log.append_blocking(batch(1)).unwrap();
        fault(&machine.faults).store(true, Ordering::SeqCst);
        assert!(matches!(log.append_blocking(batch(2)), Err(AppendError::InDoubt { .. })));
        fault(&machine.faults).store(false, Ordering::SeqCst);
        for number in [2, 3] {
            let error = log.append_blocking(batch(number)).unwrap_err();
            let AppendError::ReadOnly { reason } = error else { panic!("{error}") };
            assert!(reason.contains("writing segment 1 failed"), "{reason}");
        }
        assert!(log.append_blocking(batch(1)).unwrap().repeated, "a proven repeat is answered");
        assert_eq!(count(&log), 1, "nobody is shown what was not synced");
        assert!(log.read_only().is_some());
        drop(log);
        let log = LogStore::open(folder.path(), &options()).unwrap();
        assert_eq!(log.read_only(), None);
        log.append_blocking(batch(2)).unwrap();
        assert_eq!(count(&log), 2, "the batch in doubt is there once");
    }
}

#[test]
fn a_full_disk_refuses_appends_until_there_is_space_again() {
    let folder = tempfile::tempdir().unwrap();
    let machine = Arc::new(Fragile::default());
    let log = LogStore::open_in(machine.clone(), folder.path(), &options()).unwrap();
    machine.faults.space.store(true, Ordering::SeqCst);
    let mut number = 0;
    let error = loop {
        number += 1;
        match log.append_blocking(batch(number)) {
            Ok(_) => assert!(number < 100, "the segments run out"),
            Err(error) => break error,
        }
    };
    assert_eq!(error, AppendError::StorageFull);
    assert!(log.append_blocking(batch(1)).unwrap().repeated);
    assert_eq!(count(&log) as u64, number - 1);
    machine.faults.space.store(false, Ordering::SeqCst);
    assert!(!log.append_blocking(batch(number)).unwrap().repeated, "it was surely not written");
    assert_eq!(count(&log) as u64, number);
}

#[test]
fn a_read_that_a_panic_broke_off_is_unavailable_and_the_others_go_on() {
    let folder = tempfile::tempdir().unwrap();
    let log = LogStore::open(folder.path(), &options()).unwrap();
    log.append_blocking(batch(1)).unwrap();
    let broken = |_: &Shared, reach| match reach {
        Reach::Memory => Err(Fault::NotInMemory.into()),
        Reach::Disk => panic!("a bug of ours"),
    };
    let error = pollster::block_on(log.look::<()>(broken)).unwrap_err();
    assert!(matches!(error, ReadError::Unavailable { .. }), "{error}");
    let page = pollster::block_on(log.read(Read::log(Query::All))).unwrap();
    assert_eq!(page.events.len(), 1);
}

#[test]
fn whoever_waits_for_a_failed_write_is_told_when_it_fails_and_afterwards() {
    let folder = tempfile::tempdir().unwrap();
    let machine = Arc::new(Fragile::default());
    let log = LogStore::open_in(machine.clone(), folder.path(), &options()).unwrap();
    log.append_blocking(batch(1)).unwrap();
    let mut context = Context::from_waker(Waker::noop());
    assert!(pin!(log.write_failed()).poll(&mut context).is_pending());
    let reason = std::thread::scope(|scope| {
        let waiting = scope.spawn(|| pollster::block_on(log.write_failed()));
        machine.faults.sync.store(true, Ordering::SeqCst);
        log.append_blocking(batch(2)).unwrap_err();
        waiting.join().unwrap()
    });
    assert!(reason.contains("writing segment 1 failed"), "{reason}");
    assert_eq!((log.read_only(), pollster::block_on(log.write_failed())), (Some(reason.clone()), reason));
}

#[test]
fn a_panic_while_a_batch_is_decided_ends_all_writing_and_harms_nothing() {
    type Append = fn(&LogStore, Batch) -> Result<gesta_core::Appended, AppendError>;
    let ways: [Append; 2] =
        [LogStore::append_blocking, |log, batch| pollster::block_on(EventStore::append(log, batch))];
    for append in ways {
        let folder = tempfile::tempdir().unwrap();
        let breaks = Arc::new(AtomicBool::new(false));
        let clock = {
            let breaks = Arc::clone(&breaks);
            Arc::new(move || {
                assert!(!breaks.load(Ordering::SeqCst), "a clock that fails");
                Timestamp::from_nanos(1)
            })
        };
        let log = LogStore::open(folder.path(), &Options { clock: Some(clock), ..options() }).unwrap();
        append(&log, batch(1)).unwrap();
        breaks.store(true, Ordering::SeqCst);
        let broken = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| append(&log, batch(2))));
        assert!(broken.is_err());
        assert!(append(&log, batch(3)).is_err(), "nothing is written any more");
        assert_eq!(count(&log), 1, "what was acknowledged is there");
        assert!(log.read_only().unwrap().contains("panicked"));
        drop(log);
        let log = LogStore::open(folder.path(), &options()).unwrap();
        assert_eq!(log.read_only(), None, "{:?}", log.recovery());
        append(&log, batch(2)).unwrap();
        assert_eq!(count(&log), 2);
    }
}
