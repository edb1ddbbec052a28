//! Lanes: 1,024 fixed hash classes of streams, the unit in which work and partitions are divided.
//!
//! `lane = xxh3_64(partition key, seed 0) >> 54` and `partition = lane × partitions >> 10`. The formulas are
//! published and never change. Lanes nest in partitions: each lane lies in one partition for any number of
//! partitions.

use std::fmt;

use xxhash_rust::xxh3::xxh3_64;

use crate::name::StreamName;

/// The number of lanes.
pub const LANES: u16 = 1_024;

/// One hash class of streams, 0 to 1,023.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Lane(u16);

impl Lane {
    /// Creates a lane from its number; `None` for 1,024 and above.
    #[must_use]
    pub const fn new(number: u16) -> Option<Self> {
        if number < LANES { Some(Self(number)) } else { None }
    }

    /// Returns the lane of a stream, by its partition key.
    #[must_use]
    pub fn of(stream: &str) -> Self {
        let hash = xxh3_64(StreamName::partition_key_of(stream).as_bytes());
        Self((hash >> 54) as u16)
    }

    /// Returns the number, 0 to 1,023.
    #[must_use]
    pub const fn get(self) -> u16 {
        self.0
    }

    /// Returns the partition of this lane in a store with `partitions` partitions.
    #[must_use]
    pub const fn partition(self, partitions: u16) -> u16 {
        #[expect(
            clippy::cast_possible_truncation,
            reason = "a lane is below 1,024, so this is below `partitions`"
        )]
        let partition = ((self.0 as u32 * partitions as u32) >> 10) as u16;
        partition
    }
}

impl fmt::Display for Lane {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A set of lanes.
#[derive(Clone, PartialEq, Eq)]
pub struct Lanes([u64; 16]);

impl Lanes {
    /// Every lane.
    pub const ALL: Self = Self([u64::MAX; 16]);
    /// No lane.
    pub const NONE: Self = Self([0; 16]);

    /// Adds a lane.
    pub fn insert(&mut self, lane: Lane) {
        self.0[usize::from(lane.0 / 64)] |= 1 << (lane.0 % 64);
    }

    /// Returns true if the lane is in the set.
    #[must_use]
    pub fn contains(&self, lane: Lane) -> bool {
        self.0[usize::from(lane.0 / 64)] & 1 << (lane.0 % 64) != 0
    }

    /// Returns true if the set has no lane.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.iter().all(|word| *word == 0)
    }

    /// Returns the number of lanes in the set.
    #[must_use]
    pub fn len(&self) -> u32 {
        self.0.iter().map(|word| word.count_ones()).sum()
    }
}

impl FromIterator<Lane> for Lanes {
    fn from_iter<I: IntoIterator<Item = Lane>>(lanes: I) -> Self {
        lanes.into_iter().fold(Self::NONE, |mut set, lane| {
            set.insert(lane);
            set
        })
    }
}

impl fmt::Debug for Lanes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Lanes({} of {LANES})", self.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lane_of_a_stream_never_changes() {
        // Known answers. A change here would move streams of existing stores between partitions.
        let lanes =
            ["account-42", "loan-173688", "account-{acme}42", "acme"].map(|name| Lane::of(name).get());
        assert_eq!(lanes[2], lanes[3], "the partition key alone decides");
        assert_eq!(lanes, KNOWN);
    }

    const KNOWN: [u16; 4] = [1018, 137, 274, 274];

    #[test]
    fn lanes_nest_in_partitions() {
        for partitions in 1..=LANES {
            let mut last = 0;
            for lane in (0..LANES).map(Lane) {
                let partition = lane.partition(partitions);
                assert!(partition < partitions && (partition == last || partition == last + 1));
                last = partition;
            }
            assert_eq!(last, partitions - 1);
        }
    }
}
