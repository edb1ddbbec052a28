//! Repairs: rebuilding a manifest, and dropping a tail at an operator's request.

use std::fs;
use std::path::Path;

use gesta_core::Query;
use gesta_log::{
    BackupOptions, LogStore, OpenError, Repair, RepairError, backup, plan_repair, repair, restore, stat,
    verify,
};
use tempfile::TempDir;

use crate::town::{
    append, change, crash_copy, data_of, find, log_of, open, options, read_all, segments, uncovered,
};

fn manifest(folder: &TempDir) -> std::path::PathBuf {
    folder.path().join("manifest")
}

fn remove_manifests(folder: &TempDir) {
    fs::remove_file(manifest(folder)).unwrap();
    let _ = fs::remove_file(folder.path().join("manifest.previous"));
}

/// Reads every file of a folder except the lock.
fn bytes_of(folder: &Path) -> Vec<(std::path::PathBuf, Vec<u8>)> {
    let mut files = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(own) = folders.pop() {
        for entry in fs::read_dir(own).unwrap().map(|entry| entry.unwrap().path()) {
            match entry.is_dir() {
                true => folders.push(entry),
                false if entry.ends_with("LOCK") => {}
                false => files.push((entry.clone(), fs::read(entry).unwrap())),
            }
        }
    }
    files.sort();
    files
}

/// Damages a log's manifest, repairs it, and checks that the log holds the same events and takes appends.
#[track_caller]
fn check(folder: &TempDir, damage: impl FnOnce(&TempDir)) {
    let log = open(folder);
    let (before, store) = (read_all(&log, &Query::All).0, log.id());
    drop(log);
    let known = stat(folder.path()).unwrap();
    damage(folder);
    let damaged = bytes_of(folder.path());
    let plan = plan_repair(folder.path()).unwrap();
    assert_eq!(plan.repair, Some(Repair::Manifest), "{plan:?}");
    assert_eq!(bytes_of(folder.path()), damaged, "a plan changes nothing");

    let done = repair(folder.path(), Repair::Manifest).unwrap();
    assert_eq!((&done.found, &done.steps), (&plan.found, &plan.steps));
    let said = fs::read_to_string(&done.report).unwrap();
    assert!(done.found.iter().chain(&done.steps).all(|line| said.contains(line)), "{said}");
    let report = verify(folder.path()).unwrap();
    assert!(report.is_sound(), "{report:?}");
    let now = stat(folder.path()).unwrap();
    assert!(now.boot_epoch > known.boot_epoch && now.manifest_generation > known.manifest_generation);
    assert_eq!((now.store, &now.origins), (known.store, &known.origins));
    let counts = |stat: &gesta_log::LogStat| {
        let own = stat.segments.iter().map(|own| (own.segment, own.frames, own.events, own.first_position));
        own.collect::<Vec<_>>()
    };
    assert_eq!(counts(&now), counts(&known));

    let log = open(folder);
    assert_eq!((log.read_only(), log.id()), (None, store));
    assert_eq!(read_all(&log, &Query::All), (before.clone(), Vec::new()));
    let next = before.len() as u64 / 2;
    (next..next + 100).for_each(|batch| append(&log, batch, 500));
    drop(log);
    let report = verify(folder.path()).unwrap();
    assert!(report.is_sound() && report.events == before.len() as u64 + 200, "{report:?}");
    let log = open(folder);
    assert_eq!(read_all(&log, &Query::All).0[..before.len()], before);
    let error = {
        drop(log);
        repair(folder.path(), Repair::Manifest).unwrap_err()
    };
    assert!(matches!(error, RepairError::NothingToDo { .. }), "{error}");
}

#[test]
fn a_removed_manifest_is_rebuilt() {
    for batches in [0, 1, 20, 80, 200] {
        check(&log_of(batches, 500), |folder| fs::remove_file(manifest(folder)).unwrap());
        // A log without events has only its manifest.
        if batches > 0 {
            check(&log_of(batches, 500), remove_manifests);
        }
    }
}

