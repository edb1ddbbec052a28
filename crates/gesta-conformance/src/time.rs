//! Laws of time: the recorded time never goes back, and a time can be located in the log.

use gesta_core::{Checkpoint, ReadError, RecordedEvent, Timestamp};

use crate::given::{A, B, batch};
use crate::world::World;

fn recorded(events: &[RecordedEvent]) -> Vec<i64> {
    events.iter().map(|event| event.recorded_at().as_nanos()).collect()
}

pub(crate) fn recorded_at_follows_the_clock_and_never_goes_back(world: &World<'_>) {
    let says = [-500, -700, -500, 100, 50, 100, 200, -1, i64::MIN, 300, i64::MAX - 5, 7];
    for (number, nanos) in (0..).zip(says) {
        world.clock().set(nanos);
        world.append(batch(&[(if number % 2 == 0 { A } else { B }, number)]));
    }
    let last = i64::MAX - 5;
    let expected = [-500, -500, -500, 100, 100, 100, 200, 200, 200, 300, last, last];
    assert_eq!(recorded(&world.log()), expected);
}

pub(crate) fn all_events_of_a_batch_have_the_same_recorded_at(world: &World<'_>) {
    world.clock().tick();
    for first in [0, 10, 20] {
        world.append(batch(&[(A, first), (B, first + 1), (A, first + 2)]));
    }
    let times = recorded(&world.log());
    let (batches, rest) = times.as_chunks::<3>();
    assert!(rest.is_empty() && batches.iter().all(|[a, b, c]| a == b && b == c), "{times:?}");
    assert!(times.is_sorted(), "{times:?}");
}

pub(crate) fn a_repeat_keeps_the_first_recorded_at(world: &World<'_>) {
    world.clock().set(10);
    world.append(batch(&[(A, 1)]));
    world.clock().set(20);
    world.repeat(batch(&[(A, 1)]));
    assert_eq!(recorded(&world.log()), [10]);
}

pub(crate) fn a_time_is_located_at_the_end_of_the_last_batch_recorded_by_then(world: &World<'_>) {
    let start = world.start();
    let record = |nanos, first| {
        world.clock().set(nanos);
        world.append(batch(&[(A, first), (B, first + 1)]));
        world.head()
    };
    let [at_10, _, at_20, at_30, clamped] =
        [(10, 1), (20, 3), (20, 5), (30, 7), (5, 9)].map(|(nanos, first)| record(nanos, first));
    assert!(clamped.at_least(&at_30) && clamped != at_30);
    let cases: [(i64, &Checkpoint); 10] = [
        (i64::MIN, &start),
        (5, &start),
        (9, &start),
        (10, &at_10),
        (11, &at_10),
        (19, &at_10),
        (20, &at_20),
        (29, &at_20),
        (30, &clamped),
        (i64::MAX, &clamped),
    ];
    for (nanos, expected) in cases {
        assert_eq!(world.recorded_up_to(nanos), *expected, "{nanos} ns");
    }
    assert_eq!(world.head(), clamped);
}

pub(crate) fn a_time_is_located_in_each_partition(world: &World<'_>) {
    let keys = world.keys();
    let record = |nanos, number| {
        world.clock().set(nanos);
        for key in &keys {
            world.append(batch(&[(&format!("s-{{{key}}}"), number), (&format!("t-{{{key}}}"), number)]));
        }
        world.head()
    };
    let [first, second] = [(10, 1), (20, 2)].map(|(nanos, number)| record(nanos, number));
    for (nanos, expected) in [(9, world.start()), (10, first.clone()), (19, first), (20, second)] {
        assert_eq!(world.recorded_up_to(nanos), expected, "{nanos} ns");
    }
}

pub(crate) fn the_start_and_the_head_are_located(world: &World<'_>) {
    let start = world.start();
    assert_eq!(world.recorded_up_to(i64::MAX), start, "nothing was recorded yet");
    assert!(start.sequences().all(|sequence| sequence == 0), "{start}");
    assert_eq!(start.sequences().len(), usize::from(world.partitions()));
    let appended = world.append(batch(&[(A, 1), (B, 2)]));
    assert_eq!(world.start(), start);
    assert!(world.head().at_least(&start) && world.head().covers(appended.places[1].position));
}

pub(crate) fn no_event_is_recorded_at_or_before_a_closed_time(world: &World<'_>) {
    world.clock().set(10);
    world.append(batch(&[(A, 1), (B, 2)]));
    world.clock().set(50);
    let closed = world.close(20).expect("a closed time");
    assert_eq!(closed, world.head());
    world.clock().set(5);
    world.append(batch(&[(A, 3)]));
    assert_eq!(recorded(&world.stream(A)), [10, 21]);
    for key in world.keys() {
        world.append(batch(&[(&format!("s-{{{key}}}"), 4)]));
    }
    for nanos in [10, 20] {
        assert_eq!(world.recorded_up_to(nanos), closed, "{nanos} ns");
        assert_eq!(world.close(nanos), Ok(closed.clone()), "{nanos} ns, which the head has passed");
    }
    assert_eq!(world.close(21), Err(ReadError::NotYet { now: Timestamp::from_nanos(5) }));
}

pub(crate) fn an_empty_log_can_be_closed(world: &World<'_>) {
    world.clock().set(50);
    assert_eq!(world.close(-20), Ok(world.start()));
    assert_eq!(world.close(20), Ok(world.start()));
    assert_eq!(world.close(19), Ok(world.start()));
    world.clock().set(i64::MIN);
    world.append(batch(&[(A, 1)]));
    assert_eq!(recorded(&world.log()), [21]);
}

pub(crate) fn a_time_that_the_clock_has_not_passed_is_not_closed(world: &World<'_>) {
    world.clock().set(10);
    for nanos in [10, 11, i64::MAX] {
        assert_eq!(
            world.close(nanos),
            Err(ReadError::NotYet { now: Timestamp::from_nanos(10) }),
            "{nanos} ns"
        );
    }
    world.append(batch(&[(A, 1)]));
    assert_eq!(recorded(&world.log()), [10], "what was refused holds nothing up");
}

pub(crate) fn a_time_that_the_head_has_passed_is_closed_already(world: &World<'_>) {
    world.clock().set(10);
    world.append(batch(&[(A, 1)]));
    let place = world.head();
    world.clock().set(30);
    for key in world.keys() {
        world.append(batch(&[(&format!("s-{{{key}}}"), 2)]));
    }
    world.append(batch(&[(A, 3)]));
    world.clock().set(12);
    assert_eq!(world.close(20), Ok(world.recorded_up_to(20)));
    assert!(world.recorded_up_to(20).at_least(&place));
    world.append(batch(&[(A, 4)]));
    assert_eq!(recorded(&world.stream(A)), [10, 30, 30]);
}

pub(crate) fn a_time_is_closed_in_each_partition(world: &World<'_>) {
    let keys = world.keys();
    let streams = keys.iter().map(|key| format!("s-{{{key}}}")).collect::<Vec<_>>();
    world.clock().set(10);
    world.append(batch(&[(&streams[0], 1)]));
    world.clock().set(50);
    let closed = world.close(20).expect("a closed time");
    world.clock().set(5);
    for stream in &streams {
        world.append(batch(&[(stream, 2)]));
        assert_eq!(recorded(&world.stream(stream)).last(), Some(&21), "{stream}");
    }
    assert_eq!(world.recorded_up_to(20), closed);
}
