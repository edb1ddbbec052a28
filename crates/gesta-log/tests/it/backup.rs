//! Backups: taken while the log is in use, extended, interrupted, verified.

use std::fs;
use std::num::NonZeroU64;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use gesta_core::{Query, RecordedEvent};
use gesta_log::{
    Backup, BackupError, BackupOptions, LogStore, SealedSegments, backup, restore, scrub, verify,
    verify_backup,
};
use tempfile::TempDir;

use crate::town::{append, change, crash_copy, log_of, open, options, read_all, segments};

/// Restores a backup and reads all events.
fn restored(backup: &Path) -> Vec<RecordedEvent> {
    let folder = TempDir::new().unwrap();
    restore(backup, folder.path()).unwrap();
    assert!(verify(folder.path()).unwrap().is_sound());
    let (events, damage) = read_all(&open(&folder), &Query::All);
    assert_eq!(damage, []);
    events
}

/// Checks that a folder holds a sound backup of exactly the events of a log up to `position`.
fn check(folder: &Path, position: u64, of: &LogStore) {
    let report = verify_backup(folder).unwrap();
    assert!(report.is_sound(), "{report:?}");
    assert_eq!((report.position, report.events), (position, position));
    let source = read_all(of, &Query::All).0;
    let first = source.into_iter().take_while(|event| event.position().sequence <= position);
    assert_eq!(restored(folder), first.collect::<Vec<_>>());
}

fn take(log: &LogStore, to: &TempDir) -> Backup {
    log.backup(to.path(), &BackupOptions::default()).unwrap()
}

fn files(backup: &TempDir) -> Vec<std::path::PathBuf> {
    segments(backup)
}

#[test]
fn a_backup_of_an_open_log_holds_every_event_up_to_its_position() {
    let (folder, to) = (log_of(200, 500), TempDir::new().unwrap());
    let log = open(&folder);
    let taken = take(&log, &to);
    assert_eq!((taken.position, taken.store, taken.segments), (400, log.id(), taken.copied));
    assert!(taken.segments > 3, "{taken:?}");
    append(&log, 200, 500);
    check(to.path(), 400, &log);
}

#[test]
fn backups_during_appends_hold_every_event_up_to_their_position() {
    let (folder, done) = (TempDir::new().unwrap(), AtomicBool::new(false));
    let log = open(&folder);
    append(&log, 0, 700);
    let targets = std::thread::scope(|scope| {
        let appending = [0, 1].map(|thread| {
            let (log, done) = (&log, &done);
            scope.spawn(move || {
                let mut batches = (1..).map(|batch| 2 * batch + thread);
                while !done.load(Ordering::Relaxed) {
                    append(log, batches.next().unwrap(), 700);
                }
            })
        });
        let mut targets = Vec::new();
        while targets.len() < 3 {
            let to = TempDir::new().unwrap();
            let first = take(&log, &to);
            let second = take(&log, &to);
            if second.position > first.position && second.segments > 1 {
                targets.push((to, second));
            }
        }
        done.store(true, Ordering::Relaxed);
        appending.into_iter().for_each(|thread| thread.join().unwrap());
        targets
    });
    for (to, taken) in targets {
        check(to.path(), taken.position, &log);
    }
}

#[test]
fn a_later_backup_copies_only_new_segments() {
    let (folder, to) = (log_of(200, 500), TempDir::new().unwrap());
    let log = open(&folder);
    let first = take(&log, &to);
    let again = take(&log, &to);
    assert_eq!((again.copied, again.copied_bytes, again.position), (0, 0, 400), "nothing is new");
    let before = files(&to).iter().map(|path| fs::metadata(path).unwrap().len()).sum::<u64>();
    assert_eq!(before, first.bytes);

    (200..320).for_each(|batch| append(&log, batch, 500));
    let next = take(&log, &to);
    assert!(next.segments > first.segments, "{next:?}");
    // The cut segment is written again as a whole. Earlier ones are not.
    assert_eq!(next.copied, next.segments - (first.segments - 1));
    let written = 120 * 2 * 700;
    assert!(next.copied_bytes < written + (64 << 10), "{next:?}");
    assert_eq!(files(&to).len(), next.segments, "files that only the previous backup used are gone");
    check(to.path(), 640, &log);
}

