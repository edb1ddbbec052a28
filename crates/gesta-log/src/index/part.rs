//! A part of the index: a run or a table, with the same look-ups.

use std::sync::Arc;

use gesta_core::{Item, Query};

use super::key::{Key, Kind};
use super::lookup_error::{LookupError, ReadMode};
use super::memtable::{Contents, MemTable, State};
use super::postings::{ItemPlan, List, Plan, Source};
use super::run::{FIRST_OF_FRAME, Offsets, Run};
use crate::segment::SegmentFile;

/// A run or a table. Its positions are dense.
#[derive(Clone)]
pub(crate) enum Part {
    Run(Arc<Run>),
    MemTable(Arc<MemTable>),
}

/// A part, held during a look-up. A table does not change meanwhile.
pub(crate) enum Held<'a> {
    Run(&'a Run, ReadMode),
    MemTable(Contents<'a>),
}

/// A part that is ready for look-ups.
#[derive(Clone, Copy)]
pub(crate) enum PartRef<'a> {
    Run(&'a Run, ReadMode),
    MemTable(&'a State),
}

impl Held<'_> {
    pub(crate) fn part(&self) -> PartRef<'_> {
        match self {
            Self::Run(run, mode) => PartRef::Run(run, *mode),
            Self::MemTable(table) => PartRef::MemTable(table),
        }
    }
}

/// Where the record of one event lies.
#[derive(Clone)]
pub(crate) struct Location {
    pub(crate) segment: Arc<SegmentFile>,
    pub(crate) position: u64,
    pub(crate) offset: u64,
    /// The record ends here or before.
    pub(crate) end: u64,
}

impl Location {
    /// An upper bound of its size in bytes.
    pub(crate) const fn len(&self) -> u64 {
        self.end - self.offset
    }
}

impl Part {
    pub(crate) fn look(&self, mode: ReadMode) -> Held<'_> {
        match self {
            Self::Run(run) => Held::Run(run, mode),
            Self::MemTable(table) => Held::MemTable(table.read()),
        }
    }

    /// The first position that it covers or, if it is empty, will cover.
    pub(crate) fn first(&self) -> u64 {
        match self {
            Self::Run(run) => run.footer.first,
            Self::MemTable(table) => table.first,
        }
    }
}

impl<'a> PartRef<'a> {
    pub(crate) fn first(&self) -> u64 {
        match *self {
            Self::Run(run, _) => run.footer.first,
            Self::MemTable(table) => table.first,
        }
    }

    /// The last position that it covers; one before its first if it is empty.
    pub(crate) fn last(&self) -> u64 {
        match *self {
            Self::Run(run, _) => run.footer.last,
            Self::MemTable(table) => table.last(),
        }
    }

    fn len(&self) -> u32 {
        u32::try_from(self.last() + 1 - self.first()).expect("a part is below 4 G")
    }

    /// A position relative to the part's first, clamped to the part or to one position beyond its ends.
    pub(crate) fn relative(&self, position: u64) -> u32 {
        u32::try_from(position.saturating_sub(self.first())).unwrap_or(u32::MAX)
    }

    /// The positions of a key; for a stream, also the version of the first of them.
    pub(crate) fn list(&self, key: &Key) -> Result<Option<(List<'a>, u64)>, LookupError> {
        match *self {
            Self::Run(run, mode) => {
                let Some(list) = run.find(key, mode)? else { return Ok(None) };
                let base = list.base;
                Ok(Some((List::Run(run.cursor(list, mode)), base)))
            }
            Self::MemTable(table) => {
                Ok(table.find(key.kind(), key.name()).map(|(list, base)| (List::Slice(list), base)))
            }
        }
    }

    /// The last event of a stream in this part at a position or before: its version and position.
    pub(crate) fn head(&self, stream: &Key, up_to: u64) -> Result<Option<(u64, u64)>, LookupError> {
        if up_to < self.first() {
            return Ok(None);
        }
        let Some((mut list, base)) = self.list(stream)? else { return Ok(None) };
        if up_to >= self.last() {
            return Ok(Some((base + list.len() as u64 - 1, self.first() + u64::from(list.last()))));
        }
        let count = list.lower_bound(list.len(), self.relative(up_to + 1))?;
        let Some(last) = count.checked_sub(1) else { return Ok(None) };
        Ok(Some((base + last as u64, self.first() + u64::from(list.at(last)?))))
    }

    /// The version and position of the event with an id in a stream.
    pub(crate) fn find_id(&self, stream: &Key, id: &Key) -> Result<Option<(u64, u64)>, LookupError> {
        let Some((with_id, _)) = self.list(id)? else { return Ok(None) };
        let Some((mut own, base)) = self.list(stream)? else { return Ok(None) };
        let (again, _) = self.list(stream)?.expect("it was there just now");
        let both = ItemPlan::new(vec![Source::any(vec![with_id]), Source::any(vec![again])]);
        let Some(found) = Plan::any(self.len(), vec![both]).next(0)? else { return Ok(None) };
        let index = own.lower_bound(0, found)?;
        Ok(Some((base + index as u64, self.first() + u64::from(found))))
    }

