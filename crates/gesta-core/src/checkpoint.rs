//! Places in the log: versions in a stream, positions of events, checkpoints between events.

use std::cmp::Ordering;
use std::fmt;
use std::str::FromStr;

use crate::limits::PARTITIONS_MAX;

/// An event's place in its stream: dense, from 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Version(u64);

impl Version {
    /// The version of the first event of every stream.
    pub const FIRST: Self = Self(0);

    /// From its number.
    #[must_use]
    pub const fn new(number: u64) -> Self {
        Self(number)
    }

    /// Its number.
    #[must_use]
    pub const fn get(self) -> u64 {
        self.0
    }

    /// The version of the event after this one.
    #[must_use]
    pub const fn next(self) -> Self {
        Self(self.0 + 1)
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// One event's place in the log. Sequences grow within a partition; between partitions there is no order,
/// which is why positions are only partially ordered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Position {
    /// The partition, from 0.
    pub partition: u16,
    /// The place within the partition, from 1.
    pub sequence: u64,
}

impl PartialOrd for Position {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        (self.partition == other.partition).then(|| self.sequence.cmp(&other.sequence))
    }
}

impl fmt::Display for Position {
    /// A plain number in partition 0, `partition/sequence` elsewhere.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.partition {
            0 => write!(f, "{}", self.sequence),
            partition => write!(f, "{partition}/{}", self.sequence),
        }
    }
}

/// Which store a checkpoint belongs to: 16 bytes drawn when the store is made.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct StoreId([u8; 16]);

impl StoreId {
    /// From its bytes.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    /// Its bytes.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }
}

impl fmt::Display for StoreId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", u128::from_be_bytes(self.0))
    }
}

impl fmt::Debug for StoreId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A place between events, to resume from: a store and one sequence a partition. Everything up to and with
/// that sequence lies before it.
///
/// Checkpoints are partially ordered ([`Self::at_least`]): with several partitions one may be ahead here and
/// behind there. Printed and parsed as a token: the store's id and the sequences, joined by dots.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Checkpoint {
    store: StoreId,
    sequences: Box<[u64]>,
}

impl Checkpoint {
    /// Before the first event of a store with that many partitions.
    ///
    /// # Panics
    /// If `partitions` is 0 or above 1,024: a store knows how many it has.
    #[must_use]
    pub fn start(store: StoreId, partitions: u16) -> Self {
        Self::new(store, vec![0; usize::from(partitions)])
    }

    /// From a sequence for each partition.
    ///
    /// # Panics
    /// If there is none, or more than 1,024.
    #[must_use]
    pub fn new(store: StoreId, sequences: impl Into<Box<[u64]>>) -> Self {
        let sequences = sequences.into();
        assert!(
            (1..=usize::from(PARTITIONS_MAX)).contains(&sequences.len()),
            "a checkpoint has 1 to {PARTITIONS_MAX} sequences"
        );
        Self { store, sequences }
    }

    /// The store it belongs to.
    #[must_use]
    pub const fn store(&self) -> StoreId {
        self.store
    }

    /// The sequence of each partition, in order.
    #[must_use]
    pub const fn sequences(&self) -> &[u64] {
        &self.sequences
    }

    /// The sequence of a partition; 0 for one that the store does not have.
    #[must_use]
    pub fn sequence(&self, partition: u16) -> u64 {
        self.sequences.get(usize::from(partition)).copied().unwrap_or(0)
    }

    /// The same place, but at `sequence` in one partition.
    ///
    /// # Panics
    /// If the store has no such partition.
    #[must_use]
    pub fn with(mut self, partition: u16, sequence: u64) -> Self {
        self.sequences[usize::from(partition)] = sequence;
        self
    }

    /// Whether everything before `other` also lies before this one. False between stores.
    #[must_use]
    pub fn at_least(&self, other: &Self) -> bool {
        self.is_comparable(other)
            && self.sequences.iter().zip(&other.sequences).all(|(own, other)| own >= other)
    }

