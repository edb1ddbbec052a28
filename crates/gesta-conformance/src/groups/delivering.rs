//! Laws of deliveries: every matching event, in the order of its stream, within the limits of the call and of the group.

use std::pin::pin;
use std::sync::Mutex;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use gesta_consumer::group::{GroupSettings, Settlement, Take, TakeError, Taken};
use gesta_core::Read;
use pollster::block_on;

use super::{GROUP, ONE, SECOND, TWO, World, by_stream, count, far, group, settings, types};
use crate::given::name;

pub(crate) fn every_event_is_delivered_once_and_each_stream_in_its_order(world: &World<'_>) {
    const EVENTS: usize = 100;
    world.create(GroupSettings { run_max: count(4), ..settings() });
    let streams = (0..10).map(|number| format!("order-{number}{{k{}}}", number % 4)).collect::<Vec<_>>();
    for _ in 0..EVENTS / streams.len() {
        world.append(&streams.iter().map(String::as_str).collect::<Vec<_>>());
    }
    // Members note what they get before they settle it, so the notes on a stream are in the order of its deliveries.
    let notes = Mutex::new(Vec::new());
    let note = |events| {
        let mut notes = notes.lock().expect("no member panicked");
        notes.extend(events);
        notes.len()
    };
    std::thread::scope(|scope| {
        for number in 0..4 {
            scope.spawn(move || {
                let mut member = world.member(&format!("m-{number}"));
                while note(Vec::new()) < EVENTS {
                    for delivery in member.take_now(8) {
                        note(delivery.events.clone());
                        member.done(&delivery);
                    }
                }
            });
        }
    });
    let delivered = by_stream(&notes.into_inner().expect("no member panicked"));
    let all = streams.into_iter().map(|stream| (stream, (0..10).collect::<Vec<u64>>()));
    assert_eq!(delivered, all.collect());
    let status = world.status_when("all is handled", |status| status.lag_events == Some(0));
    assert_eq!(status.settled.handled, EVENTS as u64);
}

pub(crate) fn a_group_delivers_only_events_that_its_query_selects(world: &World<'_>) {
    world.create(GroupSettings::new(types(&["one", "other"])));
    for kind in ["one", "neither", "other", "one"] {
        world.append_typed(ONE, kind);
    }
    let deliveries = world.member("m").take_events(3);
    assert_eq!(by_stream(deliveries.iter().flat_map(|delivery| &delivery.events))[ONE], [0, 2, 3]);
}

pub(crate) fn streams_of_all_partitions_are_delivered(world: &World<'_>) {
    world.create(settings());
    let far = far(world.store().capabilities().partitions);
    world.append(&[&far, ONE, &far, TWO]);
    let mut member = world.member("m");
    let deliveries = member.take_events(4);
    assert_eq!(by_stream(deliveries.iter().flat_map(|delivery| &delivery.events))[&far], [0, 1]);
    member.all_done(&deliveries);
    world.status_when("all is handled", |status| status.lag_events == Some(0));
}

pub(crate) fn an_event_is_delivered_as_the_store_returns_it(world: &World<'_>) {
    world.create(settings());
    world.append(&[ONE, ONE, TWO]);
    for delivery in world.member("m").take_all() {
        let stream = name(delivery.events[0].stream());
        let page = block_on(world.store().read(Read::stream(stream))).expect("a page");
        assert_eq!(delivery.events, page.events);
        assert_eq!(delivery.attempt, 1);
        assert_eq!(delivery.ack_time, settings().ack_time);
    }
}

pub(crate) fn a_stream_has_at_most_one_delivery_in_flight(world: &World<'_>) {
    world.create(GroupSettings { run_max: count(2), ..settings() });
    world.append(&[ONE, ONE, ONE, TWO]);
    let (mut member, mut other) = (world.member("m-1"), world.member("m-2"));
    let first = member.take_events(3);
    let streams = by_stream(first.iter().flat_map(|delivery| &delivery.events));
    assert_eq!((&streams[ONE], &streams[TWO]), (&vec![0, 1], &vec![0]));
    other.expect_nothing();
    member.all_done(&first);
    assert_eq!(by_stream(&other.take_events(1)[0].events)[ONE], [2]);
}

pub(crate) fn a_delivery_holds_consecutive_events_of_one_stream_up_to_run_max(world: &World<'_>) {
    world.create(GroupSettings { run_max: count(3), ..settings() });
    world.append(&[ONE, TWO, ONE, ONE, TWO, ONE, ONE]);
    let mut member = world.member("m");
    let mut lengths = Vec::new();
    loop {
        let taken = member.take_all();
        if taken.is_empty() {
            break;
        }
        for delivery in taken {
            assert!(delivery.events.len() <= 3, "{delivery:?}");
            assert_eq!(by_stream(&delivery.events).len(), 1, "one stream: {delivery:?}");
            lengths.push(delivery.events.len());
            member.done(&delivery);
        }
    }
    assert_eq!(lengths.iter().sum::<usize>(), 7);
    assert!(lengths.contains(&3), "events come in runs: {lengths:?}");
}

