//! The marks of places that this log returned or checked since it was opened. A token that comes back is checked in
//! memory.
//!
//! *Layout*: one slot for each of 65,536 consecutive positions, in pages that are allocated on first use. A slot
//! holds the mark of one position, and which of the positions that share the slot it is.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

const SLOTS: u64 = 1 << 16;
const PAGE_SLOTS: u64 = 1 << 10;

/// Marks by position. A new mark replaces the previous one in its slot.
pub(crate) struct Marks(Box<[OnceLock<Box<[AtomicU64]>>]>);

impl Marks {
    pub(crate) fn new() -> Self {
        Self((0..SLOTS / PAGE_SLOTS).map(|_| OnceLock::new()).collect())
    }

    /// Remembers the mark of the event at a position of this log.
    pub(crate) fn put(&self, sequence: u64, mark: u32) {
        let Some(entry) = entry(sequence, mark) else { return };
        let page =
            self.0[page(sequence)].get_or_init(|| (0..PAGE_SLOTS).map(|_| AtomicU64::new(0)).collect());
        page[slot(sequence)].store(entry, Ordering::Relaxed);
    }

    /// The mark of the event at a position, if it is stored.
    pub(crate) fn get(&self, sequence: u64) -> Option<u32> {
        let entry_now = self.0[page(sequence)].get()?[slot(sequence)].load(Ordering::Relaxed);
        let mark = u32::try_from(entry_now & u64::from(u32::MAX)).expect("32 bits");
        (entry(sequence, mark) == Some(entry_now)).then_some(mark)
    }
}

/// A slot's content: the lap of the position, then the mark. Laps count from 1, since 0 is an empty slot. `None` if
/// the lap does not fit: the mark is not stored.
fn entry(sequence: u64, mark: u32) -> Option<u64> {
    let lap = u32::try_from(sequence / SLOTS + 1).ok()?;
    Some(u64::from(lap) << 32 | u64::from(mark))
}

fn page(sequence: u64) -> usize {
    usize::try_from(sequence % SLOTS / PAGE_SLOTS).expect("there are few pages")
}

fn slot(sequence: u64) -> usize {
    usize::try_from(sequence % PAGE_SLOTS).expect("there are few slots")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mark_is_remembered_until_another_position_takes_its_slot() {
        let marks = Marks::new();
        for sequence in [1, PAGE_SLOTS, SLOTS - 1, SLOTS] {
            assert_eq!(marks.get(sequence), None);
            marks.put(sequence, 7);
            assert_eq!(marks.get(sequence), Some(7), "{sequence}");
            assert_eq!((marks.get(sequence + SLOTS), marks.get(sequence + 1)), (None, None));
        }
        marks.put(1 + SLOTS, 0);
        assert_eq!((marks.get(1), marks.get(1 + SLOTS)), (None, Some(0)));
        marks.put(u64::MAX, 7);
        assert_eq!(marks.get(u64::MAX), None, "beyond the laps that fit");
    }
}
