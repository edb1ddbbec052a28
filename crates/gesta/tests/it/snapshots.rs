//! Snapshots: a load with them equals a load without, whatever happens to the log and to the snapshot store.

use std::collections::BTreeMap;
use std::future::Future;
use std::num::NonZeroU32;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use gesta::testing::{block_on, memory};
use gesta::*;
use gesta_consumer::TestClock;
use gesta_core::{
    Fingerprint, MemorySnapshotStore, Snapshot, SnapshotError, SnapshotInfo, SnapshotKey, SnapshotPage,
};

#[derive(Debug, Clone, PartialEq, Key)]
#[key("tally")]
struct TallyId(u32);

#[derive(Debug, Clone, PartialEq, Event)]
#[event(prefix = "tally")]
enum TallyEvent {
    Added { by: String, n: u32 },
    Doubled,
    Forgotten { by: String },
}

/// A state that shows a wrong order, a missing event and a repeated one.
#[derive(Debug, Default, PartialEq, serde::Serialize, serde::Deserialize, schemars::JsonSchema)]
struct Tally {
    sums: BTreeMap<String, u64>,
    share: f64,
    events: u64,
}

#[snapshot(every = 5)]
impl State for Tally {
    type Event = TallyEvent;

    fn evolve(&mut self, event: TallyEvent) {
        self.events += 1;
        match event {
            TallyEvent::Added { by, n } => *self.sums.entry(by).or_default() += u64::from(n),
            TallyEvent::Doubled => self.sums.values_mut().for_each(|sum| *sum = sum.wrapping_mul(2)),
            TallyEvent::Forgotten { by } => drop(self.sums.remove(&by)),
        }
        self.share = (self.sums.values().sum::<u64>() as f64 / self.events as f64).sqrt();
    }
}

#[derive(Debug, Clone, Command)]
enum TallyCommand {
    Record { count: u32, seed: u64 },
}

impl Decider for Tally {
    type Id = TallyId;
    type Command = TallyCommand;
    type Error = std::convert::Infallible;

    fn decide(
        &self,
        TallyCommand::Record { count, seed }: TallyCommand,
    ) -> Result<Vec<TallyEvent>, Self::Error> {
        let mut choose = Choose(seed);
        Ok((0..count).map(|_| event(&mut choose)).collect())
    }
}

fn event(choose: &mut Choose) -> TallyEvent {
    let by = ["ann", "bob", "eve"][choose.below(3)].to_owned();
    match choose.below(6) {
        0 => TallyEvent::Doubled,
        1 => TallyEvent::Forgotten { by },
        _ => TallyEvent::Added { by, n: u32::try_from(choose.below(1_000)).unwrap() },
    }
}

/// Numbers that follow from a seed: splitmix64.
struct Choose(u64);

impl Choose {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, end: usize) -> usize {
        usize::try_from(self.next() % end as u64).unwrap()
    }
}

fn id(number: usize) -> TallyId {
    TallyId(u32::try_from(number).unwrap())
}

async fn record(gesta: &Gesta, tally: usize, count: usize, seed: u64) {
    let count = u32::try_from(count).unwrap();
    gesta.send::<Tally>(&id(tally), TallyCommand::Record { count, seed }).await.unwrap();
}

/// A handle with snapshots, the plain handle, and the snapshot store.
fn handles() -> (Gesta, Gesta, Arc<MemorySnapshotStore>) {
    let snapshots = Arc::new(MemorySnapshotStore::new());
    let without = Gesta::new(Arc::new(memory()));
    (without.snapshots(snapshots.clone()), without, snapshots)
}

fn metrics<S: State>(gesta: &Gesta) -> SnapshotMetrics {
    let kind = S::snapshots().unwrap().fingerprint();
    gesta.snapshot_metrics().into_iter().find(|metrics| metrics.kind == kind).expect("a kind that was used")
}

