//! The scrub in the background, step by step, on a simulated machine; and that its thread ends with the log.

use std::path::Path;
use std::time::Duration;

use super::*;
use crate::env::{Machine, SimEnv};
use crate::folder::segment_path;
use crate::options::Options;
use crate::store::LogStore;
use crate::testing::{LOG, append, batch, open, options};

const WEEK: Duration = Duration::from_secs(7 * 24 * 60 * 60);
/// Fast enough for a test not to wait.
const FAST: Scrub = Scrub::BytesPerSecond(NonZeroU64::new(1 << 40).unwrap());

/// A log of three sealed segments on a separate machine, in use.
fn log() -> (Machine, LogStore) {
    let machine = Machine::new(7);
    let log = open(&machine);
    append(&log, (1..=40).map(batch));
    assert_eq!(sealed(&machine).len(), 3);
    (machine, log)
}

fn manifest(machine: &Machine) -> Manifest {
    Manifest::load(&SimEnv::new(machine), Path::new(LOG)).unwrap().unwrap()
}

fn sealed(machine: &Machine) -> Vec<u64> {
    sealed_segments(&manifest(machine)).map(|(entry, _)| entry.header.id).collect()
}

/// As after an open.
fn scrubber(machine: &Machine, scrub: Scrub) -> Scrubber {
    let (env, root) = (Arc::new(SimEnv::new(machine)), PathBuf::from(LOG));
    let store = manifest(machine).store;
    let records = ScrubRecords::load(&*env, &root, store);
    Scrubber::new(env, root, store, scrub, records)
}

fn status(scrubber: &Scrubber, machine: &Machine) -> ScrubStatus {
    ScrubStatus::of(&manifest(machine), &scrubber.lock().records)
}

fn verified(status: &ScrubStatus) -> Vec<u64> {
    let verified = status.segments.iter().filter(|own| own.verified_at.is_some());
    verified.map(|own| own.segment).collect()
}

fn after(at: Timestamp, duration: Duration) -> Timestamp {
    Timestamp::from_nanos(at.as_nanos() + i64::try_from(duration.as_nanos()).unwrap())
}

#[test]
fn every_sealed_segment_is_read_once_and_a_restart_goes_on_behind() {
    let (machine, log) = log();
    let segments = sealed(&machine);
    let scrubber = |scrub| self::scrubber(&machine, scrub);
    let first = scrubber(FAST);
    assert!(first.step().unwrap());
    let known = status(&first, &machine);
    assert_eq!((verified(&known), known.last_pass()), (vec![segments[0]], None));
    assert_eq!(known.verified_bytes(), known.segments[0].bytes);
    drop(first);

    let second = scrubber(FAST);
    assert!(second.step().unwrap() && second.step().unwrap() && !second.step().unwrap());
    let known = status(&second, &machine);
    assert_eq!(verified(&known), segments);
    assert_eq!(known.last_pass(), known.segments[0].verified_at, "the first of them was read first");
    assert_eq!(known.damage().count(), 0);

    append(&log, (41..=45).map(batch));
    assert!(second.step().unwrap(), "one that was sealed since");
    assert!(!second.step().unwrap());
    machine.unlink(&Path::new(LOG).join("scrub"));
    assert!(verified(&status(&scrubber(FAST), &machine)).is_empty(), "without the file, it begins anew");
}

#[test]
fn a_segment_is_read_again_after_its_time_and_the_oldest_first() {
    let (machine, _log) = log();
    let scrubber = scrubber(&machine, FAST);
    while scrubber.step().unwrap() {}
    let manifest = manifest(&machine);
    let known = status(&scrubber, &machine);
    let at = |number: usize| known.segments[number].verified_at.unwrap();
    let scrubber = Scrubber { scrub: Scrub::Every(WEEK), ..scrubber };
    let due = |now| scrubber.due(&manifest, now).map(|due| due.entry.header.id);
    let nearly = WEEK - Duration::from_nanos(1);
    assert_eq!(due(after(at(0), nearly)), None);
    assert_eq!(due(after(at(0), WEEK)), Some(known.segments[0].segment));
    assert_eq!(due(after(at(2), WEEK)), Some(known.segments[0].segment), "all are, and one after the other");
    let put_back =
        |by: Duration| Timestamp::from_nanos(at(0).as_nanos() - i64::try_from(by.as_nanos()).unwrap());
    assert_eq!(due(put_back(Duration::from_secs(3_600))), None, "the clock has gone back a little");
    assert_eq!(due(put_back(2 * WEEK)), Some(known.segments[0].segment), "it was wrong by far");
    let off = Scrubber { scrub: Scrub::Off, ..scrubber };
    assert!(off.due(&manifest, after(at(2), WEEK)).is_none());
}

