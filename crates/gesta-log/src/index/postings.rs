//! Posting lists of one part of the index, and their joins: the next or previous matching position, without a look at
//! any event. Positions are relative to the part's first.

use super::lookup_error::LookupError;
use super::run::RunCursor;

/// The positions of one key in one part.
pub(crate) enum List<'a> {
    Slice(&'a [u32]),
    Run(RunCursor<'a>),
}

impl List<'_> {
    pub(crate) const fn len(&self) -> usize {
        match self {
            Self::Slice(list) => list.len(),
            Self::Run(cursor) => cursor.list.count,
        }
    }

    /// The last position.
    pub(crate) fn last(&self) -> u32 {
        match self {
            Self::Slice(list) => *list.last().expect("a list that is found has a position"),
            Self::Run(cursor) => cursor.list.last,
        }
    }

    /// The position at an index below the length.
    pub(crate) fn at(&mut self, index: usize) -> Result<u32, LookupError> {
        match self {
            Self::Slice(list) => Ok(list[index]),
            Self::Run(cursor) => cursor.at(index),
        }
    }

    /// The index of the first position that is at least `target`. Fast if the hint is near.
    pub(crate) fn lower_bound(&mut self, hint: usize, target: u32) -> Result<usize, LookupError> {
        match self {
            Self::Slice(list) => Ok(seek(list, hint, target)),
            Self::Run(cursor) => {
                // Most often the answer is the next position, which costs no search.
                let count = cursor.list.count;
                let begins = hint < count && (hint == 0 || cursor.at(hint - 1)? < target);
                if begins && cursor.at(hint)? >= target {
                    return Ok(hint);
                }
                if begins && (hint + 1 == count || cursor.at(hint + 1)? >= target) {
                    return Ok(hint + 1);
                }
                cursor.lower_bound(target)
            }
        }
    }
}

/// How to find the positions of a part that match a query, in either direction.
pub(crate) struct Plan<'a> {
    /// How many positions the part has.
    len: u32,
    /// The alternatives of the query; `None` matches every position.
    items: Option<Vec<ItemPlan<'a>>>,
}

/// One alternative: the positions that all sources share.
pub(super) struct ItemPlan<'a> {
    sources: Vec<Source<'a>>,
}

/// Growing positions: one list, or any of several.
pub(super) struct Source<'a> {
    lists: Vec<Cursor<'a>>,
}

/// A list, and the index where the last look-up ended: the next one is near.
struct Cursor<'a> {
    list: List<'a>,
    at: usize,
}

impl<'a> Plan<'a> {
    pub(super) const fn all(len: u32) -> Self {
        Self { len, items: None }
    }

    pub(super) const fn any(len: u32, items: Vec<ItemPlan<'a>>) -> Self {
        Self { len, items: Some(items) }
    }

    /// The first match at that position or later.
    pub(crate) fn next(&mut self, from: u32) -> Result<Option<u32>, LookupError> {
        match &mut self.items {
            None => Ok((from < self.len).then_some(from)),
            Some(items) => first_of(items.iter_mut().map(|item| item.next(from))),
        }
    }

    /// The last match at that position or earlier.
    pub(crate) fn previous(&mut self, from: u32) -> Result<Option<u32>, LookupError> {
        match &mut self.items {
            None => Ok(self.len.checked_sub(1).map(|last| from.min(last))),
            Some(items) => last_of(items.iter_mut().map(|item| item.previous(from))),
        }
    }
}

fn first_of(
    found: impl Iterator<Item = Result<Option<u32>, LookupError>>,
) -> Result<Option<u32>, LookupError> {
    let found = found.filter_map(Result::transpose).collect::<Result<Vec<_>, _>>()?;
    Ok(found.into_iter().min())
}

fn last_of(
    found: impl Iterator<Item = Result<Option<u32>, LookupError>>,
) -> Result<Option<u32>, LookupError> {
    let found = found.filter_map(Result::transpose).collect::<Result<Vec<_>, _>>()?;
    Ok(found.into_iter().max())
}

impl<'a> ItemPlan<'a> {
    pub(super) fn new(mut sources: Vec<Source<'a>>) -> Self {
        assert!(!sources.is_empty(), "an item without a field was refused");
        sources.sort_by_key(Source::len);
        Self { sources }
    }

    /// Leaps from source to source until all agree. The shortest leads.
    fn next(&mut self, from: u32) -> Result<Option<u32>, LookupError> {
        let mut candidate = from;
        loop {
            let before = candidate;
            for source in &mut self.sources {
                let Some(next) = source.next(candidate)? else { return Ok(None) };
                candidate = next;
            }
            if candidate == before {
                return Ok(Some(candidate));
            }
        }
    }