async fn versions(snapshots: &dyn SnapshotStore, gesta: &Gesta, tally: usize) -> Vec<u64> {
    let store = gesta.event_store().locate(When::Start).await.unwrap().store();
    let kind = Tally::snapshots().unwrap().fingerprint();
    let of = SnapshotKey { store, kind, stream: id(tally).stream().unwrap() };
    snapshots.list(of).await.unwrap().iter().map(|info| info.version.get()).collect()
}

#[test]
fn a_load_folds_only_the_events_after_the_newest_snapshot() {
    block_on(async {
        let (with, without, snapshots) = handles();
        record(&with, 1, 4, 1).await;
        with.snapshots_settled().await;
        assert!(versions(&*snapshots, &with, 1).await.is_empty(), "no multiple of 5 was passed");
        for seed in 2..10 {
            record(&with, 1, 4, seed).await;
            with.snapshots_settled().await;
        }
        let taken = versions(&*snapshots, &with, 1).await;
        assert_eq!(taken.last(), Some(&35), "the state after all 36 events");
        let before = metrics::<Tally>(&with);
        let loaded = with.load::<Tally>(&id(1)).await.unwrap();
        let after = metrics::<Tally>(&with);
        assert_eq!((after.hits - before.hits, after.events_saved - before.events_saved), (1, 36));
        assert_eq!(loaded, without.load::<Tally>(&id(1)).await.unwrap());
    });
}

#[test]
fn a_load_of_an_old_version_begins_from_a_snapshot_before_it() {
    block_on(async {
        let (with, _, snapshots) = handles();
        for seed in 0..100 {
            record(&with, 1, 5, seed).await;
            with.snapshots_settled().await;
        }
        let taken = versions(&*snapshots, &with, 1).await;
        assert!((15..30).contains(&taken.len()), "thinned: {taken:?}");
        let before = metrics::<Tally>(&with).events_saved;
        with.load_at::<Tally>(&id(1), AsOf::Version(Version::new(250))).await.unwrap();
        let saved = metrics::<Tally>(&with).events_saved - before;
        let expected = taken.iter().filter(|version| **version <= 250).max().unwrap() + 1;
        assert_eq!(saved, expected);
        assert!(250 - saved <= 83, "at most a third of the events after it");
    });
}

#[test]
fn a_load_up_to_a_place_finds_the_newest_snapshot_before_it() {
    block_on(async {
        let (with, without, _) = handles();
        let mut places = Vec::new();
        for seed in 0..40 {
            record(&with, 1, 5, seed).await;
            with.snapshots_settled().await;
            places.push(with.event_store().locate(When::Head).await.unwrap());
        }
        let before = metrics::<Tally>(&with).hits;
        for place in &places[4..] {
            let at = || AsOf::Checkpoint(place.clone());
            let found = with.load_at::<Tally>(&id(1), at()).await.unwrap();
            assert_eq!(found, without.load_at::<Tally>(&id(1), at()).await.unwrap());
        }
        assert!(metrics::<Tally>(&with).hits - before >= 30, "all but the first, which were thinned out");
    });
}

#[test]
fn snapshots_of_a_lost_history_are_foreign_and_those_beyond_the_log_are_left_alone() {
    block_on(async {
        let snapshots = Arc::new(MemorySnapshotStore::new());
        let log = Arc::new(memory());
        let lost = Gesta::new(log.clone()).snapshots(snapshots.clone());
        for seed in 0..3 {
            record(&lost, 1, 5, seed).await;
            lost.snapshots_settled().await;
        }
        let restored = Arc::new(log.copy());
        for seed in 3..6 {
            record(&lost, 1, 5, seed).await;
            lost.snapshots_settled().await;
        }
        assert_eq!(versions(&*snapshots, &lost, 1).await, [9, 14, 19, 24, 29]);
        let without = Gesta::new(restored);
        // Another history: it has versions 15 to 21 with other events.
        record(&without, 1, 7, 77).await;
        let with = without.snapshots(snapshots.clone());
        let expected = without.load::<Tally>(&id(1)).await.unwrap();
        assert_eq!(with.load::<Tally>(&id(1)).await.unwrap(), expected);
        assert_eq!((metrics::<Tally>(&with).foreign, metrics::<Tally>(&with).events_saved), (1, 15));
        with.snapshots_settled().await;
        // 24 and 21 have one number.
        assert_eq!(versions(&*snapshots, &with, 1).await, [9, 14, 21, 29]);
    });
}

