//! Bugs that are planted into the log, and the first check that finds each.

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use gesta_log::sim::{Bug, plant};
use sim::{Bits, Focus, Left, SCRIPTS, flip_bits, flip_index_bits, simulate, simulate_focused};

use crate::regressions;

const SEEDS_MAX: u64 = 64;

/// A check for bugs that random simulations do not find.
struct Finder {
    name: &'static str,
    finds: fn() -> bool,
}

/// The checks, fast ones first.
const FINDERS: &[Finder] = &[
    Finder {
        name: "the steps of a regression test",
        finds: || regressions::CHECKS.iter().any(|check| std::panic::catch_unwind(check).is_err()),
    },
    Finder { name: "a flipped bit of an index", finds: || flip_index_bits(0, 7).is_err() },
    Finder {
        name: "a flipped bit",
        finds: || {
            let lefts = [Left::Closed, Left::Killed];
            lefts.iter().any(|left| flip_bits(Bits::ZerosSampled, *left, 0, 1).is_err())
        },
    },
    Finder { name: "a script", finds: || SCRIPTS.iter().any(|script| script.visit().is_err()) },
];

/// Bugs that one kind of harm shows. The simulations then have that focus.
const FOCUSED: &[(Bug, &str)] = &[
    (Bug::UnlistedRemoved, "stale-manifest-closed"),
    (Bug::SyncedNotRecorded, "cut-closed"),
    (Bug::NamedFrameNotCompared, "other-history-closed"),
    (Bug::BackupOverOtherHistory, "rolled-back-killed"),
];

/// The check that finds the bug, if one does, in logs on this thread.
fn find(bug: Bug) -> Option<String> {
    plant(Some(bug));
    let focus = FOCUSED.iter().find(|(focused, _)| *focused == bug);
    let focus = focus.map(|(_, name)| Focus::named(name).expect("a focus of that name"));
    let by_seed = (0..SEEDS_MAX).find_map(|seed| match focus {
        Some(focus) => simulate_focused(seed, focus).err(),
        None => simulate(seed).err(),
    });
    let found = match by_seed {
        Some(violation) => Some(format!("after {} seeds: {:.120}", violation.seed + 1, violation.what)),
        None => FINDERS.iter().find(|finder| (finder.finds)()).map(|finder| format!("by {}", finder.name)),
    };
    plant(None);
    found
}

#[test]
fn every_planted_bug_is_found() {
    // A panic of the log counts as a find and is reported with the bug.
    std::panic::set_hook(Box::new(|_| ()));
    let (next, missed) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    std::thread::scope(|scope| {
        for _ in 0..std::thread::available_parallelism().map_or(1, std::num::NonZero::get) {
            scope.spawn(|| {
                while let Some(bug) = Bug::ALL.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let found = find(*bug);
                    println!("{bug:?}: {}", found.as_deref().unwrap_or("not found"));
                    if found.is_none() {
                        missed.lock().unwrap().push(bug);
                    }
                }
            });
        }
    });
    drop(std::panic::take_hook());
    let missed = missed.into_inner().unwrap();
    assert!(missed.is_empty(), "not found: {missed:?}");
}
