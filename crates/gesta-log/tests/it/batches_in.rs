//! Batches of a folder that is not opened.

use std::fs;

use gesta_core::{CopySource as _, Query};
use gesta_log::{BatchesError, LogCopy, OpenError, batches_in};
use pollster::block_on;

use crate::town::{change, log_of, open, options, read_all, segments};

#[test]
fn a_folder_is_read_by_several_and_stays_as_it_is() {
    let folder = log_of(40, 900);
    let names =
        || fs::read_dir(folder.path()).unwrap().map(|own| own.unwrap().file_name()).collect::<Vec<_>>();
    fs::remove_file(folder.path().join("LOCK")).unwrap();
    let (before, manifest) = (names(), fs::read(folder.path().join("manifest")).unwrap());
    let reads = [(); 2].map(|()| {
        let folder = folder.path().to_owned();
        std::thread::spawn(move || batches_in(folder).unwrap())
    });
    let [first, second] = reads.map(|read| read.join().unwrap());
    assert_eq!(first, second);
    assert_eq!((names(), fs::read(folder.path().join("manifest")).unwrap()), (before, manifest));

    let log = open(&folder);
    let (events, _) = read_all(&log, &Query::All);
    assert_eq!(first.iter().flat_map(|batch| batch.events().to_vec()).collect::<Vec<_>>(), events);
    assert_eq!(first[..3], block_on(log.batches(0, 0, 6).next()).unwrap());
}

#[test]
fn what_is_no_whole_log_is_refused() {
    let empty = tempfile::tempdir().unwrap();
    let error = batches_in(&empty).unwrap_err();
    assert!(matches!(error, BatchesError::Open(OpenError::NotALog { .. })), "{error:?}");
    let copy = LogCopy::open(&empty, gesta_core::StoreId::from_bytes([3; 16]), &options()).unwrap();
    let error = batches_in(&empty).unwrap_err();
    assert!(matches!(error, BatchesError::Open(OpenError::CopyUnfinished { .. })), "{error:?}");
    drop(copy);

    let damaged = log_of(30, 900);
    change(&segments(&damaged)[0], |bytes| bytes[4_096 + 200] ^= 1);
    let error = batches_in(&damaged).unwrap_err();
    assert!(matches!(error, BatchesError::Incomplete { .. } | BatchesError::Read(_)), "{error:?}");
}
