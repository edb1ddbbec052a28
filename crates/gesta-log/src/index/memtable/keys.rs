//! All keys of a table except ids, with the positions of each. The keys' bytes lie one after the other in one buffer.

use std::hash::{BuildHasher, Hasher};

use hashbrown::HashTable;

use crate::index::key::{Kind, leading, shared_len};

/// One more than the number of the last kind.
const KINDS: usize = Kind::ALL.len() + 1;
/// Keys that are gathered before they are visited. Sorted keys lie anywhere in memory; the processor waits for
/// several of them at a time if it sees the next ones coming.
const GATHERED: usize = 64;
/// Positions that are gathered with their key.
const POSITIONS_GATHERED: usize = 8;

/// All keys of a table except ids.
#[derive(Default)]
pub(super) struct Keys {
    bytes: Vec<u8>,
    entries: Vec<Entry>,
    places: HashTable<u32>,
    hasher: hashbrown::DefaultHashBuilder,
    /// The last entry of each kind. The next event mostly has the same stream, category and type.
    latest: [u32; KINDS],
}

pub(super) struct Entry {
    /// Where the key begins in `bytes`, its kind first.
    at: u32,
    len: u16,
    /// For a stream, the version of its first event here.
    pub(super) base: u64,
    list: List,
}

/// Growing positions. Most keys have one.
enum List {
    One(u32),
    Many(Vec<u32>),
}

impl Entry {
    /// The positions of the key; none if all were removed.
    pub(super) fn positions(&self) -> &[u32] {
        match &self.list {
            List::One(position) => std::slice::from_ref(position),
            List::Many(positions) => positions,
        }
    }

    /// Adds a position. `false` if it is there already: an event may name a key twice.
    pub(super) fn push(&mut self, position: u32) -> bool {
        if self.positions().last() == Some(&position) {
            return false;
        }
        match &mut self.list {
            List::Many(positions) if positions.is_empty() => self.list = List::One(position),
            List::One(first) => self.list = List::Many(vec![*first, position]),
            List::Many(positions) => positions.push(position),
        }
        true
    }

    fn truncate(&mut self, below: u32) {
        match &mut self.list {
            List::One(position) if *position >= below => self.list = List::Many(Vec::new()),
            List::One(_) => {}
            List::Many(positions) => {
                positions.truncate(positions.partition_point(|position| *position < below));
            }
        }
    }
}

impl Keys {
    /// Reserves as much memory as `like` takes.
    pub(super) fn reserve(&mut self, like: &Self) {
        self.bytes.reserve(like.bytes.len());
        self.entries.reserve(like.entries.len());
        // The table is empty, so nothing is hashed again.
        self.places.reserve(like.entries.len(), |_| 0);
    }

