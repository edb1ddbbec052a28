//! Laws of operators: pause, resume, reset.

use gesta_consumer::group::{ChangeError, GroupState, RefusedWhy, Reset, Settlement, Then, To};
use gesta_core::When;
use pollster::block_on;

use super::{ONE, TWO, World, settings, texts};

pub(crate) fn a_paused_group_lets_calls_wait_and_takes_settlements(world: &World<'_>) {
    world.create(settings());
    world.append(&[ONE, TWO]);
    let (mut one, mut other) = (world.member("m-1"), world.member("m-2"));
    let held = one.take_one();
    world.pause();
    let state = world.status().state;
    assert!(matches!(&state, GroupState::Paused { by, .. } if by == "ops"), "{state:?}");
    other.expect_nothing();
    one.done(&held);
    std::thread::scope(|scope| {
        let waiting = scope.spawn(|| world.member("m-3").take(5));
        world.status_when("the member waits", |status| status.members.len() == 3);
        world.resume();
        assert_eq!(waiting.join().expect("an answer").len(), 1);
    });
}

pub(crate) fn a_pause_may_be_repeated_and_so_may_a_resume(world: &World<'_>) {
    world.create(settings());
    world.pause();
    world.pause();
    world.resume();
    world.resume();
    world.append(&[ONE]);
    assert_eq!(world.member("m").handle_all().len(), 1);
}

pub(crate) fn a_reset_needs_a_paused_and_quiet_group_and_makes_earlier_deliveries_stale(world: &World<'_>) {
    world.create(settings());
    world.append(&[ONE, TWO]);
    let mut member = world.member("m");
    member.fails_next(Then::Park);
    let held = member.take_one();
    assert!(matches!(world.reset(To::Start), Err(ChangeError::Busy { .. })), "it is not paused");
    world.pause();
    assert!(matches!(world.reset(To::Start), Err(ChangeError::Busy { .. })), "an event is in flight");
    member.done(&held);
    let at = block_on(world.store().locate(When::Start)).expect("the start");
    assert_eq!(world.reset(To::Start), Ok(Reset { at, were_parked: 1 }));
    assert_eq!(world.parked(), []);
    assert_eq!(member.try_settle(Settlement::handled(held.id))[0].why, RefusedWhy::Stale);
    world.resume();
    assert_eq!(member.take_events(2).len(), 2, "what was parked is delivered with the rest");
}

pub(crate) fn a_reset_delivers_everything_after_its_place_again_and_nothing_before(world: &World<'_>) {
    world.create(settings());
    world.append(&[ONE, TWO]);
    let middle = block_on(world.store().locate(When::Head)).expect("the head");
    world.append(&[ONE]);
    let mut member = world.member("m");
    assert_eq!(member.handle_all().len(), 3);
    for (to, expected) in [(To::Start, 3), (To::At(middle), 1), (To::Now, 0)] {
        world.pause();
        world.reset(to.clone()).expect("reset");
        world.resume();
        let handled = member.handle_all();
        assert_eq!(handled.len(), expected, "after a reset to {to:?}: {:?}", texts(&handled));
    }
}