#[test]
fn sealed_segments_are_linked_on_request() {
    let (folder, to) = (log_of(200, 500), TempDir::new().unwrap());
    let log = open(&folder);
    let taken = log
        .backup(to.path(), &BackupOptions { sealed: SealedSegments::Link, ..BackupOptions::default() })
        .unwrap();
    assert_eq!(
        (taken.linked, taken.copied),
        (taken.segments - 1, 1),
        "all segments but the cut one are linked"
    );
    check(to.path(), 400, &log);
}

#[test]
fn a_backup_of_a_closed_log_does_not_change_it() {
    let (folder, to) = (log_of(200, 500), TempDir::new().unwrap());
    let before = crash_copy(folder.path());
    let taken = backup(folder.path(), to.path(), &BackupOptions::default()).unwrap();
    assert_eq!(taken.position, 400);
    for (path, copy) in segments(&folder).iter().zip(segments(&before)) {
        assert_eq!(fs::read(path).unwrap(), fs::read(copy).unwrap());
    }
    let log = open(&folder);
    let error = backup(folder.path(), to.path(), &BackupOptions::default()).unwrap_err();
    assert!(error.to_string().contains("is in use by"), "{error}");
    check(to.path(), 400, &log);
}

#[test]
fn a_backup_after_a_crash_holds_every_acknowledged_event() {
    let folder = TempDir::new().unwrap();
    let log = open(&folder);
    (0..20).for_each(|batch| append(&log, batch, 3_000));
    let killed = crash_copy(folder.path());
    let to = TempDir::new().unwrap();
    backup(killed.path(), to.path(), &BackupOptions::default()).unwrap();
    check(to.path(), 40, &log);
}

#[test]
fn a_backup_repairs_a_damaged_header_and_end() {
    let folder = log_of(200, 500);
    let paths = segments(&folder);
    change(&paths[0], |bytes| bytes[50] ^= 1);
    change(&paths[1], |bytes| {
        let end = bytes.len() - 60;
        bytes[end] ^= 1;
    });
    for sealed in [SealedSegments::Link, SealedSegments::Copy] {
        let (log, to) = (open(&folder), TempDir::new().unwrap());
        let taken = log.backup(to.path(), &BackupOptions { sealed, ..BackupOptions::default() }).unwrap();
        let linked = if sealed == SealedSegments::Link { taken.segments - 3 } else { 0 };
        assert_eq!(
            (taken.position, taken.linked),
            (400, linked),
            "the two repaired segments and the cut one are copied"
        );
        assert!(scrub(to.path(), &gesta_log::ScrubOptions::default()).is_err(), "a backup is no log");
        check(to.path(), 400, &log);
    }
}

#[test]
fn an_empty_log_is_backed_up_and_restored() {
    let (folder, to) = (log_of(0, 0), TempDir::new().unwrap());
    let log = open(&folder);
    assert_eq!((take(&log, &to).segments, take(&log, &to).position), (0, 0));
    check(to.path(), 0, &log);
}

#[test]
fn an_interrupted_backup_leaves_the_previous_one_intact() {
    let (folder, to) = (log_of(100, 500), TempDir::new().unwrap());
    let log = open(&folder);
    take(&log, &to);
    let manifest = fs::read(to.path().join("backup")).unwrap();
    (100..300).for_each(|batch| append(&log, batch, 500));
    drop(log);
    // The last segment cannot be copied, so the attempt ends after it has written all earlier ones.
    let log = open(&folder);
    let sealed = segments(&folder);
    let last_sealed = sealed.iter().rfind(|path| fs::metadata(path).unwrap().len() != 64 << 10).unwrap();
    let at = fs::read(last_sealed).unwrap().len() / 2;
    change(last_sealed, |bytes| bytes[at] ^= 1);
    let error = log.backup(to.path(), &BackupOptions::default()).unwrap_err();
    let BackupError::Damaged(damage) = &error else { panic!("{error}") };
    assert!(damage.loses_events() && error.to_string().contains("older backup"), "{error}");
    assert_eq!(fs::read(to.path().join("backup")).unwrap(), manifest);
    assert!(files(&to).len() > 4, "files of the attempt remain");

    change(last_sealed, |bytes| bytes[at] ^= 1);
    check(to.path(), 200, &log);
    let taken = take(&log, &to);
    assert!(taken.copied < taken.segments - 3, "the backup uses the copies of the attempt: {taken:?}");
    check(to.path(), 600, &log);
}

