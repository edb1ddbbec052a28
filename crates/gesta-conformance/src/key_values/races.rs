//! Laws of racing writes: one winner, no update lost, and revisions that follow the acknowledgements.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use gesta_core::{KeyValueError, Revision};

use super::World;

const WRITERS: u64 = 4;
const ROUNDS: u64 = 12;

/// Runs the writers concurrently and returns their results.
fn race<T: Send>(run: impl Fn(u64) -> T + Sync) -> Vec<T> {
    thread::scope(|scope| {
        let run = &run;
        let writers = (0..WRITERS).map(|writer| scope.spawn(move || run(writer))).collect::<Vec<_>>();
        writers.into_iter().map(|writer| writer.join().expect("a writer")).collect()
    })
}

pub(crate) fn exactly_one_of_racing_writes_that_expect_the_same_revision_succeeds(world: &World<'_>) {
    for round in 0..ROUNDS {
        let name = format!("k{round}");
        let is_won = |result: &Result<Revision, KeyValueError>| match result {
            Ok(_) => true,
            Err(KeyValueError::Changed { .. }) => false,
            Err(error) => panic!("{error}"),
        };
        let mut expect = None;
        for _ in 0..2 {
            let results = race(|writer| world.try_put(&name, format!("{writer}"), expect));
            let won = (0..).zip(&results).filter(|(_, result)| is_won(result)).collect::<Vec<_>>();
            assert_eq!(won.len(), 1, "one winner: {results:?}");
            let (writer, result) = won[0];
            let entry = world.get(&name).expect("the winner's value");
            assert_eq!(
                (Ok(entry.revision), &entry.value[..]),
                (result.clone(), format!("{writer}").as_bytes())
            );
            expect = Some(entry.revision);
        }
        let expect = expect.expect("a value");
        // A put and deletes of the same revision.
        let deleted = race(|writer| match writer {
            0 => world.try_put(&name, "last", Some(expect)).map(drop),
            _ => world.try_delete(&name, expect),
        });
        assert_eq!(deleted.iter().filter(|result| result.is_ok()).count(), 1, "one winner: {deleted:?}");
        assert_eq!(world.get(&name).is_some(), deleted[0].is_ok());
    }
}

pub(crate) fn no_update_is_lost_when_every_writer_expects_what_it_read(world: &World<'_>) {
    world.put("sum", "0", None);
    race(|_| {
        for _ in 0..ROUNDS {
            while !add_one(world) {}
        }
    });
    let sum = world.get("sum").expect("the sum").value;
    assert_eq!(sum, (WRITERS * ROUNDS).to_string().as_bytes());
}

/// Adds one to the sum, unless another writer was first.
fn add_one(world: &World<'_>) -> bool {
    let entry = world.get("sum").expect("the sum");
    let sum = std::str::from_utf8(&entry.value).expect("digits").parse::<u64>().expect("a number");
    match world.try_put("sum", (sum + 1).to_string(), Some(entry.revision)) {
        Ok(_) => true,
        Err(KeyValueError::Changed { .. }) => false,
        Err(error) => panic!("{error}"),
    }
}

pub(crate) fn a_write_after_an_acknowledged_one_has_a_higher_revision_in_every_thread(world: &World<'_>) {
    let acknowledged = AtomicU64::new(0);
    let all = race(|writer| {
        let put = |round| {
            let before = acknowledged.load(Ordering::SeqCst);
            let revision = world.put(&format!("k{writer}/{round}"), "1", None).get();
            assert!(revision > before, "{revision} was given after {before} was acknowledged");
            acknowledged.fetch_max(revision, Ordering::SeqCst);
            revision
        };
        (0..ROUNDS).map(put).collect::<Vec<_>>()
    });
    let different = all.concat().into_iter().collect::<BTreeSet<_>>();
    assert_eq!(different.len() as u64, WRITERS * ROUNDS, "no revision is given twice");
}

pub(crate) fn racing_writes_to_different_keys_all_succeed(world: &World<'_>) {
    race(|writer| {
        let name = format!("k{writer}");
        for round in 0..ROUNDS {
            let revision = world.set(&name, format!("{round}"));
            assert_eq!(world.revision(&name), Some(revision), "a get shows the own put");
            if round % 4 == 3 {
                world.delete(&name);
                assert_eq!(world.get(&name), None, "a get shows the own delete");
            }
        }
        world.set(&name, "end");
    });
    let all = world.list("", 2);
    assert_eq!(all.len() as u64, WRITERS);
    assert!(all.iter().all(|(_, entry)| &entry.value[..] == b"end"));
}
