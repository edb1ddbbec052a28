//! How a restored log continues; and backups and restores on a simulated machine with a power cut at every operation.

use crate::env::OsEnv;
use crate::format::Manifest;
use crate::operations::verify::verify_in;
use crate::store::LogStore;
use crate::testing::{batch, options};

#[test]
fn a_log_does_not_append_to_a_segment_of_another_store() {
    let folder = tempfile::tempdir().unwrap();
    let log = LogStore::open(folder.path(), &options()).unwrap();
    (1..=10).for_each(|number| drop(log.append_blocking(batch(number)).unwrap()));
    drop(log);
    // Like a copy of the folder with a new id.
    let mut manifest = Manifest::load(&OsEnv, folder.path()).unwrap().unwrap();
    manifest.origins.push(std::mem::replace(&mut manifest.store, [9; 16]));
    manifest.replace(&OsEnv, folder.path()).unwrap();
    let before = manifest.segments.iter().map(|entry| entry.header.id).collect::<Vec<_>>();

    let log = LogStore::open(folder.path(), &options()).unwrap();
    log.append_blocking(batch(11)).unwrap();
    drop(log);
    let manifest = Manifest::load(&OsEnv, folder.path()).unwrap().unwrap();
    let own = manifest.segments.iter().filter(|entry| !before.contains(&entry.header.id));
    assert!(own.clone().count() == 1 && own.clone().all(|entry| entry.header.origin == [9; 16]));
    let report = verify_in(&OsEnv, folder.path()).unwrap();
    assert!(report.is_sound() && report.events == 11, "{report:?}");
}

#[cfg(feature = "sim")]
mod at_every_place {
    use std::path::Path;

    use super::*;
    use crate::env::Machine;
    use crate::env::SimEnv;
    use crate::error::OpenError;
    use crate::operations::backup::BackupOptions;
    use crate::operations::backup::backup_in;
    use crate::operations::backup::prove::verify_backup_in;
    use crate::operations::backup::restore::restore_in;
    use crate::testing::LOG;
    use crate::testing::append;
    use crate::testing::open;

    const BACKUP: &str = "/backup";
    const RESTORED: &str = "/restored";

    /// A machine with a log of 60 events and a backup of its first 30.
    fn machine(seed: u64) -> (Machine, LogStore) {
        let machine = Machine::new(seed);
        let log = open(&machine);
        append(&log, (1..=30).map(batch));
        let taken = log.backup(BACKUP, &BackupOptions::default()).unwrap();
        assert!(taken.position == 30 && taken.segments > 2);
        append(&log, (31..=60).map(batch));
        (machine, log)
    }

    #[test]
    fn after_a_power_cut_a_backup_is_the_previous_one_or_the_new_one() {
        for stop in 0.. {
            let (machine, log) = machine(stop);
            machine.stop_after(stop);
            let taken = log.backup(BACKUP, &BackupOptions::default());
            let was_stopped = machine.is_stopped();
            drop(log);
            machine.cut_power();
            let env = SimEnv::new(&machine);
            let report = verify_backup_in(&env, Path::new(BACKUP)).unwrap();
            assert!(report.is_sound(), "stopped after {stop}: {report:?}");
            let expected: &[u64] = if taken.is_ok() { &[60] } else { &[30, 60] };
            assert!(expected.contains(&report.position), "stopped after {stop}: {report:?}");

            let again = backup_in(&env, Path::new(LOG), Path::new(BACKUP), &BackupOptions::default());
            assert_eq!(again.unwrap().position, 60);
            assert!(verify_backup_in(&env, Path::new(BACKUP)).unwrap().is_sound());
            if !was_stopped {
                assert!(stop > 50, "there are as many places to stop at");
                return;
            }
        }
    }

    #[test]
    fn after_a_power_cut_a_restore_is_a_whole_log_or_none() {
        for stop in 0.. {
            let (machine, log) = machine(stop);
            drop(log);
            machine.stop_after(stop);
            let restored = restore_in(&SimEnv::new(&machine), Path::new(BACKUP), Path::new(RESTORED));
            let was_stopped = machine.is_stopped();
            machine.cut_power();
            let env = SimEnv::new(&machine);
            match verify_in(&env, Path::new(RESTORED)) {
                Ok(report) => assert!(report.is_sound() && report.events == 30, "stopped after {stop}"),
                Err(error) => {
                    assert!(restored.is_err(), "stopped after {stop}: {error}");
                    let is_named =
                        matches!(error, OpenError::RestoreUnfinished { .. } | OpenError::NotALog { .. });
                    assert!(is_named, "stopped after {stop}: {error}");
                }
            }
            if !was_stopped {
                assert!(stop > 30, "there are as many places to stop at");
                return;
            }
        }
    }
}
