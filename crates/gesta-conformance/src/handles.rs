//! Laws of two handles of one store, as two processes have them. For a store that can have only one, each law ends at once.

use std::sync::Arc;
use std::thread;

use gesta_core::{AppendError, Expected, Place, Query, Read};
use pollster::block_on;

use crate::given::{A, B, C, batch, command, ids, name, version};
use crate::linear::check_linear_history;
use crate::world::{World, poll_once};

const ROUNDS: u32 = 12;
const APPENDS: u32 = 40;

/// The two handles.
fn two<'a>(world: &World<'a>) -> Option<[World<'a>; 2]> {
    let second = world.harness.second(&world.store)?;
    let handle = |store| World { harness: world.harness, store };
    Some([handle(Arc::clone(&world.store)), handle(second)])
}

pub(crate) fn of_appends_through_two_handles_that_expect_the_same_version_exactly_one_succeeds(
    world: &World<'_>,
) {
    let Some(handles) = two(world) else { return };
    let run = |own: usize| {
        let won = |round: &u32| {
            let expected = match round.checked_sub(1) {
                None => Expected::None,
                Some(last) => Expected::Exactly(version(last.into())),
            };
            let number = 1_000 * u32::try_from(own).expect("two handles") + round;
            match handles[own].try_append(batch(&[(A, number)]).expect(name(A), expected)) {
                Ok(_) => true,
                Err(AppendError::Conflict { .. }) => false,
                Err(error) => panic!("{error}"),
            }
        };
        (0..ROUNDS).filter(won).collect::<Vec<_>>()
    };
    let won = thread::scope(|scope| {
        let other = scope.spawn(|| run(1));
        [run(0), other.join().expect("a racer")]
    });
    let mut won = won.concat();
    won.sort_unstable();
    assert_eq!(won, (0..ROUNDS).collect::<Vec<_>>(), "one winner a version");
}

pub(crate) fn appends_through_two_handles_are_linearizable_in_the_order_of_the_log(world: &World<'_>) {
    let Some([first, second]) = two(world) else { return };
    let handles = [&first, &second, &first, &second].map(|handle| Arc::clone(&handle.store));
    check_linear_history(&handles, APPENDS, &thread::yield_now);
}

pub(crate) fn a_read_after_the_head_was_asked_shows_what_another_handle_appended(world: &World<'_>) {
    let Some([first, second]) = two(world) else { return };
    for number in 0..ROUNDS {
        let (writer, reader) = if number % 2 == 0 { (&first, &second) } else { (&second, &first) };
        let appended = writer.append(batch(&[(A, number)]));
        let head = block_on(reader.store.head_now()).expect("a head");
        assert!(head.at_least(&appended.checkpoint), "{head} is older than {}", appended.checkpoint);
        assert_eq!(ids(&reader.stream(A)), (0..=number).collect::<Vec<_>>());
        assert_eq!(reader.last_version(&name(A)), Some(version(number.into())));
    }
}

pub(crate) fn ids_and_command_keys_of_one_handle_are_known_to_the_other(world: &World<'_>) {
    let Some([first, second]) = two(world) else { return };
    let sent = batch(&[(A, 1), (B, 2)]).with_command(command("open", 1));
    let answer = first.append(sent.clone());
    let again = second.repeat(sent);
    assert_eq!((again.places, again.checkpoint), (answer.places.clone(), answer.checkpoint));
    assert_eq!(second.repeat(batch(&[(A, 1), (B, 2)])).places, answer.places);
    let known = block_on(second.store.repeat_of(command("open", 1), name(A))).expect("an answer");
    assert_eq!(known.map(|known| known.places), Some(answer.places));
    let refused = second.refuse(batch(&[(C, 3)]).with_command(command("open", 2)));
    assert_eq!(refused, AppendError::KeyReused);
}

pub(crate) fn a_condition_after_the_page_of_one_handle_sees_what_the_other_appended(world: &World<'_>) {
    let Some([first, second]) = two(world) else { return };
    first.append(batch(&[(A, 1)]));
    let seen = first.read(Read::log(Query::stream(name(A)))).scanned_to;
    let conditional = |number| batch(&[(B, number)]).fail_if(Query::stream(name(A)), Some(seen.clone()));
    second.append(conditional(2));
    let newer = second.append(batch(&[(A, 3)]));
    for handle in [&first, &second] {
        // Otherwise the newer event may reach the handle during the refusal, which writes nothing.
        block_on(handle.store.head_now()).expect("a head");
        match handle.refuse(conditional(4)) {
            AppendError::ConditionFailed { at, .. } => assert_eq!(at, newer.places[0].position),
            error => panic!("{error}"),
        }
    }
}

pub(crate) fn an_append_through_one_handle_wakes_those_who_wait_at_the_other(world: &World<'_>) {
    let Some([first, second]) = two(world) else { return };
    for number in 0..ROUNDS {
        let head = second.head();
        let mut waiting = second.store.wait_past(head.clone());
        let polled = poll_once(&mut waiting);
        assert!(polled.is_pending(), "nothing was appended: {polled:?}");
        let appended = first.append(batch(&[(A, number)]));
        let woken = block_on(waiting).expect("a head");
        assert!(woken.at_least(&appended.checkpoint));
        let read = second.read(Read::log_from(Query::stream(name(A)), Place::At(head)));
        assert_eq!(ids(&read.events), [number]);
    }
}

pub(crate) fn a_time_closed_through_one_handle_holds_for_the_other(world: &World<'_>) {
    let Some([one, other]) = two(world) else { return };
    one.clock().set(10);
    one.append(batch(&[(A, 1)]));
    one.clock().set(50);
    let closed = one.close(20).expect("a closed time");
    one.clock().set(5);
    other.append(batch(&[(A, 2)]));
    assert_eq!(other.recorded_up_to(20), closed);
    other.clock().set(60);
    let closed = other.close(40).expect("a closed time");
    other.clock().set(5);
    one.append(batch(&[(B, 3)]));
    assert_eq!(one.recorded_up_to(40), closed);
}
