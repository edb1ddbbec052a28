//! The ids of a table's events. Most ids have one position; ids that grow with time arrive nearly sorted.

use std::collections::HashMap;
use std::hash::BuildHasher;

use gesta_core::EventId;
use hashbrown::HashTable;

use crate::index::key::id_key;

/// The ids of a table's events.
#[derive(Default)]
pub(super) struct Ids {
    /// By position.
    ids: Vec<EventId>,
    /// The first position of each id.
    places: HashTable<u32>,
    hasher: hashbrown::DefaultHashBuilder,
    /// All positions of an id that several streams hold, by its first position.
    repeated: HashMap<u32, Vec<u32>>,
    /// The lowest and the highest id. An id that grows with time is mostly above the highest so far.
    range: Option<(EventId, EventId)>,
}

impl Ids {
    /// Reserves as much memory as `like` takes.
    pub(super) fn reserve(&mut self, like: &Self) {
        self.ids.reserve(like.ids.len());
        // The table is empty, so nothing is hashed again.
        self.places.reserve(like.ids.len(), |_| 0);
    }

    /// Adds the id of the next position.
    pub(super) fn push(&mut self, id: EventId) {
        let position = u32::try_from(self.ids.len()).expect("a table is below 4 G");
        self.ids.push(id);
        let (lowest, highest) = self.range.unwrap_or((id, id));
        self.range = Some((lowest.min(id), highest.max(id)));
        let Self { ids, places, hasher, repeated, .. } = self;
        let hash = |place: &u32| hasher.hash_one(ids[*place as usize]);
        let own = hash(&position);
        match places.find(own, |place| ids[*place as usize] == id) {
            Some(first) => repeated.entry(*first).or_insert_with(|| vec![*first]).push(position),
            None => drop(places.insert_unique(own, position, hash)),
        }
    }

    /// The positions of an id.
    pub(super) fn find(&self, id: EventId) -> Option<&[u32]> {
        self.range.filter(|(lowest, highest)| (lowest..=highest).contains(&&id))?;
        let first = self.places.find(self.hasher.hash_one(id), |place| self.ids[*place as usize] == id)?;
        Some(self.positions(first))
    }

    fn positions<'a>(&'a self, first: &'a u32) -> &'a [u32] {
        match self.repeated.is_empty() {
            true => std::slice::from_ref(first),
            false => self.repeated.get(first).map_or(std::slice::from_ref(first), Vec::as_slice),
        }
    }

    /// Removes all positions from `below` on.
    pub(super) fn truncate(&mut self, below: u32) {
        self.ids.truncate(below as usize);
        self.places.retain(|first| *first < below);
        self.repeated.retain(|_, positions| {
            positions.truncate(positions.partition_point(|position| *position < below));
            positions.len() > 1
        });
    }

    /// Visits every id in order: as a key with its kind, and its positions.
    pub(super) fn visit_sorted<E>(
        &self,
        mut visit: impl FnMut(&[u8], &[u32]) -> Result<(), E>,
    ) -> Result<(), E> {
        let mut sorted =
            self.places.iter().map(|first| (self.ids[*first as usize], first)).collect::<Vec<_>>();
        sorted.sort_unstable();
        for (id, first) in sorted {
            visit(&id_key(id), self.positions(first))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::index::key::Kind;

    /// By position. Some ids have several positions.
    const IDS: [u128; 7] = [4, 2, 4, 3, 2, 4, 9];

    fn of_numbers(numbers: &[u128]) -> Ids {
        let mut ids = Ids::default();
        numbers.iter().for_each(|number| ids.push(EventId::from_u128(*number)));
        ids
    }

    fn positions_of(numbers: &[u128], id: u128) -> Vec<u32> {
        (0..).zip(numbers).filter(|(_, own)| **own == id).map(|(position, _)| position).collect()
    }

    /// Checks that every id is found at all its positions, and visited in the order of ids.
    fn check(ids: &Ids, numbers: &[u128]) {
        let mut expected = Vec::new();
        for id in 0..10 {
            let positions = positions_of(numbers, id);
            let found = ids.find(EventId::from_u128(id)).unwrap_or_default();
            assert_eq!(found, positions, "{id} in {numbers:?}");
            if !positions.is_empty() {
                let key = [&[Kind::Id as u8], &EventId::from_u128(id).as_bytes()[..]].concat();
                expected.push((key, positions));
            }
        }
        let mut visited = Vec::new();
        let all: Result<(), ()> = ids.visit_sorted(|key, positions| {
            visited.push((key.to_vec(), positions.to_vec()));
            Ok(())
        });
        assert_eq!((all, visited), (Ok(()), expected), "{numbers:?}");
    }

    #[test]
    fn an_id_is_found_at_each_of_its_positions() {
        for count in 0..=IDS.len() {
            check(&of_numbers(&IDS[..count]), &IDS[..count]);
        }
    }

    #[test]
    fn a_truncated_id_is_gone_and_may_be_added_again() {
        for below in 0..=IDS.len() {
            let mut ids = of_numbers(&IDS);
            ids.truncate(u32::try_from(below).unwrap());
            check(&ids, &IDS[..below]);
            IDS[below..].iter().rev().for_each(|id| ids.push(EventId::from_u128(*id)));
            let again = IDS[..below].iter().chain(IDS[below..].iter().rev()).copied().collect::<Vec<_>>();
            check(&ids, &again);
        }
    }
}
