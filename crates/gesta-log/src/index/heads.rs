//! The last events of streams that stand in what has ended, in memory: an append to a stream asks for its version, and finds it here instead
//! of in a leaf of each run.
//!
//! *Invariants*
//! - Every stream that has an event from [`Known::from`] to [`Known::to`] is here, with its last event up to there. One that is not here
//!   can only stand in what lies before, or behind.
//! - What lies before the end of a run that is shown lies before [`Known::to`]: a table is learned before its run is shown.
//! - It is a function of the log: what is not here is looked up in runs.
//!
//! *Choice: whole names*, as in runs (`docs/decisions/0005`): a version that was taken from another stream whose hash is the same would be
//! a wrong answer for ever.
//!
//! *Choice: the streams that were written to longest ago are forgotten, half of them at once.* So `from` is one position for all, and
//! nothing has to be kept of who was asked for. The visible cost: half of the memory is mostly all that is in use.

use std::hash::{BuildHasher, Hasher};
use std::sync::{PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use hashbrown::HashTable;

use super::table::State;
use crate::bugs::{Bug, planted};
use crate::format::{put, u16_at, u64_at};

/// What a stream costs besides its name: what stands before it, what fills it up, and its place in a table that is half full.
const STREAM_BYTES: usize = NAME_AT + RECORD_ALIGNMENT + 10;
/// Streams that are learned under one lock: appends wait for it.
const LEARNED_AT_ONCE: usize = 128;

/// What stands before a name: the version (u64) and the position (u64) of the last event, and the length of the name (u16).
const NAME_AT: usize = 18;
/// Places count in units of so many bytes.
const RECORD_ALIGNMENT: usize = 8;

/// The last events of streams that stand in what has ended.
pub(crate) struct Heads {
    known: RwLock<Known>,
    /// About how much memory it may take.
    budget_bytes: usize,
}

/// What is known at one moment.
pub(crate) struct Known {
    /// All streams that have an event from here on are known, as far as tables were learned.
    pub(crate) from: u64,
    /// The last position that was learned.
    to: u64,
    /// One record after the other: all that is known of a stream lies together, since it is a miss of the processor's cache that takes
    /// the time.
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
    /// Of nothing that has ended anything is known.
    fn default() -> Self {
        Self::new(0, u64::MAX)
    }
}

impl Heads {
    /// Of what lies before that position nothing is known.
    pub(crate) fn new(budget_bytes: usize, from: u64) -> Self {
        Self { known: RwLock::new(Known::with_room(from, from - 1, 0, 0)), budget_bytes }
    }

    /// To look something up. Held for look-ups in memory only, never across I/O.
    pub(crate) fn read(&self) -> RwLockReadGuard<'_, Known> {
        // A panic while a stream is learned leaves what is true, and the indexer that would go on is gone.
        self.known.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Known> {
        self.known.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// Learns the streams of a table that has ended, and forgets others where there are too many. Tables come in the order of their
    /// positions, from one thread, each before its run is shown.
    pub(crate) fn learn(&self, table: &State) {
        let (streams, name_bytes) = count(table.heads().map(|(name, ..)| name));
        if !self.make_room(streams, name_bytes) {
            return self.replace(Known::with_room(table.last() + 1, table.last(), 0, 0));
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

    /// Makes room for so many streams with names of so many bytes. `false` if they alone are too many. What is kept is copied beside what is
    /// asked meanwhile, so that nobody waits for it.
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
                // By half as much again, so that growing is rare.
                let streams = streams.max(known.places.len() / 2);
                Some(known.newest(usize::MAX, streams, incoming.max(known.bytes() / 2)))
            }
        };
        if let Some(next) = next {
            self.replace(next);
        }
        true
    }

    fn replace(&self, next: Known) {
        let before = std::mem::replace(&mut *self.write(), next);
        // Nobody waits for so much memory to be given back.
        drop(before);
    }
}

/// How many names there are, and their bytes.
fn count<'a>(names: impl Iterator<Item = &'a [u8]>) -> (usize, usize) {
    names.fold((0, 0), |(count, bytes), name| (count + 1, bytes + name.len()))
}

