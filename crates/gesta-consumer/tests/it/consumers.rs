//! Operators: pauses that outlive a restart, by name.

use std::num::NonZeroU32;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use bytes::Bytes;
use gesta_consumer::*;
use gesta_core::*;
use pollster::block_on;

use crate::support::*;

fn consumers(values: &Arc<impl KeyValueStore + 'static>, clock: &TestClock) -> Consumers {
    Consumers::new(Arc::clone(values) as _, Arc::new(clock.clone()))
}

/// A consumer as a process starts it: with the pause that was kept.
fn start_kept(
    store: &Arc<MemoryStore>,
    clock: &TestClock,
    values: &dyn KeyValueStore,
    target: &Arc<Target>,
) -> Arc<TestConsumer> {
    let paused = block_on(kept_pause(values, "noting")).unwrap();
    Arc::new(start(store, ConsumerSettings { paused, ..settings(clock) }, target))
}

#[test]
fn a_pause_outlives_the_process_and_so_does_its_end() {
    let (clock, values, target) = (clock(), Arc::new(MemoryKeyValueStore::new()), Arc::default());
    let store = store_of(&clock, 1);
    append_numbers(&store, 0..5);
    clock.advance(Duration::from_secs(9));
    for round in 0..3 {
        let consumer = start_kept(&store, &clock, &*values, &target);
        let consumers = consumers(&values, &clock);
        consumers.add(Arc::clone(&consumer) as _).unwrap();
        if round == 0 {
            let report = block_on(consumers.pause("noting", "ann")).unwrap();
            assert_eq!(report.paused.unwrap().by.as_ref(), "ann");
        }
        let paused = wait_for(&consumer, |state| match state {
            ConsumerState::Paused(paused) => Some(paused),
            _ => None,
        });
        assert_eq!((paused.by.as_ref(), paused.since.as_nanos()), ("ann", 9_000_000_000));
        assert_eq!(block_on(consumers.report("noting")).unwrap().state, "paused");
    }
    let consumer = start_kept(&store, &clock, &*values, &target);
    let these = consumers(&values, &clock);
    these.add(Arc::clone(&consumer) as _).unwrap();
    assert!(block_on(these.resume("noting")).unwrap().paused.is_none());
    wait_past(&consumer, &append_numbers(&store, 5..9));
    drop((these, consumer));
    let consumer = start_kept(&store, &clock, &*values, &target);
    wait_past(&consumer, &append_numbers(&store, 9..12));
    assert_eq!(target.effects(), numbers(0..12));
}

#[test]
fn the_first_of_several_pauses_counts_and_a_resume_of_a_running_consumer_keeps_nothing() {
    let (clock, values) = (clock(), Arc::new(MemoryKeyValueStore::new()));
    let store = store_of(&clock, 1);
    let these = consumers(&values, &clock);
    these.add(start_kept(&store, &clock, &*values, &Arc::default())).unwrap();
    assert!(block_on(these.resume("noting")).unwrap().paused.is_none());
    let all = || block_on(values.list(KeyPrefix::new("").unwrap(), None, NonZeroU32::MAX)).unwrap();
    assert_eq!(all(), []);
    block_on(these.pause("noting", "ann")).unwrap();
    let kept = all();
    let again = block_on(these.pause("noting", "bob")).unwrap();
    assert_eq!(again.paused.unwrap().by.as_ref(), "ann");
    assert_eq!(all(), kept);
    assert_eq!(kept[0].0.as_str(), "consumers/noting/paused");
}

#[test]
fn names_are_unique_and_can_be_keys() {
    let (clock, values) = (clock(), Arc::new(MemoryKeyValueStore::new()));
    let store = store_of(&clock, 1);
    let these = consumers(&values, &clock);
    let consumer = start_kept(&store, &clock, &*values, &Arc::default());
    these.add(Arc::clone(&consumer) as _).unwrap();
    let twice = these.add(consumer).unwrap_err();
    assert_eq!(twice.to_string(), "two consumers are named `noting`: rename one of them");
    let named = ConsumerSettings { name: "über".to_owned(), ..settings(&clock) };
    let wrong = these.add(Arc::new(start(&store, named, &Arc::default()))).unwrap_err();
    assert!(matches!(wrong, AddError::Name { .. }), "{wrong}");
    assert_eq!(these.all().iter().map(|one| one.name().to_owned()).collect::<Vec<_>>(), ["noting"]);
    let unknown = block_on(these.pause("other", "ann")).unwrap_err();
    assert_eq!(
        (unknown.to_string().as_str(), unknown.retry()),
        ("there is no consumer `other`", Retry::Never)
    );
}

