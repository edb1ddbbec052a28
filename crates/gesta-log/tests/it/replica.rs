//! Replicas: fed from a log, resumed, refused what does not follow, and with a writer in front.

use std::fs;
use std::path::Path;
use std::sync::{Arc, Mutex};

use gesta_conformance::sample::{self, Sample as _};
use gesta_conformance::{Clock, Harness, Snapshot};
use gesta_core::{
    AppendError, Appended, Batch, BoxFuture, Checkpoint, CommandKey, CopyError, CopySource as _, EventStore,
    Limit, Listing, LogDigest, Place, Placed, Position, Query, Read, ReadError, RecordedBatch, RecordedEvent,
    StoreId, StoreLayer, StreamName, Timestamp, Version, When, check, check_batch, repeat_of,
};
use gesta_log::{
    LogCopy, LogStore, OpenError, Options, ReadOnlyCause, Repair, Replica, ReplicaError, SourcePlace, repair,
    verify,
};
use pollster::block_on;
use tempfile::TempDir;

use crate::laws::copy_folder;
use crate::town::{options, read_all};

/// A log with batches over several streams, some with a command key.
fn source(batches: u64) -> (TempDir, LogStore) {
    let folder = tempfile::tempdir().unwrap();
    let log = LogStore::open(&folder, &small()).unwrap();
    extend(&log, 0..batches);
    (folder, log)
}

fn extend(log: &LogStore, batches: std::ops::Range<u64>) {
    for number in batches {
        let event = |at: u64| {
            let stream = format!("town-{}", (number + at) % 7);
            sample::event(&stream, number * 10 + at)
                .with_tag(&format!("n:{}", number % 3))
                .with_data("1".repeat(200))
        };
        let batch = Batch::new((0..=number % 3).map(event));
        let batch = if number % 2 == 0 { batch.with_command(command(number)) } else { batch };
        log.append_blocking(batch).unwrap();
    }
}

fn command(number: u64) -> CommandKey {
    CommandKey { key: format!("key-{number}").into_bytes().into(), request: [3; 32] }
}

/// Small segments and tables, so that everything is on the disk and over several files.
fn small() -> Options {
    Options { index_run_bytes: 4 << 10, ..options() }
}

fn batches_of(log: &LogStore) -> Vec<RecordedBatch> {
    let head = block_on(log.head_now()).unwrap().sequence(0);
    let (mut batches, mut all) = (log.batches(0, 0, head), Vec::new());
    loop {
        let next = block_on(batches.next()).unwrap();
        if next.is_empty() {
            return all;
        }
        all.extend(next);
    }
}

fn digest(log: &LogStore) -> [u8; 32] {
    let mut digest = LogDigest::default();
    batches_of(log).iter().for_each(|batch| digest.add(batch));
    digest.finish()
}

fn place(number: u64) -> SourcePlace {
    SourcePlace::new(number.to_be_bytes()).unwrap()
}

fn open(folder: &TempDir, of: StoreId) -> Replica {
    Replica::open(folder, of, 0, &small()).unwrap()
}

/// The answers to reads of every kind.
fn answers(log: &LogStore) -> Vec<String> {
    let town = |number: u64| StreamName::new(format!("town-{number}")).unwrap();
    let (forward, _) = read_all(log, &Query::All);
    let mut answers = vec![format!("{forward:?}")];
    let end = Read::log_from(Query::All, Place::End).backward();
    answers.push(format!("{:?}", log.read_blocking(&end)));
    for number in 0..8 {
        answers.push(format!("{:?}", log.read_blocking(&Read::stream(town(number)))));
        answers.push(format!("{:?}", block_on(log.stream(town(number)))));
        answers.push(format!("{:?}", block_on(log.repeat_of(command(number), town(0)))));
    }
    let tagged = Query::tags(["n:1".parse().unwrap()]);
    answers.push(format!("{:?}", log.read_blocking(&Read::log(tagged))));
    let listing = Listing { category: None, after: None, limit: 100.try_into().unwrap() };
    answers.push(format!("{:?}", block_on(log.streams(listing))));
    let middle = forward[forward.len() / 2].recorded_at();
    answers.push(format!("{:?}", block_on(log.locate(When::RecordedUpTo(middle)))));
    answers.push(format!("{:?}", block_on(log.locate(When::Head))));
    answers
}

