//! The last events of streams in full tables and runs, in memory. An append asks for its stream's version and finds
//! it here instead of in a leaf of each run.
//!
//! *Invariants*
//! - Every stream with an event from [`HeadMap::from`] to [`HeadMap::to`] is here, with its last event up to there. A
//!   stream that is not here only has events before or after that range.
//! - The end of every visible run is at most [`HeadMap::to`]: a table is learned before its run becomes visible.
//! - The content is a function of the log: a stream that is not here is looked up in runs.
//!
//! *Choice: whole names*, as in runs (`docs/decisions/0005`). Two streams whose hashes collide would otherwise share
//! a version, and that wrong answer would last.
//!
//! *Choice: forget half of the streams at once, those with the oldest last event.* So one `from` holds for all
//! streams, and nobody has to track which streams are asked for. The visible cost: only half of the memory is sure to
//! be used.

use std::hash::{BuildHasher, Hasher};
use std::sync::{RwLock, RwLockReadGuard, RwLockWriteGuard};

use hashbrown::HashTable;

use super::memtable::State;
use crate::bugs::{Bug, planted};
use crate::format::{put, u16_at, u64_at};
use crate::locks;

/// The cost of a stream besides its name: the bytes before the name, the padding, and its slot in a table that is
/// half full.
const STREAM_BYTES: usize = NAME_AT + RECORD_ALIGNMENT + 10;
/// Streams that are learned under one lock. Appends wait for that lock.
const LEARNED_AT_ONCE: usize = 128;

/// Bytes before a name: the version (u64) and the position (u64) of the last event, and the length of the name (u16).
const NAME_AT: usize = 18;
/// Records begin at multiples of this; places count in this unit.
const RECORD_ALIGNMENT: usize = 8;

/// The last events of streams in full tables and runs.
pub(crate) struct Heads {
    known: RwLock<HeadMap>,
    /// The memory it may take, approximately.
    budget_bytes: usize,
}

/// The last events of streams at one moment.
pub(crate) struct HeadMap {
    /// Every stream with a learned event at this position or later is known.
    pub(crate) from: u64,
    /// The last position that was learned.
    to: u64,
    /// The records, one after the other. All data of a stream lies together, because a cache miss of the processor
    /// costs the most time.
    records: Vec<u8>,
    places: HashTable<u32>,
    hasher: hashbrown::DefaultHashBuilder,
}

/// The last event of a stream.
struct Record<'a> {
    version: u64,
    position: u64,
    name: &'a [u8],
}

impl Default for Heads {
    /// Holds no stream heads.
    fn default() -> Self {
        Self::new(0, u64::MAX)
    }
}

impl Heads {
    /// Knows nothing of positions before `from`.
    pub(crate) fn new(budget_bytes: usize, from: u64) -> Self {
        Self { known: RwLock::new(HeadMap::with_room(from, from - 1, 0, 0)), budget_bytes }
    }

    /// For look-ups in memory only: never held across I/O.
    pub(crate) fn read(&self) -> RwLockReadGuard<'_, HeadMap> {
        // A panic while a stream is learned leaves valid content, and the indexer that would continue has ended.
        locks::read(&self.known)
    }

    fn write(&self) -> RwLockWriteGuard<'_, HeadMap> {
        locks::write(&self.known)
    }

    /// Learns the streams of a full table, and forgets older streams if there are too many. One thread passes the
    /// tables in the order of their positions, each before its run becomes visible.
    pub(crate) fn learn(&self, table: &State) {
        let (streams, name_bytes) = count(table.heads().map(|(name, ..)| name));
        if !self.make_room(streams, name_bytes) {
            return self.replace(HeadMap::with_room(table.last() + 1, table.last(), 0, 0));
        }
        let mut heads = table.heads().peekable();
        while heads.peek().is_some() {
            let mut known = self.write();
            for (name, version, position) in heads.by_ref().take(LEARNED_AT_ONCE) {
                if !planted(Bug::HeadsForget) || position % 8 != 0 {
                    known.learn(&Record { version, position, name });
                }
            }
        }
        self.write().to = table.last();
    }

    /// Makes room for `streams` whose names take `name_bytes`. `false` if these alone exceed the budget. The kept
    /// records are copied beside concurrent look-ups, so no look-up waits.
    fn make_room(&self, streams: usize, name_bytes: usize) -> bool {
        let incoming = bytes_of(streams, name_bytes);
        if incoming > self.budget_bytes {
            return false;
        }
        let next = {
            let known = self.read();
            if known.bytes() + incoming > self.budget_bytes {
                let kept = (self.budget_bytes - incoming).min(self.budget_bytes / 2);
                Some(known.newest(kept, streams, incoming))
            } else if known.has_room(streams, incoming) {
                None
            } else {
                // Grows by half, so that growing is rare.
                let streams = streams.max(known.places.len() / 2);
                Some(known.newest(usize::MAX, streams, incoming.max(known.bytes() / 2)))
            }
        };
        if let Some(next) = next {
            self.replace(next);
        }
        true
    }

    fn replace(&self, next: HeadMap) {
        let before = std::mem::replace(&mut *self.write(), next);
        // Freed outside the lock: freeing this much memory takes long.
        drop(before);
    }
}

