//! Laws of failures: attempts, pauses, poison, and what a member says about the event that it could not handle.

use std::num::NonZeroU32;
use std::time::Duration;

use gesta_consumer::group::{BackOff, GroupSettings, GroupState, OnPoison, TakeError, Then};

use super::{ONE, SECOND, TWO, World, pause, retry, settings, texts};
use crate::given::versions;

fn attempts(number: u32) -> GroupSettings {
    GroupSettings { attempts_max: NonZeroU32::new(number), ..settings() }
}

pub(crate) fn a_failed_event_is_tried_again_after_a_pause(world: &World<'_>) {
    let back_off = BackOff { first: 2 * SECOND, max: 3 * SECOND };
    world.create(GroupSettings { back_off, ..settings() });
    world.append(&[ONE]);
    let mut member = world.member("m");
    for (attempt, pause) in [(1, 2_000), (2, 3_000), (3, 3_000)] {
        assert_eq!(member.fails_next(retry()).attempt, attempt);
        world.pass(Duration::from_millis(pause - 100));
        member.expect_nothing();
        world.pass(Duration::from_millis(200));
    }
    assert_eq!(member.take_one().attempt, 4);
}

pub(crate) fn a_member_may_say_how_long_to_wait(world: &World<'_>) {
    world.create(settings());
    world.append(&[ONE]);
    let mut member = world.member("m");
    member.fails_next(Then::Retry { after: Some(20 * SECOND) });
    world.pass(19 * SECOND);
    member.expect_nothing();
    world.pass(2 * SECOND);
    assert_eq!(member.take_one().attempt, 2);
}

pub(crate) fn while_a_stream_waits_the_others_go_on(world: &World<'_>) {
    world.create(settings());
    world.append(&[ONE, ONE, TWO]);
    let mut member = world.member("m-1");
    for delivery in member.take_events(3) {
        match delivery.events[0].stream() {
            ONE => member.fails_after(&delivery, 1, retry()),
            _ => member.done(&delivery),
        }
    }
    world.append(&[TWO]);
    assert_eq!(texts(&world.member("m-2").take_one().events), [format!("{TWO}@1")]);
    world.pass(pause());
    assert_eq!(texts(&world.member("m-3").take_one().events), [format!("{ONE}@1")]);
}

pub(crate) fn a_release_counts_no_attempt(world: &World<'_>) {
    world.create(attempts(2));
    world.append(&[ONE]);
    let mut member = world.member("m");
    for _ in 0..3 {
        assert_eq!(member.fails_next(Then::Release { after: Some(SECOND) }).attempt, 1);
        world.pass(2 * SECOND);
    }
    assert_eq!(member.take_one().attempt, 1);
    assert_eq!(world.parked(), []);
}

pub(crate) fn a_failing_stream_is_delivered_event_by_event_until_the_event_has_passed(world: &World<'_>) {
    world.create(settings());
    world.append(&[ONE, ONE, ONE, ONE]);
    let mut member = world.member("m");
    let run = member.take_all().remove(0);
    assert_eq!(versions(&run.events), [0, 1, 2, 3]);
    member.fails_after(&run, 1, retry());
    world.pass(pause());
    let alone = member.take_all().remove(0);
    assert_eq!((versions(&alone.events), alone.attempt), (vec![1], 2), "the event that failed is alone");
    member.done(&alone);
    let rest = member.take_all();
    assert_eq!(rest.iter().flat_map(|delivery| versions(&delivery.events)).collect::<Vec<_>>(), [2, 3]);
}

pub(crate) fn an_event_is_tried_for_ever_without_a_limit(world: &World<'_>) {
    world.create(GroupSettings { attempts_max: None, ..settings() });
    world.append(&[ONE]);
    let mut member = world.member("m");
    for attempt in 1..15 {
        assert_eq!(member.fails_next(retry()).attempt, attempt);
        world.pass(pause());
    }
    assert_eq!(world.parked(), []);
}

pub(crate) fn after_the_last_attempt_the_stream_is_parked(world: &World<'_>) {
    world.create(attempts(2));
    world.append(&[ONE, TWO]);
    let mut member = world.member("m-1");
    for _ in 0..2 {
        assert_eq!(world.parked(), []);
        for delivery in member.take_events(2) {
            match delivery.events[0].stream() {
                ONE => member.fails(&delivery, retry()),
                _ => member.fails(&delivery, Then::Release { after: Some(SECOND) }),
            }
        }
        world.pass(pause());
    }
    let parked = world.parked();
    let parked = parked.iter().map(|parked| (parked.stream.as_str(), parked.attempts)).collect::<Vec<_>>();
    assert_eq!(parked, [(ONE, 2)]);
    assert_eq!(texts(&world.member("m-2").take_one().events), [format!("{TWO}@0")], "other streams go on");
}

pub(crate) fn a_skipped_event_is_passed_for_good(world: &World<'_>) {
    world.create(settings());
    world.append(&[ONE, ONE]);
    world.member("m").fails_next(Then::Skip { reason: "a duplicate".to_owned() });
    world.restart();
    assert_eq!(texts(&world.member("m").take_one().events), [format!("{ONE}@1")]);
}

pub(crate) fn a_stopped_group_refuses_calls_with_the_reason_until_it_is_resumed(world: &World<'_>) {
    world.create(GroupSettings { on_poison: OnPoison::Stop, ..attempts(1) });
    world.append(&[ONE]);
    let mut member = world.member("m");
    member.fails_next(retry());
    let refused = member.call(member.take_of(1, SECOND));
    let Err(TakeError::Stopped { reason, .. }) = refused else { panic!("it is stopped, not {refused:?}") };
    assert!(reason.contains(ONE) && reason.contains("it failed"), "{reason}");
    assert!(matches!(world.status().state, GroupState::Stopped { .. }));
    assert_eq!(world.parked(), [], "a group that stops on poison parks nothing");
    world.resume();
    world.pass(pause());
    let again = member.take_one();
    assert_eq!((texts(&again.events), again.attempt), (vec![format!("{ONE}@0")], 1), "attempts begin again");
}

pub(crate) fn a_member_may_stop_the_group(world: &World<'_>) {
    world.create(settings());
    world.append(&[ONE]);
    world.member("m").fails_next(Then::Stop);
    world.restart();
    let mut member = world.member("m");
    let refused = member.call(member.take_of(1, SECOND));
    assert!(matches!(refused, Err(TakeError::Stopped { .. })), "{refused:?}");
    world.resume();
    assert_eq!(member.take_one().attempt, 1);
}

pub(crate) fn a_target_that_is_down_parks_nothing(world: &World<'_>) {
    world.create(attempts(2));
    let streams = (0..24).map(|number| format!("order-{number}{{k{}}}", number % 5)).collect::<Vec<_>>();
    world.append(&streams.iter().map(String::as_str).collect::<Vec<_>>());
    let mut member = world.member("m");
    for _ in 0..4 {
        // No marker is used here: handling it would be a success.
        let taken = member.take_events(streams.len());
        taken.iter().for_each(|delivery| member.fails(delivery, retry()));
        assert_eq!(world.status().state, GroupState::Outage);
        world.pass(pause());
    }
    assert_eq!(world.parked(), []);
    let delivery = member.take_one();
    member.done(&delivery);
    world.status_when("a success ends the outage", |status| status.state == GroupState::Running);
}