#[test]
fn a_replica_answers_every_read_as_its_source_does() {
    let (_folder, source) = source(150);
    let of = source.id();
    let folder = tempfile::tempdir().unwrap();
    let replica = open(&folder, of);
    assert_eq!((replica.through(), replica.head()), (None, Checkpoint::start(of, 1)));
    for (number, batches) in (1..).zip(batches_of(&source).chunks(40)) {
        replica.append(batches, &place(number)).unwrap();
        assert_eq!(replica.through(), Some(place(number)));
    }
    assert_eq!(digest(replica.log()), digest(&source));
    assert_eq!(answers(replica.log()), answers(&source));
    assert_eq!(replica.head().to_string(), block_on(source.head_now()).unwrap().to_string());

    replica.append(&[], &place(99)).unwrap();
    drop(replica);
    let replica = open(&folder, of);
    assert_eq!(replica.through(), Some(place(99)));
    assert_eq!(answers(replica.log()), answers(&source));
    extend(&source, 150..160);
    replica.append(&batches_of(&source), &place(100)).unwrap();
    assert_eq!(answers(replica.log()), answers(&source));
    drop(replica);
    assert!(verify(folder.path()).unwrap().is_sound());
}

#[test]
fn a_replica_of_a_later_partition_is_fed_and_looked_up_in_the_words_of_its_source() {
    let (_folder, source) = source(30);
    let of = source.id();
    let folder = tempfile::tempdir().unwrap();
    let replica = Replica::open(&folder, of, 2, &small()).unwrap();
    let moved = batches_of(&source).into_iter().map(|batch| in_partition(&batch, 2)).collect::<Vec<_>>();
    replica.append(&moved, &place(1)).unwrap();
    assert_eq!(digest(replica.log()), digest(&source));
    let (events, _) = read_all(replica.log(), &Query::All);
    let raised = events.iter().map(|event| replica.raise_event(event)).collect::<Vec<_>>();
    assert_eq!(raised, moved.iter().flat_map(|batch| batch.events().to_vec()).collect::<Vec<_>>());

    let start = Checkpoint::start(of, 4);
    let head = replica.raise(&replica.head(), start.clone());
    let last = raised.last().unwrap();
    assert_eq!(head.to_string(), start.clone().past(last).to_string());
    assert_eq!(replica.lower(&head).to_string(), replica.head().to_string());

    let batches = block_on(replica.log().batches(0, 0, replica.head().sequence(0)).next()).unwrap();
    assert_eq!(batches.iter().map(|batch| replica.raise_batch(batch)).collect::<Vec<_>>(), moved);
    let repeated = replica.log().append_blocking(moved[0].to_batch().unwrap()).unwrap();
    let repeated = replica.raise_appended(repeated, &start);
    assert_eq!(repeated.places[0].position, moved[0].first());
    assert_eq!(repeated.checkpoint.to_string(), start.clone().past(moved[0].last()).to_string());
    // A place of the store is checked by the mark in this partition, and the error speaks of the store.
    let elsewhere = head.clone().with(0, 77);
    assert_eq!(
        (replica.check_place_blocking(&elsewhere), block_on(replica.check_place(&elsewhere))),
        (Ok(()), Ok(()))
    );
    let wrong = elsewhere.clone().with_mark(last.position(), 7);
    let diverged = ReadError::Diverged { checkpoint: wrong.clone(), found: elsewhere };
    for checked in [replica.check_place_blocking(&wrong), block_on(replica.check_place(&wrong))] {
        assert_eq!(format!("{:?}", checked.unwrap_err()), format!("{diverged:?}"));
    }

    let group = [
        sample::batch("town-0", 9_000_u64).fail_if(Query::All, Some(head.clone())),
        sample::batch("town-0", 9_001_u64).fail_if(Query::All, Some(head.clone())),
        sample::batch("town-0", 9_002_u64).fail_if(Query::All, Some(head.clone().with(2, 9_999))),
        sample::batch("town-0", 9_003_u64).fail_if(Query::All, Some(head.with_mark(last.position(), 7))),
    ];
    let mut known = replica.look_up(&group).unwrap();
    assert!(check(&known.facts(0), &group[0]).is_ok());
    let accepted = known.accept(0, Timestamp::MIN);
    let position = Position { partition: 2, sequence: last.position().sequence + 1 };
    assert_eq!(accepted.first(), position);
    assert_eq!(accepted.recorded_at(), last.recorded_at(), "time never goes back");
    let failed = AppendError::ConditionFailed { index: 0, at: position };
    assert_eq!(check(&known.facts(1), &group[1]).unwrap_err().error, failed);
    let ahead = check(&known.facts(2), &group[2]).unwrap_err().error;
    assert!(matches!(ahead, AppendError::CheckpointAhead { .. }), "{ahead:?}");
    let diverged = check(&known.facts(3), &group[3]).unwrap_err().error;
    assert!(matches!(diverged, AppendError::Diverged { .. }), "{diverged:?}");
    replica.append(&[accepted], &place(2)).unwrap();
    drop(replica);
    let other = Replica::open(&folder, of, 1, &small()).err().unwrap();
    assert!(matches!(other, OpenError::NotThisReplica { partition: 1, .. }), "{other:?}");
    assert_eq!(Replica::open(&folder, of, 2, &small()).unwrap().head().sequence(0), position.sequence);
}

