//! Places in the log: versions in a stream, positions of events, checkpoints between events.

use std::cmp::Ordering;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::str::FromStr;

use crate::event::RecordedEvent;
use crate::limits::PARTITIONS_MAX;

/// An event's place in its stream: dense, from 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Version(u64);

impl Version {
    /// The version of the first event of every stream.
    pub const FIRST: Self = Self(0);

    /// Creates a version from its number.
    #[must_use]
    pub const fn new(number: u64) -> Self {
        Self(number)
    }

    /// Returns the number.
    #[must_use]
    pub const fn get(self) -> u64 {
        self.0
    }

    /// Returns the version of the next event in the stream.
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

/// One event's place in the log.
///
/// Sequences grow within a partition. Positions in different partitions have no order, so positions are only
/// partially ordered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Position {
    /// The partition, from 0.
    pub partition: u16,
    /// The number within the partition, from 1.
    pub sequence: u64,
}

impl PartialOrd for Position {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        (self.partition == other.partition).then(|| self.sequence.cmp(&other.sequence))
    }
}

impl fmt::Display for Position {
    /// Prints the plain sequence in partition 0, `partition/sequence` in all others.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.partition {
            0 => write!(f, "{}", self.sequence),
            partition => write!(f, "{partition}/{}", self.sequence),
        }
    }
}

/// The identity of a store: 16 random bytes, drawn when the store is created.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StoreId([u8; 16]);

impl StoreId {
    /// Creates an id from its bytes.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    /// Returns the bytes.
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

/// The text is not the id of a store.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not the id of a store: it has 32 hexadecimal digits in lower case")]
pub struct StoreIdParseError {
    /// The text, cut to its first 40 characters.
    pub text: String,
}

impl FromStr for StoreId {
    type Err = StoreIdParseError;

    /// Accepts exactly the output of `Display`.
    fn from_str(text: &str) -> Result<Self, StoreIdParseError> {
        parse_store(text).ok_or_else(|| StoreIdParseError { text: text.chars().take(40).collect() })
    }
}

fn parse_store(text: &str) -> Option<StoreId> {
    let is_canonical = text.len() == 32 && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    is_canonical.then(|| u128::from_str_radix(text, 16).ok())?.map(|id| StoreId(id.to_be_bytes()))
}

/// A place between events to resume from: a store, and one sequence for each partition.
///
/// A checkpoint covers all events up to and including those sequences. Checkpoints are partially ordered
/// ([`Self::at_least`]): with several partitions, one checkpoint may be ahead in one partition and behind in another.
/// A checkpoint is printed and parsed as a token: the store's id and a place for each partition, joined by dots.
///
/// Beside a sequence, a checkpoint may keep the mark of the event there ([`RecordedEvent::mark`]), printed as
/// `<sequence>-<8 hexadecimal digits>`. A store may lose events and give their positions to others, for example when
/// it is restored from an older copy. Such a store refuses a checkpoint with a mark of the lost history: `Diverged`.
/// Stores set marks. A place that a caller constructs has no mark and is not checked. Comparing, ordering and hashing
/// ignore marks.
#[derive(Clone)]
pub struct Checkpoint {
    store: StoreId,
    places: Box<[Place]>,
}

/// The place in one partition. Sequence 0 has no event, so it has no mark.
#[derive(Clone, Copy)]
struct Place {
    sequence: u64,
    mark: Option<u32>,
}

impl Place {
    const fn unmarked(sequence: u64) -> Self {
        Self { sequence, mark: None }
    }
}

impl Checkpoint {
    /// Returns the place before the first event of a store with this number of partitions.
    ///
    /// # Panics
    /// If `partitions` is 0 or above 1,024.
    #[must_use]
    pub fn start(store: StoreId, partitions: u16) -> Self {
        Self::new(store, (0..partitions).map(|_| 0))
    }

    /// Creates a checkpoint from a sequence for each partition, without marks.
    ///
    /// # Panics
    /// If there is no sequence, or more than 1,024.
    #[must_use]
    pub fn new(store: StoreId, sequences: impl IntoIterator<Item = u64>) -> Self {
        Self::from_places(store, sequences.into_iter().map(Place::unmarked).collect())
    }

    fn from_places(store: StoreId, places: Box<[Place]>) -> Self {
        assert!(
            (1..=usize::from(PARTITIONS_MAX)).contains(&places.len()),
            "a checkpoint has 1 to {PARTITIONS_MAX} sequences"
        );
        Self { store, places }
    }

    /// Returns the store that the checkpoint belongs to.
    #[must_use]
    pub const fn store(&self) -> StoreId {
        self.store
    }

    /// Returns the sequence of each partition, in order.
    pub fn sequences(&self) -> impl ExactSizeIterator<Item = u64> + '_ {
        self.places.iter().map(|place| place.sequence)
    }

    /// Returns the sequence of a partition; 0 for one that the store does not have.
    #[must_use]
    pub fn sequence(&self, partition: u16) -> u64 {
        self.places.get(usize::from(partition)).map_or(0, |place| place.sequence)
    }

