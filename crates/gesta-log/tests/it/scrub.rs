//! Scrubs find damage in sealed segments while the log is in use.

use std::fs;
use std::num::NonZeroU64;

use gesta_log::{ScrubOptions, scrub};

use crate::town::{append, change, find, log_of, open, segments};

#[test]
fn a_scrub_verifies_a_sound_log_open_and_closed() {
    let folder = log_of(200, 500);
    let closed = scrub(folder.path(), &ScrubOptions::default()).unwrap();
    assert!(closed.is_sound() && !closed.cancelled && closed.unsealed > 0, "{closed:?}");
    assert!(closed.segments.len() > 2);
    let log = open(&folder);
    assert_eq!(log.scrub(&ScrubOptions::default()).unwrap(), closed);
    let events = closed.segments.iter().map(|own| own.events).sum::<u64>();
    let bytes = closed.segments.iter().map(|own| own.bytes).sum::<u64>();
    assert!(events > 100 && bytes > events * 500, "{closed:?}");
    (200..400).for_each(|batch| append(&log, batch, 500));
    let error = scrub(folder.path(), &ScrubOptions::default()).unwrap_err();
    assert!(error.to_string().contains("is in use by"), "{error}");
}

#[test]
fn a_scrub_locates_damage_in_an_open_log_and_verifies_the_rest() {
    let folder = log_of(200, 500);
    let log = open(&folder);
    let sound = log.scrub(&ScrubOptions::default()).unwrap();
    let path = &segments(&folder)[1];
    let offset = find(&fs::read(path).unwrap(), &format!("{:>500}", 161));
    change(path, |bytes| bytes[offset] ^= 1);
    let report = log.scrub(&ScrubOptions::default()).unwrap();
    assert!(!report.is_sound());
    let damaged = report.segments.iter().filter(|own| !own.damage.is_empty()).collect::<Vec<_>>();
    let [own] = damaged[..] else { panic!("{report:?}") };
    let [damage] = &own.damage[..] else { panic!("{own:?}") };
    assert_eq!((own.segment, damage.from, damage.to), (2, 161, 162), "the whole batch");
    let frame_begins = usize::try_from(damage.offset).unwrap();
    assert!(frame_begins < offset && offset - frame_begins < 300, "{damage}");
    assert_eq!(own.events, sound.segments[1].events - 2, "its other events are verified");
}

#[test]
fn a_scrub_finds_a_damaged_header_a_damaged_end_and_a_missing_file() {
    let folder = log_of(200, 500);
    let log = open(&folder);
    let paths = segments(&folder);
    change(&paths[0], |bytes| bytes[50] ^= 1);
    change(&paths[1], |bytes| *bytes.last_mut().unwrap() ^= 1);
    change(&paths[2], |bytes| bytes.push(0));
    let report = log.scrub(&ScrubOptions::default()).unwrap();
    let whats = report.segments.iter().map(|own| own.damage.iter().map(|d| &d.what[..]).collect::<Vec<_>>());
    let whats = whats.take(3).collect::<Vec<_>>();
    assert!(whats[0][0].contains("header is damaged"), "{whats:?}");
    assert!(whats[2][0].contains("the file has"), "{whats:?}");
    assert!(report.segments.iter().flat_map(|own| &own.damage).all(|damage| !damage.loses_events()));
    fs::remove_file(&paths[0]).unwrap();
    let report = log.scrub(&ScrubOptions::default()).unwrap();
    let damage = &report.segments[0].damage[0];
    assert!(damage.what.contains("missing") && damage.from == 1 && damage.to > 1, "{damage}");
}

#[test]
fn a_cancelled_scrub_ends_at_once_and_can_be_continued() {
    let folder = log_of(200, 500);
    let log = open(&folder);
    let whole = log.scrub(&ScrubOptions::default()).unwrap();
    // At this rate the first segment takes an hour. The scrub ends because it is cancelled.
    let slow = ScrubOptions { bytes_per_second: NonZeroU64::new(20), ..ScrubOptions::default() };
    let report = std::thread::scope(|scope| {
        let running = scope.spawn(|| log.scrub(&slow).unwrap());
        slow.cancel.cancel();
        running.join().unwrap()
    });
    assert!(report.cancelled && report.segments.is_empty(), "{report:?}");
    let after = Some(whole.segments[0].segment);
    let rest = log.scrub(&ScrubOptions { after, ..ScrubOptions::default() }).unwrap();
    assert_eq!(rest.segments, whole.segments[1..]);
}

#[test]
fn a_scrub_respects_its_rate_limit() {
    let folder = log_of(200, 500);
    let log = open(&folder);
    let rate = 1 << 20;
    let options = ScrubOptions { bytes_per_second: NonZeroU64::new(rate), ..ScrubOptions::default() };
    let started = std::time::Instant::now();
    let report = log.scrub(&options).unwrap();
    // Header and END are read too, but not counted.
    let bytes = report.segments.iter().map(|own| own.bytes - 4_200).sum::<u64>();
    let least = bytes * 1_000 / rate;
    assert!(started.elapsed().as_millis() >= u128::from(least), "expected at least {least} ms");
}