    /// How to find the events that match a query.
    pub(crate) fn plan(&self, query: &Query) -> Result<Plan<'a>, LookupError> {
        let Query::Any(items) = query else { return Ok(Plan::all(self.len())) };
        let plans = items.iter().filter_map(|item| self.plan_item(item).transpose());
        Ok(Plan::any(self.len(), plans.collect::<Result<_, _>>()?))
    }

    /// `None` if nothing in this part can match.
    fn plan_item(&self, item: &Item) -> Result<Option<ItemPlan<'a>>, LookupError> {
        let mut sources = Vec::new();
        let one = |kind, key: &str| self.any(kind, [key.as_bytes()].into_iter());
        let mut add = |source: Option<Source<'a>>| source.map(|source| sources.push(source)).is_some();
        let mut holds = true;
        if let Some(stream) = &item.stream {
            holds &= add(one(Kind::Stream, stream.as_str())?);
        }
        for tag in &item.tags {
            holds = holds && add(one(Kind::Tag, tag.as_str())?);
        }
        if holds && !item.ids.is_empty() {
            holds &= add(self.any(Kind::Id, item.ids.iter().map(|id| &id.as_bytes()[..]))?);
        }
        if holds && !item.types.is_empty() {
            holds &= add(self.any(Kind::Type, item.types.iter().map(|name| name.as_str().as_bytes()))?);
        }
        if holds && let Some(category) = &item.category {
            holds &= add(one(Kind::Category, category.as_str())?);
        }
        Ok(holds.then(|| ItemPlan::new(sources)))
    }

    fn any<'k>(
        &self,
        kind: Kind,
        keys: impl Iterator<Item = &'k [u8]>,
    ) -> Result<Option<Source<'a>>, LookupError> {
        let lists = keys.filter_map(|key| self.list(&Key::new(kind, key)).transpose());
        let lists = lists.map(|found| found.map(|(list, _)| list)).collect::<Result<Vec<_>, _>>()?;
        Ok((!lists.is_empty()).then(|| Source::any(lists)))
    }

    /// Looks up where records lie.
    pub(crate) fn locator(&self) -> Locator<'a> {
        match *self {
            Self::Run(run, mode) => Locator::Run(run, run.offsets(mode)),
            Self::MemTable(table) => Locator::MemTable(table),
        }
    }

    /// The end of the batch that holds a position of this part.
    pub(crate) fn batch_end(&self, position: u64) -> Result<u64, LookupError> {
        let (run, mode) = match *self {
            Self::MemTable(table) => return Ok(table.batch_end(position)),
            Self::Run(run, mode) => (run, mode),
        };
        let mut offsets = run.offsets(mode);
        let mut next = position + 1;
        while next <= run.footer.last && offsets.get(self.relative(next))? & FIRST_OF_FRAME == 0 {
            next += 1;
        }
        Ok(next - 1)
    }

    /// The first position of the batch that holds a position of this part.
    pub(crate) fn batch_start(&self, position: u64) -> Result<u64, LookupError> {
        let (run, mode) = match *self {
            Self::MemTable(table) => return Ok(table.batch_start(position)),
            Self::Run(run, mode) => (run, mode),
        };
        let mut offsets = run.offsets(mode);
        let mut start = position;
        while start > run.footer.first && offsets.get(self.relative(start))? & FIRST_OF_FRAME == 0 {
            start -= 1;
        }
        Ok(start)
    }
}

/// Looks up where records lie, one after the other.
pub(crate) enum Locator<'a> {
    Run(&'a Run, Offsets<'a>),
    MemTable(&'a State),
}

impl Locator<'_> {
    /// Whether it waited for the disk.
    pub(crate) const fn has_waited(&self) -> bool {
        match self {
            Self::Run(_, offsets) => offsets.has_waited(),
            Self::MemTable(_) => false,
        }
    }

    /// Announces a look-up, so that the disk can start reading.
    pub(crate) fn will_locate(&mut self, position: u32) {
        if let Self::Run(_, offsets) = self {
            offsets.will_get(position);
        }
    }

    /// Where the event at a position lies. The position is relative to the part's first.
    pub(crate) fn location(&mut self, position: u32) -> Result<Location, LookupError> {
        match self {
            Self::MemTable(table) => Ok(table_location(table, position)),
            Self::Run(run, offsets) => run_location(run, offsets, position),
        }
    }
}

fn table_location(table: &State, position: u32) -> Location {
    let absolute = table.first + u64::from(position);
    let at = table.extents.partition_point(|extent| extent.first <= absolute) - 1;
    let extent = &table.extents[at];
    let ends = table.extents.get(at + 1).is_some_and(|next| next.first == absolute + 1);
    let next = table.offsets.get(position as usize + 1).filter(|_| !ends);
    let end = next.map_or(extent.end, |next| u64::from(next & !FIRST_OF_FRAME));
    let offset = u64::from(table.offsets[position as usize] & !FIRST_OF_FRAME);
    Location { segment: Arc::clone(&extent.segment), position: absolute, offset, end }
}

fn run_location(run: &Run, offsets: &mut Offsets<'_>, position: u32) -> Result<Location, LookupError> {
    let absolute = run.footer.first + u64::from(position);
    let extents = &run.footer.extents;
    let at = extents.partition_point(|extent| extent.first <= absolute) - 1;
    let offset = u64::from(offsets.get(position)? & !FIRST_OF_FRAME);
    let ends = extents.get(at + 1).is_some_and(|next| next.first == absolute + 1);
    let end = if ends || absolute == run.footer.last {
        extents[at].end
    } else {
        u64::from(offsets.get(position + 1)? & !FIRST_OF_FRAME)
    };
    Ok(Location { segment: Arc::clone(&run.segments[at]), position: absolute, offset, end: end.max(offset) })
}