pub(crate) fn a_call_takes_at_most_as_many_events_as_it_asks_for(world: &World<'_>) {
    world.create(settings());
    world.append(&[ONE, ONE, ONE, TWO, TWO, "order-3{k}"]);
    let mut member = world.member("m");
    let mut left = 6;
    while left > 0 {
        let taken = member.take(2);
        let events = taken.iter().map(|delivery| delivery.events.len()).sum::<usize>();
        assert!((1..=2).contains(&events), "{taken:?}");
        member.all_done(&taken);
        left -= events;
    }
    assert_eq!(member.handle_all(), []);
}

pub(crate) fn events_in_flight_are_limited_by_the_settings(world: &World<'_>) {
    world.create(GroupSettings { in_flight_max: count(3), ..settings() });
    let streams = (0..8).map(|number| format!("order-{number}{{k}}")).collect::<Vec<_>>();
    world.append(&streams.iter().map(String::as_str).collect::<Vec<_>>());
    let (mut one, mut other) = (world.member("one"), world.member("other"));
    let mut held = Vec::new();
    while held.len() < 3 {
        held.extend(one.take(1_000));
    }
    assert_eq!(held.len(), 3);
    other.expect_nothing();
    assert_eq!(world.status().in_flight_events, 3);
    one.done(&held[0]);
    assert_eq!(other.take(1_000).len(), 1);
    other.expect_nothing();
}

pub(crate) fn a_call_whose_wait_is_over_is_answered_without_deliveries(world: &World<'_>) {
    world.create(settings());
    std::thread::scope(|scope| {
        let take = Take::new("m".parse().expect("a name"), 8, 3 * SECOND);
        let waiting = scope.spawn(|| world.member("m").call(take).expect("taken"));
        // The member counts as one as soon as its call waits.
        world.status_when("the member waits", |status| !status.members.is_empty());
        world.pass(4 * SECOND);
        assert_eq!(waiting.join().expect("an answer").deliveries, []);
    });
}

pub(crate) fn a_call_waits_for_an_event_and_a_newer_one_ends_it(world: &World<'_>) {
    world.create(settings());
    let groups = world.groups();
    let take = || Take::new("m".parse().expect("a name"), 5, 60 * SECOND);
    let mut older = pin!(groups.take(group(GROUP), take()));
    let mut context = Context::from_waker(Waker::noop());
    assert!(older.as_mut().poll(&mut context).is_pending(), "nothing is there");
    world.status_when("the member waits", |status| status.members.len() == 1);
    std::thread::scope(|scope| {
        let newer = scope.spawn(|| world.member("m").call(take()));
        assert_eq!(block_on(older), Ok(Taken::default()));
        world.append(&[ONE]);
        let taken = newer.join().expect("an answer").expect("taken");
        assert_eq!(by_stream(&taken.deliveries[0].events)[ONE], [0]);
    });
}

pub(crate) fn a_call_for_no_events_settles_and_renews_at_once(world: &World<'_>) {
    world.create(settings());
    world.append(&[ONE, TWO]);
    let mut member = world.member("m");
    let taken = member.take_all();
    member.done(&taken[0]);
    let take = Take { holds: None, ..Take::new("m".parse().expect("a name"), 0, 60 * SECOND) };
    let answer = member.call(take).expect("an answer");
    assert_eq!((answer.deliveries.len(), answer.refused.len()), (0, 0));
    assert_eq!(world.status().in_flight_events, 1);
}

pub(crate) fn a_call_that_its_caller_drops_loses_nothing(world: &World<'_>) {
    world.create(settings());
    let groups = world.groups();
    {
        let take = Take::new("m-1".parse().expect("a name"), 5, 60 * SECOND);
        let mut call = pin!(groups.take(group(GROUP), take));
        let mut context = Context::from_waker(Waker::noop());
        assert_eq!(call.as_mut().poll(&mut context).map(|_| ()), Poll::Pending);
        world.status_when("the member waits", |status| status.members.len() == 1);
        // Groups may deal to the call from here on, though nobody takes its answer.
        world.append(&[ONE]);
        world.wait_until_read();
        world.status();
    }
    assert_eq!(
        world.member("m-2").take_one().attempt,
        1,
        "it did not reach its member, so no attempt counts"
    );
}

pub(crate) fn a_call_that_is_not_well_formed_settles_nothing(world: &World<'_>) {
    world.create(settings());
    world.append(&[ONE]);
    let mut member = world.member("m");
    let held = member.take_one();
    let settle = vec![Settlement::handled(held.id)];
    let wrong = Take { holds: None, settle, ..member.take_of(1, Duration::ZERO) };
    assert!(matches!(member.call(wrong), Err(TakeError::Form(_))));
    member.done(&held);
}

pub(crate) fn the_status_shows_members_deliveries_and_lag(world: &World<'_>) {
    world.create(settings());
    world.append(&[ONE, ONE, TWO]);
    let mut member = world.member("m");
    let taken = member.take_all();
    let status = world.status();
    assert_eq!(status.name, group(GROUP));
    assert_eq!(status.in_flight_events, 3);
    let [seen] = &status.members[..] else { panic!("one member: {status:?}") };
    assert_eq!((seen.name.as_str(), seen.in_flight_events), ("m", 3));
    assert!(status.lag_events.is_none_or(|lag| lag >= 3), "the oldest event is unfinished: {status:?}");
    member.all_done(&taken);
    let status = world.status_when("all is handled", |status| status.in_flight_events == 0);
    assert!(status.settled.handled >= 3, "{status:?}");
    assert_eq!(status.lag_events.unwrap_or(0), 0, "{status:?}");
}
