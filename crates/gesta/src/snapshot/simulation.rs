//! Random histories: every load with snapshots equals the load without, whatever happens to the log and to the snapshots.
//!
//! Commands, raw appends, takings that are waited for or not, lost snapshots, a log that is restored and goes another way,
//! and a second log that shares the snapshot store.

use std::num::NonZeroU32;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use gesta_core::{
    Batch, EventStore, MemorySnapshotStore, MemoryStore, NewEvent, SnapshotStore, StoreId, StreamName,
    Timestamp, Version, When,
};

use super::planted::{Bug, plant};
use crate::boundary::At;
use crate::environment::{Environment, SystemEnvironment};
use crate::event::Event as _;
use crate::handle::Gesta;
use crate::load::AsOf;
use crate::random::Random;
use crate::state::State;
use crate::testing::block_on;

/// Histories of one run.
const SEEDS: u64 = 60;
const STEPS: usize = 60;
const STREAMS: usize = 2;

#[derive(Debug, gesta_macros::Event)]
#[event(prefix = "tally")]
enum TallyEvent {
    Added { n: u64 },
    Doubled,
}

/// A state that shows a wrong order, a missing event and a repeated one.
#[derive(Debug, Default, PartialEq, serde::Serialize, serde::Deserialize, schemars::JsonSchema)]
struct Tally {
    sum: u64,
    root: f64,
    events: u64,
}

#[gesta_macros::snapshot(every = 5)]
impl State for Tally {
    type Event = TallyEvent;

    fn evolve(&mut self, event: TallyEvent) {
        self.events += 1;
        self.sum = match event {
            TallyEvent::Added { n } => self.sum.wrapping_mul(31).wrapping_add(n),
            TallyEvent::Doubled => self.sum.wrapping_mul(2),
        };
        self.root = (self.sum as f64).sqrt();
    }
}

/// A log under test, with the handles that are compared.
struct World {
    random: Random,
    log: Arc<MemoryStore>,
    snapshots: Arc<MemorySnapshotStore>,
    with: Gesta,
    without: Gesta,
    /// A copy of the log, to restore.
    older: Option<MemoryStore>,
    /// Loads that began from a snapshot.
    hits: u64,
    context: String,
}

fn stream(number: usize) -> StreamName {
    format!("tally-{number}").parse().expect("a stream")
}

fn log(id: u8, partitions: u16) -> Arc<MemoryStore> {
    let nanos = AtomicI64::new(1);
    let clock = move || Timestamp::from_nanos(nanos.fetch_add(1, Ordering::Relaxed));
    Arc::new(MemoryStore::new(StoreId::from_bytes([id; 16]), partitions, clock))
}

impl World {
    fn new(seed: u64) -> Self {
        let mut random = Random::new(seed);
        let log = log(7, *random.choose(&[1, 3]));
        let snapshots = Arc::new(MemorySnapshotStore::new());
        let without = Gesta::new(log.clone());
        let with = without.snapshots(snapshots.clone());
        Self { random, log, snapshots, with, without, older: None, hits: 0, context: format!("seed {seed}") }
    }

    async fn run(mut self) -> u64 {
        let shares = log(8, 1);
        let other = Gesta::new(shares.clone()).snapshots(self.snapshots.clone());
        for step in 0..STEPS {
            let number = self.random.below(STREAMS);
            self.context =
                format!("{}, step {step}", self.context.split(", step").next().unwrap_or_default());
            match self.random.below(13) {
                0..4 => append(&self.log, number, &mut self.random),
                4 => {
                    append(&shares, number, &mut self.random);
                    other.load_stream::<Tally>(stream(number)).await.expect("a state");
                    other.snapshots_settled().await;
                }
                5 | 6 => {
                    self.with.load_stream::<Tally>(stream(number)).await.expect("a state");
                    self.with.snapshots_settled().await;
                }
                7 => self.lose_some().await,
                8 if self.random.chance(20) => self.snapshots.clear(),
                9 if self.older.is_none() => self.older = Some(self.log.copy()),
                // The log is restored, and goes another way under snapshots of the lost history.
                10 if self.random.chance(50) => self.restore(),
                _ => self.compare(number).await,
            }
        }
        for number in 0..STREAMS {
            self.compare(number).await;
        }
        self.count_hits();
        self.hits
    }

    fn restore(&mut self) {
        let Some(older) = self.older.take() else { return };
        self.count_hits();
        self.log = Arc::new(older);
        self.without = Gesta::new(self.log.clone());
        self.with = self.without.snapshots(self.snapshots.clone());
    }