fn in_partition(batch: &RecordedBatch, partition: u16) -> RecordedBatch {
    let events = batch.events().iter().map(|event| {
        let position = Position { partition, sequence: event.position().sequence };
        RecordedEvent::new(position, event.version(), event.recorded_at(), (**event).clone())
    });
    RecordedBatch::new(events.collect(), batch.command().cloned()).unwrap()
}

/// The batch with other versions.
fn with_versions(batch: &RecordedBatch, add: u64) -> RecordedBatch {
    let events = batch.events().iter().map(|event| {
        let version = Version::new(event.version().get() + add);
        RecordedEvent::new(event.position(), version, event.recorded_at(), (**event).clone())
    });
    RecordedBatch::new(events.collect(), batch.command().cloned()).unwrap()
}

/// The batch at other places and with the same bytes.
fn moved_to(batch: &RecordedBatch, first: u64) -> RecordedBatch {
    let events = batch.events().iter().zip(first..).map(|(event, sequence)| {
        let position = Position { partition: 0, sequence };
        RecordedEvent::new(position, event.version(), event.recorded_at(), (**event).clone())
    });
    RecordedBatch::new(events.collect(), batch.command().cloned()).unwrap()
}

#[test]
fn what_does_not_follow_is_refused_and_changes_nothing() {
    let (_folder, source) = source(20);
    let batches = batches_of(&source);
    let folder = tempfile::tempdir().unwrap();
    let replica = open(&folder, source.id());
    replica.append(&batches[..10], &place(10)).unwrap();
    let head = replica.head().sequence(0);
    let refused = |batches: &[RecordedBatch]| {
        let error = replica.append(batches, &place(77)).unwrap_err();
        assert_eq!((replica.through(), replica.head().sequence(0)), (Some(place(10)), head), "{error:?}");
        error
    };
    let gap = refused(&batches[11..12]);
    assert!(matches!(gap, ReplicaError::NotNext { next, .. } if next == head + 1), "{gap:?}");
    let gap = refused(&[batches[10].clone(), batches[12].clone()]);
    assert!(matches!(gap, ReplicaError::NotNext { .. }), "{gap:?}");
    let partition = refused(&[in_partition(&batches[10], 1)]);
    assert!(matches!(partition, ReplicaError::OtherPartition { partition: 0, .. }), "{partition:?}");
    let versions = refused(&[with_versions(&batches[10], 1)]);
    let is_conflict = |error: &ReplicaError| {
        matches!(error, ReplicaError::Append(CopyError::Append { source: AppendError::Conflict { .. }, .. }))
    };
    assert!(is_conflict(&versions), "{versions:?}");
    let known_ids = refused(&[moved_to(&batches[4], head + 1)]);
    assert!(matches!(known_ids, ReplicaError::Append(CopyError::Moved { .. })), "{known_ids:?}");

    // Another history: the same places, other events; and a batch that begins before the head and ends after it.
    let other = with_other_ids(&batches[9]);
    let diverged = refused(&[batches[8].clone(), other]);
    assert!(
        matches!(diverged, ReplicaError::Diverged { position } if position.sequence == head),
        "{diverged:?}"
    );
    let across = batches.iter().find(|batch| batch.events().len() > 1).unwrap();
    let diverged = refused(&[moved_to(across, head)]);
    assert!(matches!(diverged, ReplicaError::Diverged { .. }), "{diverged:?}");

    replica.append(&batches, &place(20)).unwrap();
    assert_eq!(digest(replica.log()), digest(&source));
}

