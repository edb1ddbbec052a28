//! Restored logs: new stores with the events of old ones.

use std::fs;

use gesta_core::{AppendError, Batch, Condition, EventStore, Place, Query, Read, ReadError};
use gesta_log::{BackupOptions, LogStore, OpenError, RestoreError, backup, restore, verify};
use tempfile::TempDir;

use crate::town::{append, event, log_of, open, options, read_all, segments};

/// Makes a log of `batches` batches and its backup.
fn backup_of(batches: u64) -> (TempDir, TempDir) {
    let (folder, to) = (log_of(batches, 500), TempDir::new().unwrap());
    backup(folder.path(), to.path(), &BackupOptions::default()).unwrap();
    (folder, to)
}

#[test]
fn a_restored_log_opens_verifies_and_takes_appends_and_further_backups() {
    let (_folder, from) = backup_of(200);
    let target = TempDir::new().unwrap();
    let made = restore(from.path(), target.path()).unwrap();
    assert_eq!((made.position, made.segments), (400, segments(&from).len()));
    assert_ne!(made.store, made.origin);
    assert!(verify(target.path()).unwrap().is_sound());
    let names = fs::read_dir(target.path()).unwrap().map(|entry| entry.unwrap().file_name());
    assert!(!names.into_iter().any(|name| name == "restoring"));

    let log = open(&target);
    assert_eq!((log.read_only(), log.id()), (None, made.store));
    let repeat = log.append_blocking(Batch::new([event(399, 500), event(400, 500)])).unwrap();
    assert!(repeat.repeated, "ids and keys still decide repeats after a restore");
    (200..330).for_each(|batch| append(&log, batch, 500));
    drop(log);
    let report = verify(target.path()).unwrap();
    assert!(report.is_sound() && report.events == 660, "{report:?}");

    let (again, third) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    backup(target.path(), again.path(), &BackupOptions::default()).unwrap();
    let made = restore(again.path(), third.path()).unwrap();
    assert_eq!(made.position, 660);
    assert_eq!(read_all(&open(&third), &Query::All).0.len(), 660);
    let error = backup(target.path(), from.path(), &BackupOptions::default()).unwrap_err();
    assert!(error.to_string().contains("use another folder"), "{error}");
}

#[test]
fn a_restored_log_writes_only_to_new_segments() {
    let (folder, from) = backup_of(20);
    let target = TempDir::new().unwrap();
    let made = restore(from.path(), target.path()).unwrap();
    let restored_files = segments(&target);
    let before = restored_files.iter().map(|path| fs::read(path).unwrap()).collect::<Vec<_>>();
    let log = open(&target);
    append(&log, 20, 500);
    drop(log);
    for (path, before) in restored_files.iter().zip(before) {
        assert_eq!(fs::read(path).unwrap(), before);
    }
    let own = segments(&target).into_iter().find(|path| !restored_files.contains(path)).unwrap();
    assert_eq!(&fs::read(own).unwrap()[32..48], made.store.as_bytes(), "its origin");
    drop(folder);
}

#[test]
fn checkpoints_of_the_old_store_are_refused() {
    let (folder, from) = backup_of(20);
    let target = TempDir::new().unwrap();
    restore(from.path(), target.path()).unwrap();
    let log = open(&folder);
    let page = log.read_blocking(&Read::log(Query::All)).unwrap();
    let restored = open(&target);
    let resume = Read::log_from(Query::All, Place::At(page.scanned_to.clone()));
    let error = restored.read_blocking(&resume).unwrap_err();
    assert!(matches!(error, ReadError::ForeignCheckpoint { .. }), "{error}");
    let error = pollster::block_on(restored.wait_past(page.scanned_to.clone())).unwrap_err();
    assert!(matches!(error, ReadError::ForeignCheckpoint { .. }), "{error}");
    let condition = Condition { fail_if_any: Query::All, after: Some(page.scanned_to) };
    let batch = Batch { conditions: vec![condition], ..Batch::new([event(9_999, 10)]) };
    assert!(matches!(restored.append_blocking(batch), Err(AppendError::ForeignCheckpoint { .. })));
}

#[test]
fn a_restore_needs_an_empty_folder() {
    let (folder, from) = backup_of(5);
    let error = restore(from.path(), folder.path()).unwrap_err();
    assert!(matches!(error, RestoreError::NotEmpty { .. }), "{error}");
    let target = TempDir::new().unwrap();
    let error = restore(folder.path(), target.path()).unwrap_err();
    assert!(error.to_string().contains("holds no backup"), "{error}");
    assert_eq!(fs::read_dir(&target).unwrap().count(), 0, "nothing was made");
}

#[test]
fn an_interrupted_restore_does_not_open_as_a_log() {
    let (_folder, from) = backup_of(200);
    let target = TempDir::new().unwrap();
    restore(from.path(), target.path()).unwrap();
    // The state just before the manifest is written.
    for name in ["manifest", "manifest.previous"] {
        fs::remove_file(target.path().join(name)).unwrap();
    }
    fs::write(target.path().join("restoring"), "").unwrap();
    let error = LogStore::open(target.path(), &options()).err().unwrap();
    assert!(matches!(error, OpenError::RestoreUnfinished { .. }), "{error}");
    assert!(matches!(verify(target.path()), Err(OpenError::RestoreUnfinished { .. })));
}
