//! The events of one stream: their positions, and so their versions.

/// The positions of a stream's events, growing. The event with version `v` is at index `v`, unless events before it were
/// lost to damage: then `gaps` says where versions jump.
#[derive(Debug, Clone, Default)]
pub(crate) struct StreamEntry {
    positions: Vec<u64>,
    /// From index `.0` on, versions count from `.1`.
    gaps: Vec<(usize, u64)>,
}

impl StreamEntry {
    pub(crate) fn positions(&self) -> &[u64] {
        &self.positions
    }

    /// Adds the stream's next event. `false`, and nothing is added, if the stream is beyond that version.
    pub(super) fn push(&mut self, version: u64, position: u64) -> bool {
        let next = self.next_version();
        if version < next {
            return false;
        }
        if version > next {
            self.gaps.push((self.positions.len(), version));
        }
        self.positions.push(position);
        true
    }

    pub(super) fn next_version(&self) -> u64 {
        self.version_of(self.positions.len())
    }

    /// The version of the event at an index; of the next event, for the index after the last.
    pub(crate) fn version_of(&self, index: usize) -> u64 {
        let gap = self.gaps[..self.gaps.partition_point(|(from, _)| *from <= index)].last();
        gap.map_or(index as u64, |(from, version)| version + (index - from) as u64)
    }

    /// The index of the first event that has at least that version.
    pub(crate) fn index_of(&self, version: u64) -> usize {
        let gap = self.gaps[..self.gaps.partition_point(|(_, first)| *first <= version)].last();
        let (from, first) = gap.copied().unwrap_or((0, 0));
        let index = from.saturating_add(usize::try_from(version - first).unwrap_or(usize::MAX));
        let next_gap =
            self.gaps.iter().find(|(_, first)| *first > version).map_or(usize::MAX, |(from, _)| *from);
        index.min(next_gap).min(self.positions.len())
    }

    /// The version of the event at a position, if it is one of this stream's.
    pub(crate) fn version_at(&self, position: u64) -> Option<u64> {
        self.positions.binary_search(&position).ok().map(|index| self.version_of(index))
    }

    /// How many of its events stand at that position or before.
    pub(crate) fn count_up_to(&self, position: u64) -> usize {
        self.positions.partition_point(|own| *own <= position)
    }

    /// The version of its last event at that position or before.
    pub(crate) fn last_version(&self, position: u64) -> Option<u64> {
        self.count_up_to(position).checked_sub(1).map(|index| self.version_of(index))
    }

    /// Whether damage that begins there may hold events of this stream: unless its versions go on across it.
    pub(super) fn may_have_lost(&self, from: u64) -> bool {
        let index = self.positions.partition_point(|position| *position < from);
        let is_last = index == self.positions.len();
        is_last || self.gaps.iter().any(|(at, _)| *at == index)
    }

    /// Keeps what stands at that position or before. `false` if nothing is left.
    pub(super) fn truncate(&mut self, last: u64) -> bool {
        self.positions.truncate(self.positions.partition_point(|position| *position <= last));
        self.gaps.retain(|(from, _)| *from < self.positions.len());
        !self.positions.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_and_indexes_agree_across_gaps() {
        let mut entry = StreamEntry::default();
        for (version, position) in [(0, 10), (1, 11), (4, 20), (5, 21), (9, 30)] {
            assert!(entry.push(version, position));
        }
        assert!(!entry.push(9, 31), "the version is there");
        assert_eq!((0..6).map(|at| entry.version_of(at)).collect::<Vec<_>>(), [0, 1, 4, 5, 9, 10]);
        assert_eq!(
            (0..12).map(|v| entry.index_of(v)).collect::<Vec<_>>(),
            [0, 1, 2, 2, 2, 3, 4, 4, 4, 4, 5, 5]
        );
        assert_eq!(entry.version_at(21), Some(5));
        assert_eq!(entry.last_version(25), Some(5));
        let lost = [5, 11, 12, 21, 22, 31].map(|from| entry.may_have_lost(from));
        assert_eq!(lost, [false, false, true, false, true, true]);
        assert!(entry.truncate(15));
        assert_eq!(entry.next_version(), 2);
    }
}
