//! The report of `stat`.

use std::fs;

use gesta_log::{SegmentStateStat, stat, verify};

use crate::town::{append, log_of, open, segments};

#[test]
fn stat_reports_a_clock_behind_the_log() {
    let folder = tempfile::tempdir().unwrap();
    let hour = 3_600_000_000_000;
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    let later = i64::try_from(now.as_nanos()).unwrap() + 2 * hour;
    let clock: gesta_log::Clock = std::sync::Arc::new(move || gesta_core::Timestamp::from_nanos(later));
    let options = gesta_log::Options { clock: Some(clock), ..crate::town::options() };
    append(&gesta_log::LogStore::open(folder.path(), &options).unwrap(), 0, 10);
    let behind = gesta_log::stat(folder.path()).unwrap().clock_behind_nanos();
    assert!(behind > u64::try_from(hour).unwrap(), "{behind}");
    assert_eq!(gesta_log::stat(log_of(3, 10).path()).unwrap().clock_behind_nanos(), 0);
}

#[test]
fn stat_counts_segments_events_positions_and_times_without_loading_the_log() {
    let folder = log_of(200, 500);
    fs::write(folder.path().join("quarantine").join("a"), "kept").unwrap();
    let before = segments(&folder).iter().map(|path| fs::read(path).unwrap()).collect::<Vec<_>>();
    let said = stat(folder.path()).unwrap();
    assert_eq!((said.events(), said.last_position()), (400, 400));
    assert_eq!(
        said.segments.iter().map(|own| own.frames).sum::<u64>(),
        verify(folder.path()).unwrap().frames
    );
    let states = said.segments.iter().map(|own| own.state).collect::<Vec<_>>();
    let sealed = states.iter().filter(|state| **state == SegmentStateStat::Sealed).count();
    assert!(sealed > 2 && states[sealed] == SegmentStateStat::Active, "{states:?}");

    let mut next = 1;
    for own in said.segments.iter().filter(|own| own.events > 0) {
        assert_eq!(own.first_position, next, "{own:?}");
        next = own.last_position() + 1;
        let (first, last) = own.recorded_at.unwrap();
        assert!(first <= last && own.used_bytes > own.events * 500, "{own:?}");
        if own.state == SegmentStateStat::Sealed {
            assert_eq!(own.file_bytes, Some(own.used_bytes));
        }
    }
    assert_eq!((said.quarantine[0].name.as_str(), said.quarantine[0].bytes), ("a", 4));
    let after = segments(&folder).iter().map(|path| fs::read(path).unwrap()).collect::<Vec<_>>();
    assert_eq!(before, after);
}

#[test]
fn stat_does_not_disturb_an_open_log_and_reports_a_missing_file() {
    let folder = log_of(200, 500);
    let log = open(&folder);
    append(&log, 200, 500);
    let error = stat(folder.path()).unwrap_err();
    assert!(error.to_string().contains("is in use by"), "{error}");
    drop(log);
    fs::remove_file(&segments(&folder)[0]).unwrap();
    assert_eq!(stat(folder.path()).unwrap().segments[0].file_bytes, None);
}
