//! Laws of the order in which a batch is checked: form, command key, event ids, expectations, conditions. Each law
//! tests two neighbours. Any other order would turn a repeat into a conflict.

use gesta_core::{AppendError, Batch, Expected, Query};

use crate::given::{A, B, batch, beyond, command, foreign, name};
use crate::world::World;

/// Appends events 1 and 2 to `A`, under a key.
fn used(world: &World<'_>) {
    world.append(batch(&[(A, 1), (A, 2)]).with_command(command("used", 1)));
}

fn with_a_failing_expectation(batch: Batch) -> Batch {
    batch.expect(name(A), Expected::None)
}

fn with_a_failing_condition(batch: Batch) -> Batch {
    batch.fail_if(Query::stream(name(A)), None)
}

pub(crate) fn the_form_of_a_batch_is_checked_before_its_command_key(world: &World<'_>) {
    used(world);
    let ill_formed = [
        Batch::new([]),
        batch(&[(A, 3), (A, 3)]),
        batch(&[(A, 3)]).fail_if(Query::Any(vec![]), None),
        batch(&[(A, 3)]).expect(name(B), Expected::Any).expect(name(B), Expected::Any),
    ];
    for sent in ill_formed {
        for request in [1, 2] {
            let error = world.refuse(sent.clone().with_command(command("used", request)));
            assert!(matches!(error, AppendError::Invalid { .. }), "{error}");
        }
    }
    let elsewhere = foreign(&world.head());
    let sent = batch(&[(A, 3)]).fail_if(Query::stream(name(A)), Some(elsewhere.clone()));
    let error = world.refuse(sent.with_command(command("used", 1)));
    assert_eq!(error, AppendError::ForeignCheckpoint { checkpoint: elsewhere });
}

pub(crate) fn the_command_key_is_checked_before_event_ids(world: &World<'_>) {
    used(world);
    for events in [&[(A, 1), (A, 2)][..], &[(A, 2), (A, 3)]] {
        let error = world.refuse(batch(events).with_command(command("used", 2)));
        assert_eq!(error, AppendError::KeyReused, "the ids are checked later");
    }
    let answered = world.repeat(batch(&[(A, 2), (A, 3)]).with_command(command("used", 1)));
    assert_eq!(answered.places.len(), 2, "the key gives the first answer, although an id is taken");
    assert_eq!(answered.places[0].version.get(), 0);
}

pub(crate) fn event_ids_are_checked_before_expectations(world: &World<'_>) {
    used(world);
    world.repeat(with_a_failing_expectation(batch(&[(A, 1), (A, 2)])));
    let error = world.refuse(with_a_failing_expectation(batch(&[(A, 2), (A, 3)])));
    assert!(matches!(error, AppendError::IdTaken { index: 1, .. }), "{error}");
}

pub(crate) fn event_ids_are_checked_before_conditions(world: &World<'_>) {
    used(world);
    world.repeat(with_a_failing_condition(batch(&[(A, 1), (A, 2)])));
    let error = world.refuse(with_a_failing_condition(batch(&[(A, 2), (A, 3)])));
    assert!(matches!(error, AppendError::IdTaken { index: 1, .. }), "{error}");
    let ahead = beyond(&world.head());
    world.repeat(batch(&[(A, 1)]).fail_if(Query::stream(name(A)), Some(ahead)));
}

pub(crate) fn expectations_are_checked_before_conditions(world: &World<'_>) {
    used(world);
    let ahead = beyond(&world.head());
    let failing = [
        with_a_failing_condition(batch(&[(A, 3)])),
        batch(&[(A, 3)]).fail_if(Query::stream(name(A)), Some(ahead)),
    ];
    for sent in failing {
        let error = world.refuse(with_a_failing_expectation(sent.clone()));
        assert!(matches!(error, AppendError::Conflict { .. }), "{error}");
        assert!(!matches!(world.refuse(sent), AppendError::Conflict { .. }));
    }
}