    /// Returns the mark of the last covered event of a partition, if the checkpoint has it.
    #[must_use]
    pub fn mark(&self, partition: u16) -> Option<u32> {
        self.places.get(usize::from(partition))?.mark
    }

    /// Returns the position and mark of each event whose mark the checkpoint has.
    pub fn marks(&self) -> impl Iterator<Item = (Position, u32)> + '_ {
        (0..).zip(&self.places).filter_map(|(partition, place)| {
            Some((Position { partition, sequence: place.sequence }, place.mark?))
        })
    }

    /// Moves the place in one partition to `sequence`, and removes the mark there.
    ///
    /// # Panics
    /// If the store has no such partition.
    #[must_use]
    pub fn with(mut self, partition: u16, sequence: u64) -> Self {
        self.places[usize::from(partition)] = Place::unmarked(sequence);
        self
    }

    /// Moves the place in one partition to right after the event at a position, and sets its mark.
    ///
    /// # Panics
    /// If the store has no such partition, or the sequence is 0.
    #[must_use]
    pub fn with_mark(mut self, at: Position, mark: u32) -> Self {
        assert!(at.sequence > 0, "sequence 0 has no event");
        self.places[usize::from(at.partition)] = Place { sequence: at.sequence, mark: Some(mark) };
        self
    }

    /// Moves the place in one partition to that of another checkpoint, with its mark.
    ///
    /// # Panics
    /// If one of the two has no such partition.
    #[must_use]
    pub fn with_place_of(mut self, partition: u16, other: &Self) -> Self {
        self.places[usize::from(partition)] = other.places[usize::from(partition)];
        self
    }

    /// Moves the place to right after an event of this store, with the event's mark.
    ///
    /// # Panics
    /// If the store has no such partition.
    #[must_use]
    pub fn past(self, event: &RecordedEvent) -> Self {
        self.with_mark(event.position(), event.mark())
    }

    /// Returns true if this checkpoint covers everything that `other` covers.
    ///
    /// It is false for checkpoints of different stores.
    #[must_use]
    pub fn at_least(&self, other: &Self) -> bool {
        self.is_comparable(other)
            && self.sequences().zip(other.sequences()).all(|(this, other)| this >= other)
    }

    /// Returns true if the checkpoint covers the event at a position.
    #[must_use]
    pub fn covers(&self, position: Position) -> bool {
        self.sequence(position.partition) >= position.sequence
    }

    /// Returns true if both belong to the same store, with the same number of partitions.
    #[must_use]
    pub fn is_comparable(&self, other: &Self) -> bool {
        self.store == other.store && self.places.len() == other.places.len()
    }

    /// Returns the largest checkpoint that both cover: the lower sequence of each partition, with its mark.
    ///
    /// # Panics
    /// If the two are not comparable.
    #[must_use]
    pub fn meet(&self, other: &Self) -> Self {
        assert!(
            self.is_comparable(other),
            "only checkpoints of the same store and number of partitions have a meet"
        );
        self.merge(other, Ordering::Less)
    }

    /// Returns the smallest checkpoint that covers both: the higher sequence of each partition, with its mark.
    ///
    /// # Panics
    /// If the two are not comparable.
    #[must_use]
    pub fn join(&self, other: &Self) -> Self {
        assert!(
            self.is_comparable(other),
            "only checkpoints of the same store and number of partitions have a join"
        );
        self.merge(other, Ordering::Greater)
    }

    /// In each partition, this one's place if it compares with the other one like that, and else the other one's.
    fn merge(&self, other: &Self, wanted: Ordering) -> Self {
        let choose = |(a, b): (&Place, &Place)| match a.sequence.cmp(&b.sequence) {
            Ordering::Equal => Place { mark: a.mark.or(b.mark), ..*a },
            order if order == wanted => *a,
            _ => *b,
        };
        Self::from_places(self.store, self.places.iter().zip(&other.places).map(choose).collect())
    }
}

impl PartialEq for Checkpoint {
    fn eq(&self, other: &Self) -> bool {
        self.is_comparable(other) && self.sequences().eq(other.sequences())
    }
}

impl Eq for Checkpoint {}

impl Hash for Checkpoint {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.store.hash(state);
        self.sequences().for_each(|sequence| sequence.hash(state));
    }
}

impl fmt::Display for Checkpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.store, f)?;
        self.places.iter().try_for_each(|place| match place.mark {
            Some(mark) => write!(f, ".{}-{mark:08x}", place.sequence),
            None => write!(f, ".{}", place.sequence),
        })
    }
}

