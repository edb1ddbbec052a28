//! Laws of dealing: who gets which events, and in what order.

use std::collections::BTreeMap;
use std::num::NonZeroU32;
use std::pin::pin;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use gesta_consumer::group::{GroupSettings, LookError, RefusedWhy, Settlement, Take, TakeError, Taken};
use pollster::block_on;

use super::{SECOND, World, far, group, ids, name, settings, types, versions};

pub(crate) fn every_event_is_delivered_once_and_each_stream_in_its_order(world: &mut World<'_>) {
    world.create(settings());
    let streams = (0..60).map(|number| format!("s-{}", number * 7 % 11)).collect::<Vec<_>>();
    world.append(&streams.iter().map(String::as_str).collect::<Vec<_>>());
    let mut seen = BTreeMap::<String, Vec<u64>>::new();
    for round in 0..20 {
        let member = format!("m-{}", round % 3);
        let deliveries = world.take(&member, 3);
        for (stream, versions) in versions(&deliveries) {
            seen.entry(stream).or_default().extend(versions);
        }
        world.handled(&member, &deliveries, &[]);
    }
    for (stream, versions) in &seen {
        assert!(versions.iter().copied().eq(0..versions.len() as u64), "`{stream}`: {versions:?}");
    }
    world.expect_nothing("m-0", &[]);
    let status = world.wait_for(|status| status.lag_events == Some(0));
    assert_eq!(status.settled.handled, 60);
}

pub(crate) fn a_group_delivers_only_events_that_its_query_selects(world: &mut World<'_>) {
    world.create(GroupSettings::new(types(&["a.b", "a.c"])));
    for kind in ["a.b", "a.x", "a.c", "a.b"] {
        world.append_typed("s-1", kind);
    }
    let deliveries = world.take("m", 3);
    assert_eq!(versions(&deliveries)["s-1"], [0, 2, 3]);
}

pub(crate) fn a_stream_has_at_most_one_delivery_in_flight(world: &mut World<'_>) {
    world.create(GroupSettings { run_max: NonZeroU32::new(2).expect("2 is not 0"), ..settings() });
    world.append(&["s-1", "s-1", "s-1", "t-1"]);
    let first = world.take("m-1", 3);
    assert_eq!(versions(&first), BTreeMap::from([("s-1".into(), vec![0, 1]), ("t-1".into(), vec![0])]));
    world.expect_nothing("m-2", &[]);
    world.handled("m-1", &first, &[]);
    assert_eq!(versions(&world.take("m-2", 1))["s-1"], [2]);
}

pub(crate) fn events_in_flight_are_limited_by_the_settings(world: &mut World<'_>) {
    world.create(GroupSettings { in_flight_max: NonZeroU32::new(3).expect("3 is not 0"), ..settings() });
    world.append(&["s-1", "s-1", "t-1", "t-1"]);
    let held = world.take("m-1", 3);
    world.expect_nothing("m-2", &[]);
    world.handled("m-1", &held, &[]);
    assert_eq!(world.take("m-2", 1).len(), 1);
}

pub(crate) fn a_member_that_lists_its_deliveries_keeps_them(world: &mut World<'_>) {
    world.create(settings());
    world.append(&["s-1", "t-1"]);
    let held = world.take("m-1", 2);
    for _ in 0..5 {
        world.advance(20 * SECOND);
        let taken = world.take_settling("m-1", 0, &ids(&held), Vec::new());
        assert_eq!(taken, Taken::default());
    }
    world.expect_nothing("m-2", &[]);
    world.handled("m-1", &held, &[]);
}

pub(crate) fn what_a_member_does_not_list_was_lost_and_comes_again_under_a_new_id(world: &mut World<'_>) {
    world.create(settings());
    world.append(&["s-1"]);
    let lost = world.take("m-1", 1);
    let again = world.take("m-1", 1);
    assert_eq!((again[0].attempt, &again[0].events), (2, &lost[0].events));
    assert_ne!(again[0].id, lost[0].id);
    let taken = world.take_settling("m-1", 0, &ids(&again), vec![Settlement::handled(lost[0].id)]);
    assert_eq!(taken.refused.iter().map(|refused| refused.why).collect::<Vec<_>>(), [RefusedWhy::Stale]);
    world.handled("m-1", &again, &[]);
}

pub(crate) fn a_delivery_that_expires_goes_to_another_member(world: &mut World<'_>) {
    world.create(settings());
    world.append(&["s-1"]);
    let expired = world.take("m-1", 1);
    world.advance(31 * SECOND);
    let again = world.take("m-2", 1);
    assert_eq!((again[0].attempt, &again[0].events), (2, &expired[0].events));
    let late = world.take_settling("m-1", 0, &[], vec![Settlement::handled(expired[0].id)]);
    assert_eq!(late.refused.len(), 1, "its events were dealt again");
    world.handled("m-2", &again, &[]);
    assert_eq!(world.status().settled.expired, 1);
}

