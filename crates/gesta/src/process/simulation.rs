//! Processes under a schedule drawn from a seed: inputs again and at once, deaths between any two steps, refusals, deferrals,
//! lost answers. Every planted mistake must be found.

mod check;
mod domain;
mod service;
mod store;
mod world;

use super::planted::{Bug, plant};
use check::Violation;
use world::World;

/// Seeds of one run of the tests; `GESTA_SEEDS` gives another number. A debug build is slow; `cargo xtask ci` runs these tests in an
/// optimized one too.
const SEEDS: u64 = if cfg!(debug_assertions) { 40 } else { 10_000 };
/// Every mistake must show within that number of seeds.
const SEEDS_PER_BUG_MAX: u64 = 2_000;

fn run(seed: u64) -> Result<world::Counts, Violation> {
    World::new(seed).run()
}

/// Runs the seeds on two threads. Fails with the first seed that breaks a rule.
fn check(seeds: u64) -> world::Counts {
    let half = |first: u64| {
        let mut counts = world::Counts::default();
        for seed in (first..seeds).step_by(2) {
            counts.add(&run(seed).map_err(|violation| format!("seed {seed}: {violation}"))?);
        }
        Ok::<_, String>(counts)
    };
    let halves = std::thread::scope(|scope| {
        let other = scope.spawn(|| half(1));
        [half(0), other.join().expect("a thread of the test ends")]
    });
    let mut counts = world::Counts::default();
    for half in halves {
        match half {
            Ok(half) => counts.add(&half),
            Err(violation) => panic!("{violation}"),
        }
    }
    counts
}

#[test]
fn every_input_is_taken_once_and_every_effect_is_done_once() {
    let seeds = std::env::var("GESTA_SEEDS").map_or(SEEDS, |seeds| seeds.parse().expect("a number of seeds"));
    let counts = check(seeds);
    println!("{seeds} seeds");
    counts.assert_each_happened();
}

#[test]
fn the_same_seed_gives_the_same_history() {
    for seed in [1, 2, 3] {
        let histories = [0, 1].map(|_| {
            let mut world = World::new(seed);
            world.play();
            world.history()
        });
        assert_eq!(histories[0], histories[1], "seed {seed}");
    }
}

#[test]
#[cfg_attr(
    debug_assertions,
    ignore = "too slow for a debug build: `cargo xtask ci` runs it in an optimized one"
)]
fn every_planted_mistake_is_found() {
    for bug in Bug::ALL {
        plant(Some(*bug));
        let found =
            (0..SEEDS_PER_BUG_MAX).find_map(|seed| run(seed).err().map(|violation| (seed, violation)));
        plant(None);
        match found {
            Some((seed, violation)) => println!("{bug:?}: seed {seed}: {violation}"),
            None => panic!("{bug:?} was not found in {SEEDS_PER_BUG_MAX} seeds"),
        }
    }
}
