//! Plans a page from the index alone: the events it holds, and how far it gets.
//!
//! The unit of `examined` in this store is a match in the index.

#[cfg(test)]
#[cfg(feature = "sim")]
mod tests;

use std::collections::VecDeque;

use gesta_core::{Direction, Limit, Place, Query, Read, Select, StreamName};

use super::{LookError, data_loss};
use crate::damage::Damage;
use crate::index::{IndexSnapshot, Key, Location, Locator, LookupError, Part, PartRef, ReadMode};
use crate::limits::READS_AHEAD;
use crate::shared::Shared;

/// Plans pages over the index, up to the durable position.
pub(super) struct PagePlanner<'a> {
    pub(super) shared: &'a Shared,
    pub(super) snapshot: &'a IndexSnapshot,
    pub(super) durable: u64,
    pub(super) mode: ReadMode,
}

/// Where the events of a page lie, and how far it got.
pub(super) struct Planned {
    pub(super) locations: Vec<Location>,
    pub(super) scanned_to: u64,
    pub(super) end: bool,
}

/// The position of a place.
pub(super) fn sequence(place: &Place, durable: u64) -> u64 {
    match place {
        Place::Start => 0,
        Place::End => durable,
        Place::At(checkpoint) => checkpoint.sequence(0),
    }
}

/// The events taken so far, against the page's limit.
struct Taken {
    locations: Vec<Location>,
    bytes: u64,
    limit: Limit,
    /// Where the last batch of a full page ends.
    ends_at: Option<u64>,
}

impl Taken {
    const fn new(limit: Limit) -> Self {
        Self { locations: Vec::new(), bytes: 0, limit, ends_at: None }
    }

    fn push(&mut self, location: Location) {
        self.bytes += location.len();
        self.locations.push(location);
    }

    fn is_full(&self) -> bool {
        let events = self.locations.len();
        events >= self.limit.events.get() as usize
            || events as u64 >= self.limit.examined.get()
            || self.bytes >= self.limit.bytes.get()
    }

    /// How many more events it may take.
    fn room(&self) -> usize {
        (self.limit.events.get() as usize).saturating_sub(self.locations.len())
    }

    fn last_position(&self) -> u64 {
        self.locations.last().expect("a full page has an event").position
    }

    fn so_far(self, scanned_to: u64) -> Planned {
        Planned { locations: self.locations, scanned_to, end: false }
    }
}

