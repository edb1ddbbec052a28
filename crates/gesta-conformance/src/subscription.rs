//! Laws of subscriptions and of waiting: past events, then live ones, each once, without a gap between the two.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::thread;

use gesta_core::{Checkpoint, Lane, Lanes, Page, Place, Query, ReadError, RecordedEvent, Subscription};
use pollster::block_on;

use crate::given::{A, B, batch, beyond, event_type, events, foreign, ids, name, typed};
use crate::world::{World, poll_once};

/// The number of batches that each writer appends while others read.
const BATCHES: u32 = 20;

fn subscribe(world: &World<'_>, query: Query, from: Place) -> Subscription {
    block_on(Subscription::new(Arc::clone(&world.store), query, from)).expect("a subscription")
}

fn next(subscription: &mut Subscription) -> Page {
    block_on(subscription.next()).expect("a page")
}

/// Reads pages until they have returned `count` events.
fn take(subscription: &mut Subscription, count: usize) -> Vec<RecordedEvent> {
    let mut taken = Vec::new();
    while taken.len() < count {
        taken.extend(next(subscription).events);
    }
    taken
}

/// Appends batches of two streams in turn. The streams have this key, and the ids begin at `first`.
fn write(world: &World<'_>, key: &str, first: u32) {
    let (home, shop) = (format!("home-{{{key}}}"), format!("shop-{{{key}}}"));
    for number in (0..BATCHES).map(|batch| first + 3 * batch) {
        world.append(batch(&[(&home, number), (&shop, number + 1), (&home, number + 2)]));
    }
}

pub(crate) fn a_subscription_returns_every_event_once_and_in_order_during_appends(world: &World<'_>) {
    let keys = world.keys();
    let writer = |at: usize, first: u32| (keys[at].clone(), first);
    write(world, &keys[0], 0);
    let total = 4 * 3 * BATCHES as usize;
    let read = |limit: u32| {
        let mut subscription = subscribe(world, Query::All, Place::Start).limit(events(limit));
        take(&mut subscription, total)
    };
    thread::scope(|scope| {
        let readers = [1, 7, 1_000].map(|limit| scope.spawn(move || read(limit)));
        for (key, first) in [writer(0, 1_000), writer(1, 2_000), writer(2, 3_000)] {
            scope.spawn(move || write(world, &key, first));
        }
        let taken = readers.map(|reader| reader.join().expect("a reader"));
        let expected = world.log();
        for taken in taken {
            assert_eq!(world.ids_by_partition(&taken), world.ids_by_partition(&expected));
        }
    });
}

pub(crate) fn a_subscription_resumes_from_a_kept_checkpoint(world: &World<'_>) {
    write(world, "k", 0);
    let mut taken = Vec::new();
    let mut kept = world.start();
    while taken.len() < 3 * BATCHES as usize {
        let mut subscription = subscribe(world, Query::All, Place::At(kept)).limit(events(4));
        taken.extend(ids(&next(&mut subscription).events));
        kept = subscription.checkpoint().clone();
        kept = kept.to_string().parse::<Checkpoint>().expect("a token is read back");
    }
    assert_eq!(taken, (0..3 * BATCHES).collect::<Vec<_>>());
}

pub(crate) fn a_subscription_from_the_end_returns_only_later_events(world: &World<'_>) {
    world.append(batch(&[(A, 1)]));
    let mut subscription = subscribe(world, Query::All, Place::End);
    world.append(batch(&[(B, 2), (A, 3)]));
    assert_eq!(ids(&next(&mut subscription).events), [2, 3]);
}

pub(crate) fn a_page_without_events_advances_a_subscription(world: &World<'_>) {
    let mut subscription = subscribe(world, Query::types([event_type("rare")]), Place::Start);
    world.append(batch(&[(A, 1), (B, 2)]));
    let page = next(&mut subscription);
    assert!(page.events.is_empty() && page.scanned_to == world.head(), "{page:?}");
    assert_eq!(*subscription.checkpoint(), world.head());
    world.append(gesta_core::Batch::new([typed(A, 3, "rare")]));
    assert_eq!(ids(&next(&mut subscription).events), [3]);
}

