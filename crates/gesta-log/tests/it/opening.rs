//! Opening a log, and the errors of an open.

use std::fs;
use std::path::{Path, PathBuf};

use gesta_core::{Query, Read};
use gesta_log::{
    BackupError, BackupOptions, LogStore, OpenError, Options, ReadOnlyCause, RepairError, ScrubOptions,
    backup, plan_repair, scrub, stat, verify, verify_backup,
};

use crate::town::{append, change, log_of, open, options, read_all, segments};

#[test]
fn a_locked_log_is_refused_with_the_name_of_its_holder() {
    let folder = tempfile::tempdir().unwrap();
    let log = open(&folder);
    log.describe_holder("the server at http://127.0.0.1:2114").unwrap();
    let error = LogStore::open(folder.path(), &options()).err().unwrap();
    assert!(matches!(error, OpenError::Locked { .. }));
    assert!(error.to_string().contains("in use by the server at http://127.0.0.1:2114"), "{error}");
    assert!(matches!(verify(folder.path()), Err(OpenError::Locked { .. })));
    drop(log);
    open(&folder);
}

#[test]
fn an_open_with_a_damaged_manifest_fails_and_changes_nothing() {
    let folder = log_of(5, 100);
    let manifest = folder.path().join("manifest");
    change(&manifest, |bytes| bytes[70] ^= 1);
    let before = fs::read(&segments(&folder)[0]).unwrap();
    assert!(matches!(LogStore::open(folder.path(), &options()), Err(OpenError::ManifestDamaged { .. })));
    assert_eq!(fs::read(&segments(&folder)[0]).unwrap(), before);
    change(&manifest, |bytes| bytes[70] ^= 1);
    assert_eq!(read_all(&open(&folder), &Query::All).0.len(), 10);
}

#[test]
fn an_open_of_segments_without_a_manifest_fails() {
    let folder = log_of(200, 500);
    fs::remove_file(folder.path().join("manifest")).unwrap();
    assert!(matches!(LogStore::open(folder.path(), &options()), Err(OpenError::ManifestMissing { .. })));
}

#[test]
fn a_small_log_without_its_manifest_is_not_opened_as_empty() {
    let folder = log_of(5, 100);
    fs::remove_file(folder.path().join("manifest")).unwrap();
    let _ = fs::remove_file(folder.path().join("manifest.previous"));
    let before = fs::read(&segments(&folder)[0]).unwrap();
    assert!(matches!(LogStore::open(folder.path(), &options()), Err(OpenError::ManifestMissing { .. })));
    assert_eq!(fs::read(&segments(&folder)[0]).unwrap(), before);
}

#[test]
fn a_first_batch_larger_than_the_first_segment_gets_a_larger_segment() {
    let folder = tempfile::tempdir().unwrap();
    let large = || {
        let data = vec![b'x'; 16 << 20].into();
        gesta_core::Batch::new([gesta_core::NewEvent { data, ..crate::town::event(1, 1) }])
    };
    let log = LogStore::open(folder.path(), &Options::default()).unwrap();
    log.append_blocking(large()).unwrap();
    drop(log);
    let log = LogStore::open(folder.path(), &Options::default()).unwrap();
    assert!(log.append_blocking(large()).unwrap().repeated);
    append(&log, 1, 10);
    drop(log);
    assert!(verify(folder.path()).unwrap().is_sound());
}

#[test]
fn a_new_log_takes_less_than_two_mebibytes() {
    let folder = tempfile::tempdir().unwrap();
    let log = LogStore::open(folder.path(), &Options::default()).unwrap();
    let bytes = || listing(folder.path()).iter().map(|(_, bytes)| bytes).sum::<u64>();
    assert!(bytes() < 4096, "an open creates no segment");
    append(&log, 0, 100);
    assert!(bytes() < 2 << 20, "{}", bytes());
}

#[test]
fn a_stale_manifest_is_detected() {
    let folder = log_of(40, 500);
    let stale = fs::read(folder.path().join("manifest")).unwrap();
    let log = open(&folder);
    (40..300).for_each(|batch| append(&log, batch, 500));
    drop(log);
    fs::write(folder.path().join("manifest"), stale).unwrap();
    let log = open(&folder);
    let reason = log.read_only().expect("the manifest does not list acknowledged segments");
    assert_eq!(reason.cause, ReadOnlyCause::StaleManifest, "{reason}");
}