    /// Whether the event at that position lies before this checkpoint.
    #[must_use]
    pub fn covers(&self, position: Position) -> bool {
        self.sequence(position.partition) >= position.sequence
    }

    /// Whether both belong to the same store, with the same partitions.
    #[must_use]
    pub fn is_comparable(&self, other: &Self) -> bool {
        self.store == other.store && self.sequences.len() == other.sequences.len()
    }

    /// What lies before both: the lower sequence in each partition.
    ///
    /// # Panics
    /// If the two are not comparable.
    #[must_use]
    pub fn meet(&self, other: &Self) -> Self {
        assert!(self.is_comparable(other), "checkpoints of two stores do not meet");
        let lower = self.sequences.iter().zip(&other.sequences).map(|(a, b)| *a.min(b)).collect::<Vec<_>>();
        Self::new(self.store, lower)
    }
}

impl fmt::Display for Checkpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.store, f)?;
        self.sequences.iter().try_for_each(|sequence| write!(f, ".{sequence}"))
    }
}

impl fmt::Debug for Checkpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The text is not a checkpoint's token.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{token}` is not a checkpoint: take one as a read or an append gave it, 32 hexadecimal digits and a number a partition, joined by dots"
)]
pub struct CheckpointParseError {
    /// The text, cut to its first 80 characters.
    pub token: String,
}

impl FromStr for Checkpoint {
    type Err = CheckpointParseError;

    fn from_str(token: &str) -> Result<Self, CheckpointParseError> {
        parse_token(token).ok_or_else(|| CheckpointParseError { token: token.chars().take(80).collect() })
    }
}

/// Accepts exactly what `Display` prints, so that one place has one token.
fn parse_token(token: &str) -> Option<Checkpoint> {
    let (store, rest) = token.split_once('.')?;
    if store.len() != 32 || !store.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f')) {
        return None;
    }
    let store = StoreId(u128::from_str_radix(store, 16).ok()?.to_be_bytes());
    let sequences = rest
        .split('.')
        .take(usize::from(PARTITIONS_MAX) + 1)
        .map(parse_sequence)
        .collect::<Option<Vec<_>>>()?;
    (sequences.len() <= usize::from(PARTITIONS_MAX)).then(|| Checkpoint::new(store, sequences))
}

fn parse_sequence(text: &str) -> Option<u64> {
    let canonical = text == "0" || !text.starts_with(['0', '+']);
    text.parse().ok().filter(|_| canonical)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_printed_and_parsed_in_one_way_only() {
        let checkpoint = Checkpoint::new(StoreId([0xab; 16]), vec![0, 7, u64::MAX]);
        let token = checkpoint.to_string();
        assert_eq!(token, format!("{}.0.7.18446744073709551615", "ab".repeat(16)));
        assert_eq!(token.parse(), Ok(checkpoint));
        let store = "ab".repeat(16);
        for wrong in ["", "7", &store, &format!("{store}."), &format!("{store}.07"), &format!("{store}.+7")] {
            assert!(wrong.parse::<Checkpoint>().is_err(), "{wrong}");
        }
        assert!(format!("{}.7", store.to_uppercase()).parse::<Checkpoint>().is_err());
    }

    #[test]
    fn checkpoints_are_partially_ordered() {
        let at = |sequences: &[u64]| Checkpoint::new(StoreId([1; 16]), sequences);
        assert!(at(&[2, 3]).at_least(&at(&[2, 1])));
        assert!(!at(&[2, 3]).at_least(&at(&[3, 1])));
        assert!(!at(&[3, 1]).at_least(&at(&[2, 3])));
        assert!(!at(&[3]).at_least(&Checkpoint::new(StoreId([2; 16]), vec![1])));
        assert_eq!(at(&[2, 3]).meet(&at(&[3, 1])), at(&[2, 1]));
    }
}