pub(crate) fn subscriptions_to_disjoint_lanes_return_all_events_between_them(world: &World<'_>) {
    let keys = world.keys();
    let part = |part: u16| {
        let lanes = (0..1_024).filter(|lane| lane % 2 == part).filter_map(Lane::new).collect::<Lanes>();
        let mut subscription = subscribe(world, Query::All, Place::Start).lanes(lanes).limit(events(2));
        let mut taken = Vec::new();
        while !subscription.checkpoint().at_least(&world.head()) {
            taken.extend(ids(&next(&mut subscription).events));
        }
        taken
    };
    for (key, first) in keys.iter().zip([0, 1_000, 2_000]) {
        write(world, key, first);
    }
    let together = [part(0), part(1)].concat();
    let distinct = together.iter().copied().collect::<BTreeSet<_>>();
    assert_eq!((together.len(), distinct.len()), (9 * BATCHES as usize, 9 * BATCHES as usize));
}

pub(crate) fn a_dropped_wait_for_the_next_page_loses_nothing(world: &World<'_>) {
    let mut subscription = subscribe(world, Query::All, Place::Start);
    for number in 1..=5 {
        for _ in 0..2 {
            let mut waiting = Box::pin(subscription.next());
            let waker = std::task::Waker::noop();
            let polled = Future::poll(waiting.as_mut(), &mut std::task::Context::from_waker(waker));
            assert!(polled.is_pending(), "there is nothing new");
        }
        world.append(batch(&[(A, number)]));
        assert_eq!(ids(&next(&mut subscription).events), [number]);
    }
}

pub(crate) fn a_wait_ends_with_the_next_append(world: &World<'_>) {
    for (number, key) in (1..).zip(world.keys().iter().cycle()).take(6) {
        let head = world.head();
        let mut waiting = [0; 3].map(|_| world.store.wait_past(head.clone()));
        assert!(
            waiting.iter_mut().all(|wait| poll_once(wait).is_pending()),
            "no event is durable after the head"
        );
        let appended = world.append(batch(&[(&format!("s-{{{key}}}"), number)]));
        for wait in waiting {
            let reached = block_on(wait).expect("a head");
            assert!(reached.covers(appended.places[0].position), "{reached}");
        }
    }
}

pub(crate) fn an_append_wakes_a_wait_in_another_thread(world: &World<'_>) {
    thread::scope(|scope| {
        let head = world.head();
        let waiting = scope.spawn(move || block_on(world.store.wait_past(head)).expect("a head"));
        let place = world.append(batch(&[(A, 1)])).places[0];
        assert!(waiting.join().expect("the waiting thread").covers(place.position));
    });
}

pub(crate) fn a_wait_for_a_place_before_the_head_ends_at_once(world: &World<'_>) {
    let start = world.start();
    let places = world.append(batch(&[(A, 1), (B, 2), (A, 3)])).places;
    let inside = start.clone().with(places[0].position.partition, places[0].position.sequence);
    for after in [start, inside] {
        assert_eq!(block_on(world.store.wait_past(after)), Ok(world.head()));
    }
}

pub(crate) fn a_wait_beyond_the_head_is_refused_at_once(world: &World<'_>) {
    world.append(batch(&[(A, 1)]));
    let head = world.head();
    let ahead = beyond(&head);
    let refused = block_on(world.store.wait_past(ahead.clone()));
    assert_eq!(refused, Err(ReadError::CheckpointAhead { checkpoint: ahead.clone(), head: head.clone() }));
    let elsewhere = foreign(&head);
    let refused = block_on(world.store.wait_past(elsewhere.clone()));
    assert_eq!(refused, Err(ReadError::ForeignCheckpoint { checkpoint: elsewhere }));

    let mut subscription = subscribe(world, Query::stream(name(A)), Place::At(ahead));
    assert!(matches!(block_on(subscription.next()), Err(ReadError::CheckpointAhead { .. })));
}