#[test]
fn every_flipped_byte_of_a_backup_is_found_and_stops_a_restore() {
    let (folder, to) = (log_of(40, 500), TempDir::new().unwrap());
    take(&open(&folder), &to);
    let path = files(&to)[0].clone();
    let len = fs::read(&path).unwrap().len();
    for at in (0..len).step_by(997).chain([len - 1]) {
        change(&path, |bytes| bytes[at] ^= 0x10);
        let report = verify_backup(to.path()).unwrap();
        assert!(!report.is_sound(), "byte {at}");
        let target = TempDir::new().unwrap();
        let error = restore(to.path(), target.path()).unwrap_err();
        assert!(error.to_string().contains("its checksum is wrong"), "{error}");
        assert!(segments(&target).is_empty() && !target.path().join("restoring").exists(), "nothing is left");
        change(&path, |bytes| bytes[at] ^= 0x10);
        restore(to.path(), target.path()).unwrap();
    }
    assert!(verify_backup(to.path()).unwrap().is_sound());
    fs::write(&path, &fs::read(&path).unwrap()[..len - 8]).unwrap();
    assert!(!verify_backup(to.path()).unwrap().is_sound(), "cut");
    fs::remove_file(&path).unwrap();
    assert!(!verify_backup(to.path()).unwrap().is_sound(), "missing");
    change(&to.path().join("backup"), |bytes| bytes[20] ^= 1);
    let error = verify_backup(to.path()).unwrap_err();
    assert!(error.to_string().contains("the manifest of the backup"), "{error}");
}

#[test]
fn a_backup_into_a_folder_with_other_files_or_another_logs_backup_is_refused() {
    let (folder, other, to) = (log_of(5, 100), log_of(5, 100), TempDir::new().unwrap());
    let log = open(&folder);
    let error = log.backup(folder.path(), &BackupOptions::default()).unwrap_err();
    assert!(matches!(error, BackupError::NotABackup { .. }), "{error}");
    take(&log, &to);
    let error = open(&other).backup(to.path(), &BackupOptions::default()).unwrap_err();
    assert!(error.to_string().contains(&format!("a backup of store {}", log.id())), "{error}");
    let error = verify_backup(other.path()).unwrap_err();
    assert!(error.to_string().contains("holds no backup"), "{error}");
}

#[test]
fn a_backup_of_a_log_with_an_unsettled_end_is_refused() {
    let (folder, to) = (log_of(20, 500), TempDir::new().unwrap());
    let path = segments(&folder).into_iter().next().unwrap();
    change(&path, |bytes| {
        // The last frame is idle. Its kind is the last byte that is not zero, three bytes before the frame's end.
        let end = bytes.iter().rposition(|byte| *byte != 0).unwrap() + 4;
        bytes[end..end + 2_000].fill(7);
    });
    let log = LogStore::open(folder.path(), &options()).unwrap();
    let open = log.backup(to.path(), &BackupOptions::default()).unwrap_err();
    drop(log);
    let closed = backup(folder.path(), to.path(), &BackupOptions::default()).unwrap_err();
    for error in [open, closed] {
        assert!(error.to_string().contains("gesta repair --drop-tail"), "{error}");
    }
    assert!(!to.path().join("backup").exists());
}

