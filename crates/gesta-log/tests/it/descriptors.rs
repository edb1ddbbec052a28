//! A log with more segments than its process may open files.

use std::process::Command;

use gesta_core::Query;
use gesta_log::{BackupOptions, backup, scrub, stat, verify};

use crate::town::{append, log_of, open, read_all, segments};

/// This variable tells the test program that it is the child process with few open files.
const CHILD: &str = "GESTA_TEST_FEW_DESCRIPTORS";
const OPEN_FILES: usize = 32;

#[test]
fn a_log_with_more_segments_than_open_files_supports_appends_reads_verify_and_backup() {
    if std::env::var_os(CHILD).is_none() {
        // The limit applies to a whole process, and other tests run in this one. So start a child.
        let program = std::env::current_exe().unwrap();
        let name =
            "descriptors::a_log_with_more_segments_than_open_files_supports_appends_reads_verify_and_backup";
        let limited = format!("ulimit -n {OPEN_FILES}; exec \"$0\" --exact {name} --nocapture");
        let ran = Command::new("sh").args(["-c", &limited]).arg(program).env(CHILD, "1").output().unwrap();
        assert!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stderr));
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