#[test]
fn two_logs_may_share_a_snapshot_store() {
    block_on(async {
        let snapshots = Arc::new(MemorySnapshotStore::new());
        let log = |byte| {
            let store = MemoryStore::new(StoreId::from_bytes([byte; 16]), 1, || Timestamp::from_nanos(1));
            Gesta::new(Arc::new(store))
        };
        let (one, other) = (log(1), log(2));
        let (one_with, other_with) = (one.snapshots(snapshots.clone()), other.snapshots(snapshots.clone()));
        for seed in 0..20 {
            record(&one_with, 1, 3, seed).await;
            record(&other_with, 1, 4, seed + 100).await;
            one_with.snapshots_settled().await;
            other_with.snapshots_settled().await;
        }
        for (with, without) in [(&one_with, &one), (&other_with, &other)] {
            let loaded = with.load::<Tally>(&id(1)).await.unwrap();
            assert_eq!(loaded, without.load::<Tally>(&id(1)).await.unwrap());
            let metrics = metrics::<Tally>(with);
            assert!(metrics.hits > 0 && metrics.foreign == 0, "{metrics:?}");
        }
    });
}

/// The same streams, folded by newer code.
#[derive(Debug, Default, PartialEq, serde::Serialize, serde::Deserialize, schemars::JsonSchema)]
struct Events {
    events: u64,
}

#[snapshot(every = 5)]
impl State for Events {
    type Event = TallyEvent;

    fn evolve(&mut self, _: TallyEvent) {
        self.events += 1;
    }
}

#[test]
fn states_of_different_kinds_of_one_stream_keep_their_own_snapshots() {
    block_on(async {
        let (with, without, snapshots) = handles();
        record(&with, 1, 23, 1).await;
        let stream = id(1).stream().unwrap();
        for _ in 0..3 {
            let events = with.load_stream::<Events>(stream.clone()).await.unwrap();
            assert_eq!(events.state, Events { events: 23 });
            let tally = with.load::<Tally>(&id(1)).await.unwrap();
            assert_eq!(tally, without.load::<Tally>(&id(1)).await.unwrap());
            with.snapshots_settled().await;
        }
        let page = snapshots.streams(None, None, NonZeroU32::MAX).await.unwrap();
        assert_eq!(page.streams.len(), 2);
        assert_eq!((metrics::<Events>(&with).hits > 0, metrics::<Tally>(&with).hits > 0), (true, true));
    });
}

static FACTOR: AtomicU64 = AtomicU64::new(1);

/// A state whose code changes where no fingerprint sees it.
#[derive(Debug, Default, PartialEq, serde::Serialize, serde::Deserialize, schemars::JsonSchema)]
struct Changing {
    sum: u64,
}

#[snapshot(every = 5)]
impl State for Changing {
    type Event = TallyEvent;

    fn evolve(&mut self, _: TallyEvent) {
        self.sum += FACTOR.load(Ordering::Relaxed);
    }
}

