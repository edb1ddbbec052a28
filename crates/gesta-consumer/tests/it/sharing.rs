//! Workers on groups that are dealt in the same process: several share the work, and a restart goes on.

use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZeroU32;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use event_listener::{Event, Listener};
use gesta_consumer::group::*;
use gesta_consumer::*;
use gesta_core::*;
use pollster::block_on;

use crate::support::{PATIENCE, event, store_of};

/// Keeps the versions that it saw of each stream, in order.
#[derive(Default)]
struct Seen {
    versions: Mutex<BTreeMap<String, Vec<u64>>>,
    changed: Event,
}

impl Seen {
    fn count(&self) -> usize {
        self.versions.lock().unwrap().values().map(Vec::len).sum()
    }

    fn wait_for(&self, count: usize) {
        loop {
            let listener = self.changed.listen();
            if self.count() >= count {
                return;
            }
            let woken = listener.wait_timeout(PATIENCE);
            assert!(woken.is_some(), "only {} of {count} events were handled", self.count());
        }
    }
}

impl Handle for Seen {
    fn handle<'a>(&'a self, delivery: &'a Delivery) -> BoxFuture<'a, Result<(), Failed>> {
        Box::pin(async {
            let mut versions = self.versions.lock().unwrap();
            for event in &delivery.events {
                versions.entry(event.stream().to_owned()).or_default().push(event.version().get());
            }
            drop(versions);
            self.changed.notify(usize::MAX);
            Ok(())
        })
    }
}

const STREAMS: u64 = 40;
const EACH: u64 = 25;

fn append(store: &MemoryStore) {
    for _ in 0..EACH {
        for stream in 0..STREAMS {
            store.append_now(Batch::new([event(&format!("s-{stream}"), "1")])).unwrap();
        }
    }
}

#[test]
fn workers_share_a_group_and_a_restart_goes_on() {
    let store = store_of(&crate::support::clock(), 1);
    let (values, seen) = (Arc::new(MemoryKeyValueStore::new()), Arc::<Seen>::default());
    let group = GroupName::new("share").unwrap();
    for round in 1..=3 {
        append(&store);
        let (clock, options) =
            (Arc::new(SystemClock), LocalGroupsOptions { is_alone: true, ..LocalGroupsOptions::default() });
        let groups = LocalGroups::start(store.clone(), values.clone(), clock.clone(), options).unwrap();
        let groups = Arc::new(groups);
        block_on(groups.host(group.clone(), GroupSettings::new(Query::All))).unwrap();
        let start = || work(groups.clone(), group.clone(), 3, seen.clone(), &Threads, clock.clone()).unwrap();
        let workers = [start(), start()];
        seen.wait_for(usize::try_from(round * STREAMS * EACH).unwrap());
        workers.iter().for_each(Workers::request_stop);
        workers.iter().for_each(|workers| block_on(workers.ended()));
        groups.close();
    }
    let versions = seen.versions.lock().unwrap();
    assert_eq!(versions.len() as u64, STREAMS);
    for (stream, versions) in &*versions {
        assert_eq!(*versions, (0..3 * EACH).collect::<Vec<_>>(), "{stream}: each event once, in order");
    }
}

/// Gives the events of streams that are `late-…` back until the others were handled.
#[derive(Default)]
struct Deferring {
    seen: Seen,
    is_open: AtomicBool,
    deferred: Mutex<BTreeSet<String>>,
}

impl Handle for Deferring {
    fn handle<'a>(&'a self, delivery: &'a Delivery) -> BoxFuture<'a, Result<(), Failed>> {
        let stream = delivery.events[0].stream();
        if stream.starts_with("late-") && !self.is_open.load(Ordering::SeqCst) {
            self.deferred.lock().unwrap().insert(stream.to_owned());
            let again = Some(Duration::from_millis(50));
            return Box::pin(async move { Err(Failed::release(0, again, "not yet")) });
        }
        self.seen.handle(delivery)
    }
}

#[test]
fn three_hundred_streams_that_are_deferred_hold_up_no_other() {
    const LATE: usize = 300;
    let store = store_of(&crate::support::clock(), 1);
    for _ in 0..2 {
        for stream in 0..LATE {
            store.append_now(Batch::new([event(&format!("late-{stream}"), "1")])).unwrap();
        }
        append(&store);
    }
    let (values, clock) = (Arc::new(MemoryKeyValueStore::new()), Arc::new(SystemClock));
    let options = LocalGroupsOptions { is_alone: true, ..LocalGroupsOptions::default() };
    let groups = Arc::new(LocalGroups::start(store, values, clock.clone(), options).unwrap());
    let group = GroupName::new("defer").unwrap();
    let mut settings = GroupSettings::new(Query::All);
    settings.in_flight_max = NonZeroU32::new(64).unwrap();
    block_on(groups.host(group.clone(), settings)).unwrap();
    let handler = Arc::<Deferring>::default();
    let workers = work(groups.clone(), group.clone(), 3, handler.clone(), &Threads, clock).unwrap();

    let others = usize::try_from(2 * STREAMS * EACH).unwrap();
    handler.seen.wait_for(others);
    assert_eq!(handler.seen.count(), others, "no event of a stream that is deferred was handled");
    assert_eq!(handler.deferred.lock().unwrap().len(), LATE, "each of these streams was tried");
    handler.is_open.store(true, Ordering::SeqCst);
    handler.seen.wait_for(others + 2 * LATE);
    assert_eq!(block_on(groups.parked(group, None, NonZeroU32::MIN)).unwrap(), []);
    workers.request_stop();
    block_on(workers.ended());
    groups.close();
    let versions = handler.seen.versions.lock().unwrap();
    for (stream, versions) in &*versions {
        let end = if stream.starts_with("late-") { 2 } else { 2 * EACH };
        assert_eq!(*versions, (0..end).collect::<Vec<_>>(), "{stream}: each event once, in order");
    }
}