/// How many names there are, and their bytes.
fn count<'a>(names: impl Iterator<Item = &'a [u8]>) -> (usize, usize) {
    names.fold((0, 0), |(count, bytes), name| (count + 1, bytes + name.len()))
}

/// The bytes that `streams` take whose names have `name_bytes` in all.
const fn bytes_of(streams: usize, name_bytes: usize) -> usize {
    streams * STREAM_BYTES + name_bytes
}

impl HeadMap {
    fn with_room(from: u64, to: u64, streams: usize, bytes: usize) -> Self {
        Self {
            from,
            to,
            records: Vec::with_capacity(bytes),
            places: HashTable::with_capacity(streams),
            hasher: hashbrown::DefaultHashBuilder::default(),
        }
    }

    /// Whether it knows every stream of the table that begins there.
    pub(crate) fn covers(&self, table: u64) -> bool {
        (self.from <= table || planted(Bug::ForgottenTableSkipped)) && table <= self.to
    }

    /// The last learned event of a stream: its version and position.
    pub(crate) fn find(&self, name: &[u8]) -> Option<(u64, u64)> {
        let place = self.places.find(self.hash(name), |place| self.record(*place).name == name)?;
        let record = self.record(*place);
        Some((record.version, record.position))
    }

    fn learn(&mut self, record: &Record<'_>) {
        let Record { version, position, name } = *record;
        let hash = self.hash(name);
        let known = self.places.find(hash, |place| self.record(*place).name == name).copied();
        let at = known.map_or(self.records.len(), |place| place as usize * RECORD_ALIGNMENT);
        if known.is_none() {
            let place = u32::try_from(at / RECORD_ALIGNMENT).expect("its budget is below 4 GiB");
            let len = u16::try_from(name.len()).expect("a name is at most 512 bytes");
            self.records.resize(at + NAME_AT, 0);
            put(&mut self.records, at + 16, len.to_le_bytes());
            self.records.extend_from_slice(name);
            self.records.resize(self.records.len().next_multiple_of(RECORD_ALIGNMENT), 0);
            // `make_room` made room, so nothing is hashed again.
            self.places.insert_unique(hash, place, |_| unreachable!("room was made"));
        }
        put(&mut self.records, at, version.to_le_bytes());
        put(&mut self.records, at + 8, position.to_le_bytes());
    }

