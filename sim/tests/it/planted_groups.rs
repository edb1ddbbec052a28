//! Bugs that are planted into the dealer of consumer groups, and mistakes of operators: each is found within a number of seeds.

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use gesta_consumer::sim::{Bug, plant};
use sim::{Mistake, simulate_groups};

const SEEDS_MAX: u64 = 5_000;
/// Seeds on which the finder must find nothing without a bug. `simulate-groups` runs many more.
const SEEDS_WITHOUT_BUG: u64 = 200;

#[derive(Debug, Clone, Copy)]
enum Planted {
    Bug(Bug),
    Mistake(Mistake),
}

/// The first seed that shows the bug, and how, on this thread.
fn find(planted: Planted) -> Option<(u64, String)> {
    let mistake = match planted {
        Planted::Bug(bug) => {
            plant(Some(bug));
            None
        }
        Planted::Mistake(mistake) => Some(mistake),
    };
    let found = (0..SEEDS_MAX).find_map(|seed| simulate_groups(seed, mistake).err());
    plant(None);
    found.map(|violation| (violation.seed, violation.what.chars().take(90).collect()))
}

#[test]
fn planted_bugs_of_groups_are_found() {
    // A panic of the dealer counts as a find and is reported with the bug.
    std::panic::set_hook(Box::new(|_| ()));
    let clean = (0..SEEDS_WITHOUT_BUG).find_map(|seed| simulate_groups(seed, None).err());
    assert_eq!(clean, None, "without a bug nothing is found");
    let planted = Bug::ALL.iter().copied().map(Planted::Bug);
    let planted = planted.chain(Mistake::ALL.iter().copied().map(Planted::Mistake)).collect::<Vec<_>>();
    let (next, missed) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    std::thread::scope(|scope| {
        for _ in 0..std::thread::available_parallelism().map_or(1, std::num::NonZero::get) {
            scope.spawn(|| {
                while let Some(planted) = planted.get(next.fetch_add(1, Ordering::Relaxed)) {
                    match find(*planted) {
                        Some((seed, what)) => println!("{planted:?}: seed {seed}: {what}"),
                        None => missed.lock().unwrap().push(*planted),
                    }
                }
            });
        }
    });
    drop(std::panic::take_hook());
    let missed = missed.into_inner().unwrap();
    assert!(missed.is_empty(), "not found: {missed:?}");
}
