//! The rules under a schedule drawn from a seed: a store that reorders, loses answers, crashes, refuses and stands still; two
//! processes, raw appends, callers that are dropped, forgotten or panic; and a check of everything that was answered.
//! Every planted mistake must be found.

mod check;
pub(super) mod domain;
mod flaky;
mod oracle;
mod scenes;
mod tasks;
mod world;

use std::ops::Range;

use super::planted::{Bug, plant};
use check::Violation;
use world::{Counts, Shape, World};

/// Seeds of one run of the tests. A debug build is slow; `cargo xtask ci` runs these tests in an optimized one too.
const SEEDS: u64 = if cfg!(debug_assertions) { 150 } else { 1_500 };
/// Every mistake must show within that number of seeds.
const SEEDS_PER_BUG_MAX: u64 = 3_000;

/// The number of seeds: `GESTA_ENTITY_SEEDS` for a long run.
fn seeds() -> Range<u64> {
    let asked = std::env::var("GESTA_ENTITY_SEEDS");
    0..asked.map_or(SEEDS, |seeds| seeds.parse().expect("GESTA_ENTITY_SEEDS is a number"))
}

fn run(seed: u64, shape: Shape) -> Result<Counts, Violation> {
    World::new(seed, shape).run()
}

fn check(seeds: Range<u64>, shape: Shape) -> Counts {
    let mut counts = Counts::default();
    for seed in seeds {
        match run(seed, shape) {
            Ok(more) => counts.add(&more),
            Err(violation) => panic!("seed {seed}, {shape:?}: {violation}"),
        }
    }
    println!("{counts:?}");
    counts
}

#[test]
fn every_answer_is_true_and_every_batch_was_decided_on_the_log_before_it() {
    check(seeds(), Shape::Faulty).assert_each_happened();
}

#[test]
fn five_times_the_faults_change_no_answer() {
    check(0..seeds().end / 5, Shape::Stormy);
}

#[test]
fn one_process_without_faults_has_no_conflict_and_decides_nothing_again() {
    let counts = check(0..seeds().end / 2, Shape::Calm);
    assert!(counts.of("rested on undurable events") > 0, "{counts:?}");
}

#[test]
fn the_same_seed_gives_the_same_history() {
    for seed in [1, 2, 3] {
        let histories = [0, 1].map(|_| {
            let mut world = World::new(seed, Shape::Faulty);
            world.play().expect("the seed is fine");
            world.history()
        });
        assert!(!histories[0].is_empty());
        assert_eq!(histories[0], histories[1], "seed {seed}");
    }
}

/// Plants a mistake, and looks for a seed that shows it.
fn find(bug: Bug, shape: Shape) -> (u64, Violation) {
    plant(Some(bug));
    let found =
        (0..SEEDS_PER_BUG_MAX).find_map(|seed| run(seed, shape).err().map(|violation| (seed, violation)));
    plant(None);
    found.unwrap_or_else(|| panic!("{bug:?} was not found in {SEEDS_PER_BUG_MAX} seeds"))
}

#[test]
fn every_planted_mistake_is_found() {
    for (bug, shape) in [
        (Bug::NoAnchor, Shape::Faulty),
        (Bug::RefusedUnread, Shape::Faulty),
        (Bug::RefusedUnsettled, Shape::Faulty),
        (Bug::RefusedRepeat, Shape::Faulty),
        (Bug::NoCommonPlace, Shape::Faulty),
        (Bug::OpenGates, Shape::Faulty),
        (Bug::GateForEver, Shape::Faulty),
        (Bug::FailedStateKept, Shape::Faulty),
        (Bug::HalfFoldedState, Shape::Faulty),
        (Bug::OtherStatesSkip, Shape::Faulty),
        (Bug::DoubtForgotten, Shape::Stormy),
        (Bug::DoubtInherited, Shape::Stormy),
        (Bug::OwnBatchOnly, Shape::Faulty),
        (Bug::NoKeysInFlight, Shape::Calm),
    ] {
        let (seed, violation) = find(bug, shape);
        println!("{bug:?}: seed {seed}: {violation}");
        // The finder finds nothing where nothing is planted.
        run(seed, shape).unwrap_or_else(|violation| panic!("without {bug:?}: {violation}"));
    }
}