    fn record(&self, place: u32) -> Record<'_> {
        let record = &self.records[place as usize * RECORD_ALIGNMENT..];
        let name = &record[NAME_AT..][..usize::from(u16_at(record, 16))];
        Record { version: u64_at(record, 0), position: u64_at(record, 8), name }
    }

    fn all(&self) -> impl Iterator<Item = Record<'_>> {
        self.places.iter().map(|place| self.record(*place))
    }

    fn hash(&self, name: &[u8]) -> u64 {
        let mut hasher = self.hasher.build_hasher();
        hasher.write(name);
        hasher.finish()
    }

    fn bytes(&self) -> usize {
        self.records.len() + self.places.len() * (STREAM_BYTES - NAME_AT - RECORD_ALIGNMENT)
    }

    fn has_room(&self, streams: usize, bytes: usize) -> bool {
        self.records.capacity() - self.records.len() >= bytes
            && self.places.capacity() - self.places.len() >= streams
    }

    /// A copy of the streams that were written to last, at most `bytes` of them, with room for more.
    fn newest(&self, bytes: usize, streams: usize, more_bytes: usize) -> Self {
        let from = self.newest_from(bytes);
        let kept = || self.all().filter(|record| record.position >= from);
        let (kept_streams, kept_bytes) = count(kept().map(|record| record.name));
        let room = bytes_of(kept_streams, kept_bytes) + more_bytes;
        let mut next = Self::with_room(from, self.to, kept_streams + streams, room);
        kept().for_each(|record| next.learn(&record));
        if planted(Bug::HeadsForgetTooMuch) {
            next.from = self.from;
        }
        next
    }

    /// The first position from which the known streams take at most `bytes`.
    fn newest_from(&self, bytes: usize) -> u64 {
        if self.bytes() <= bytes {
            return self.from;
        }
        let mut newest = self.all().map(|record| (record.position, record.name.len())).collect::<Vec<_>>();
        newest.sort_unstable();
        let mut left = bytes;
        for (position, name_bytes) in newest.into_iter().rev() {
            match left.checked_sub(bytes_of(1, name_bytes)) {
                Some(rest) => left = rest,
                None => return position + 1,
            }
        }
        self.from
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::index::memtable::IndexedEvent;
    use crate::index::memtable::MemTable;
    use gesta_core::EventId;
    use std::sync::Arc;

    /// A table with one event for each stream, beginning at a position.
    fn table(first: u64, streams: impl IntoIterator<Item = u64>) -> Arc<MemTable> {
        table_of("stream", first, streams)
    }

    fn table_of(category: &str, first: u64, streams: impl IntoIterator<Item = u64>) -> Arc<MemTable> {
        let table = MemTable::new(first);
        let mut state = table.write();
        for number in streams {
            let stream = format!("{category}-{number}");
            let event = IndexedEvent { stream: &stream, event_type: "x", id: EventId::from_u128(1) };
            state.insert(&event, std::iter::empty(), 8, true, || 7);
        }
        drop(state);
        table
    }

    fn find(heads: &Heads, number: u64) -> Option<(u64, u64)> {
        heads.read().find(format!("stream-{number}").as_bytes())
    }

    #[test]
    fn each_streams_last_event_is_known() {
        let heads = Heads::new(1 << 20, 11);
        heads.learn(&table(11, 0..1_000).read());
        heads.learn(&table(1_011, [5, 2_000]).read());
        assert_eq!(find(&heads, 4), Some((7, 15)));
        assert_eq!(find(&heads, 5), Some((7, 1_011)), "the newer one");
        assert_eq!(find(&heads, 2_000), Some((7, 1_012)));
        assert_eq!(find(&heads, 1_000), None);
        assert_eq!(heads.read().from, 11);
    }

    #[test]
    fn the_streams_written_to_longest_ago_are_forgotten_and_reported_as_unknown() {
        let heads = Heads::new(100 * (STREAM_BYTES + 10), 1);
        let mut first = 1;
        for round in 0..40 {
            // One stream is written to in each round, the others once.
            let streams = std::iter::once(0).chain(round * 10 + 1..=round * 10 + 10);
            heads.learn(&table(first, streams).read());
            first += 11;
            let known = heads.read();
            assert!(known.bytes() <= heads.budget_bytes);
            assert!(known.all().all(|record| record.position >= known.from), "no earlier event is kept");
            drop(known);
            assert!(find(&heads, 0).is_some_and(|(_, position)| position + 11 == first));
        }
        let known = heads.read();
        assert!(known.from > 1 && known.places.len() >= 40, "no more than half is forgotten at once");
        for stream in 1..=400 {
            let position = (stream - 1) / 10 * 11 + 2 + (stream - 1) % 10;
            let is_known = known.find(format!("stream-{stream}").as_bytes()).is_some();
            assert_eq!(is_known, position >= known.from, "{stream}");
        }
    }

    #[test]
    fn a_table_beyond_the_budget_is_not_learned() {
        let heads = Heads::new(10 * (STREAM_BYTES + 10), 1);
        heads.learn(&table(1, 0..5).read());
        heads.learn(&table(6, 0..50).read());
        assert_eq!((find(&heads, 1), heads.read().from), (None, 56));
        heads.learn(&table(56, 7..9).read());
        assert_eq!((find(&heads, 7), heads.read().from), (Some((7, 56)), 56));
    }

    #[test]
    fn a_table_that_just_fits_is_learned_and_a_larger_one_is_not() {
        let bytes = bytes_of(10, 10 * "stream-10".len());
        for (budget, known) in [(bytes, Some((7, 1))), (bytes - 1, None)] {
            let heads = Heads::new(budget, 1);
            heads.learn(&table(1, 10..20).read());
            assert_eq!(find(&heads, 10), known);
        }
    }

    #[test]
    fn heads_are_forgotten_only_beyond_the_budget_and_then_down_to_half_or_what_is_left() {
        const FIRST: u64 = 60;
        let of_one = bytes_of(1, "stream-100".len());
        let before = Heads::new(1 << 20, 1);
        before.learn(&table(1, 100..100 + FIRST).read());
        let known = before.read().bytes();
        for incoming in [10, 70] {
            let needed = known + usize::try_from(incoming).unwrap() * of_one;
            for budget in [needed, needed - 1] {
                let heads = Heads::new(budget, 1);
                heads.learn(&table(1, 100..100 + FIRST).read());
                heads.learn(&table(1 + FIRST, 200..200 + incoming).read());
                let kept = (budget / 2).min(known - 1) / of_one;
                let from = if budget == needed { 1 } else { FIRST + 1 - kept as u64 };
                let known = heads.read();
                assert_eq!((known.from, known.bytes() <= budget), (from, true), "{incoming} in {budget}");
                assert_eq!(known.places.len() as u64, FIRST + 1 - from + incoming);
            }
        }
    }

    #[test]
    fn a_learned_table_is_covered_until_it_is_forgotten() {
        let heads = Heads::new(1 << 20, 11);
        heads.learn(&table(11, 0..10).read());
        heads.learn(&table(21, 0..10).read());
        let covered = [1, 11, 21, 31].map(|first| heads.read().covers(first));
        assert_eq!(covered, [false, true, true, false]);
    }

    #[test]
    fn counted_memory_matches_the_memory_taken() {
        // Fill half of the slots of a table.
        const STREAMS: usize = 512;
        let heads = Heads::new(1 << 20, 1);
        heads.learn(&table(1, 1_000..1_000 + STREAMS as u64).read());
        let known = heads.read();
        let taken = known.records.len() + known.places.allocation_size();
        assert!(known.bytes().abs_diff(taken) < 64, "{} of {taken}", known.bytes());
        let foretold = bytes_of(STREAMS, STREAMS * "stream-1000".len());
        assert_eq!(foretold, known.records.capacity(), "names are copied once");
        let most = known.bytes() + STREAMS * RECORD_ALIGNMENT;
        assert!((known.bytes()..=most).contains(&foretold), "{foretold} for {}", known.bytes());
    }

    #[test]
    fn heads_grow_by_half_and_leave_room_for_as_much() {
        // With short names the slots run out first; with long names the bytes.
        for category in ["short".to_owned(), "long".repeat(50)] {
            let heads = Heads::new(1 << 20, 1);
            let (mut copied_at, mut room) = (0, (0, 0));
            for number in 1..=2_000 {
                heads.learn(&table_of(&category, number, [number]).read());
                let known = heads.read();
                let streams = known.places.len();
                assert_eq!(streams as u64, number);
                let now = (known.records.capacity(), known.places.capacity());
                if std::mem::replace(&mut room, now) == now {
                    continue;
                }
                let last = std::mem::replace(&mut copied_at, streams);
                // Slots come in powers of two, so a small table may have spare ones.
                if last > 20 {
                    assert!(
                        2 * streams >= 3 * last,
                        "{category}: copied at {last} streams, and at {streams}"
                    );
                    let most = (known.records.len() * 5 / 2, 3 * streams);
                    assert!(now.0 <= most.0 && now.1 <= most.1, "{category}: {now:?} of {most:?}");
                }
            }
        }
    }

    #[test]
    fn the_default_knows_no_stream() {
        assert_eq!(Heads::default().read().from, u64::MAX);
    }
}