#[test]
fn a_backup_respects_its_rate_limit() {
    let (folder, rate) = (log_of(200, 500), 1 << 20);
    let log = open(&folder);
    for sealed in [SealedSegments::Copy, SealedSegments::Link] {
        let to = TempDir::new_in(folder.path()).unwrap();
        let options = BackupOptions { sealed, bytes_per_second: NonZeroU64::new(rate) };
        let started = Instant::now();
        let taken = log.backup(to.path(), &options).unwrap();
        assert_eq!(taken.linked > 0, sealed == SealedSegments::Link, "{taken:?}");
        // The backup writes headers itself, and END if needed.
        let bytes = taken.bytes - 4_300 * taken.segments as u64;
        let least = bytes * 1_000 / rate;
        assert!(started.elapsed().as_millis() >= u128::from(least), "{least} ms at the least: {taken:?}");
        check(to.path(), 400, &log);
    }
}

#[test]
fn a_backup_is_not_replaced_by_a_shorter_or_diverged_one() {
    let folder = log_of(100, 500);
    let older = crash_copy(folder.path());
    let to = TempDir::new().unwrap();
    let log = open(&folder);
    (100..200).for_each(|batch| append(&log, batch, 500));
    take(&log, &to);
    let manifest = fs::read(to.path().join("backup")).unwrap();
    // Restore the older copy. It is shorter than the backup first, and longer later, with other events.
    let log = open(&older);
    for grown in [100, 300] {
        (1_000..1_000 + grown / 2).for_each(|batch| append(&log, batch + grown, 500));
        let open = log.backup(to.path(), &BackupOptions::default()).unwrap_err();
        assert!(matches!(open, BackupError::OtherHistory { position: 400, .. }), "{open}");
        assert!(open.to_string().contains("use another folder"), "{open}");
    }
    drop(log);
    let closed = backup(older.path(), to.path(), &BackupOptions::default()).unwrap_err();
    assert!(matches!(closed, BackupError::OtherHistory { .. }), "{closed}");
    assert_eq!(fs::read(to.path().join("backup")).unwrap(), manifest);
    assert!(verify_backup(to.path()).unwrap().is_sound());
}

#[test]
fn a_backup_of_a_log_that_lost_its_end_is_refused() {
    let (folder, to) = (log_of(200, 500), TempDir::new().unwrap());
    backup(folder.path(), to.path(), &BackupOptions::default()).unwrap();
    let holds_frames = |path: &&std::path::PathBuf| fs::read(path).unwrap()[4096] != 0;
    let paths = segments(&folder);
    fs::remove_file(paths.iter().rfind(holds_frames).unwrap()).unwrap();
    let closed = backup(folder.path(), to.path(), &BackupOptions::default()).unwrap_err();
    let open = open(&folder).backup(to.path(), &BackupOptions::default()).unwrap_err();
    for error in [closed, open] {
        assert!(matches!(error, BackupError::Unsettled { .. }), "{error}");
    }
    assert_eq!(verify_backup(to.path()).unwrap().position, 400);
}

#[test]
fn a_backup_continues_after_a_tail_that_recovery_copied() {
    let folder = TempDir::new().unwrap();
    let log = open(&folder);
    (0..20).for_each(|batch| append(&log, batch, 3_000));
    let (killed, to) = (crash_copy(folder.path()), TempDir::new().unwrap());
    backup(killed.path(), to.path(), &BackupOptions::default()).unwrap();
    let log = open(&killed);
    append(&log, 20, 3_000);
    assert_eq!(take(&log, &to).position, 42, "the last event is the same, possibly in another segment");
    check(to.path(), 42, &log);
}

#[test]
fn a_damaged_start_frame_is_copied_unchanged() {
    let (folder, to) = (log_of(200, 500), TempDir::new().unwrap());
    change(&segments(&folder)[1], |bytes| bytes[4_096 + 20] ^= 1);
    let log = open(&folder);
    assert_eq!(take(&log, &to).position, 400);
    let report = verify_backup(to.path()).unwrap();
    assert_eq!((report.is_sound(), report.flaws.len()), (true, 1), "{report:?}");
    let restored = TempDir::new().unwrap();
    restore(to.path(), restored.path()).unwrap();
    let restored = open(&restored);
    assert_eq!((restored.read_only(), restored.recovery().flaws.len()), (None, 1));
    assert_eq!(crate::town::read_all(&restored, &gesta_core::Query::All).0.len(), 400);
}
