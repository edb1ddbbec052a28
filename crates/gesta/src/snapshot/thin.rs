//! Which snapshots of a stream are kept: dense near the end, sparse in the past.
//!
//! A snapshot at version *v* has the number *i* = *v* / `every`, and the newest has the number *h*. The numbers are divided
//! into groups of 2^*j*, with *j* = max(0, ⌊log2((*h* − *i*) / 4)⌋), and the first snapshot of each group is kept. So the last
//! eight numbers are kept, then every second, every fourth, and so on.
//!
//! *Invariant:* if every number has a snapshot, the rule may be applied after each one or once at the end, with the same
//! result: *j* never falls as *h* grows.
//!
//! *Choice: the first of a group, not the multiples of 2^j.* After a burst of events some numbers have no snapshot, and
//! the others need not be multiples.

use std::num::NonZeroU64;

use gesta_core::Version;

/// The number of the snapshot at a version.
pub(crate) const fn number(version: Version, every: NonZeroU64) -> u64 {
    version.get() / every.get()
}

/// The versions to remove. `versions` is sorted.
pub(super) fn superfluous(versions: &[Version], every: NonZeroU64) -> Vec<Version> {
    let Some(newest) = versions.last().map(|version| number(*version, every)) else { return Vec::new() };
    let mut removed = Vec::new();
    // The start of the stream is as good as a snapshot with number 0, which is never taken.
    let mut before = 0;
    for version in versions {
        let number = number(*version, every);
        if before >= group(number, newest) {
            removed.push(*version);
        }
        before = number;
    }
    removed
}

/// The first number of the group that a number is in.
fn group(number: u64, newest: u64) -> u64 {
    let size_log2 = ((newest - number) / 4).checked_ilog2().unwrap_or(0);
    number >> size_log2 << size_log2
}

#[cfg(test)]
mod tests {
    use super::*;

    fn every(number: u64) -> NonZeroU64 {
        NonZeroU64::new(number).unwrap()
    }

    /// What is left of the numbers 1 to `newest` when the rule is applied once.
    fn once(newest: u64) -> Vec<u64> {
        (1..=newest).filter(|number| group(*number, newest) == *number).collect()
    }

    #[test]
    fn the_rule_applied_after_each_snapshot_equals_the_rule_applied_once() {
        let mut kept = Vec::new();
        for newest in 1..=3_000 {
            kept.push(Version::new(newest));
            for removed in superfluous(&kept, every(1)) {
                kept.retain(|version| *version != removed);
            }
            let numbers = kept.iter().map(|version| version.get()).collect::<Vec<_>>();
            assert_eq!(numbers, once(newest), "newest {newest}");
        }
    }

    #[test]
    fn a_million_events_keep_39_snapshots() {
        assert_eq!(once(9), [2, 3, 4, 5, 6, 7, 8, 9]);
        assert_eq!(once(20), [4, 6, 8, 10, 12, 13, 14, 15, 16, 17, 18, 19, 20]);
        assert_eq!(once(1_000_000 / 500).len(), 39);
    }

    #[test]
    fn a_load_of_an_old_version_folds_at_most_a_third_as_many_events_as_lie_after_it() {
        for newest in [10, 100, 2_000, 12_345] {
            let kept = once(newest);
            for asked in 1..=newest {
                let from = kept.iter().rev().find(|number| **number <= asked).copied().unwrap_or(0);
                let behind = newest - asked;
                assert!(asked - from <= 1.max(behind / 3), "{asked} from {from}, newest {newest}");
            }
        }
    }

    #[test]
    fn snapshots_that_skip_numbers_are_thinned_out_as_well_and_not_all_removed() {
        // One after each 20 numbers, and never a multiple of a power of two.
        let mut kept = Vec::new();
        for newest in (19..2_000).step_by(20) {
            kept.push(Version::new(newest));
            for removed in superfluous(&kept, every(1)) {
                kept.retain(|version| *version != removed);
            }
        }
        assert!((15..40).contains(&kept.len()), "{kept:?}");
        let gaps = kept.windows(2).map(|pair| (pair[1].get() - pair[0].get(), 1_999 - pair[0].get()));
        for (gap, behind) in gaps {
            assert!(gap <= 20.max(behind / 2), "{gap} with {behind} behind: {kept:?}");
        }
    }

    #[test]
    fn of_two_snapshots_with_one_number_the_first_is_kept() {
        let versions = [501, 777, 1_000, 1_400].map(Version::new);
        assert_eq!(superfluous(&versions, every(500)), [777, 1_400].map(Version::new));
        assert_eq!(superfluous(&[], every(500)), []);
        assert_eq!(superfluous(&versions[..1], every(500)), []);
    }
}