#[test]
fn a_damaged_manifest_is_rebuilt_and_quarantined() {
    let folder = log_of(200, 500);
    let mut bytes = Vec::new();
    check(&folder, |folder| {
        change(&manifest(folder), |bytes| bytes[70] ^= 1);
        bytes = fs::read(manifest(folder)).unwrap();
        let error = LogStore::open(folder.path(), &options()).err().unwrap();
        assert!(error.to_string().contains("gesta repair --manifest"), "{error}");
    });
    let kept = fs::read_dir(folder.path().join("quarantine")).unwrap().map(|entry| entry.unwrap().path());
    assert!(kept.into_iter().any(|path| fs::read(path).unwrap() == bytes));
}

#[test]
fn a_stale_manifest_is_rebuilt() {
    let folder = log_of(40, 500);
    let stale = fs::read(manifest(&folder)).unwrap();
    let log = open(&folder);
    (40..300).for_each(|batch| append(&log, batch, 500));
    drop(log);
    check(&folder, |folder| {
        fs::write(manifest(folder), &stale).unwrap();
        let reason = open(folder).read_only().unwrap();
        assert!(reason.reason.contains("gesta repair --manifest"), "{reason}");
    });
}

#[test]
fn the_manifest_of_a_restored_log_is_rebuilt_with_the_new_id() {
    let restored = || {
        let (folder, from, to) = (log_of(200, 500), TempDir::new().unwrap(), TempDir::new().unwrap());
        backup(folder.path(), from.path(), &BackupOptions::default()).unwrap();
        restore(from.path(), to.path()).unwrap();
        to
    };
    check(&restored(), |folder| fs::remove_file(manifest(folder)).unwrap());
    // The segment with the new appends has the new id.
    let folder = restored();
    append(&open(&folder), 200, 500);
    check(&folder, remove_manifests);
    // Before the first append no segment has the new id; only the previous manifest has it.
    let folder = restored();
    let store = stat(folder.path()).unwrap().store;
    fs::remove_file(manifest(&folder)).unwrap();
    repair(folder.path(), Repair::Manifest).unwrap();
    assert_eq!(open(&folder).id(), store);
}

#[test]
fn the_rebuilt_manifest_of_a_crashed_log_covers_every_acknowledged_event() {
    let killed = uncovered(100, 500);
    let with_manifest = crash_copy(killed.path());
    let expected = read_all(&open(&with_manifest), &Query::All).0;
    assert_eq!(expected.len(), 200);
    remove_manifests(&killed);
    repair(killed.path(), Repair::Manifest).unwrap();
    let log = open(&killed);
    assert_eq!((log.read_only(), read_all(&log, &Query::All).0), (None, expected));
    assert!(log.recovery().rescued_frames > 0, "recovery copied the tail into a new segment");
    append(&log, 100, 500);
    drop(log);
    // The order of the segments now differs from the order of their ids.
    check(&killed, remove_manifests);
}

#[test]
fn a_damaged_header_is_read_from_the_previous_manifest_or_stops_the_repair() {
    let folder = log_of(200, 500);
    check(&folder, |folder| {
        fs::remove_file(manifest(folder)).unwrap();
        change(&segments(folder)[0], |bytes| bytes[50] ^= 1);
        let plan = plan_repair(folder.path()).unwrap();
        assert!(plan.found.iter().any(|line| line.contains("header of segment 1 is damaged")), "{plan:?}");
        // A repair leaves the damaged header as a reported flaw. Undo the damage so that the rest can be compared.
        change(&segments(folder)[0], |bytes| bytes[50] ^= 1);
    });
    remove_manifests(&folder);
    change(&segments(&folder)[0], |bytes| bytes[50] ^= 1);
    let error = repair(folder.path(), Repair::Manifest).unwrap_err();
    assert!(matches!(error, RepairError::NotEnough { .. }), "{error}");
    assert!(!manifest(&folder).exists());
}