#[test]
fn a_state_that_differs_from_a_fold_from_the_start_ends_the_use_of_its_kind() {
    block_on(async {
        let (plain, without, snapshots) = handles();
        let options = SnapshotOptions::default().verify(Verify::All);
        let with = without.snapshots_with(snapshots.clone(), options);
        let stream = id(1).stream().unwrap();
        let load = || async { with.load_stream::<Changing>(stream.clone()).await.unwrap().state.sum };
        record(&without, 1, 10, 1).await;
        record(&without, 2, 10, 1).await;
        assert_eq!(load().await, 10);
        with.load_stream::<Changing>(id(2).stream().unwrap()).await.unwrap();
        with.snapshots_settled().await;
        assert_eq!(snapshots.streams(None, None, NonZeroU32::MAX).await.unwrap().streams.len(), 2);
        FACTOR.store(2, Ordering::Relaxed);
        record(&plain, 1, 10, 2).await;
        plain.snapshots_settled().await;
        assert_eq!(load().await, 30, "the mistake that the comparison finds");
        with.snapshots_settled().await;
        assert_eq!(load().await, 40, "folded from the start");
        let metrics = metrics::<Changing>(&with);
        assert!(!metrics.is_used && metrics.verified == 1, "{metrics:?}");
        let left = snapshots.streams(None, None, NonZeroU32::MAX).await.unwrap().streams;
        assert!(left.iter().all(|stream| stream.key.kind != metrics.kind), "{left:?}");
    });
}

/// A state that serde does not write as a whole.
#[derive(Debug, Default, PartialEq, serde::Serialize, serde::Deserialize, schemars::JsonSchema)]
struct Partial {
    #[serde(skip)]
    events: u64,
}

#[snapshot(every = 5)]
impl State for Partial {
    type Event = TallyEvent;

    fn evolve(&mut self, _: TallyEvent) {
        self.events += 1;
    }
}

#[test]
fn a_state_that_is_not_read_back_as_it_was_is_never_kept() {
    block_on(async {
        let (with, without, snapshots) = handles();
        record(&without, 1, 30, 1).await;
        for _ in 0..3 {
            let loaded = with.load_stream::<Partial>(id(1).stream().unwrap()).await.unwrap();
            assert_eq!(loaded.state.events, 30);
            with.snapshots_settled().await;
        }
        assert!(!metrics::<Partial>(&with).is_used);
        assert_eq!(snapshots.streams(None, None, NonZeroU32::MAX).await.unwrap(), SnapshotPage::default());
    });
}

/// A snapshot store that answers only when it is well.
struct Ill {
    inner: MemorySnapshotStore,
    asked: AtomicU32,
    how: Illness,
}

#[derive(Clone, Copy, PartialEq)]
enum Illness {
    Refuses,
    NeverAnswers,
}

impl Ill {
    fn new(how: Illness) -> Arc<Self> {
        Arc::new(Self { inner: MemorySnapshotStore::new(), asked: AtomicU32::new(0), how })
    }

    fn answer<T: Send + 'static>(&self) -> BoxFuture<'_, Result<T, SnapshotError>> {
        self.asked.fetch_add(1, Ordering::SeqCst);
        match self.how {
            Illness::Refuses => {
                Box::pin(async { Err(SnapshotError::Unavailable { reason: "down".to_owned() }) })
            }
            Illness::NeverAnswers => Box::pin(std::future::pending()),
        }
    }

    fn asked(&self) -> u32 {
        self.asked.load(Ordering::SeqCst)
    }
}

impl SnapshotStore for Ill {
    fn newest(
        &self,
        _: SnapshotKey,
        _: Option<Version>,
    ) -> BoxFuture<'_, Result<Option<Snapshot>, SnapshotError>> {
        self.answer()
    }

    fn put(&self, _: SnapshotKey, _: Snapshot) -> BoxFuture<'_, Result<(), SnapshotError>> {
        self.answer()
    }

    fn list(&self, of: SnapshotKey) -> BoxFuture<'_, Result<Vec<SnapshotInfo>, SnapshotError>> {
        self.inner.list(of)
    }

    fn remove(&self, of: SnapshotKey, versions: Vec<Version>) -> BoxFuture<'_, Result<(), SnapshotError>> {
        self.inner.remove(of, versions)
    }

    fn streams(
        &self,
        within: Option<StoreId>,
        after: Option<SnapshotKey>,
        limit: NonZeroU32,
    ) -> BoxFuture<'_, Result<SnapshotPage, SnapshotError>> {
        self.inner.streams(within, after, limit)
    }
}

