//! The last events of streams that stand in runs, in memory: an append to a stream asks for its version, and finds it here instead of in
//! a leaf of each run.
//!
//! *Invariants*
//! - What is said of a stream is never older than any run that is shown: a table is learned before its run is.
//! - Every stream with an event in a run at [`Known::from`] or behind it is here. One that is not here can only stand in what lies before.
//! - It is a function of the runs: what is not here is looked up in them.
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

/// What a stream costs besides its name: its entry, and its place in a table that is half full.
const STREAM_BYTES: usize = size_of::<Entry>() + 10;
/// Streams that are learned under one lock: appends wait for it.
const LEARNED_AT_ONCE: usize = 128;

/// The last events of streams that stand in runs.
pub(crate) struct Heads {
    known: RwLock<Known>,
    /// About how much memory it may take.
    budget_bytes: usize,
}

/// What is known at one moment.
pub(crate) struct Known {
    /// All streams that have an event in a run here or later are known.
    pub(crate) from: u64,
    names: Vec<u8>,
    entries: Vec<Entry>,
    places: HashTable<u32>,
    hasher: hashbrown::DefaultHashBuilder,
}

/// The last event of a stream.
#[derive(Clone, Copy)]
struct Entry {
    version: u64,
    position: u64,
    /// Where its name begins.
    name: u32,
    len: u16,
}

impl Default for Heads {
    /// Of no run anything is known.
    fn default() -> Self {
        Self::new(0, u64::MAX)
    }
}

impl Heads {
    /// Of what lies before that position nothing is known.
    pub(crate) fn new(budget_bytes: usize, from: u64) -> Self {
        Self { known: RwLock::new(Known::with_room(from, 0, 0)), budget_bytes }
    }

    /// To look something up. Held for look-ups in memory only, never across I/O.
    pub(crate) fn read(&self) -> RwLockReadGuard<'_, Known> {
        // A panic while a stream is learned leaves what is true, and the indexer that would go on is gone.
        self.known.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Known> {
        self.known.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// Learns the streams of a table whose run is about to be shown, and forgets others where there are too many. Tables come in the order
    /// of their positions, from one thread.
    pub(crate) fn learn(&self, table: &State) {
        let (streams, name_bytes) =
            table.heads().fold((0, 0), |(count, bytes), (name, ..)| (count + 1, bytes + name.len()));
        if !self.make_room(streams, name_bytes) {
            let nothing = Known::with_room(table.last() + 1, 0, 0);
            drop(std::mem::replace(&mut *self.write(), nothing));
            return;
        }
        let mut heads = table.heads().peekable();
        while heads.peek().is_some() {
            let mut known = self.write();
            for (name, version, position) in heads.by_ref().take(LEARNED_AT_ONCE) {
                if !planted(Bug::HeadsForget) || position % 8 != 0 {
                    known.learn(name, version, position);
                }
            }
        }
    }

    /// Makes room for so many streams with names of so many bytes. `false` if they alone are too many. What is kept is copied beside what is
    /// asked meanwhile, so that nobody waits for it.
    fn make_room(&self, streams: usize, name_bytes: usize) -> bool {
        let incoming = name_bytes + streams * STREAM_BYTES;
        if incoming > self.budget_bytes {
            return false;
        }
        let next = {
            let known = self.read();
            if known.bytes() + incoming > self.budget_bytes {
                let room = self.budget_bytes - incoming;
                Some(known.newest(room.min(self.budget_bytes / 2), streams, name_bytes))
            } else if known.has_room(streams, name_bytes) {
                None
            } else {
                // By half as much again, so that growing is rare.
                let grown = (known.entries.len() / 2).max(streams);
                Some(known.newest(usize::MAX, grown, (known.names.len() / 2).max(name_bytes)))
            }
        };
        if let Some(next) = next {
            let before = std::mem::replace(&mut *self.write(), next);
            drop(before);
        }
        true
    }
}

impl Known {
    fn with_room(from: u64, streams: usize, name_bytes: usize) -> Self {
        Self {
            from,
            names: Vec::with_capacity(name_bytes),
            entries: Vec::with_capacity(streams),
            places: HashTable::with_capacity(streams),
            hasher: hashbrown::DefaultHashBuilder::default(),
        }
    }