pub(crate) fn a_late_settlement_counts_until_its_events_are_dealt_again(world: &mut World<'_>) {
    world.create(settings());
    world.append(&["s-1"]);
    let expired = world.take("m-1", 1);
    world.advance(31 * SECOND);
    world.wait_for(|status| status.settled.expired == 1);
    world.handled("m-1", &expired, &[]);
    world.expect_nothing("m-2", &[]);
}

pub(crate) fn a_delivery_may_be_settled_in_part(world: &mut World<'_>) {
    world.create(settings());
    world.append(&["s-1", "s-1", "s-1"]);
    let id = world.take("m-1", 3)[0].id;
    let some = Settlement { handled: Some(2), ..Settlement::handled(id) };
    assert_eq!(world.take_settling("m-1", 0, &[], vec![some]), Taken::default());
    assert_eq!(versions(&world.take("m-2", 1))["s-1"], [2]);
}

pub(crate) fn only_the_member_that_has_a_delivery_may_settle_it(world: &mut World<'_>) {
    world.create(settings());
    world.append(&["s-1"]);
    let held = world.take("m-1", 1);
    let taken = world.take_settling("m-2", 0, &[], vec![Settlement::handled(held[0].id)]);
    assert_eq!(taken.refused[0].why, RefusedWhy::Stale);
    let beyond = Settlement { handled: Some(2), ..Settlement::handled(held[0].id) };
    let taken = world.take_settling("m-1", 0, &[], vec![beyond]);
    assert_eq!(taken.refused[0].why, RefusedWhy::TooMany);
    world.handled("m-1", &held, &[]);
}

pub(crate) fn a_call_waits_for_an_event_and_a_newer_one_ends_it(world: &mut World<'_>) {
    world.create(settings());
    let groups = world.shared_groups();
    let take = || Take::new(name("m-1"), 5, 20 * SECOND);
    let mut older = pin!(groups.take(group(), take()));
    let mut context = Context::from_waker(Waker::noop());
    assert!(older.as_mut().poll(&mut context).is_pending(), "nothing is there");
    world.wait_for(|status| status.members.len() == 1);
    let newer = std::thread::spawn({
        let (groups, take) = (groups.clone(), take());
        move || block_on(groups.take(group(), take))
    });
    assert_eq!(block_on(older), Ok(Taken::default()));
    world.append(&["s-1"]);
    let taken = newer.join().expect("no panic").unwrap_or_else(|error| panic!("take: {error}"));
    assert_eq!(versions(&taken.deliveries)["s-1"], [0]);
}

pub(crate) fn a_call_that_its_caller_drops_loses_nothing(world: &mut World<'_>) {
    world.create(settings());
    let groups = world.shared_groups();
    {
        let mut call = pin!(groups.take(group(), Take::new(name("m-1"), 5, 20 * SECOND)));
        let mut context = Context::from_waker(Waker::noop());
        assert_eq!(call.as_mut().poll(&mut context).map(|_| ()), Poll::Pending);
        world.wait_for(|status| status.members.len() == 1);
        world.append(&["s-1"]);
        world.wait_for(|status| status.in_flight_events == 1);
    }
    let deliveries = world.take("m-2", 1);
    assert_eq!(deliveries[0].attempt, 1, "it did not reach its member, so no attempt counts");
}

pub(crate) fn a_call_that_is_not_well_formed_settles_nothing(world: &mut World<'_>) {
    world.create(settings());
    world.append(&["s-1"]);
    let held = world.take("m-1", 1);
    let settle = vec![Settlement::handled(held[0].id)];
    let wrong = Take { holds: None, settle, ..Take::new(name("m-1"), 1, Duration::ZERO) };
    assert!(matches!(world.call(wrong), Err(TakeError::Form(_))));
    world.handled("m-1", &held, &[]);
}

pub(crate) fn a_group_that_does_not_exist_is_named(world: &mut World<'_>) {
    let take = Take::new(name("m-1"), 1, Duration::ZERO);
    assert_eq!(world.call(take), Err(TakeError::NoGroup { group: group() }));
    assert_eq!(block_on(world.groups().get(group())), Err(LookError::NoGroup { group: group() }));
    assert_eq!(block_on(world.groups().list()), Ok(Vec::new()));
}

pub(crate) fn streams_of_all_partitions_are_delivered(world: &mut World<'_>) {
    world.create(settings());
    let far = far(world.store().capabilities().partitions).to_string();
    world.append(&[&far, super::NEAR[0], &far, super::NEAR[1]]);
    let deliveries = world.take("m", 4);
    assert_eq!(versions(&deliveries)[&far], [0, 1]);
    world.handled("m", &deliveries, &[]);
    world.wait_for(|status| status.lag_events == Some(0));
}
