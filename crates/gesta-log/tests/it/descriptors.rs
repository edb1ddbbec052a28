//! A log with more segments and index files than its process may open files.

use std::process::Command;

use gesta_core::{Batch, Query};
use gesta_log::{BackupOptions, LogStore, Options, backup, scrub, stat, verify};

use crate::town::{append, event, log_of, open, options, read_all, segments};

/// This variable tells the test program that it is the child process with few open files.
const CHILD: &str = "GESTA_TEST_FEW_DESCRIPTORS";
const OPEN_FILES: usize = 32;

/// Runs the rest of a test in a child process that may have few open files. `false` in the parent, which has checked the
/// child.
fn is_child(name: &str) -> bool {
    if std::env::var_os(CHILD).is_some() {
        return true;
    }
    // The limit applies to a whole process, and other tests run in this one.
    let program = std::env::current_exe().unwrap();
    let limited = format!("ulimit -n {OPEN_FILES}; exec \"$0\" --exact descriptors::{name} --nocapture");
    let ran = Command::new("sh").args(["-c", &limited]).arg(program).env(CHILD, "1").output().unwrap();
    assert!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stderr));
    false
}

#[test]
fn a_log_with_more_segments_than_open_files_supports_appends_reads_verify_and_backup() {
    if !is_child("a_log_with_more_segments_than_open_files_supports_appends_reads_verify_and_backup") {
        return;
    }
    let folder = log_of(60, 12_000);
    let log = open(&folder);
    (60..150).for_each(|batch| append(&log, batch, 12_000));
    assert!(segments(&folder).len() > 2 * OPEN_FILES, "{}", segments(&folder).len());
    assert_eq!(read_all(&log, &Query::All).0.len(), 300);
    drop(log);
    assert_eq!(read_all(&open(&folder), &Query::All).0.len(), 300);
    assert!(verify(folder.path()).unwrap().is_sound());
    assert_eq!(stat(folder.path()).unwrap().events(), 300);
    let to = tempfile::tempdir().unwrap();
    backup(folder.path(), to.path(), &BackupOptions::default()).unwrap();
    assert!(scrub(folder.path(), &gesta_log::ScrubOptions::default()).is_ok());
}

#[test]
fn a_log_with_more_index_files_than_open_files_supports_appends_reads_and_verify() {
    if !is_child("a_log_with_more_index_files_than_open_files_supports_appends_reads_and_verify") {
        return;
    }
    // This log has no index files yet. The next open makes one for every few batches.
    let folder = log_of(300, 10);
    let options = Options { index_run_bytes: 1 << 10, ..options() };
    let log = LogStore::open(folder.path(), &options).unwrap();
    assert!(log.wait_for_index(), "{:?}", log.index_progress());
    (300..330).for_each(|batch| append(&log, batch, 10));
    assert_eq!(read_all(&log, &Query::All).0.len(), 660);
    let again = log.append_blocking(Batch::new([event(1, 10)])).unwrap();
    assert!(again.repeated, "an id in the oldest index file");
    drop(log);
    let report = verify(folder.path()).unwrap();
    assert!(report.is_sound() && report.index_files > 0, "{report:?}");
}