/// What so many streams take with names of so many bytes.
const fn bytes_of(streams: usize, name_bytes: usize) -> usize {
    streams * STREAM_BYTES + name_bytes
}

impl Known {
    fn with_room(from: u64, to: u64, streams: usize, bytes: usize) -> Self {
        Self {
            from,
            to,
            records: Vec::with_capacity(bytes),
            places: HashTable::with_capacity(streams),
            hasher: hashbrown::DefaultHashBuilder::default(),
        }
    }

    /// Whether every stream of a table that begins there is known.
    pub(crate) fn covers(&self, table: u64) -> bool {
        (self.from <= table || planted(Bug::ForgottenTableSkipped)) && table <= self.to
    }

    /// The last event of a stream in what was learned: its version and position.
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
            // There is room, so nothing has to be hashed again.
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

    /// A copy of what was written to last, of so many bytes at the most, with room for more.
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

    /// From which position on the streams that are known take so many bytes at the most.
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
    use crate::index::{IndexedEvent, Table};
    use gesta_core::EventId;
    use std::sync::Arc;

    /// A table of one event of each stream, from a position on.
    fn table(first: u64, streams: impl IntoIterator<Item = u64>) -> Arc<Table> {
        table_of("stream", first, streams)
    }

    fn table_of(category: &str, first: u64, streams: impl IntoIterator<Item = u64>) -> Arc<Table> {
        let table = Table::new(first);
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
    fn the_last_event_of_every_stream_is_known() {
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
    fn what_was_written_to_longest_ago_is_forgotten_and_said_to_be() {
        let heads = Heads::new(100 * (STREAM_BYTES + 10), 1);
        let mut first = 1;
        for round in 0..40 {
            // One stream is written to again and again, the others once.
            let streams = std::iter::once(0).chain(round * 10 + 1..=round * 10 + 10);
            heads.learn(&table(first, streams).read());
            first += 11;
            let known = heads.read();
            assert!(known.bytes() <= heads.budget_bytes);
            assert!(
                known.all().all(|record| record.position >= known.from),
                "nothing is kept of what is before"
            );
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
    fn a_table_that_is_too_large_is_not_known_at_all() {
        let heads = Heads::new(10 * (STREAM_BYTES + 10), 1);
        heads.learn(&table(1, 0..5).read());
        heads.learn(&table(6, 0..50).read());
        assert_eq!((find(&heads, 1), heads.read().from), (None, 56));
        heads.learn(&table(56, 7..9).read());
        assert_eq!((find(&heads, 7), heads.read().from), (Some((7, 56)), 56));
    }

    #[test]
    fn a_table_is_known_that_takes_all_of_the_memory_and_none_that_takes_more() {
        let bytes = bytes_of(10, 10 * "stream-10".len());
        for (budget, known) in [(bytes, Some((7, 1))), (bytes - 1, None)] {
            let heads = Heads::new(budget, 1);
            heads.learn(&table(1, 10..20).read());
            assert_eq!(find(&heads, 10), known);
        }
    }

    #[test]
    fn nothing_is_forgotten_where_all_of_it_fits_and_else_half_of_the_memory_is_kept_or_what_is_left() {
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
    fn a_table_is_covered_that_was_learned_and_is_not_forgotten() {
        let heads = Heads::new(1 << 20, 11);
        heads.learn(&table(11, 0..10).read());
        heads.learn(&table(21, 0..10).read());
        let covered = [1, 11, 21, 31].map(|first| heads.read().covers(first));
        assert_eq!(covered, [false, true, true, false]);
    }

    #[test]
    fn memory_is_counted_as_it_is_taken() {
        // So many fill half of the places of a table.
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
    fn what_is_known_is_copied_only_when_half_as_much_has_come_and_leaves_room_for_as_much() {
        // Of short names, places are what there is too little of; of long ones, bytes.
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
                // Places come in powers of two: of a few there may be more than are of use.
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
    fn of_no_run_anything_is_known_by_default() {
        assert_eq!(Heads::default().read().from, u64::MAX);
    }
}
