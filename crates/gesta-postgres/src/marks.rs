//! Places whose marks were given out or checked, so that a token that comes back needs no look-up.

use std::collections::{HashMap, VecDeque};

/// The newest remembered marks, by sequence.
#[derive(Debug)]
pub(crate) struct Marks {
    most: usize,
    known: HashMap<u64, u32>,
    order: VecDeque<u64>,
}

impl Marks {
    /// Remembers at most `most` marks.
    pub(crate) fn new(most: usize) -> Self {
        Self { most, known: HashMap::new(), order: VecDeque::new() }
    }

    pub(crate) fn get(&self, sequence: u64) -> Option<u32> {
        self.known.get(&sequence).copied()
    }

    pub(crate) fn remember(&mut self, sequence: u64, mark: u32) {
        if self.known.insert(sequence, mark).is_some() {
            return;
        }
        self.order.push_back(sequence);
        if self.order.len() > self.most
            && let Some(oldest) = self.order.pop_front()
        {
            self.known.remove(&oldest);
        }
    }

    /// Forgets all: the history may have changed.
    pub(crate) fn forget(&mut self) {
        self.known.clear();
        self.order.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_marks_are_forgotten_first() {
        let mut marks = Marks::new(2);
        for (sequence, mark) in [(1, 10), (2, 20), (1, 11), (3, 30)] {
            marks.remember(sequence, mark);
        }
        assert_eq!([1, 2, 3].map(|sequence| marks.get(sequence)), [None, Some(20), Some(30)]);
        marks.forget();
        assert_eq!(marks.get(3), None);
        marks.remember(3, 31);
        assert_eq!(marks.get(3), Some(31));
    }
}