#[test]
fn a_segment_that_is_lost_with_the_manifest_is_reported_missing() {
    for with_previous in [true, false] {
        let folder = log_of(200, 500);
        drop(open(&folder));
        fs::remove_file(&segments(&folder)[1]).unwrap();
        match with_previous {
            true => fs::remove_file(manifest(&folder)).unwrap(),
            false => remove_manifests(&folder),
        }
        let done = repair(folder.path(), Repair::Manifest).unwrap();
        assert!(done.found.iter().any(|line| line.contains("missing")), "{done:?}");
        let log = open(&folder);
        let (events, met) = read_all(&log, &Query::All);
        let damage = &log.recovery().damage[0];
        assert_eq!((events.len() as u64 + damage.to - damage.from + 1, met.len()), (400, 1), "{damage:?}");
        assert!(log.read_only().is_some());
    }
}

#[test]
fn repair_refuses_or_ignores_segments_and_manifests_of_other_logs() {
    let (folder, other) = (log_of(80, 500), log_of(80, 500));
    let stray = folder.path().join("segments").join("000000000099.seg");
    fs::remove_file(manifest(&folder)).unwrap();
    // The file's name and header have different ids, so it is no valid segment of any log.
    fs::copy(&segments(&other)[0], &stray).unwrap();
    let error = plan_repair(folder.path()).unwrap_err();
    assert!(error.to_string().contains("the header of segment 99 is damaged"), "{error}");
    fs::remove_file(&stray).unwrap();

    let last = segments(&folder).pop().unwrap();
    fs::rename(&last, folder.path().join("kept")).unwrap();
    fs::copy(segments(&other).pop().unwrap(), &last).unwrap();
    let error = plan_repair(folder.path()).unwrap_err();
    assert!(error.to_string().contains("does not belong to this log: move it away"), "{error}");
    fs::rename(folder.path().join("kept"), &last).unwrap();

    fs::copy(manifest(&other), folder.path().join("manifest.previous")).unwrap();
    let store = stat(other.path()).unwrap().store;
    let done = repair(folder.path(), Repair::Manifest).unwrap();
    assert!(
        done.found.iter().any(|line| line.contains("belongs to another log and was not used")),
        "{done:?}"
    );
    let log = open(&folder);
    assert!(log.read_only().is_none() && log.id() != store);
    assert_eq!(read_all(&log, &Query::All).0.len(), 160);
}

#[test]
fn the_previous_manifest_shows_the_loss_of_the_last_segments() {
    let folder = log_of(200, 500);
    drop(open(&folder));
    fs::remove_file(manifest(&folder)).unwrap();
    segments(&folder)[2..].iter().for_each(|path| fs::remove_file(path).unwrap());
    let done = repair(folder.path(), Repair::Manifest).unwrap();
    assert!(done.found.iter().any(|line| line.contains("segment 3 is missing")), "{done:?}");
    let log = open(&folder);
    let damage = &log.recovery().damage[0];
    assert_eq!(damage.from, read_all(&log, &Query::All).0.len() as u64 + 1, "{damage:?}");
    assert!(damage.loses_events() && log.read_only().is_some());
}

#[test]
fn a_damaged_tail_is_dropped_on_request_and_quarantined() {
    let folder = uncovered(20, 3_000);
    let (path, at) = data_of(&folder, 40, 3_000);
    change(&path, |bytes| bytes[at + 5] ^= 1);
    let reason = open(&folder).read_only().unwrap();
    assert!(reason.reason.contains("gesta repair --drop-tail"), "{reason}");
    let damaged = bytes_of(folder.path());
    let plan = plan_repair(folder.path()).unwrap();
    assert_eq!(plan.repair, Some(Repair::DropTail));
    assert!(plan.found[0].contains("positions 39 to 40"), "{plan:?}");
    assert_eq!(bytes_of(folder.path()), damaged, "a plan changes nothing");

    let done = repair(folder.path(), Repair::DropTail).unwrap();
    assert!(fs::read_to_string(&done.report).unwrap().contains("positions 39 to 40"));
    let kept = fs::read_dir(folder.path().join("quarantine")).unwrap().map(|entry| entry.unwrap().path());
    let kept = kept.map(|path| fs::read(path).unwrap()).collect::<Vec<_>>();
    let [kept] = &kept[..] else { panic!("{} files", kept.len()) };
    assert!(damaged.iter().any(|(_, bytes)| bytes.windows(kept.len()).any(|window| window == &kept[..])));
    assert!(kept.windows(5).any(|window| window == b"   39"), "the quarantined file has the batch");

    let log = open(&folder);
    assert_eq!((log.read_only(), read_all(&log, &Query::All).0.len()), (None, 38));
    append(&log, 19, 3_000);
    drop(log);
    let report = verify(folder.path()).unwrap();
    assert!(report.is_sound() && report.events == 40, "{report:?}");
    let error = repair(folder.path(), Repair::DropTail).unwrap_err();
    assert!(matches!(error, RepairError::NothingToDo { .. }), "{error}");
}

