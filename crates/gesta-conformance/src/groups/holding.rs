//! Laws of the deliveries that a member holds: renewed, given again after a lost reply, passed on when the member is gone.

use std::time::Duration;

use gesta_consumer::group::{DeliveryId, Refused, RefusedWhy, Settlement, Take};
use gesta_core::StoreId;

use super::{ONE, SECOND, World, settings};
use crate::given::versions;

fn stale(id: DeliveryId) -> Vec<Refused> {
    vec![Refused { id, why: RefusedWhy::Stale }]
}

pub(crate) fn a_delivery_that_is_held_or_renewed_does_not_expire(world: &World<'_>) {
    world.create(settings());
    world.append(&[ONE]);
    let (mut member, mut other) = (world.member("m"), world.member("other"));
    let delivery = member.take_one();
    for round in 0..4 {
        world.pass(settings().ack_time - SECOND);
        if round % 2 == 0 {
            member.renew();
        } else {
            assert_eq!(member.take_now(8), []);
        }
    }
    other.expect_nothing();
    member.done(&delivery);
}

pub(crate) fn a_delivery_that_expires_goes_to_another_member(world: &World<'_>) {
    world.create(settings());
    world.append(&[ONE]);
    let (mut member, mut other) = (world.member("m"), world.member("other"));
    let expired = member.take_one();
    world.pass(settings().ack_time + SECOND);
    let again = other.take_one();
    assert_eq!((again.attempt, &again.events), (2, &expired.events));
    assert_eq!(member.try_settle(Settlement::handled(expired.id)), stale(expired.id), "it was dealt again");
    other.done(&again);
    assert_eq!(world.status().settled.expired, 1);
}

pub(crate) fn a_late_settlement_counts_until_its_events_are_dealt_again(world: &World<'_>) {
    world.create(settings());
    world.append(&[ONE]);
    let mut member = world.member("m");
    let expired = member.take_one();
    world.pass(settings().ack_time + SECOND);
    world.status_when("it expires", |status| status.settled.expired == 1);
    member.done(&expired);
    world.member("other").expect_nothing();
}

pub(crate) fn what_a_member_does_not_list_was_lost_and_comes_again_under_a_new_id(world: &World<'_>) {
    world.create(settings());
    world.append(&[ONE]);
    let mut member = world.member("m");
    let lost = member.take_one();
    member.forget();
    let again = member.take_one();
    assert_eq!((again.attempt, &again.events), (2, &lost.events));
    assert_ne!(again.id, lost.id);
    assert_eq!(member.try_settle(Settlement::handled(lost.id)), stale(lost.id));
    member.done(&again);
}

pub(crate) fn an_id_of_another_member_or_of_nobody_is_refused_as_stale(world: &World<'_>) {
    world.create(settings());
    world.append(&[ONE]);
    let (mut member, mut other) = (world.member("m"), world.member("other"));
    let delivery = member.take_one();
    assert_eq!(other.try_settle(Settlement::handled(delivery.id)), stale(delivery.id));
    let made_up = DeliveryId::new(StoreId::from_bytes([9; 16]), 9, 9);
    assert_eq!(member.try_settle(Settlement::handled(made_up)), stale(made_up));
    let holds = Some(vec![delivery.id, made_up]);
    let take = Take { holds, ..member.take_of(0, Duration::ZERO) };
    assert_eq!(member.call(take).expect("an answer").refused, stale(made_up), "in `holds` too");
    member.done(&delivery);
    assert_eq!(member.try_settle(Settlement::handled(delivery.id)), stale(delivery.id), "settled once");
}

pub(crate) fn a_delivery_may_be_settled_in_part(world: &World<'_>) {
    world.create(settings());
    world.append(&[ONE, ONE, ONE]);
    let mut member = world.member("m");
    let id = member.take_events(3)[0].id;
    member.settle(Settlement { handled: Some(2), ..Settlement::handled(id) });
    assert_eq!(versions(&world.member("other").take_one().events), [2]);
}

pub(crate) fn a_settlement_of_more_events_than_a_delivery_has_is_refused(world: &World<'_>) {
    world.create(settings());
    world.append(&[ONE, ONE]);
    let mut member = world.member("m");
    let delivery = member.take_all().remove(0);
    let refused = member.try_settle(Settlement { handled: Some(3), ..Settlement::handled(delivery.id) });
    assert_eq!(refused, [Refused { id: delivery.id, why: RefusedWhy::TooMany }]);
    assert_eq!(world.status().in_flight_events, 2, "the member still has it");
    member.settle(Settlement { handled: Some(2), ..Settlement::handled(delivery.id) });
}