impl fmt::Debug for Checkpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The text is not the token of a checkpoint.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{token}` is not a checkpoint: use one from a read or an append, with 32 hexadecimal digits and, for each partition, a number (`7` or `7-0a1b2c3d`), joined by dots"
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

/// Accepts exactly the output of `Display`, so that each checkpoint has one token.
fn parse_token(token: &str) -> Option<Checkpoint> {
    let (store, rest) = token.split_once('.')?;
    let store = parse_store(store)?;
    let places = rest
        .split('.')
        .take(usize::from(PARTITIONS_MAX) + 1)
        .map(parse_place)
        .collect::<Option<Box<[_]>>>()?;
    (places.len() <= usize::from(PARTITIONS_MAX)).then(|| Checkpoint::from_places(store, places))
}

fn parse_place(text: &str) -> Option<Place> {
    match text.split_once('-') {
        None => parse_sequence(text).map(Place::unmarked),
        Some((sequence, mark)) => {
            let sequence = parse_sequence(sequence).filter(|sequence| *sequence > 0)?;
            Some(Place { sequence, mark: Some(parse_mark(mark)?) })
        }
    }
}

fn parse_mark(text: &str) -> Option<u32> {
    let is_canonical = text.len() == 8 && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    is_canonical.then(|| u32::from_str_radix(text, 16).ok())?
}

fn parse_sequence(text: &str) -> Option<u64> {
    let canonical = text == "0" || !text.starts_with(['0', '+']);
    text.parse().ok().filter(|_| canonical)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_id_of_a_store_has_exactly_one_text() {
        let id = StoreId([0xab; 16]);
        assert_eq!(id.to_string().parse(), Ok(id));
        for wrong in ["", "ab", &"AB".repeat(16), &"+a".repeat(16), &"ab".repeat(17)] {
            assert!(wrong.parse::<StoreId>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_checkpoint_has_exactly_one_token() {
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
    fn a_mark_changes_the_token_but_not_the_order_of_a_checkpoint() {
        let at = |sequence| Checkpoint::new(StoreId([0xab; 16]), [0, sequence]);
        let marked = |sequence, mark| at(0).with_mark(Position { partition: 1, sequence }, mark);
        let token = format!("{}.0.7-0000beef", "ab".repeat(16));
        assert_eq!(marked(7, 0xbeef).to_string(), token);
        let parsed = token.parse::<Checkpoint>().unwrap();
        assert_eq!((parsed.mark(0), parsed.mark(1)), (None, Some(0xbeef)));
        assert_eq!(parsed.marks().collect::<Vec<_>>(), [(Position { partition: 1, sequence: 7 }, 0xbeef)]);
        assert_eq!((&parsed, parsed.at_least(&at(7))), (&at(7), true));
        let hashes = [parsed.clone(), at(7)].map(|at| {
            let mut hasher = std::hash::DefaultHasher::new();
            at.hash(&mut hasher);
            hasher.finish()
        });
        assert_eq!(hashes[0], hashes[1]);
        assert_eq!(parsed.with(1, 7).mark(1), None, "a place that a caller constructs has no mark");
        let store = "ab".repeat(16);
        for wrong in [
            "7-",
            "7-beef",
            "7-0000BEEF",
            "7-0000beef0",
            "7-0000beeg",
            "0-0000beef",
            "-0000beef",
            "7--000beef",
        ] {
            assert!(format!("{store}.{wrong}").parse::<Checkpoint>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn the_meet_of_two_checkpoints_keeps_the_mark_of_the_lower_one() {
        let at = |first, second| {
            let at = |partition, (sequence, mark): (u64, u32)| (Position { partition, sequence }, mark);
            let start = Checkpoint::start(StoreId([1; 16]), 2);
            [at(0, first), at(1, second)].into_iter().fold(start, |cp, (at, mark)| cp.with_mark(at, mark))
        };
        let meet = at((2, 20), (5, 50)).meet(&at((3, 30), (4, 40)));
        assert_eq!(meet.marks().map(|(_, mark)| mark).collect::<Vec<_>>(), [20, 40]);
        let unmarked = Checkpoint::new(StoreId([1; 16]), [2, 5]);
        let meet = unmarked.meet(&at((2, 20), (5, 50)));
        assert_eq!(meet.marks().map(|(_, mark)| mark).collect::<Vec<_>>(), [20, 50]);
        let join = at((2, 20), (5, 50)).join(&at((3, 30), (4, 40)));
        assert_eq!(join.marks().map(|(_, mark)| mark).collect::<Vec<_>>(), [30, 50]);
    }

    #[test]
    fn checkpoints_are_partially_ordered() {
        let at = |sequences: &[u64]| Checkpoint::new(StoreId([1; 16]), sequences.to_vec());
        assert!(at(&[2, 3]).at_least(&at(&[2, 1])));
        assert!(!at(&[2, 3]).at_least(&at(&[3, 1])));
        assert!(!at(&[3, 1]).at_least(&at(&[2, 3])));
        assert!(!at(&[3]).at_least(&Checkpoint::new(StoreId([2; 16]), vec![1])));
        assert_eq!(at(&[2, 3]).meet(&at(&[3, 1])), at(&[2, 1]));
        assert_eq!(at(&[2, 3]).join(&at(&[3, 1])), at(&[3, 3]));
    }
}
