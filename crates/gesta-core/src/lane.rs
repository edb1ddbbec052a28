//! Lanes: 1,024 fixed hash classes of streams, the unit in which work and partitions are divided.
//!
//! `lane = xxh3_64(partition key, seed 0) >> 54` and `partition = lane × partitions >> 10`. The formulas are
//! published and never change. Lanes nest in partitions: each lane lies in one partition for any number of
//! partitions.

use std::fmt;
use std::str::FromStr;

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

impl fmt::Display for Lanes {
    /// Writes ranges in order, such as `0-255,512`; `none` for the empty set.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_empty() {
            return f.write_str(NO_LANE);
        }
        let has = |number: u16| Lane::new(number).is_some_and(|lane| self.contains(lane));
        let mut separator = "";
        let mut next = 0;
        while let Some(first) = (next..LANES).find(|number| has(*number)) {
            let end = (first..LANES).find(|number| !has(*number)).unwrap_or(LANES);
            match end - first {
                1 => write!(f, "{separator}{first}")?,
                _ => write!(f, "{separator}{first}-{}", end - 1)?,
            }
            (separator, next) = (",", end);
        }
        Ok(())
    }
}

/// The text of the empty set.
const NO_LANE: &str = "none";

/// The text is not a set of lanes.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{range}` is not a range of lanes: write numbers from 0 to 1023, such as `0-255,512`")]
pub struct LanesParseError {
    /// The part of the text that is wrong, cut to its first 40 characters.
    pub range: String,
}

impl FromStr for Lanes {
    type Err = LanesParseError;

    /// Reads lanes and ranges of lanes in any order, such as `0-255,512`, or `none`.
    fn from_str(text: &str) -> Result<Self, LanesParseError> {
        if text == NO_LANE {
            return Ok(Self::NONE);
        }
        let mut lanes = Self::NONE;
        for range in text.split(',') {
            let wrong = || LanesParseError { range: range.chars().take(40).collect() };
            let (first, last) = range.split_once('-').unwrap_or((range, range));
            let number = |text: &str| text.parse::<u16>().ok().and_then(Lane::new);
            let (first, last) = number(first).zip(number(last)).ok_or_else(wrong)?;
            if first > last {
                return Err(wrong());
            }
            (first.0..=last.0).for_each(|number| lanes.insert(Lane(number)));
        }
        Ok(lanes)
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
    fn a_set_of_lanes_is_written_as_ranges_and_read_again() {
        let cases = ["none", "0", "0-1023", "1023", "0-255,512", "1,3,5-6,1000-1023"];
        for text in cases {
            let lanes = text.parse::<Lanes>().unwrap();
            assert_eq!(lanes.to_string(), text);
            assert_eq!(lanes.to_string().parse(), Ok(lanes));
        }
        assert_eq!("512,0-255,7".parse::<Lanes>().unwrap().to_string(), "0-255,512");
        assert_eq!(Lanes::ALL.to_string(), "0-1023");
    }

    #[test]
    fn a_text_that_is_no_set_of_lanes_is_refused_with_the_wrong_part() {
        for (text, part) in
            [("", ""), ("1,", ""), ("1024", "1024"), ("1,7-3", "7-3"), ("0-2000", "0-2000"), ("x", "x")]
        {
            assert_eq!(text.parse::<Lanes>(), Err(LanesParseError { range: part.to_owned() }), "{text}");
        }
    }

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