fn with_other_ids(batch: &RecordedBatch) -> RecordedBatch {
    let events = batch.events().iter().map(|event| {
        let id = u128::from_be_bytes(*event.id().as_bytes()) + 5_000_000;
        let bytes = sample::event(event.stream(), id).to_bytes();
        RecordedEvent::new(event.position(), event.version(), event.recorded_at(), bytes)
    });
    RecordedBatch::new(events.collect(), None).unwrap()
}

#[test]
fn a_log_in_front_of_its_replica_refuses_appends_and_still_answers_repeats() {
    let (_folder, source) = source(20);
    let folder = tempfile::tempdir().unwrap();
    let replica = open(&folder, source.id());
    replica.append(&batches_of(&source), &place(1)).unwrap();
    let log = replica.log();
    assert_eq!(log.read_only().unwrap().cause, ReadOnlyCause::Replica);
    let new = log.append_blocking(sample::batch("town-0", 9_000_u64)).unwrap_err();
    assert!(matches!(&new, AppendError::ReadOnly { reason } if reason.contains("gesta excerpt")), "{new:?}");
    let repeat = Batch::new([sample::event("town-0", 70_u64)]).with_command(command(0));
    let answer = block_on(log.append(repeat)).unwrap();
    assert_eq!((answer.repeated, answer.places[0].position.sequence), (true, 1));
}

#[test]
fn an_ordinary_open_of_a_replica_reads_it_and_changes_nothing() {
    let (_folder, source) = source(40);
    let folder = tempfile::tempdir().unwrap();
    let replica = open(&folder, source.id());
    replica.append(&batches_of(&source), &place(1)).unwrap();
    drop(replica);
    let before = content(folder.path());
    let log = LogStore::open(&folder, &small()).unwrap();
    assert_eq!(log.read_only().unwrap().cause, ReadOnlyCause::Replica);
    assert_eq!(answers(&log), answers(&source));
    drop(log);
    assert_eq!(content(folder.path()), before);
    let copied = LogCopy::open(&folder, source.id(), &small()).err().unwrap();
    assert!(matches!(copied, OpenError::IsAReplica { .. }), "{copied:?}");
    let other = Replica::open(&folder, StoreId::from_bytes([9; 16]), 0, &small()).err().unwrap();
    assert!(matches!(other, OpenError::OtherStore { .. }), "{other:?}");
    assert_eq!(content(folder.path()), before);
}

/// Every file of the log, but for the lock.
fn content(folder: &Path) -> Vec<(String, Vec<u8>)> {
    let mut files = Vec::new();
    for sub in ["", "segments", "index"] {
        for entry in fs::read_dir(folder.join(sub)).unwrap() {
            let path = entry.unwrap().path();
            if path.is_file() && !path.ends_with("LOCK") {
                files.push((path.display().to_string(), fs::read(&path).unwrap()));
            }
        }
    }
    files.sort();
    files
}

#[test]
fn a_log_never_becomes_a_replica() {
    let (folder, source) = source(3);
    let of = source.id();
    drop(source);
    let error = Replica::open(&folder, of, 0, &small()).err().unwrap();
    assert!(matches!(error, OpenError::NotThisReplica { partition: 0, .. }), "{error:?}");
}