#[test]
fn the_rate_is_what_a_pass_takes_or_what_was_said() {
    let (machine, _log) = log();
    let manifest = manifest(&machine);
    let bytes = sealed_segments(&manifest).map(|(_, sealed)| sealed_len(sealed)).sum::<u64>();
    let rate = |scrub| scrubber(&machine, scrub).bytes_per_second(&manifest).get();
    assert_eq!(rate(Scrub::Every(WEEK)), SCRUB_BYTES_PER_SECOND_MIN.get());
    assert_eq!(rate(Scrub::Every(Duration::ZERO)), SCRUB_BYTES_PER_SECOND_MIN.get(), "of {bytes} bytes");
    assert_eq!(rate(Scrub::BytesPerSecond(NonZeroU64::MIN)), 1);
    let mut large = manifest.clone();
    for entry in &mut large.segments {
        if let crate::format::SegmentState::Sealed(sealed) = &mut entry.state {
            sealed.end = 1 << 40;
        }
    }
    let rate = scrubber(&machine, Scrub::Every(WEEK)).bytes_per_second(&large).get();
    assert_eq!(rate, 3 * (1_u64 << 40) / WEEK.as_secs() * 5 / 4);
}

#[test]
fn damage_is_in_the_status_until_it_is_put_right_and_appends_go_on() {
    let (machine, log) = log();
    let segments = sealed(&machine);
    let path = segment_path(Path::new(LOG), segments[1]);
    let sound = machine.content(&path).unwrap();
    let mut rotten = sound.clone();
    rotten[20_000] ^= 1;
    machine.put(&path, rotten);
    let first = scrubber(&machine, FAST);
    while first.step().unwrap() {}
    let known = status(&first, &machine);
    let damage = known.damage().collect::<Vec<_>>();
    let [damage] = damage[..] else { panic!("{known:?}") };
    assert!(damage.segment == segments[1] && damage.from == damage.to, "{damage}");
    assert_eq!((verified(&known), log.read_only()), (segments.clone(), None));
    append(&log, (41..=43).map(batch));

    let second = scrubber(&machine, FAST);
    assert_eq!(
        status(&second, &machine).damage().collect::<Vec<_>>(),
        [damage],
        "it is known after a restart"
    );
    machine.put(&path, sound);
    assert!(second.step().unwrap(), "what was damaged is read first");
    assert_eq!(status(&second, &machine).damage().count(), 0);
    assert!(!second.step().unwrap());
}

#[test]
fn a_file_that_is_missing_is_damage_and_one_that_this_process_cannot_open_now_is_not() {
    let (machine, _log) = log();
    let segments = sealed(&machine);
    machine.unlink(&segment_path(Path::new(LOG), segments[0]));
    let scrubber = scrubber(&machine, FAST);
    assert!(scrubber.step().unwrap());
    let known = status(&scrubber, &machine);
    let damage = known.damage().next().unwrap();
    assert!(damage.what.contains("missing") && damage.from == 1 && damage.to > 1, "{damage}");
    let too_many = std::io::Error::from_raw_os_error(rustix::io::Errno::MFILE.raw_os_error());
    assert!(
        crate::env::is_shortage(&too_many) && !crate::env::is_shortage(&std::io::ErrorKind::NotFound.into())
    );
}

#[test]
fn closing_the_log_ends_a_scrub_that_would_take_hours() {
    let folder = tempfile::tempdir().unwrap();
    let slow = Scrub::BytesPerSecond(NonZeroU64::MIN);
    let options = Options { scrub: slow, ..options() };
    let log = LogStore::open(folder.path(), &options).unwrap();
    (1..=40).for_each(|number| drop(log.append_blocking(batch(number)).unwrap()));
    drop(log);
    // Now there are sealed segments to begin with.
    let log = LogStore::open(folder.path(), &options).unwrap();
    log.append_blocking(batch(41)).unwrap();
    log.close();
    let known = log.scrub_status().unwrap();
    assert_eq!((known.segments.len(), known.verified_bytes()), (3, 0));
}

#[test]
fn the_thread_of_an_open_log_reads_what_is_sealed() {
    let folder = tempfile::tempdir().unwrap();
    let off = Options { scrub: Scrub::Off, ..options() };
    let log = LogStore::open(folder.path(), &off).unwrap();
    (1..=40).for_each(|number| drop(log.append_blocking(batch(number)).unwrap()));
    drop(log);
    let log = LogStore::open(folder.path(), &Options { scrub: FAST, ..options() }).unwrap();
    while log.scrub_status().unwrap().last_pass().is_none() {
        std::thread::yield_now();
    }
    log.close();
    let known = log.scrub_status().unwrap();
    drop(log);
    let log = LogStore::open(folder.path(), &off).unwrap();
    assert_eq!(log.scrub_status().unwrap(), known, "a log without a scrub still shows the earlier results");
}
