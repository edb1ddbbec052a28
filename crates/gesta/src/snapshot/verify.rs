//! Which snapshots are compared with a fold from the start before they are put. Pure.

use super::limits::{VERIFIED_FIRST, VERIFIED_ONE_IN};

/// How often a snapshot that was made from an earlier one is compared with a fold of all events.
///
/// Comparing finds what the fingerprint of a kind does not see: helper functions that `evolve` calls, how
/// older events are read, defaults of serde. It happens beside the commands, and costs one fold of the stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Verify {
    /// After a start, the first 32 of each kind, then one in 1,000.
    #[default]
    Sample,
    /// Every one.
    All,
    /// None.
    Off,
}

impl Verify {
    /// Whether to verify the taking that is number `taken` of its kind since the start, from 0.
    pub(super) const fn includes(self, taken: u64) -> bool {
        match self {
            Self::Sample => taken < VERIFIED_FIRST || taken.is_multiple_of(VERIFIED_ONE_IN),
            Self::All => true,
            Self::Off => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_of_a_kind_are_verified_and_then_a_few() {
        let verified = (0..10_000).filter(|taken| Verify::Sample.includes(*taken)).count();
        assert_eq!(verified, 32 + 9);
        assert!((0..32).all(|taken| Verify::Sample.includes(taken)));
        assert!(!(0..10_000).any(|taken| Verify::Off.includes(taken)));
        assert!((0..10_000).all(|taken| Verify::All.includes(taken)));
    }
}