#[test]
fn a_place_that_is_newer_than_the_events_or_of_another_history_is_left_out() {
    let (_folder, source) = source(20);
    let (of, batches) = (source.id(), batches_of(&source));
    let folder = tempfile::tempdir().unwrap();
    let replica = open(&folder, of);
    replica.append(&batches[..5], &place(5)).unwrap();
    drop(replica);
    let older = tempfile::tempdir().unwrap();
    copy_folder(folder.path(), older.path());
    for number in 6..=9 {
        let replica = open(&folder, of);
        replica.append(&batches[..number], &place(number as u64)).unwrap();
    }
    let put = |name: &str| fs::copy(folder.path().join(name), older.path().join(name)).unwrap();
    put("through");
    let replica = open(&older, of);
    assert_eq!(replica.through(), None, "both slots are newer than the events");
    replica.append(&batches, &place(20)).unwrap();
    drop(replica);
    let whole = open(&older, of);
    assert_eq!((whole.through(), digest(whole.log())), (Some(place(20)), digest(&source)));
    drop(whole);

    // A torn slot leaves the place before; a lost file leaves none.
    let path = older.path().join("through");
    let replica = open(&older, of);
    replica.append(&[], &place(21)).unwrap();
    drop(replica);
    let mut bytes = fs::read(&path).unwrap();
    let newest = if bytes[48..56] == 21_u64.to_be_bytes() { 0 } else { 4_096 };
    bytes[newest + 60] ^= 1;
    fs::write(&path, &bytes).unwrap();
    assert_eq!(open(&older, of).through(), Some(place(20)));
    fs::remove_file(&path).unwrap();
    assert_eq!(open(&older, of).through(), None);
}

#[test]
fn a_diverged_replica_is_moved_aside_and_another_begun_in_its_place() {
    let (_folder, source) = source(10);
    let parent = tempfile::tempdir().unwrap();
    let folder = parent.path().join("copy");
    let replica = Replica::open(&folder, source.id(), 0, &small()).unwrap();
    replica.append(&batches_of(&source), &place(1)).unwrap();
    let aside = replica.set_aside().unwrap();
    let name = aside.file_name().unwrap().to_str().unwrap();
    assert!(name.starts_with("copy.diverged-1"), "{name}");
    assert_eq!(Replica::open(&folder, source.id(), 0, &small()).unwrap().through(), None);
    assert_eq!(digest(Replica::open(aside, source.id(), 0, &small()).unwrap().log()), digest(&source));
}

#[test]
fn a_replica_whose_manifest_is_rebuilt_is_still_a_replica() {
    for keep_previous in [true, false] {
        let (_folder, source) = source(60);
        let folder = tempfile::tempdir().unwrap();
        let replica = open(&folder, source.id());
        replica.append(&batches_of(&source), &place(1)).unwrap();
        drop(replica);
        fs::remove_file(folder.path().join("manifest")).unwrap();
        if !keep_previous {
            fs::remove_file(folder.path().join("manifest.previous")).unwrap();
        }
        repair(folder.path(), Repair::Manifest).unwrap();
        let log = LogStore::open(&folder, &small()).unwrap();
        assert_eq!(log.read_only().unwrap().cause, ReadOnlyCause::Replica);
        drop(log);
        let replica = open(&folder, source.id());
        assert_eq!((replica.through(), digest(replica.log())), (Some(place(1)), digest(&source)));
    }
}

/// A writer in front of a replica: it decides each batch against the replica, and then feeds it in.
struct Fronted {
    replica: Replica,
    clock: Clock,
    one_at_a_time: Mutex<()>,
}

impl Fronted {
    fn decide_and_feed(&self, batch: Batch) -> Result<Appended, AppendError> {
        let _alone = self.one_at_a_time.lock().unwrap();
        let log = self.replica.log();
        check_batch(&batch, log.id(), log.capabilities())?;
        let group = [batch];
        let mut known = self
            .replica
            .look_up(&group)
            .map_err(|error| AppendError::Unavailable { reason: error.to_string() })?;
        let repeat = repeat_of(&known.facts(0), &group[0]).map_err(|refused| refused.error)?;
        if let Some(repeat) = repeat {
            let checkpoint = self.place_at(repeat.end);
            return Ok(Appended { places: repeat.places, checkpoint, repeated: true });
        }
        check(&known.facts(0), &group[0]).map_err(|refused| refused.error)?;
        let recorded = known.accept(0, self.clock.now().max(self.floor()));
        self.replica.append(std::slice::from_ref(&recorded), &floor_place(self.floor())).expect("it follows");
        let place = |event: &RecordedEvent| Placed { version: event.version(), position: event.position() };
        let places = recorded.events().iter().map(place).collect();
        Ok(Appended { places, checkpoint: self.replica.head(), repeated: false })
    }