#[test]
fn a_log_needs_only_its_segments_and_manifest() {
    let folder = log_of(200, 500);
    let before = read_all(&open(&folder), &Query::All);
    for entry in fs::read_dir(folder.path()).unwrap() {
        let entry = entry.unwrap();
        match entry.file_name().to_str().unwrap() {
            "segments" | "manifest" => {}
            _ if entry.path().is_dir() => fs::remove_dir_all(entry.path()).unwrap(),
            _ => fs::remove_file(entry.path()).unwrap(),
        }
    }
    assert_eq!(read_all(&open(&folder), &Query::All), before);
}

/// Lists all paths in a folder. Files have their lengths.
fn listing(folder: &Path) -> Vec<(PathBuf, u64)> {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap());
    let mut all = entries
        .flat_map(|entry| match entry.file_type().unwrap().is_dir() {
            true => [vec![(entry.path(), 0)], listing(&entry.path())].concat(),
            false => vec![(entry.path(), entry.metadata().unwrap().len())],
        })
        .collect::<Vec<_>>();
    all.sort();
    all
}

#[test]
fn an_open_of_a_backup_is_refused_and_creates_nothing() {
    let (folder, to) = (log_of(40, 500), tempfile::tempdir().unwrap());
    backup(folder.path(), to.path(), &BackupOptions::default()).unwrap();
    // A copy of a backup may lack files that do not belong to it, such as the lock.
    fs::remove_file(to.path().join("LOCK")).unwrap();
    let before = listing(to.path());
    let elsewhere = tempfile::tempdir().unwrap();
    let options = BackupOptions::default();
    let refusals = [
        LogStore::open(to.path(), &crate::town::options()).err(),
        verify(to.path()).err(),
        stat(to.path()).err(),
        scrub(to.path(), &ScrubOptions::default()).err(),
        backup(to.path(), elsewhere.path(), &options).err().map(|error| match error {
            BackupError::Open(error) => error,
            error => panic!("{error}"),
        }),
        plan_repair(to.path()).err().map(|error| match error {
            RepairError::Open(error) => error,
            error => panic!("{error}"),
        }),
    ];
    for refusal in refusals {
        let refusal = refusal.expect("the folder is not a log");
        assert!(matches!(refusal, OpenError::IsABackup { .. }), "{refusal:?}");
        let said = refusal.to_string();
        let restore = format!("`gesta restore --from {} --dir <folder>`", to.path().display());
        assert!(said.contains("holds a backup, not a log") && said.contains(&restore), "{said}");
    }
    assert_eq!(listing(to.path()), before);
    assert!(verify_backup(to.path()).unwrap().is_sound());
}

#[test]
fn an_unrelated_entry_named_backup_does_not_stop_an_open() {
    let to = tempfile::tempdir().unwrap();
    backup(log_of(5, 100), to.path(), &BackupOptions::default()).unwrap();
    let others: [fn(PathBuf); 2] =
        [|path| fs::create_dir(path).unwrap(), |path| fs::write(path, "an unrelated backup").unwrap()];
    for other in others {
        let folder = tempfile::tempdir().unwrap();
        other(folder.path().join("backup"));
        append(&open(&folder), 0, 10);
        assert_eq!(read_all(&open(&folder), &Query::All).0.len(), 2);
    }
    let folder = log_of(5, 100);
    fs::copy(to.path().join("backup"), folder.path().join("backup")).unwrap();
    assert_eq!(read_all(&open(&folder), &Query::All).0.len(), 10);
}

#[test]
fn a_segment_size_out_of_range_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    for segment_size_bytes in [(64 << 10) - 1, (1 << 30) + 1] {
        let options = Options { segment_size_bytes, ..Options::default() };
        let error = LogStore::open(folder.path(), &options).err().unwrap();
        assert!(error.to_string().contains("use 65536 to 1073741824"), "{error}");
    }
}

#[test]
fn verify_of_a_folder_without_a_log_fails() {
    let folder = tempfile::tempdir().unwrap();
    assert!(matches!(verify(folder.path()), Err(OpenError::NotALog { .. })));
    fs::write(folder.path().join("notes.txt"), "not a log").unwrap();
    assert!(matches!(verify(folder.path()), Err(OpenError::NotALog { .. })));
}