impl PagePlanner<'_> {
    pub(super) fn plan(&self, read: &Read) -> Result<Planned, LookError> {
        let until = read.until.as_ref().map(|until| until.sequence(0));
        match (&read.select, read.direction) {
            (Select::Log { query, from, .. }, Direction::Forward) => self.log_forward(
                query,
                sequence(from, self.durable),
                until.unwrap_or(self.durable),
                read.limit,
            ),
            (Select::Log { query, from, .. }, Direction::Backward) => {
                self.log_backward(query, sequence(from, self.durable), until.unwrap_or(0), read.limit)
            }
            (Select::Stream { name, from }, Direction::Forward) => {
                let from = from.map_or(0, gesta_core::Version::get);
                self.stream_forward(name, from, until.unwrap_or(self.durable), read.limit)
            }
            (Select::Stream { name, from }, Direction::Backward) => {
                let from = from.map(gesta_core::Version::get);
                self.stream_backward(name, from, until.unwrap_or(0), read.limit)
            }
        }
    }

    /// The first damage between two positions that may have lost a matching event.
    fn lost(
        &self,
        query: &Query,
        above: u64,
        up_to: u64,
    ) -> impl Iterator<Item = Result<&Damage, LookError>> {
        let touched = self.shared.index.damage().iter();
        let touched = touched.filter(move |damage| {
            above < up_to && damage.loses_events() && damage.to > above && damage.from <= up_to
        });
        let judged =
            move |damage| match self.snapshot.may_have_lost(damage, query, above + 1..=up_to, self.mode) {
                Ok(lost) => lost.then_some(Ok(damage)),
                Err(fault) => Some(Err(fault.into())),
            };
        touched.filter_map(judged)
    }

    /// Takes whole batches: a page is cut between batches only.
    fn log_forward(&self, query: &Query, at: u64, bound: u64, limit: Limit) -> Result<Planned, LookError> {
        let lost = self.lost(query, at, bound).next().transpose()?;
        if let Some(damage) = lost.filter(|damage| damage.from <= at + 1) {
            return Err(data_loss(self.shared, damage, damage.to).into());
        }
        let readable = lost.map_or(bound, |damage| damage.from - 1);
        let mut taken = Taken::new(limit);
        for part in self.snapshot.parts() {
            let held = part.look(self.mode);
            let part = held.part();
            if part.last() > at
                && part.first() <= readable
                && let Some(scanned_to) = take_forward(part, query, at, readable, &mut taken)?
            {
                return Ok(taken.so_far(scanned_to));
            }
        }
        let end = readable == bound;
        Ok(Planned { locations: taken.locations, scanned_to: readable.max(at), end })
    }

    fn log_backward(&self, query: &Query, at: u64, floor: u64, limit: Limit) -> Result<Planned, LookError> {
        let lost = self.lost(query, floor, at).last().transpose()?;
        if let Some(damage) = lost.filter(|damage| damage.to >= at) {
            return Err(data_loss(self.shared, damage, damage.from - 1).into());
        }
        let readable = lost.map_or(floor, |damage| damage.to);
        let mut taken = Taken::new(limit);
        for part in self.snapshot.parts().iter().rev() {
            let held = part.look(self.mode);
            let part = held.part();
            if part.first() <= at
                && part.last() > readable
                && let Some(scanned_to) = take_backward(part, query, at, readable, &mut taken)?
            {
                return Ok(taken.so_far(scanned_to));
            }
        }
        let end = readable == floor;
        Ok(Planned { locations: taken.locations, scanned_to: readable.min(at), end })
    }

    /// The parts that hold a stream, from the first with events at or after a version. No table stays locked between
    /// two parts.
    fn parts_of(&self, name: &StreamName, from: u64) -> Result<Vec<Part>, LookError> {
        let (mut parts, stream) = (Vec::new(), Key::stream(name.as_str()));
        for part in self.snapshot.parts().into_iter().rev() {
            let base = {
                let held = part.look(self.mode);
                let found = held.part().list(&stream)?;
                found.map(|(_, base)| base)
            };
            if let Some(base) = base {
                parts.push(part);
                if base <= from {
                    break;
                }
            }
        }
        parts.reverse();
        Ok(parts)
    }

    fn stream_forward(
        &self,
        name: &StreamName,
        from: u64,
        bound: u64,
        limit: Limit,
    ) -> Result<Planned, LookError> {
        let mut taken = Taken::new(limit);
        // The next version, and the position of the event before it.
        let (mut expected, mut before) = (from, 0);
        let stream = Key::stream(name.as_str());
        for part in self.parts_of(name, from)? {
            let held = part.look(self.mode);
            let part = held.part();
            let Some((mut list, base)) = part.list(&stream)? else { continue };
            let count = match bound >= part.last() {
                true => list.len(),
                false if bound < part.first() => 0,
                false => list.lower_bound(list.len(), part.relative(bound + 1))?,
            };
            let first = usize::try_from(from.saturating_sub(base)).unwrap_or(usize::MAX);
            if first < count && base + first as u64 > expected {
                let absolute = part.first() + u64::from(list.at(first)?);
                if let Some(damage) = self.damage_between(before, absolute) {
                    return match taken.locations.is_empty() {
                        true => Err(data_loss(self.shared, damage, damage.to).into()),
                        false => Ok(taken.so_far(before)),
                    };
                }
            }
            let mut indexes = first..count;
            let mut walk = Walk::new(part, || indexes.next().map(|index| list.at(index)).transpose());
            while let Some(position) = walk.next()? {
                if taken.is_full() {
                    let scanned_to = taken.last_position();
                    return Ok(taken.so_far(scanned_to));
                }
                taken.push(walk.locate(position, taken.room())?);
            }
            if let Some(last) = count.checked_sub(1) {
                before = part.first() + u64::from(list.at(last)?);
                expected = expected.max(base + count as u64);
            }
        }
        self.end_of_stream(name, taken, 0, bound)
    }

    /// Damage between two positions that lost events, not all of them known.
    fn damage_between(&self, before: u64, after: u64) -> Option<&Damage> {
        let mut damage = self.shared.index.damage().iter();
        damage.find(|damage| damage.to > before && damage.from < after && !self.snapshot.knows(damage))
    }

    /// The end of a stream, unless damage between two positions may hide more events.
    fn end_of_stream(
        &self,
        name: &StreamName,
        taken: Taken,
        above: u64,
        bound: u64,
    ) -> Result<Planned, LookError> {
        let damage = self.shared.index.damage();
        if damage.is_empty() {
            return Ok(Planned { locations: taken.locations, scanned_to: bound, end: true });
        }
        let head = self.snapshot.head(name.as_str(), bound, self.mode)?;
        let last = head.map_or(0, |(_, position)| position);
        for damage in damage.iter().filter(|damage| damage.loses_events()) {
            let from = self.snapshot.unknown_from(damage);
            let behind = from > last && from <= bound && damage.to > above;
            if behind && self.snapshot.stream_may_have_lost(damage, name.as_str(), self.mode)? {
                return match taken.locations.is_empty() {
                    true => Err(data_loss(self.shared, damage, damage.to).into()),
                    false => Ok(taken.so_far(last)),
                };
            }
        }
        Ok(Planned { locations: taken.locations, scanned_to: bound, end: true })
    }

    fn stream_backward(
        &self,
        name: &StreamName,
        from: Option<u64>,
        floor: u64,
        limit: Limit,
    ) -> Result<Planned, LookError> {
        let head = self.snapshot.head(name.as_str(), self.durable, self.mode)?;
        if head.is_none_or(|(version, _)| from.is_none_or(|from| version < from)) {
            // The page starts at the stream's end, and damage may hide a later end.
            let end = self.end_of_stream(name, Taken::new(limit), floor, self.durable)?;
            if head.is_none() {
                return Ok(Planned { scanned_to: floor, ..end });
            }
        }
        let (last, last_position) = head.expect("it is there");
        let start = from.map_or(last, |from| from.min(last));
        let mut page = Descent { taken: Taken::new(limit), expected: Some(start), above: last_position + 1 };
        let stream = Key::stream(name.as_str());
        for part in self.snapshot.parts().iter().rev() {
            if let Some(ended) = self.descend(part, &stream, floor, &mut page)? {
                return Ok(page.taken.finish(ended));
            }
            if page.expected.is_none() {
                break;
            }
        }
        if page.expected.is_some() && self.damage_between(floor, page.above).is_some() {
            // The stream's first events are lost.
            return match self.damage_between(floor, page.above) {
                Some(damage) if page.taken.locations.is_empty() => {
                    Err(data_loss(self.shared, damage, damage.from - 1).into())
                }
                _ => Ok(page.taken.so_far(page.above - 1)),
            };
        }
        Ok(Planned { locations: page.taken.locations, scanned_to: floor, end: true })
    }

    /// Takes the events of a stream in one part, newest first.
    fn descend(
        &self,
        part: &Part,
        stream: &Key,
        floor: u64,
        page: &mut Descent,
    ) -> Result<Option<PageEnd>, LookError> {
        let held = part.look(self.mode);
        let part = held.part();
        let Some((mut list, base)) = part.list(stream)? else {
            return Ok(None);
        };
        let Some(expected) = page.expected.filter(|expected| base <= *expected) else { return Ok(None) };
        let wanted = usize::try_from(expected - base + 1).unwrap_or(usize::MAX);
        let count = wanted.min(list.len());
        let top = part.first() + u64::from(list.at(count - 1)?);
        if count < wanted
            && let Some(damage) = self.damage_between(top.max(floor), page.above)
        {
            return match page.taken.locations.is_empty() {
                true => Err(data_loss(self.shared, damage, damage.from - 1).into()),
                false => Ok(Some(PageEnd { scanned_to: page.above - 1, end: false })),
            };
        }
        let mut indexes = (0..count).rev();
        let mut walk = Walk::new(part, || indexes.next().map(|index| list.at(index)).transpose());
        while let Some(position) = walk.next()? {
            if part.first() + u64::from(position) <= floor {
                return Ok(Some(PageEnd { scanned_to: floor, end: true }));
            }
            if page.taken.is_full() {
                let scanned_to = page.taken.last_position() - 1;
                return Ok(Some(PageEnd { scanned_to, end: false }));
            }
            let room = page.taken.room();
            page.taken.push(walk.locate(position, room)?);
        }
        page.above = part.first() + u64::from(list.at(0)?);
        page.expected = base.checked_sub(1);
        Ok(None)
    }
}