    /// The time that the next event has at least. A writer in front keeps it in the place of the source.
    fn floor(&self) -> Timestamp {
        let kept = self.replica.through();
        let nanos = kept.map(|place| i64::from_be_bytes(place.as_bytes().try_into().expect("8 bytes")));
        nanos.map_or(Timestamp::MIN, Timestamp::from_nanos)
    }

    fn close(&self, time: Timestamp) -> Result<Checkpoint, ReadError> {
        let _alone = self.one_at_a_time.lock().unwrap();
        let log = self.replica.log();
        let place = || block_on(log.locate(When::RecordedUpTo(time)));
        let head = self.replica.head().sequence(0);
        if place()?.sequence(0) < head {
            return place();
        }
        let floor = time.floor_after(self.clock.now())?;
        self.replica.append(&[], &floor_place(floor.max(self.floor()))).expect("it follows");
        place()
    }

    fn place_at(&self, sequence: u64) -> Checkpoint {
        let at = Checkpoint::new(self.replica.log().id(), [sequence]);
        let limit = Limit::events(std::num::NonZeroU32::MIN);
        let read = Read::log_from(Query::All, Place::At(at.clone())).backward().limit(limit);
        at.past(&self.replica.log().read_blocking(&read).unwrap().events[0])
    }
}

fn floor_place(floor: Timestamp) -> SourcePlace {
    SourcePlace::new(floor.as_nanos().to_be_bytes().to_vec()).expect("8 bytes")
}

impl StoreLayer for Fronted {
    fn inner(&self) -> &dyn EventStore {
        &**self.replica.log()
    }

    fn append(&self, batch: Batch) -> BoxFuture<'_, Result<Appended, AppendError>> {
        Box::pin(async move { self.decide_and_feed(batch) })
    }

    fn locate(&self, at: When) -> BoxFuture<'_, Result<Checkpoint, ReadError>> {
        match at {
            When::ClosedAt(time) => Box::pin(async move { self.close(time) }),
            at => self.replica.log().locate(at),
        }
    }
}

/// A replica in a temporary folder, with a writer in front.
struct Front {
    folder: TempDir,
    clock: Clock,
}

impl Front {
    fn new() -> Self {
        Self { folder: tempfile::tempdir().expect("a folder"), clock: Clock::default() }
    }
}

impl Harness for Front {
    fn store(&self) -> Arc<dyn EventStore> {
        let of = StoreId::from_bytes([7; 16]);
        let options = Options { index_run_bytes: 1 << 10, ..options() };
        let replica = Replica::open(&self.folder, of, 0, &options).expect("a sound replica opens");
        Arc::new(Fronted { replica, clock: self.clock.clone(), one_at_a_time: Mutex::new(()) })
    }

    fn clock(&self) -> &Clock {
        &self.clock
    }

    fn restart(&self, store: Arc<dyn EventStore>) -> Arc<dyn EventStore> {
        drop(store);
        self.store()
    }

    fn snapshot(&self, store: Arc<dyn EventStore>) -> (Arc<dyn EventStore>, Snapshot) {
        drop(store);
        let copy = tempfile::tempdir().expect("a folder");
        copy_folder(self.folder.path(), copy.path());
        (self.store(), Box::new(copy))
    }

    fn put_back(&self, snapshot: Snapshot) -> Option<Arc<dyn EventStore>> {
        let copy = snapshot.downcast::<TempDir>().expect("a snapshot of this harness");
        fs::remove_dir_all(self.folder.path()).expect("the folder goes");
        copy_folder(copy.path(), self.folder.path());
        Some(self.store())
    }
}

mod laws_of_a_store_in_front {
    use super::Front;
    gesta_conformance::laws!(Front::new());
}