#[test]
fn an_unfinished_copy_is_refused_by_every_inspection() {
    let folder = log_of(5, 100);
    fs::write(folder.path().join("copying"), "").unwrap();
    let refusals = [
        LogStore::open(folder.path(), &options()).err(),
        LogStore::open_existing(folder.path(), &options()).err(),
        verify(folder.path()).err(),
        stat(folder.path()).err(),
        scrub(folder.path(), &ScrubOptions::default()).err(),
        plan_repair(folder.path()).err().map(|error| match error {
            RepairError::Open(error) => error,
            error => panic!("{error}"),
        }),
    ];
    for refusal in refusals {
        assert!(matches!(refusal, Some(OpenError::CopyUnfinished { .. })), "{refusal:?}");
    }
}

#[test]
fn an_unfinished_backup_is_no_log_and_goes_on() {
    let (folder, to) = (log_of(200, 500), tempfile::tempdir().unwrap());
    // Damage ends the backup after its first segment.
    let second = segments(&folder).swap_remove(1);
    let whole = fs::read(&second).unwrap();
    change(&second, |bytes| bytes[4_096 + 200] ^= 1);
    let take = || backup(folder.path(), to.path(), &BackupOptions::default());
    take().unwrap_err();
    let before = listing(to.path());
    assert!(before.iter().any(|(path, _)| path.extension().is_some_and(|extension| extension == "seg")));
    let refusals = [
        LogStore::open(to.path(), &options()).err(),
        LogStore::open_existing(to.path(), &options()).err(),
        verify(to.path()).err(),
    ];
    for refusal in refusals {
        assert!(matches!(refusal, Some(OpenError::BackupUnfinished { .. })), "{refusal:?}");
    }
    assert_eq!(listing(to.path()), before);
    fs::write(&second, whole).unwrap();
    assert_eq!(take().unwrap().position, 400);
}

#[test]
fn an_open_of_a_log_that_must_exist_makes_none() {
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir(folder.path().join("segments")).unwrap();
    let before = listing(folder.path());
    let missing = folder.path().join("missing");
    for path in [folder.path(), &missing] {
        let refused = LogStore::open_existing(path, &options()).err().unwrap();
        assert!(matches!(refused, OpenError::NotALog { .. }), "{refused:?}");
    }
    assert!(!missing.exists());
    // A backup that has begun with its first segment.
    let part = folder.path().join("segments/000000000001-00000000.seg.tmp");
    fs::write(&part, "a part").unwrap();
    let refusals =
        [LogStore::open(&folder, &options()).err(), LogStore::open_existing(&folder, &options()).err()];
    for refusal in refusals {
        assert!(matches!(refusal, Some(OpenError::BackupUnfinished { .. })), "{refusal:?}");
    }
    fs::remove_file(part).unwrap();
    assert_eq!(listing(folder.path()), before);
}

#[test]
fn a_closed_log_refuses_calls_as_closed() {
    let folder = tempfile::tempdir().unwrap();
    let log = open(&folder);
    append(&log, 0, 10);
    log.close();
    assert!(matches!(log.read_blocking(&Read::log(Query::All)), Err(gesta_core::ReadError::Closed)));
    let batch = gesta_core::Batch::new([crate::town::event(3, 10)]);
    assert_eq!(log.append_blocking(batch), Err(gesta_core::AppendError::Closed));
}

#[test]
fn a_closed_log_can_be_opened_while_processes_are_being_started() {
    // A child process that another thread starts holds copies of all open files until its exec.
    let folder = tempfile::tempdir().unwrap();
    let done = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !done.load(std::sync::atomic::Ordering::Relaxed) {
                std::process::Command::new("true").status().unwrap();
            }
        });
        let opened = (0..100).map(|_| LogStore::open(folder.path(), &options()).map(drop));
        let failed = opened.filter_map(Result::err).collect::<Vec<_>>();
        done.store(true, std::sync::atomic::Ordering::Relaxed);
        assert!(failed.is_empty(), "{} of 100 openings failed: {}", failed.len(), failed[0]);
    });
}

#[test]
fn each_opening_has_a_higher_number() {
    let folder = tempfile::tempdir().unwrap();
    let open = || LogStore::open(folder.path(), &Options::default()).unwrap().boot_epoch();
    let (first, second, third) = (open(), open(), open());
    assert!(first < second && second < third, "{first}, {second}, {third}");
}
