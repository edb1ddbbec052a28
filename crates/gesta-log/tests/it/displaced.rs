//! A log whose folder is moved, removed or replaced while it is open.

use std::fs;
use std::path::{Path, PathBuf};

use gesta_core::{AppendError, Batch, Query};
use gesta_log::{LogStore, OpenError, ReadOnlyCause};
use tempfile::TempDir;

use crate::town::{append, event, open, read_all};

/// An open log with a batch of two events, in a folder that can be moved, and the place to move it to.
fn log() -> (TempDir, LogStore, PathBuf, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let (path, moved) = (folder.path().join("log"), folder.path().join("moved"));
    let log = open(&path);
    append(&log, 0, 10);
    (folder, log, path, moved)
}

/// The files of a folder, with their content.
fn files(folder: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let mut files = entries
        .flat_map(|path| match path.is_dir() {
            true => files(&path),
            false => vec![(path.clone(), fs::read(&path).unwrap())],
        })
        .collect::<Vec<_>>();
    files.sort();
    files
}

/// Waits until the log has noticed, and checks that it acknowledges nothing.
fn check_stopped(log: &LogStore, expected: &str) {
    let stopped = pollster::block_on(log.write_failed());
    assert_eq!(stopped.cause, ReadOnlyCause::Displaced);
    assert!(stopped.reason.contains(expected), "{stopped}");
    assert_eq!(log.read_only(), Some(stopped));
    let refused = log.append_blocking(Batch::new([event(9, 10)])).unwrap_err();
    assert!(matches!(&refused, AppendError::ReadOnly { reason } if reason.contains(expected)), "{refused}");
}

#[test]
fn a_log_that_lost_its_lock_file_is_not_opened_twice() {
    let (_folder, log, path, _) = log();
    fs::remove_file(path.join("LOCK")).unwrap();
    for _ in 0..2 {
        let refused = LogStore::open(&path, &crate::town::options()).err().unwrap();
        assert!(matches!(refused, OpenError::Locked { .. }), "{refused}");
    }
    assert!(!path.join("LOCK").exists());
    drop(log);
    assert_eq!(read_all(&open(&path), &Query::All).0.len(), 2);
}

#[test]
fn a_log_whose_folder_was_moved_stops_and_leaves_the_log_in_its_place_alone() {
    let (_folder, log, path, moved) = log();
    fs::rename(&path, &moved).unwrap();
    let other = open(&path);
    append(&other, 1, 10);
    check_stopped(&log, "was replaced by another folder");
    other.close();
    let before = files(&path);
    drop(log);
    assert_eq!(files(&path), before);
    drop(other);
    assert_eq!(read_all(&open(&path), &Query::All).0.len(), 2);
    assert_eq!(read_all(&open(&moved), &Query::All).0.len(), 2);
}

#[test]
fn a_log_that_is_closed_before_it_has_looked_leaves_the_log_in_its_place_alone() {
    let (_folder, log, path, moved) = log();
    fs::rename(&path, &moved).unwrap();
    drop(open(&path));
    let before = files(&path);
    log.close();
    assert_eq!(log.read_only().map(|own| own.cause), Some(ReadOnlyCause::Displaced));
    assert_eq!(files(&path), before);
}

#[test]
fn a_log_whose_folder_was_removed_stops() {
    let (_folder, log, path, _) = log();
    fs::remove_dir_all(&path).unwrap();
    check_stopped(&log, "was moved or removed");
    drop(log);
    assert!(!path.exists());
}

#[test]
fn a_log_whose_files_were_replaced_stops_and_leaves_them_alone() {
    let (folder, log, path, _) = log();
    let other = folder.path().join("other");
    drop(open(&other));
    fs::copy(other.join("manifest"), path.join("new")).unwrap();
    fs::rename(path.join("new"), path.join("manifest")).unwrap();
    check_stopped(&log, "belongs to another log");
    drop(log);
    assert_eq!(fs::read(path.join("manifest")).unwrap(), fs::read(other.join("manifest")).unwrap());
}
