//! Laws of groups in the order of the log: one delivery of a partition at a time, and poison stops the group.

use std::num::NonZeroU32;

use gesta_consumer::group::{GroupSettings, GroupState, OnPoison, Order};

use super::{ONE, TWO, World, far, retry, settings};

fn in_order() -> GroupSettings {
    GroupSettings { order: Order::Log, ..settings() }
}

pub(crate) fn events_of_a_partition_come_in_the_order_of_the_log(world: &World<'_>) {
    world.create(in_order());
    world.append(&[ONE, TWO, TWO, ONE, TWO]);
    let mut member = world.member("m");
    let mut sequences = Vec::new();
    for count in [2, 1, 2] {
        let deliveries = member.take_events(count);
        sequences.extend(deliveries[0].events.iter().map(|event| event.position().sequence));
        member.all_done(&deliveries);
    }
    assert!(sequences.is_sorted() && sequences.len() == 5, "{sequences:?}");
}

pub(crate) fn one_member_gets_a_partition_while_it_lives_and_then_another(world: &World<'_>) {
    world.create(in_order());
    world.append(&[ONE, TWO]);
    let (mut one, mut other) = (world.member("m-1"), world.member("m-2"));
    let first = one.take_events(2);
    assert_eq!(first.len(), 1, "events of several streams are one delivery");
    world.append(&[ONE, TWO]);
    other.expect_nothing();
    one.all_done(&first);
    other.expect_nothing();
    let second = one.take_events(2);
    one.all_done(&second);
    world.append(&[ONE, TWO]);
    other.expect_nothing();
    world.pass(settings().ack_time + super::SECOND);
    assert_eq!(other.take_events(2).len(), 1);
}

pub(crate) fn partitions_are_independent(world: &World<'_>) {
    world.create(in_order());
    let partitions = world.store().capabilities().partitions;
    let far = far(partitions);
    world.append(&[ONE, &far, TWO, &far]);
    let mut member = world.member("m");
    let deliveries = member.take_events(4);
    assert_eq!(deliveries.len(), if partitions == 1 { 1 } else { 2 }, "one delivery for each partition");
    member.expect_nothing();
}

pub(crate) fn poison_stops_a_group_in_the_order_of_the_log(world: &World<'_>) {
    let settings = GroupSettings { on_poison: OnPoison::Stop, ..in_order() };
    world.create(GroupSettings { attempts_max: NonZeroU32::new(1), ..settings });
    world.append(&[ONE, TWO]);
    world.member("m").fails_next(retry());
    world.status_when("stopped", |status| matches!(status.state, GroupState::Stopped { .. }));
    assert_eq!(world.parked(), []);
}
