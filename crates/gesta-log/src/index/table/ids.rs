//! The ids of a table's events. Most stand at one position, and those that are made in the order of time stand nearly in it.

use std::collections::HashMap;
use std::hash::BuildHasher;

use gesta_core::EventId;
use hashbrown::HashTable;

use crate::index::key::Kind;

/// The ids of a table's events.
#[derive(Default)]
pub(super) struct Ids {
    /// By position.
    ids: Vec<EventId>,
    /// The first position of each.
    places: HashTable<u32>,
    hasher: hashbrown::DefaultHashBuilder,
    /// All positions of an id that stands in several streams, by the first one.
    repeated: HashMap<u32, Vec<u32>>,
    /// The lowest and the highest. Those that are made in the order of time are mostly above all that came before.
    range: Option<(EventId, EventId)>,
}

impl Ids {
    /// Makes room for what is like that.
    pub(super) fn reserve(&mut self, like: &Self) {
        self.ids.reserve(like.ids.len());
        // Nothing is in it, so nothing has to be hashed.
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

    /// The positions that have an id.
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

    /// Takes back all positions from one on.
    pub(super) fn truncate(&mut self, below: u32) {
        self.ids.truncate(below as usize);
        self.places.retain(|first| *first < below);
        self.repeated.retain(|first, positions| {
            positions.truncate(positions.partition_point(|position| *position < below));
            *first < below && positions.len() > 1
        });
    }

    /// Looks at every id in their order: as a key with its kind, and its positions.
    pub(super) fn visit_sorted<E>(
        &self,
        mut visit: impl FnMut(&[u8], &[u32]) -> Result<(), E>,
    ) -> Result<(), E> {
        let mut sorted =
            self.places.iter().map(|first| (self.ids[*first as usize], first)).collect::<Vec<_>>();
        sorted.sort_unstable();
        let mut key = [Kind::Id as u8; 17];
        for (id, first) in sorted {
            key[1..].copy_from_slice(id.as_bytes());
            visit(&key, self.positions(first))?;
        }
        Ok(())
    }
}