/// A key-value store whose puts fail, some of them after another writer came first.
struct Stubborn {
    inner: MemoryKeyValueStore,
    others_first: AtomicU32,
    full: AtomicU32,
}

impl KeyValueStore for Stubborn {
    fn get(&self, key: KeyName) -> BoxFuture<'_, Result<Option<Entry>, KeyValueError>> {
        self.inner.get(key)
    }

    fn put(
        &self,
        key: KeyName,
        value: Bytes,
        expect: Option<Revision>,
    ) -> BoxFuture<'_, Result<Revision, KeyValueError>> {
        let take = |count: &AtomicU32| {
            count.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1)).is_ok()
        };
        if take(&self.full) {
            return Box::pin(async { Err(KeyValueError::StorageFull { reason: "full".to_owned() }) });
        }
        if take(&self.others_first) {
            let other = br#"{"v":1,"paused":null}"#.as_slice();
            return Box::pin(async move {
                self.inner.put(key.clone(), other.into(), expect).await?;
                self.inner.put(key, value, expect).await
            });
        }
        self.inner.put(key, value, expect)
    }

    fn delete(&self, key: KeyName, expect: Revision) -> BoxFuture<'_, Result<(), KeyValueError>> {
        self.inner.delete(key, expect)
    }

    fn list(
        &self,
        prefix: KeyPrefix,
        after: Option<KeyName>,
        limit: NonZeroU32,
    ) -> BoxFuture<'_, Result<Vec<(KeyName, Entry)>, KeyValueError>> {
        self.inner.list(prefix, after, limit)
    }
}

#[test]
fn a_pause_that_cannot_be_kept_pauses_nothing() {
    let clock = clock();
    let (others_first, full) = (AtomicU32::new(0), AtomicU32::new(1));
    let values = Arc::new(Stubborn { inner: MemoryKeyValueStore::new(), others_first, full });
    let store = store_of(&clock, 1);
    let consumer = start_kept(&store, &clock, &*values, &Arc::default());
    let these = consumers(&values, &clock);
    these.add(Arc::clone(&consumer) as _).unwrap();
    let refused = block_on(these.pause("noting", "ann")).unwrap_err();
    assert_eq!(refused.retry(), Retry::AfterPause);
    assert!(status(&consumer).paused.is_none());
    // Operators who were faster are read again, and not for ever.
    values.others_first.store(3, Ordering::SeqCst);
    assert!(block_on(these.pause("noting", "ann")).unwrap().paused.is_some());
    values.others_first.store(u32::MAX, Ordering::SeqCst);
    let refused = block_on(these.resume("noting")).unwrap();
    assert!(refused.paused.is_none(), "the other writer has ended the pause");
    let refused = block_on(these.pause("noting", "ann")).unwrap_err();
    assert!(matches!(refused, ControlError::Values(KeyValueError::Changed { .. })), "{refused}");
    assert_eq!(refused.retry(), Retry::Now);
}

#[test]
fn a_process_follows_the_pauses_that_another_one_keeps() {
    let (clock, values) = (clock(), Arc::new(MemoryKeyValueStore::new()));
    let store = store_of(&clock, 1);
    let start = || {
        let consumer = start_kept(&store, &clock, &*values, &Arc::default());
        let these = consumers(&values, &clock);
        these.add(Arc::clone(&consumer) as _).unwrap();
        (consumer, these)
    };
    let ((_, here), (there, theirs)) = (start(), start());
    block_on(here.pause("noting", "ann")).unwrap();
    assert!(status(&there).paused.is_none());
    block_on(theirs.follow()).unwrap();
    assert_eq!(&*status(&there).paused.unwrap().by, "ann");
    block_on(here.resume("noting")).unwrap();
    block_on(theirs.follow()).unwrap();
    assert!(status(&there).paused.is_none());
}

#[test]
fn what_is_kept_last_is_what_counts() {
    let (clock, values) = (clock(), Arc::new(MemoryKeyValueStore::new()));
    let store = store_of(&clock, 1);
    let consumer = start_kept(&store, &clock, &*values, &Arc::default());
    let these = consumers(&values, &clock);
    these.add(Arc::clone(&consumer) as _).unwrap();
    for _ in 0..30 {
        std::thread::scope(|scope| {
            for number in 0..4 {
                let these = &these;
                scope.spawn(move || {
                    let changed = match number % 2 {
                        0 => block_on(these.pause("noting", &number.to_string())),
                        _ => block_on(these.resume("noting")),
                    };
                    changed.unwrap();
                });
            }
        });
        let kept = block_on(kept_pause(&*values, "noting")).unwrap();
        assert_eq!(status(&consumer).paused, kept);
    }
}