/// A page of a stream that is read backward.
struct Descent {
    taken: Taken,
    /// The next version; `None` below the first.
    expected: Option<u64>,
    /// The position of the last event taken.
    above: u64,
}

/// Where a page ends.
struct PageEnd {
    scanned_to: u64,
    end: bool,
}

impl Taken {
    fn finish(self, ended: PageEnd) -> Planned {
        Planned { locations: self.locations, scanned_to: ended.scanned_to, end: ended.end }
    }
}

/// The matching positions of one part, in order, and where their records lie. Once the index waits for the disk, the
/// walk announces later look-ups: a disk does many reads at once in about the time of one.
struct Walk<'a, N> {
    next: N,
    /// Positions that were announced to the disk.
    ahead: VecDeque<u32>,
    /// An error after those positions. It is returned if the page gets that far.
    fault: Option<LookupError>,
    locator: Locator<'a>,
}

impl<'a, N: FnMut() -> Result<Option<u32>, LookupError>> Walk<'a, N> {
    fn new(part: PartRef<'a>, next: N) -> Self {
        Self { next, ahead: VecDeque::new(), fault: None, locator: part.locator() }
    }

    fn next(&mut self) -> Result<Option<u32>, LookupError> {
        match (self.ahead.pop_front(), self.fault.take()) {
            (Some(position), fault) => {
                self.fault = fault;
                Ok(Some(position))
            }
            (None, Some(fault)) => Err(fault),
            (None, None) => (self.next)(),
        }
    }