    fn previous(&mut self, from: u32) -> Result<Option<u32>, LookupError> {
        let mut candidate = from;
        loop {
            let before = candidate;
            for source in &mut self.sources {
                let Some(previous) = source.previous(candidate)? else { return Ok(None) };
                candidate = previous;
            }
            if candidate == before {
                return Ok(Some(candidate));
            }
        }
    }
}

impl<'a> Source<'a> {
    pub(super) fn any(lists: Vec<List<'a>>) -> Self {
        Self { lists: lists.into_iter().map(|list| Cursor { list, at: 0 }).collect() }
    }

    fn len(&self) -> usize {
        self.lists.iter().map(|cursor| cursor.list.len()).sum()
    }

    fn next(&mut self, from: u32) -> Result<Option<u32>, LookupError> {
        match &mut self.lists[..] {
            [only] => only.next(from),
            several => first_of(several.iter_mut().map(|cursor| cursor.next(from))),
        }
    }

    fn previous(&mut self, from: u32) -> Result<Option<u32>, LookupError> {
        match &mut self.lists[..] {
            [only] => only.previous(from),
            several => last_of(several.iter_mut().map(|cursor| cursor.previous(from))),
        }
    }
}

impl Cursor<'_> {
    fn next(&mut self, from: u32) -> Result<Option<u32>, LookupError> {
        self.at = self.list.lower_bound(self.at, from)?;
        if self.at == self.list.len() { Ok(None) } else { self.list.at(self.at).map(Some) }
    }

    fn previous(&mut self, from: u32) -> Result<Option<u32>, LookupError> {
        self.at = match from.checked_add(1) {
            Some(after) => self.list.lower_bound(self.at, after)?,
            None => self.list.len(),
        };
        self.at.checked_sub(1).map(|at| self.list.at(at)).transpose()
    }
}

/// The index of the first entry that is at least `target`. The steps double from a hint, so near targets take few
/// steps in either direction.
fn seek(list: &[u32], hint: usize, target: u32) -> usize {
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
    // The answer lies in low..=high: every entry before `low` is below the target.
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
        let one = |list: &'static [u32]| Source::any(vec![List::Slice(list)]);
        let plan = || {
            let either = Source::any(vec![List::Slice(&[2, 8]), List::Slice(&[3, 9])]);
            let first = ItemPlan::new(vec![one(&[1, 2, 4, 6, 8, 9]), either]);
            Plan::any(20, vec![first, ItemPlan::new(vec![one(&[5, 9, 12])])])
        };
        let (mut forward, mut plan_forward, mut from) = (Vec::new(), plan(), 0);
        while let Some(position) = plan_forward.next(from).unwrap() {
            forward.push(position);
            from = position + 1;
        }
        assert_eq!(forward, [2, 5, 8, 9, 12]);
        let (mut backward, mut plan_backward, mut from) = (Vec::new(), plan(), u32::MAX);
        while let Some(position) = plan_backward.previous(from).unwrap() {
            backward.push(position);
            from = position - 1;
        }
        assert_eq!(backward, [12, 9, 8, 5, 2]);
        assert_eq!(plan().previous(11).unwrap(), Some(9));
    }
    #[test]
    fn every_position_matches_an_empty_query() {
        let next = |len, from| Plan::all(len).next(from).unwrap();
        assert_eq!([next(3, 0), next(3, 2), next(3, 3), next(0, 0)], [Some(0), Some(2), None, None]);
        let previous = |len, from| Plan::all(len).previous(from).unwrap();
        assert_eq!([previous(3, 0), previous(3, 2), previous(3, 7)], [Some(0), Some(2), Some(2)]);
        assert_eq!(previous(0, u32::MAX), None);
    }

    #[test]
    fn a_list_has_a_length_a_last_position_and_bounds() {
        let mut list = List::Slice(&[2, 3, 8]);
        assert_eq!((list.len(), list.last(), list.at(1).unwrap()), (3, 8, 3));
        let bounds = [0, 2, 4, 9].map(|target| list.lower_bound(0, target).unwrap());
        assert_eq!(bounds, [0, 0, 2, 3]);
    }

    #[test]
    fn beyond_its_ends_a_list_has_no_match() {
        let mut cursor = Cursor { list: List::Slice(&[2, 8]), at: 0 };
        let next = [0, 3, 8, 9].map(|from| cursor.next(from).unwrap());
        assert_eq!(next, [Some(2), Some(8), Some(8), None]);
        let previous = [u32::MAX, 8, 7, 1].map(|from| cursor.previous(from).unwrap());
        assert_eq!(previous, [Some(8), Some(8), Some(2), None]);
    }
}
