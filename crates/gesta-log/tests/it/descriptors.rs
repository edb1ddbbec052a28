//! A log with more segments than its process may have files open.

use std::process::Command;

use gesta_core::Query;
use gesta_log::{BackupOptions, backup, scrub, stat, verify};

use crate::town::{append, log_of, open, read_all, segments};

/// Says to this program that it is the process with few open files.
const CHILD: &str = "GESTA_TEST_FEW_DESCRIPTORS";
const OPEN_FILES: usize = 32;

#[test]
fn a_log_with_more_segments_than_open_files_is_appended_to_read_verified_and_copied() {
    if std::env::var_os(CHILD).is_none() {
        // The limit is the process's: other tests run in this one.
        let program = std::env::current_exe().unwrap();
        let name =
            "descriptors::a_log_with_more_segments_than_open_files_is_appended_to_read_verified_and_copied";
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