    /// The last event of a stream in the runs: its version and position.
    pub(crate) fn find(&self, name: &[u8]) -> Option<(u64, u64)> {
        let place = self.places.find(self.hash(name), |place| self.name(*place) == name)?;
        let entry = self.entries[*place as usize];
        Some((entry.version, entry.position))
    }

    fn learn(&mut self, name: &[u8], version: u64, position: u64) {
        let hash = self.hash(name);
        if let Some(place) = self.places.find(hash, |place| self.name(*place) == name) {
            let entry = &mut self.entries[*place as usize];
            (entry.version, entry.position) = (version, position);
            return;
        }
        let place = u32::try_from(self.entries.len()).expect("its budget is below 4 GiB");
        self.entries.push(Entry {
            version,
            position,
            name: u32::try_from(self.names.len()).expect("its budget is below 4 GiB"),
            len: u16::try_from(name.len()).expect("a name is at most 512 bytes"),
        });
        self.names.extend_from_slice(name);
        // There is room, so nothing has to be hashed again.
        self.places.insert_unique(hash, place, |_| unreachable!("room was made"));
    }

    fn name(&self, place: u32) -> &[u8] {
        let entry = &self.entries[place as usize];
        &self.names[entry.name as usize..entry.name as usize + usize::from(entry.len)]
    }

    fn hash(&self, name: &[u8]) -> u64 {
        let mut hasher = self.hasher.build_hasher();
        hasher.write(name);
        hasher.finish()
    }

    const fn bytes(&self) -> usize {
        self.names.len() + self.entries.len() * STREAM_BYTES
    }

    fn has_room(&self, streams: usize, name_bytes: usize) -> bool {
        self.entries.capacity() - self.entries.len() >= streams
            && self.names.capacity() - self.names.len() >= name_bytes
            && self.places.capacity() - self.places.len() >= streams
    }

    /// A copy of what was written to last, of so many bytes at the most, with room for more.
    fn newest(&self, bytes: usize, streams: usize, name_bytes: usize) -> Self {
        let from = self.newest_from(bytes);
        let kept = |entry: &&Entry| entry.position >= from;
        let (count, kept_bytes) = self
            .entries
            .iter()
            .filter(kept)
            .fold((0, 0), |(count, bytes), entry| (count + 1, bytes + usize::from(entry.len)));
        let mut next = Self::with_room(from, count + streams, kept_bytes + name_bytes);
        for (place, entry) in (0..).zip(&self.entries).filter(|(_, entry)| kept(entry)) {
            next.learn(self.name(place), entry.version, entry.position);
        }
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
        let mut newest = self.entries.clone();
        newest.sort_unstable_by_key(|entry| std::cmp::Reverse(entry.position));
        let mut left = bytes;
        for entry in newest {
            match left.checked_sub(STREAM_BYTES + usize::from(entry.len)) {
                Some(rest) => left = rest,
                None => return entry.position + 1,
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
        let table = Table::new(first);
        let mut state = table.write();
        for number in streams {
            let stream = format!("stream-{number}");
            let event = IndexedEvent { stream: &stream, event_type: "x", id: EventId::from_u128(1) };
            state.insert(&event, std::iter::empty(), 8, true, || 7);
            state.insert_id(event.id);
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
            let newest = known.entries.iter().filter(|entry| entry.position >= known.from).count();
            assert_eq!(newest, known.entries.len(), "nothing is kept of what is before");
            drop(known);
            assert!(find(&heads, 0).is_some_and(|(_, position)| position + 11 == first));
        }
        let known = heads.read();
        assert!(known.from > 1 && known.entries.len() >= 40, "no more than half is forgotten at once");
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
    fn of_no_run_anything_is_known_by_default() {
        assert_eq!(Heads::default().read().from, u64::MAX);
    }
}
