//! Laws of restarts: what was settled stays settled after an orderly end, nothing is lost by a crash, and what operators asked
//! for holds over both.

use std::collections::BTreeMap;
use std::num::NonZeroU32;

use gesta_consumer::group::{
    BackOff, GroupSettings, GroupState, OnPoison, Order, RefusedWhy, Settlement, Then,
};
use gesta_core::Place;

use super::{ONE, SECOND, TWO, World, by_stream, count, settings, texts};
use crate::given::versions;

pub(crate) fn progress_is_kept_over_a_restart(world: &World<'_>) {
    world.create(settings());
    world.append(&[ONE, ONE, TWO]);
    {
        let mut member = world.member("m");
        let deliveries = member.take_events(3);
        member.all_done(&deliveries);
    }
    world.restart();
    world.append(&[ONE]);
    let mut member = world.member("m");
    assert_eq!(texts(&member.take_one().events), [format!("{ONE}@2")]);
    member.expect_nothing();
}

pub(crate) fn what_was_in_flight_at_a_restart_is_delivered_again_and_its_ids_are_stale(world: &World<'_>) {
    world.create(settings());
    world.append(&[ONE, ONE, TWO]);
    let held = world.member("m").take_events(3);
    world.restart();
    let mut member = world.member("m");
    let again = member.take_events(3);
    let streams = by_stream(again.iter().flat_map(|delivery| &delivery.events));
    assert_eq!((&streams[ONE], &streams[TWO]), (&vec![0, 1], &vec![0]));
    for delivery in held {
        assert_eq!(member.try_settle(Settlement::handled(delivery.id))[0].why, RefusedWhy::Stale);
    }
    member.all_done(&again);
}

pub(crate) fn an_unsettled_event_comes_again_though_a_later_one_of_its_lane_was_settled(world: &World<'_>) {
    world.create(settings());
    // Both are in one lane, so the place of the lane is that of the older one.
    world.append(&[ONE, TWO]);
    {
        let mut member = world.member("m");
        let held = member.take_events(2);
        let newer = held.iter().find(|delivery| delivery.events[0].stream() == TWO);
        member.done(newer.expect("a delivery of the second stream"));
    }
    world.restart();
    // The newer one may come again too: nothing promises that it does not.
    let again = world.member("m").take_all();
    assert_eq!(by_stream(again.iter().flat_map(|delivery| &delivery.events))[ONE], [0]);
}

pub(crate) fn parked_streams_stay_parked_over_a_restart_and_are_replayed_from_there(world: &World<'_>) {
    world.create(settings());
    world.append(&[ONE, ONE, TWO]);
    {
        let mut member = world.member("m");
        for delivery in member.take_events(3) {
            match delivery.events[0].stream() {
                ONE => member.fails_after(&delivery, 1, Then::Park),
                _ => member.done(&delivery),
            }
        }
    }
    world.restart();
    world.append(&[ONE]);
    let mut member = world.member("m");
    member.expect_nothing();
    assert_eq!(world.parked().iter().map(|parked| parked.stream.as_str()).collect::<Vec<_>>(), [ONE]);
    assert_eq!(world.replay(&[]), Ok(1));
    for version in [1, 2] {
        let delivery = member.take_one();
        assert_eq!(versions(&delivery.events), [version]);
        member.done(&delivery);
    }
}

pub(crate) fn every_setting_is_shown_and_kept_over_a_restart(world: &World<'_>) {
    let wanted = GroupSettings {
        query: settings().query,
        from: Place::End,
        ack_time: 7 * SECOND,
        attempts_max: NonZeroU32::new(5),
        back_off: BackOff { first: 3 * SECOND, max: 9 * SECOND },
        run_max: count(3),
        in_flight_max: count(9),
        on_poison: OnPoison::Stop,
        order: Order::Log,
    };
    let version = world.create(wanted.clone());
    let shown = || (world.status().settings, world.status().settings_version);
    assert_eq!(shown(), (wanted.clone(), version));
    world.restart();
    assert_eq!(shown(), (wanted, version));
}

pub(crate) fn no_event_is_lost_by_a_crash_and_streams_stay_in_order(world: &World<'_>) {
    world.create(GroupSettings { run_max: count(2), ..settings() });
    let streams = ["order-1{a}", "order-2{b}", "order-3{c}"];
    for _ in 0..6 {
        world.append(&streams);
    }
    // The effects at a target that keeps the last version it has seen of each stream.
    let mut target = BTreeMap::<String, Vec<u64>>::new();
    for round in 0..6 {
        {
            let mut member = world.member(&format!("m-{round}"));
            for (at, delivery) in member.take_all().iter().enumerate() {
                for event in &delivery.events {
                    let seen = target.entry(event.stream().to_owned()).or_default();
                    if seen.last().is_none_or(|last| *last < event.version().get()) {
                        seen.push(event.version().get());
                    }
                }
                // Some die before they settle.
                if at != round % 3 {
                    member.done(delivery);
                }
            }
        }
        world.crash();
    }
    for event in world.member("last").handle_all() {
        let seen = target.entry(event.stream().to_owned()).or_default();
        if seen.last().is_none_or(|last| *last < event.version().get()) {
            seen.push(event.version().get());
        }
    }
    for stream in streams {
        assert_eq!(target[stream], (0..6).collect::<Vec<u64>>(), "{stream}: each effect once, in order");
    }
}

pub(crate) fn a_pause_holds_over_a_crash(world: &World<'_>) {
    world.create(settings());
    world.append(&[ONE]);
    world.pause();
    world.crash();
    let state = world.status().state;
    assert!(matches!(&state, GroupState::Paused { by, .. } if by == "ops"), "{state:?}");
    assert_eq!(world.member("m").take_now(8), []);
    world.resume();
    assert_eq!(world.member("m").handle_all().len(), 1);
}