    fn count_hits(&mut self) {
        let metrics = self.with.snapshot_metrics();
        assert!(metrics.iter().all(|kind| kind.is_used && kind.undecodable == 0), "{metrics:?}");
        self.hits += metrics.iter().map(|kind| kind.hits).sum::<u64>();
    }

    async fn lose_some(&mut self) {
        let page = self.snapshots.streams(None, None, NonZeroU32::MAX).await.expect("a page");
        for key in page.streams.into_iter().map(|stream| stream.key) {
            for info in self.snapshots.list(key.clone()).await.expect("a list") {
                if self.random.chance(50) {
                    self.snapshots.remove(key.clone(), vec![info.version]).await.expect("removed");
                }
            }
        }
    }

    /// Compares every kind of load of a stream.
    async fn compare(&mut self, number: usize) {
        let (name, context) = (stream(number), self.context.clone());
        let expected = self.without.load_stream::<Tally>(name.clone()).await.expect("a state");
        let found = self.with.load_stream::<Tally>(name.clone()).await.expect("a state");
        assert_eq!(found, expected, "now: {context}");
        let Some(last) = expected.version else { return };
        let past = self.random.below(usize::try_from(last.get()).expect("a small number") + 2) as u64;
        let page = self.log.read(gesta_core::Read::stream(name.clone())).await.expect("a page");
        let event = self.random.choose(&page.events);
        let place = self.log.locate(When::Start).await.expect("the start").past(event);
        for as_of in [
            AsOf::Version(Version::new(past)),
            AsOf::Checkpoint(place.clone()),
            AsOf::RecordedAt(event.recorded_at()),
            AsOf::Time(event.time()),
        ] {
            let load = |gesta: &Gesta| {
                block_on(crate::load::load_at::<Tally>(gesta.source(), name.clone(), as_of.clone()))
            };
            match (load(&self.with), load(&self.without)) {
                (Ok(found), Ok(expected)) => assert_eq!(found, expected, "{as_of:?}: {context}"),
                (Err(found), Err(expected)) => {
                    assert_eq!(found.to_string(), expected.to_string(), "{context}")
                }
                (found, expected) => panic!("{as_of:?}: {found:?} and {expected:?}: {context}"),
            }
        }
        self.compare_pair(&context).await;
    }

    /// Compares states at one cut.
    async fn compare_pair(&self, context: &str) {
        let pair = || (At::<Tally>::stream(stream(0)), At::<Tally>::stream(stream(1)));
        let found = self.with.look(pair()).await.expect("states");
        let expected = self.without.look(pair()).await.expect("states");
        for (found, expected) in [(found.0, expected.0), (found.1, expected.1)] {
            assert_eq!((found.state(), found.version()), (expected.state(), expected.version()), "{context}");
        }
    }
}

/// Appends some events whose times do not follow their order.
fn append(log: &MemoryStore, number: usize, random: &mut Random) {
    let events = (0..1 + random.below(7)).map(|_| {
        let event = match random.below(4) {
            0 => TallyEvent::Doubled,
            _ => TallyEvent::Added { n: random.below(1_000) as u64 },
        };
        let time = Timestamp::from_nanos(i64::try_from(random.below(1_000)).expect("a small number"));
        let event_type = event.info().name.parse().expect("a type");
        let data = event.encode().expect("JSON");
        NewEvent::json(SystemEnvironment.event_id(), stream(number), event_type, time, data)
    });
    let events = events.collect::<Vec<_>>();
    log.append_now(Batch::new(events)).expect("appended");
}

/// Runs the histories. Returns the loads that began from a snapshot.
fn histories(seeds: impl Iterator<Item = u64>) -> u64 {
    seeds.map(|seed| block_on(World::new(seed).run())).sum()
}

#[test]
fn a_load_with_snapshots_equals_a_load_without() {
    let hits = histories(0..SEEDS);
    assert!(hits > 1_000, "{hits} loads began from a snapshot");
}

#[test]
fn every_planted_mistake_is_found() {
    for bug in
        [Bug::NoAnchor, Bug::AnchorFoldedTwice, Bug::BeyondTheVersion, Bug::BeyondThePlace, Bug::UsedByTime]
    {
        plant(Some(bug));
        let found = catch_unwind(AssertUnwindSafe(|| histories(0..SEEDS)));
        plant(None);
        assert!(found.is_err(), "{bug:?} is not found");
    }
}