#[test]
fn unknown_bytes_in_a_spare_are_dropped_on_request() {
    let folder = log_of(80, 500);
    let spare = segments(&folder).pop().unwrap();
    change(&spare, |bytes| bytes[4096..4600].fill(7));
    assert!(open(&folder).read_only().is_some());
    repair(folder.path(), Repair::DropTail).unwrap();
    let log = open(&folder);
    assert_eq!(log.read_only(), None);
    (80..300).for_each(|batch| append(&log, batch, 500));
    drop(log);
    let report = verify(folder.path()).unwrap();
    assert!(report.is_sound() && report.events == 600, "{report:?}");
}

#[test]
fn acknowledged_events_are_never_dropped() {
    // The end of a closed log: an idle frame states that all earlier frames are durable.
    let folder = log_of(20, 500);
    let path = segments(&folder).into_iter().next().unwrap();
    let offset = find(&fs::read(&path).unwrap(), &format!("{:>500}", 40));
    change(&path, |bytes| bytes[offset] ^= 1);
    let before = bytes_of(folder.path());
    for plan in [plan_repair(folder.path()).err(), repair(folder.path(), Repair::DropTail).err()] {
        assert!(matches!(plan, Some(RepairError::Acknowledged { .. })), "{plan:?}");
    }
    assert_eq!(bytes_of(folder.path()), before);

    // The middle of a log whose end could be dropped.
    let folder = log_of(80, 500);
    change(&segments(&folder)[0], |bytes| {
        let at = find(bytes, &format!("{:>500}", 7));
        bytes[at] ^= 1;
    });
    change(&segments(&folder).pop().unwrap(), |bytes| bytes[4096..4600].fill(7));
    let error = repair(folder.path(), Repair::DropTail).unwrap_err();
    assert!(error.to_string().contains("positions 7 to 8"), "{error}");
}

#[test]
fn a_sound_log_needs_no_repair_and_an_empty_folder_allows_none() {
    let folder = log_of(20, 500);
    let plan = plan_repair(folder.path()).unwrap();
    assert_eq!((plan.repair, plan.found.len(), plan.steps.len()), (None, 0, 0));
    for asked in [Repair::Manifest, Repair::DropTail] {
        assert!(matches!(repair(folder.path(), asked), Err(RepairError::NothingToDo { .. })));
    }
    let empty = TempDir::new().unwrap();
    assert!(matches!(plan_repair(empty.path()), Err(RepairError::Open(OpenError::NotALog { .. }))));
    let log = open(&folder);
    let error = plan_repair(folder.path()).unwrap_err();
    assert!(matches!(error, RepairError::Open(OpenError::Locked { .. })), "{error}");
    drop(log);
}

#[test]
fn a_log_beyond_repair_reports_the_cause() {
    let folder = log_of(200, 500);
    let plan = plan_repair(folder.path()).unwrap();
    assert_eq!((plan.repair, plan.found.len()), (None, 0));
    fs::remove_file(&segments(&folder)[1]).unwrap();
    let error = plan_repair(folder.path()).unwrap_err();
    assert!(matches!(error, RepairError::Acknowledged { .. }), "{error}");
}
