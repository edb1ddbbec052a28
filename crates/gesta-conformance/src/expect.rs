//! Laws of expectations: an append that expects another state of a stream is refused, with the actual state.

use gesta_core::{AppendError, Batch, Expected, Retry, Version};

use crate::given::{A, B, C, batch, id, ids, name, version};
use crate::world::World;

pub(crate) fn a_failed_expectation_is_refused_with_the_actual_version(world: &World<'_>) {
    let plain = [Expected::Any, Expected::None, Expected::Exists];
    let expectations = plain.into_iter().chain([0, 1, 2, 3, u64::MAX].map(exactly)).collect::<Vec<_>>();
    for count in 0..=3_u32 {
        let actual = count.checked_sub(1).map(|last| version(last.into()));
        for (case, expected) in expectations.iter().copied().enumerate() {
            let stream = format!("s-{count}-{case}");
            for number in 0..count {
                world.append(batch(&[(&stream, number)]));
            }
            let sent = batch(&[(&stream, 100)]).expect(name(&stream), expected);
            if is_met(expected, actual) {
                assert_eq!(world.append(sent).places[0].version.get(), u64::from(count));
            } else {
                let stream = name(&stream);
                assert_eq!(world.refuse(sent), AppendError::Conflict { stream, expected, actual });
            }
        }
    }
}

fn exactly(number: u64) -> Expected {
    Expected::Exactly(version(number))
}

/// Implements the rule a second time, so that the law does not depend on the code that it checks.
fn is_met(expected: Expected, actual: Option<Version>) -> bool {
    match (expected, actual) {
        (Expected::Any, _) | (Expected::None, None) | (Expected::Exists, Some(_)) => true,
        (Expected::Exactly(version), Some(actual)) => version == actual,
        _ => false,
    }
}

pub(crate) fn an_expectation_may_name_a_stream_that_the_batch_does_not_write_to(world: &World<'_>) {
    world.append(batch(&[(B, 1), (B, 2)]));
    let about_b = |number, expected| batch(&[(A, number)]).expect(name(B), expected);
    world.append(about_b(3, exactly(1)));
    let refused = world.refuse(about_b(4, exactly(0)));
    let actual = Some(version(1));
    assert_eq!(refused, AppendError::Conflict { stream: name(B), expected: exactly(0), actual });
    assert_eq!(ids(&world.stream(A)), [3]);
    assert_eq!(ids(&world.stream(B)), [1, 2], "the batch writes nothing to the other stream");
}

pub(crate) fn the_first_failed_expectation_is_reported(world: &World<'_>) {
    world.append(batch(&[(A, 1), (B, 2)]));
    let met = |batch: Batch| batch.expect(name(A), exactly(0));
    for (first, second) in [(B, C), (C, B)] {
        let expected = |stream| if stream == B { Expected::None } else { Expected::Exists };
        let sent =
            met(batch(&[(A, 3)])).expect(name(first), expected(first)).expect(name(second), expected(second));
        let AppendError::Conflict { stream, .. } = world.refuse(sent) else { panic!("a conflict") };
        assert_eq!(stream, name(first));
    }
}

pub(crate) fn the_events_of_a_batch_do_not_count_for_its_expectations(world: &World<'_>) {
    world.append(batch(&[(A, 1), (A, 2)]).expect(name(A), Expected::None));
    world.append(batch(&[(A, 3), (A, 4)]).expect(name(A), exactly(1)));
    world.refuse(batch(&[(A, 5), (A, 6)]).expect(name(A), exactly(4)));
    world.refuse(batch(&[(B, 7)]).expect(name(B), Expected::Exists));
}

pub(crate) fn a_batch_has_at_most_one_expectation_of_a_stream(world: &World<'_>) {
    let twice = batch(&[(A, 1)]).expect(name(A), Expected::Any).expect(name(A), Expected::Any);
    assert!(matches!(world.refuse(twice), AppendError::Invalid { .. }));
}

pub(crate) fn an_event_can_be_expected_by_version_and_id(world: &World<'_>) {
    world.append(batch(&[(A, 1), (B, 2), (A, 3)]));
    let event = |number, of: u32| Expected::Event { version: version(number), id: id(of) };
    let met = [(A, event(1, 3)), (B, event(0, 2))];
    // The id is of another stream, of an older event, or unknown; the version is past, or still to come.
    let unmet = [event(1, 2), event(1, 1), event(1, 9), event(0, 1), event(0, 3), event(2, 3)];
    for expected in unmet {
        let refused = world.refuse(batch(&[(C, 50)]).expect(name(A), expected));
        let actual = Some(version(1));
        assert_eq!(refused, AppendError::Conflict { stream: name(A), expected, actual });
        let may_come = expected == event(2, 3);
        let retry = if may_come { Retry::AfterPause } else { Retry::Never };
        assert_eq!(refused.retry(), retry, "{expected}");
    }
    let refused = world.refuse(batch(&[(C, 50)]).expect(name(C), event(0, 50)));
    assert!(matches!(refused, AppendError::Conflict { actual: None, .. }), "{refused}");
    for (number, (stream, expected)) in (100..).zip(met) {
        world.append(batch(&[(C, number)]).expect(name(stream), expected));
    }
}

pub(crate) fn an_expected_event_is_not_met_by_another_event_of_the_same_version(world: &World<'_>) {
    world.append(batch(&[(A, 1)]));
    // The writer decided on event 2, but event 3 of another writer was appended first.
    let next = batch(&[(A, 4)]).expect(name(A), Expected::Event { version: version(1), id: id(2) });
    assert_eq!(world.refuse(next.clone()).retry(), Retry::AfterPause, "it may still come");
    world.append(batch(&[(A, 3)]));
    assert_eq!(world.refuse(next).retry(), Retry::Never, "its version is taken");
    assert_eq!(ids(&world.stream(A)), [1, 3]);
}

pub(crate) fn an_event_that_was_just_appended_can_be_expected(world: &World<'_>) {
    let mut last = None;
    for number in 0..40_u32 {
        let expected = last.map_or(Expected::None, |(version, id)| Expected::Event { version, id });
        let sent = batch(&[(A, 2 * number), (B, 2 * number + 1)]).expect(name(A), expected);
        let appended = world.append(sent);
        last = Some((appended.places[0].version, id(2 * number)));
    }
}