#[test]
fn a_load_waits_50_milliseconds_for_a_slow_store_and_then_folds() {
    let clock = TestClock::default();
    let slow = Ill::new(Illness::NeverAnswers);
    let without = Gesta::new(Arc::new(memory()));
    block_on(record(&without, 1, 4, 1));
    let options = SnapshotOptions::default().clock(Arc::new(clock.clone()));
    let with = without.snapshots_with(slow.clone(), options);
    let expected = block_on(without.load::<Tally>(&id(1))).unwrap();
    for asked in 1..=3 {
        let tally = id(1);
        let mut load = pin!(with.load::<Tally>(&tally));
        let mut poll = || load.as_mut().poll(&mut Context::from_waker(Waker::noop()));
        assert!(poll().is_pending());
        clock.advance(Duration::from_millis(49));
        assert!(poll().is_pending());
        clock.advance(Duration::from_millis(1));
        let Poll::Ready(loaded) = poll() else { panic!("the load goes on without a snapshot") };
        assert_eq!(loaded.unwrap(), expected);
        assert_eq!(slow.asked(), asked);
    }
    // Left alone for a second: loads do not wait.
    assert_eq!(block_on(with.load::<Tally>(&id(1))).unwrap(), expected);
    assert_eq!(slow.asked(), 3);
    drop(with);
}

#[test]
fn a_store_that_is_down_is_asked_less_and_less_and_used_again_when_it_is_back() {
    block_on(async {
        let clock = TestClock::default();
        let down = Ill::new(Illness::Refuses);
        let without = Gesta::new(Arc::new(memory()));
        record(&without, 1, 4, 1).await;
        let options = SnapshotOptions::default().clock(Arc::new(clock.clone()));
        let with = without.snapshots_with(down.clone(), options);
        let expected = without.load::<Tally>(&id(1)).await.unwrap();
        let mut asked = 0;
        for second in 0..120 {
            for _ in 0..10 {
                assert_eq!(with.load::<Tally>(&id(1)).await.unwrap(), expected);
            }
            // 3 failures, then after pauses of 1, 2, 4, 8, 16, 32 and 60 seconds.
            asked += match second {
                0 => 3,
                1 | 3 | 7 | 15 | 31 | 63 => 1,
                _ => 0,
            };
            assert_eq!(down.asked(), asked, "second {second}");
            clock.advance(Duration::from_secs(1));
        }
    });
}

#[test]
fn dropping_the_handle_ends_the_thread_also_while_the_store_does_not_answer() {
    let slow = Ill::new(Illness::NeverAnswers);
    let clock = TestClock::default();
    let without = Gesta::new(Arc::new(memory()));
    block_on(record(&without, 1, 40, 1));
    let with =
        without.snapshots_with(slow.clone(), SnapshotOptions::default().clock(Arc::new(clock.clone())));
    {
        let tally = id(1);
        let mut load = pin!(with.load::<Tally>(&tally));
        assert!(load.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
        clock.advance(Duration::from_millis(50));
        assert!(load.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_ready());
    }
    // The thread asks for the newest snapshot too, and waits.
    while slow.asked() < 2 {
        std::thread::yield_now();
    }
    drop(with);
    assert_eq!(Arc::strong_count(&slow), 1, "the thread is gone");
}

#[test]
fn the_fingerprint_of_a_declared_state_is_stable_between_calls() {
    let of = || Tally::snapshots().unwrap().fingerprint();
    assert_eq!(of(), of());
    assert_ne!(of(), Fingerprint::from_bytes([0; 32]));
    assert_ne!(Events::snapshots().unwrap().fingerprint(), of());
}
