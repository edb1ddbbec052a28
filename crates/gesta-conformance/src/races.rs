//! Laws of racing appends: if only some of them can succeed, exactly those succeed.

use std::collections::BTreeSet;
use std::thread;

use gesta_core::{AppendError, Appended, Batch, Expected, NewEvent};

use crate::given::{A, B, batch, command, event, ids, name, version, versions};
use crate::world::World;

const RACERS: u32 = 4;
const ROUNDS: u32 = 12;

/// Runs the racers concurrently and returns their results.
fn race<T: Send>(run: impl Fn(u32) -> T + Sync) -> Vec<T> {
    thread::scope(|scope| {
        let run = &run;
        let racers = (0..RACERS).map(|racer| scope.spawn(move || run(racer))).collect::<Vec<_>>();
        racers.into_iter().map(|racer| racer.join().expect("a racer")).collect()
    })
}

pub(crate) fn exactly_one_of_racing_appends_that_expect_the_same_version_succeeds(world: &World<'_>) {
    let wins = race(|racer| {
        let won = |round: &u32| {
            let expected = match round.checked_sub(1) {
                None => Expected::None,
                Some(last) => Expected::Exactly(version(last.into())),
            };
            match world.try_append(batch(&[(A, 1_000 * racer + round)]).expect(name(A), expected)) {
                Ok(appended) => {
                    assert_eq!(appended.places[0].version.get(), u64::from(*round));
                    true
                }
                Err(AppendError::Conflict { .. }) => false,
                Err(error) => panic!("{error}"),
            }
        };
        (0..ROUNDS).filter(won).collect::<Vec<_>>()
    });
    let mut won = wins.concat();
    won.sort_unstable();
    assert_eq!(won, (0..ROUNDS).collect::<Vec<_>>(), "one winner a version");
    assert_eq!(world.stream(A).len(), ROUNDS as usize);
}

pub(crate) fn racing_appends_of_the_same_events_write_them_once(world: &World<'_>) {
    let answers = race(|racer| {
        let sent = |round: u32| {
            let plain = [event(A, 2 * round), event(B, 2 * round + 1)];
            Batch::new(plain.map(|event| NewEvent { data: vec![b'r'; racer as usize].into(), ..event }))
        };
        let send = |round| world.try_append(sent(round)).expect("new or a repeat");
        (0..ROUNDS).map(send).collect::<Vec<_>>()
    });
    assert_answered_once(world, &answers);
    assert_eq!(ids(&world.log()), (0..2 * ROUNDS).collect::<Vec<_>>());
}

pub(crate) fn racing_commands_with_the_same_key_have_one_effect(world: &World<'_>) {
    let answers = race(|racer| {
        let sent =
            |round: u32| batch(&[(A, 1_000 * racer + round)]).with_command(command(&format!("c-{round}"), 1));
        let send = |round| world.try_append(sent(round)).expect("new or a repeat");
        (0..ROUNDS).map(send).collect::<Vec<_>>()
    });
    assert_answered_once(world, &answers);
    assert_eq!(world.stream(A).len(), ROUNDS as usize);
}

/// Checks that each round has one new answer, which may have been lost, and that all others repeat it.
fn assert_answered_once(world: &World<'_>, answers: &[Vec<Appended>]) {
    for round in 0..ROUNDS as usize {
        let of_round = answers.iter().map(|answers| &answers[round]).collect::<Vec<_>>();
        let new = of_round.iter().filter(|answer| !answer.repeated).count();
        assert!(new == 1 || (new == 0 && world.harness.resends()), "round {round}: {new} new answers");
        let same = |answer: &&&Appended| {
            answer.places == of_round[0].places && answer.checkpoint == of_round[0].checkpoint
        };
        assert!(of_round.iter().all(|answer| same(&answer)), "round {round}: {of_round:?}");
    }
}

pub(crate) fn racing_appends_without_expectations_all_succeed(world: &World<'_>) {
    race(|racer| {
        for round in 0..ROUNDS {
            world.append(batch(&[(A, 1_000 * racer + round), (B, 1_000 * racer + round)]));
        }
    });
    let count = u64::from(RACERS * ROUNDS);
    for stream in [A, B] {
        let events = world.stream(stream);
        assert_eq!(versions(&events), (0..count).collect::<Vec<_>>());
        assert_eq!(ids(&events).into_iter().collect::<BTreeSet<_>>().len() as u64, count);
        for racer in 0..RACERS {
            let own = ids(&events).into_iter().filter(|number| number / 1_000 == racer).collect::<Vec<_>>();
            assert!(own.is_sorted(), "appends of one caller must stay in order: {own:?}");
        }
    }
}

pub(crate) fn racing_appends_never_come_before_a_closed_time(world: &World<'_>) {
    world.clock().tick();
    let closed = race(|racer| {
        let mut closed = Vec::new();
        for round in 0..ROUNDS {
            if racer % 2 == 0 {
                world.append(batch(&[(A, 1_000 * racer + round)]));
            } else {
                // Each reading moves the clock on, so that of the store is later.
                let time = world.clock().now().as_nanos();
                closed.push((time, world.close(time).expect("a closed time")));
            }
        }
        closed
    });
    for (time, place) in closed.concat() {
        assert_eq!(world.recorded_up_to(time), place, "{time} ns");
    }
}