    /// Where the record of the current position lies. `room` is the number of events that the page may still take,
    /// this one included.
    fn locate(&mut self, position: u32, room: usize) -> Result<Location, LookupError> {
        let location = self.locator.location(position)?;
        if self.locator.has_waited() {
            self.look_ahead(READS_AHEAD.min(room.saturating_sub(1)));
        }
        Ok(location)
    }

    fn look_ahead(&mut self, wanted: usize) {
        while self.ahead.len() < wanted && self.fault.is_none() {
            match (self.next)() {
                Ok(Some(next)) => {
                    self.locator.will_locate(next);
                    self.ahead.push_back(next);
                }
                Ok(None) => break,
                Err(fault) => self.fault = Some(fault),
            }
        }
    }
}

/// Takes the matches of one part. Returns how far the page got once it is full.
fn take_forward(
    part: PartRef<'_>,
    query: &Query,
    at: u64,
    readable: u64,
    taken: &mut Taken,
) -> Result<Option<u64>, LookError> {
    let mut plan = part.plan(query)?;
    let mut from = part.relative(at + 1);
    let last = part.relative(readable.min(part.last()));
    let mut walk = Walk::new(part, || {
        let next = plan.next(from)?.filter(|next| *next <= last);
        from = next.map_or(from, |next| next + 1);
        Ok(next)
    });
    while let Some(next) = walk.next()? {
        let absolute = part.first() + u64::from(next);
        if taken.is_full() {
            let ends_at = match taken.ends_at {
                Some(ends_at) => ends_at,
                None => part.batch_end(taken.last_position())?,
            };
            taken.ends_at = Some(ends_at);
            if absolute > ends_at {
                // Nothing matches between the last batch and this one, so the page ends before this one.
                return Ok(Some(part.batch_start(absolute)?.max(at + 1) - 1));
            }
        }
        taken.push(walk.locate(next, taken.room())?);
    }
    if taken.is_full() && taken.ends_at.is_none() {
        // No batch extends beyond its part.
        taken.ends_at = Some(part.last());
    }
    Ok(None)
}

/// Takes the matches of one part, newest first. Returns how far the page got once it is full.
fn take_backward(
    part: PartRef<'_>,
    query: &Query,
    at: u64,
    readable: u64,
    taken: &mut Taken,
) -> Result<Option<u64>, LookError> {
    let mut plan = part.plan(query)?;
    let mut from = Some(part.relative(at.min(part.last())));
    let mut walk = Walk::new(part, || {
        let Some(start) = from else { return Ok(None) };
        let previous = plan.previous(start)?;
        from = previous.and_then(|previous| previous.checked_sub(1));
        Ok(previous)
    });
    while let Some(previous) = walk.next()? {
        if part.first() + u64::from(previous) <= readable {
            break;
        }
        if taken.is_full() {
            return Ok(Some(taken.last_position() - 1));
        }
        taken.push(walk.locate(previous, taken.room())?);
    }
    Ok(None)
}
