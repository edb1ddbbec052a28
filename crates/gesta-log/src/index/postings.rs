//! Posting lists, and how they are joined: the next or previous position that matches, without looking at any event.

/// How to find the events that a query means, in either direction.
pub(crate) struct Plan<'a> {
    /// Any of these; `None` means every event.
    items: Option<Vec<ItemPlan<'a>>>,
}

/// One alternative: a position that every source has.
pub(super) struct ItemPlan<'a> {
    sources: Vec<Source<'a>>,
}

/// Growing positions: one list, or any of several.
pub(super) struct Source<'a> {
    lists: Vec<Cursor<'a>>,
}

/// A list, and where in it the last look-up ended: the next one is near.
struct Cursor<'a> {
    list: &'a [u64],
    at: usize,
}

impl<'a> Plan<'a> {
    pub(super) const fn all() -> Self {
        Self { items: None }
    }

    pub(super) const fn any(items: Vec<ItemPlan<'a>>) -> Self {
        Self { items: Some(items) }
    }

    /// The first match at that position or later.
    pub(crate) fn next(&mut self, from: u64) -> Option<u64> {
        match &mut self.items {
            None => Some(from),
            Some(items) => items.iter_mut().filter_map(|item| item.next(from)).min(),
        }
    }

    /// The last match at that position or earlier.
    pub(crate) fn previous(&mut self, from: u64) -> Option<u64> {
        match &mut self.items {
            None => Some(from),
            Some(items) => items.iter_mut().filter_map(|item| item.previous(from)).max(),
        }
    }
}

impl<'a> ItemPlan<'a> {
    pub(super) fn new(mut sources: Vec<Source<'a>>) -> Self {
        assert!(!sources.is_empty(), "an item without a field was refused");
        sources.sort_by_key(Source::len);
        Self { sources }
    }

    /// Leaps from source to source until all agree. The shortest leads.
    fn next(&mut self, from: u64) -> Option<u64> {
        let mut candidate = from;
        loop {
            let before = candidate;
            for source in &mut self.sources {
                candidate = source.next(candidate)?;
            }
            if candidate == before {
                return Some(candidate);
            }
        }
    }

    fn previous(&mut self, from: u64) -> Option<u64> {
        let mut candidate = from;
        loop {
            let before = candidate;
            for source in &mut self.sources {
                candidate = source.previous(candidate)?;
            }
            if candidate == before {
                return Some(candidate);
            }
        }
    }
}

impl<'a> Source<'a> {
    pub(super) fn list(list: &'a [u64]) -> Self {
        Self::any([list].into_iter())
    }

    pub(super) fn any(lists: impl Iterator<Item = &'a [u64]>) -> Self {
        Self { lists: lists.map(|list| Cursor { list, at: 0 }).collect() }
    }

    fn len(&self) -> usize {
        self.lists.iter().map(|cursor| cursor.list.len()).sum()
    }

    fn next(&mut self, from: u64) -> Option<u64> {
        self.lists.iter_mut().filter_map(|cursor| cursor.next(from)).min()
    }

    fn previous(&mut self, from: u64) -> Option<u64> {
        self.lists.iter_mut().filter_map(|cursor| cursor.previous(from)).max()
    }
}

impl Cursor<'_> {
    fn next(&mut self, from: u64) -> Option<u64> {
        self.at = seek(self.list, self.at, from);
        self.list.get(self.at).copied()
    }

    fn previous(&mut self, from: u64) -> Option<u64> {
        self.at = seek(self.list, self.at, from.saturating_add(1));
        self.at.checked_sub(1).map(|at| self.list[at])
    }
}

/// The index of the first entry that is at least `target`, searched in steps that double from a hint: near targets are
/// found in a few steps, in either direction.
fn seek(list: &[u64], hint: usize, target: u64) -> usize {
    let hint = hint.min(list.len());
    let (mut low, mut high, mut step) = (hint, hint, 1);
    if list.get(hint).is_some_and(|entry| *entry < target) {
        while high < list.len() && list[high] < target {
            low = high + 1;
            high = (high + step).min(list.len());
            step *= 2;
        }
    } else {
        while low > 0 && list[low - 1] >= target {
            high = low - 1;
            low = low.saturating_sub(step);
            step *= 2;
        }
    }
    // The answer lies in low..=high; entries before `low` may have been passed over only where they are below the target.
    let low = low.min(high);
    low + list[low..high].partition_point(|entry| *entry < target)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seek_finds_the_same_from_every_hint() {
        let list = [2, 3, 5, 8, 13, 21, 34, 55, 89];
        for target in 0..=90 {
            let expected = list.partition_point(|entry| *entry < target);
            for hint in 0..=list.len() + 1 {
                assert_eq!(seek(&list, hint, target), expected, "target {target}, hint {hint}");
            }
        }
        assert_eq!(seek(&[], 0, 7), 0);
    }

    #[test]
    fn items_are_intersections_and_plans_are_unions() {
        let plan = || {
            let first = ItemPlan::new(vec![
                Source::list(&[1, 2, 4, 6, 8, 9]),
                Source::any([&[2, 8][..], &[3, 9][..]].into_iter()),
            ]);
            Plan::any(vec![first, ItemPlan::new(vec![Source::list(&[5, 9, 12])])])
        };
        let (mut forward, mut plan_forward, mut from) = (Vec::new(), plan(), 0);
        while let Some(position) = plan_forward.next(from) {
            forward.push(position);
            from = position + 1;
        }
        assert_eq!(forward, [2, 5, 8, 9, 12]);
        let (mut backward, mut plan_backward, mut from) = (Vec::new(), plan(), u64::MAX);
        while let Some(position) = plan_backward.previous(from) {
            backward.push(position);
            from = position - 1;
        }
        assert_eq!(backward, [12, 9, 8, 5, 2]);
        assert_eq!(plan().previous(11), Some(9));
    }
}
