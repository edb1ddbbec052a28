//! The log on a simulated machine whose power is cut, whose processes are killed and whose disk fails.

use sim::{simulate, simulate_many};

#[test]
fn no_fault_breaks_a_promise() {
    // A build without optimization gets through so many in a few seconds; `cargo xtask sim` does more.
    let outcome = simulate_many(0.., 20_000).unwrap_or_else(|violation| panic!("{violation}"));
    println!("{outcome}");
    let counts = outcome.counts;
    let happened = [counts.power_cuts, counts.kills, counts.eio, counts.no_space, counts.rots];
    assert!(happened.iter().all(|count| *count > 5), "some faults never happen: {outcome}");
    assert!(counts.dropped_sectors > 0 && counts.torn_sectors > 0, "power cuts drop nothing: {outcome}");
}

#[test]
fn the_same_seed_gives_the_same_trace() {
    for seed in 0..20 {
        assert_eq!(simulate(seed), simulate(seed), "seed {seed}");
    }
    let traces = (0..20).map(|seed| simulate(seed).unwrap().trace);
    assert_eq!(traces.collect::<std::collections::HashSet<_>>().len(), 20, "seeds differ");
}

#[cfg(feature = "planted-bugs")]
mod planted {
    use gesta_log::sim::{Bug, plant};

    use super::simulate;

    const SEEDS_MAX: u64 = 400;

    /// The number of seeds until the bug is found.
    fn seeds_until_found(bug: Bug) -> Option<u64> {
        plant(Some(bug));
        let found = (0..SEEDS_MAX).find(|seed| simulate(*seed).is_err());
        plant(None);
        found.map(|seed| seed + 1)
    }

    #[test]
    fn every_planted_bug_is_found() {
        let bugs = [
            Bug::AckBeforeSync,
            Bug::NoFolderSync,
            Bug::RetryFailedSync,
            Bug::TrustPageCache,
            Bug::NoWatermark,
            Bug::AlwaysTruncate,
            Bug::IdsNotRebuilt,
            Bug::KeysNotRebuilt,
            Bug::PublishBeforeSync,
            Bug::NoRecordChecks,
            Bug::ManifestNotSynced,
        ];
        let missed = bugs.into_iter().filter(|bug| {
            let found = seeds_until_found(*bug);
            println!("{bug:?}: found after {found:?} seeds");
            found.is_none()
        });
        let missed = missed.collect::<Vec<_>>();
        assert!(missed.is_empty(), "not found within {SEEDS_MAX} seeds each: {missed:?}");
    }
}