    /// Every key that has a position, with its kind, and its entry.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&[u8], &Entry)> {
        let held = self.entries.iter().filter(|entry| !entry.positions().is_empty());
        held.map(|entry| (self.key(entry), entry))
    }

    fn key(&self, entry: &Entry) -> &[u8] {
        &self.bytes[entry.at as usize..][..usize::from(entry.len)]
    }

    fn hash(&self, kind: Kind, key: &[u8]) -> u64 {
        let mut hasher = self.hasher.build_hasher();
        hasher.write_u8(kind as u8);
        hasher.write(key);
        hasher.finish()
    }

    fn is(&self, place: u32, kind: Kind, key: &[u8]) -> bool {
        let own = self.key(&self.entries[place as usize]);
        own[0] == kind as u8 && own[1..] == *key
    }

    /// The entry of a key. It may have no position left.
    pub(super) fn find(&self, kind: Kind, key: &[u8]) -> Option<&Entry> {
        let place = self.places.find(self.hash(kind, key), |place| self.is(*place, kind, key))?;
        Some(&self.entries[*place as usize])
    }

    /// The entry of a key, and whether it is new. A new entry has no position yet: the caller pushes the first one.
    pub(super) fn entry(&mut self, kind: Kind, key: &[u8], base: impl FnOnce() -> u64) -> (&mut Entry, bool) {
        let latest = self.latest[kind as usize];
        if (latest as usize) < self.entries.len() && self.is(latest, kind, key) {
            return (&mut self.entries[latest as usize], false);
        }
        let hash = self.hash(kind, key);
        if let Some(place) = self.places.find(hash, |place| self.is(*place, kind, key)) {
            self.latest[kind as usize] = *place;
            return (&mut self.entries[*place as usize], false);
        }
        let at = u32::try_from(self.bytes.len()).expect("a table is below 4 GiB");
        self.bytes.push(kind as u8);
        self.bytes.extend_from_slice(key);
        let len = u16::try_from(1 + key.len()).expect("a key is at most 512 bytes");
        let place = u32::try_from(self.entries.len()).expect("a table has below 4 G keys");
        self.entries.push(Entry { at, len, base: base(), list: List::Many(Vec::new()) });
        self.latest[kind as usize] = place;
        let Self { bytes, entries, places, hasher, .. } = self;
        places.insert_unique(hash, place, |place| {
            let entry = &entries[*place as usize];
            let own = &bytes[entry.at as usize..][..usize::from(entry.len)];
            let mut hasher = hasher.build_hasher();
            hasher.write_u8(own[0]);
            hasher.write(&own[1..]);
            hasher.finish()
        });
        (self.entries.last_mut().expect("it was pushed"), true)
    }

    /// Removes all positions from `below` on.
    pub(super) fn truncate(&mut self, below: u32) {
        self.entries.iter_mut().for_each(|entry| entry.truncate(below));
    }

    /// Visits every key of a kind that has a position, in byte order: the key with its kind, its positions, and for a
    /// stream the version of the first of them.
    pub(super) fn visit_sorted<E>(
        &self,
        kind: Kind,
        mut visit: impl FnMut(&[u8], &[u32], u64) -> Result<(), E>,
    ) -> Result<(), E> {
        let (mut names, mut positions) = (Vec::new(), Vec::new());
        for entries in self.sorted(kind).chunks(GATHERED) {
            names.clear();
            positions.clear();
            for (_, place) in entries {
                let entry = &self.entries[*place as usize];
                names.extend_from_slice(self.key(entry));
                let own = entry.positions();
                positions.extend_from_slice(&own[..own.len().min(POSITIONS_GATHERED)]);
            }
            let (mut names, mut positions) = (&names[..], &positions[..]);
            for (_, place) in entries {
                let entry = &self.entries[*place as usize];
                let own = entry.positions();
                let (name, names_left) = names.split_at(usize::from(entry.len));
                let (few, positions_left) = positions.split_at(own.len().min(POSITIONS_GATHERED));
                visit(name, if few.len() == own.len() { few } else { own }, entry.base)?;
                (names, positions) = (names_left, positions_left);
            }
        }
        Ok(())
    }

    /// The entries of a kind that have a position, in the order of their keys. Each comes with the first bytes after
    /// the prefix that all share: these bytes order most keys without a look at the key itself.
    fn sorted(&self, kind: Kind) -> Vec<(u64, u32)> {
        let held = || {
            let entries = (0_u32..).zip(&self.entries);
            let keys = entries.map(|(place, entry)| (place, self.key(entry), entry));
            keys.filter(|(_, key, entry)| key[0] == kind as u8 && !entry.positions().is_empty())
        };
        let Some((_, first, _)) = held().next() else { return Vec::new() };
        let shared = held().fold(first.len(), |shared, (_, key, _)| shared_len(key, &first[..shared]));
        let mut sorted = held().map(|(place, key, _)| (leading(&key[shared..]), place)).collect::<Vec<_>>();
        let key = |place: u32| self.key(&self.entries[place as usize]);
        sorted.sort_unstable_by(|(a_leading, a), (b_leading, b)| {
            a_leading.cmp(b_leading).then_with(|| key(*a).cmp(key(*b)))
        });
        sorted
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    /// More keys than are gathered at once; some keys have more positions than are gathered with them.
    const POSITIONS: u32 = 200;

    /// The keys of a position: one that only it has, one that some share, one under two kinds, and two that all
    /// share.
    fn keys_of(position: u32) -> [(Kind, String); 5] {
        [
            // Not in sorted order.
            (Kind::Stream, format!("own-{:03}", position * 7 % POSITIONS)),
            (Kind::Tag, format!("some-{}", position % 60)),
            (if position.is_multiple_of(3) { Kind::Type } else { Kind::Category }, "x".to_owned()),
            (Kind::Tag, "all".to_owned()),
            (Kind::Created, String::new()),
        ]
    }

    fn push(keys: &mut Keys, positions: std::ops::Range<u32>) {
        for position in positions {
            for (kind, key) in keys_of(position) {
                keys.entry(kind, key.as_bytes(), || position.into()).0.push(position);
            }
        }
    }

    /// Checks that exactly the keys of the positions below a bound are found: one by one, all at once and in order.
    fn check(keys: &Keys, below: u32) {
        let mut expected = BTreeMap::<Vec<u8>, Vec<u32>>::new();
        for position in 0..below {
            for (kind, key) in keys_of(position) {
                let key = [&[kind as u8], key.as_bytes()].concat();
                expected.entry(key).or_default().push(position);
            }
        }
        for position in 0..POSITIONS {
            for (kind, key) in keys_of(position) {
                let found = keys.find(kind, key.as_bytes()).map(Entry::positions).unwrap_or_default();
                let own = expected.get(&[&[kind as u8], key.as_bytes()].concat());
                assert_eq!(found, own.map_or(&[][..], Vec::as_slice), "{kind:?} {key} below {below}");
            }
        }
        let held = keys.iter().map(|(key, entry)| (key.to_vec(), entry.positions().to_vec()));
        assert_eq!(held.collect::<BTreeMap<_, _>>(), expected, "below {below}");
        let mut visited = Vec::new();
        for kind in Kind::ALL {
            let all: Result<(), ()> = keys.visit_sorted(kind, |key, positions, base| {
                assert_eq!(base, u64::from(positions[0]), "the first had it made");
                visited.push((key.to_vec(), positions.to_vec()));
                Ok(())
            });
            assert_eq!(all, Ok(()));
        }
        assert_eq!(visited, expected.into_iter().collect::<Vec<_>>(), "below {below}");
    }

    #[test]
    fn a_key_is_found_with_all_its_positions() {
        let mut keys = Keys::default();
        check(&keys, 0);
        push(&mut keys, 0..POSITIONS);
        check(&keys, POSITIONS);
        for (kind, key) in [(Kind::Stream, "x"), (Kind::Type, "all"), (Kind::Tag, "some-60")] {
            assert!(keys.find(kind, key.as_bytes()).is_none(), "{kind:?} {key}");
        }
    }

    #[test]
    fn a_truncated_position_is_gone_and_may_be_added_again() {
        for below in [0, 1, 2, 3, 59, 60, 61, 121, 199, 200] {
            let mut keys = Keys::default();
            push(&mut keys, 0..POSITIONS);
            keys.truncate(below);
            check(&keys, below);
            push(&mut keys, below..POSITIONS);
            check(&keys, POSITIONS);
        }
    }

    #[test]
    fn a_key_that_an_event_names_twice_is_stored_once() {
        let mut keys = Keys::default();
        let pushed = [4, 4, 5, 5].map(|position| keys.entry(Kind::Tag, b"a", || 0).0.push(position));
        assert_eq!(pushed, [true, false, true, false]);
        assert_eq!(keys.find(Kind::Tag, b"a").map(Entry::positions), Some(&[4, 5][..]));
    }

    #[test]
    fn a_key_is_made_once() {
        let mut keys = Keys::default();
        let made = ["a", "b", "b", "a", "c", "a"].map(|key| keys.entry(Kind::Tag, key.as_bytes(), || 0).1);
        assert_eq!(made, [true, true, false, false, true, false]);
    }
}
