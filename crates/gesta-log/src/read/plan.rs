//! Which events a page holds and how far it gets, from the index alone.
//!
//! The store's unit of `examined` is a match in the index.

use gesta_core::{Direction, Limit, Place, Query, Read, ReadError, Select, StreamName};

use super::data_loss;
use crate::index::{Index, Location, StreamEntry};
use crate::shared::Shared;

/// What a read sees: the index, up to the durable position.
pub(super) struct View<'a> {
    pub(super) index: &'a Index,
    pub(super) shared: &'a Shared,
    pub(super) durable: u64,
}

/// Where the events of a page lie, and how far it got.
pub(super) struct Planned {
    pub(super) locations: Vec<Location>,
    pub(super) scanned_to: u64,
    pub(super) end: bool,
}

/// What a page has taken so far, against its limit.
struct Taken {
    locations: Vec<Location>,
    bytes: u64,
    limit: Limit,
}

impl Taken {
    const fn new(limit: Limit) -> Self {
        Self { locations: Vec::new(), bytes: 0, limit }
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
}

impl View<'_> {
    pub(super) fn plan(&self, read: &Read) -> Result<Planned, ReadError> {
        let until = read.until.as_ref().map(|until| until.sequence(0));
        match (&read.select, read.direction) {
            (Select::Log { query, from, .. }, Direction::Forward) => {
                self.log_forward(query, self.sequence(from), until.unwrap_or(self.durable), read.limit)
            }
            (Select::Log { query, from, .. }, Direction::Backward) => {
                self.log_backward(query, self.sequence(from), until.unwrap_or(0), read.limit)
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

    fn sequence(&self, place: &Place) -> u64 {
        match place {
            Place::Start => 0,
            Place::End => self.durable,
            Place::At(checkpoint) => checkpoint.sequence(0),
        }
    }

    fn location(&self, position: u64) -> Location {
        self.index.location(position).expect("a match is indexed, so it has a location")
    }

    /// Whole batches: a page is cut only between two of them.
    fn log_forward(&self, query: &Query, at: u64, bound: u64, limit: Limit) -> Result<Planned, ReadError> {
        let lost = self.index.damage().iter().find(|damage| {
            damage.loses_events()
                && damage.to > at
                && damage.from <= bound
                && self.index.may_have_lost(damage, query)
        });
        if let Some(damage) = lost.filter(|damage| damage.from <= at + 1) {
            return Err(data_loss(self.shared, damage, damage.to));
        }
        let readable = lost.map_or(bound, |damage| damage.from - 1);
        let mut plan = self.index.plan(query);
        let mut taken = Taken::new(limit);
        let mut batch_end = at;
        let mut position = at;
        while let Some(next) = plan.next(position + 1).filter(|next| *next <= readable) {
            if next > batch_end {
                if taken.is_full() {
                    // Nothing matches between the last batch and this one, so the page gets up to this one.
                    let scanned_to = self.index.batch_start(next).max(at + 1) - 1;
                    return Ok(Planned { locations: taken.locations, scanned_to, end: false });
                }
                batch_end = self.index.batch_end(next);
            }
            position = next;
            match self.index.location(next) {
                Some(location) => taken.push(location),
                None => assert!(matches!(query, Query::All), "a posting has a location"),
            }
        }
        Ok(Planned { locations: taken.locations, scanned_to: readable.max(at), end: readable == bound })
    }

    fn log_backward(&self, query: &Query, at: u64, floor: u64, limit: Limit) -> Result<Planned, ReadError> {
        let lost = self.index.damage().iter().rev().find(|damage| {
            damage.loses_events()
                && damage.from <= at
                && damage.to > floor
                && self.index.may_have_lost(damage, query)
        });
        if let Some(damage) = lost.filter(|damage| damage.to >= at) {
            return Err(data_loss(self.shared, damage, damage.from - 1));
        }
        let readable = lost.map_or(floor, |damage| damage.to);
        let mut plan = self.index.plan(query);
        let mut taken = Taken::new(limit);
        let mut position = at;
        while let Some(next) = plan.previous(position).filter(|next| *next > readable) {
            if taken.is_full() {
                return Ok(Planned { locations: taken.locations, scanned_to: position, end: false });
            }
            position = next - 1;
            if let Some(location) = self.index.location(next) {
                taken.push(location);
            }
        }
        Ok(Planned { locations: taken.locations, scanned_to: readable.min(at), end: readable == floor })
    }

    fn stream_forward(
        &self,
        name: &StreamName,
        from: u64,
        bound: u64,
        limit: Limit,
    ) -> Result<Planned, ReadError> {
        let Some(entry) = self.index.stream(name.as_str()) else {
            return self.absent_stream(name, bound);
        };
        let first = entry.index_of(from);
        let count = entry.count_up_to(bound);
        let mut taken = Taken::new(limit);
        for index in first..count {
            if let Some(error) = self.lost_before(entry, index, from, &taken) {
                return error;
            }
            if taken.is_full() {
                let scanned_to = entry.positions()[index - 1];
                return Ok(Planned { locations: taken.locations, scanned_to, end: false });
            }
            taken.push(self.location(entry.positions()[index]));
        }
        self.end_of_stream(name, taken, bound)
    }

    /// Stops before events of the stream that were lost just before that index.
    fn lost_before(
        &self,
        entry: &StreamEntry,
        index: usize,
        from: u64,
        taken: &Taken,
    ) -> Option<Result<Planned, ReadError>> {
        let expected = index.checked_sub(1).map_or(0, |before| entry.version_of(before) + 1).max(from);
        if entry.version_of(index) == expected {
            return None;
        }
        let before = index.checked_sub(1).map_or(0, |before| entry.positions()[before]);
        let position = entry.positions()[index];
        let damage =
            self.index.damage().iter().find(|damage| damage.to > before && damage.from < position)?;
        if taken.locations.is_empty() {
            return Some(Err(data_loss(self.shared, damage, damage.to)));
        }
        Some(Ok(Planned { locations: taken.locations.clone(), scanned_to: before, end: false }))
    }

    /// The version to begin with, going backward, is lost: it lies between two versions that are there.
    fn lost_at(
        &self,
        entry: &StreamEntry,
        from: Option<u64>,
        count: usize,
        durable: usize,
    ) -> Option<ReadError> {
        let is_there = count.checked_sub(1).is_some_and(|last| Some(entry.version_of(last)) == from);
        if from.is_none() || is_there || count == durable {
            return None;
        }
        let after = entry.positions()[count];
        let before = count.checked_sub(1).map_or(0, |last| entry.positions()[last]);
        let damage = self.index.damage().iter().find(|damage| damage.to > before && damage.from < after)?;
        Some(data_loss(self.shared, damage, damage.from - 1))
    }

    /// The end of a stream, unless damage may hide that it goes on.
    fn end_of_stream(&self, name: &StreamName, taken: Taken, bound: u64) -> Result<Planned, ReadError> {
        let last = self.index.stream(name.as_str()).map_or(0, |entry| {
            entry.count_up_to(bound).checked_sub(1).map_or(0, |index| entry.positions()[index])
        });
        let hides = |damage: &&crate::Damage| {
            damage.loses_events()
                && damage.from > last
                && damage.from <= bound
                && self.index.stream_may_have_lost(damage, name.as_str())
        };
        match self.index.damage().iter().find(hides) {
            None => Ok(Planned { locations: taken.locations, scanned_to: bound, end: true }),
            Some(damage) if taken.locations.is_empty() => Err(data_loss(self.shared, damage, damage.to)),
            Some(_) => Ok(Planned { locations: taken.locations, scanned_to: last, end: false }),
        }
    }

    fn absent_stream(&self, name: &StreamName, bound: u64) -> Result<Planned, ReadError> {
        let hides = |damage: &&crate::Damage| damage.loses_events() && damage.from <= bound;
        match self.index.damage().iter().find(hides) {
            Some(damage) if self.index.stream_may_have_lost(damage, name.as_str()) => {
                Err(data_loss(self.shared, damage, damage.to))
            }
            _ => Ok(Planned { locations: Vec::new(), scanned_to: bound, end: true }),
        }
    }

    fn stream_backward(
        &self,
        name: &StreamName,
        from: Option<u64>,
        floor: u64,
        limit: Limit,
    ) -> Result<Planned, ReadError> {
        let Some(entry) = self.index.stream(name.as_str()) else {
            return self
                .absent_stream(name, self.durable)
                .map(|planned| Planned { scanned_to: floor, ..planned });
        };
        let durable = entry.count_up_to(self.durable);
        let count = from.map_or(durable, |from| entry.index_of(from.saturating_add(1)).min(durable));
        if from.is_none_or(|from| entry.version_of(durable) <= from) {
            // Starting at its end: damage may hide that the end is further on.
            self.end_of_stream(name, Taken::new(limit), self.durable)?;
        }
        let first = entry.count_up_to(floor);
        let mut taken = Taken::new(limit);
        if let Some(error) = self.lost_at(entry, from, count, durable) {
            return Err(error);
        }
        for index in (first..count).rev() {
            if taken.is_full() {
                let scanned_to = entry.positions()[index + 1] - 1;
                return Ok(Planned { locations: taken.locations, scanned_to, end: false });
            }
            taken.push(self.location(entry.positions()[index]));
            if let Some(error) = self.lost_before(entry, index, 0, &taken) {
                return error;
            }
        }
        Ok(Planned { locations: taken.locations, scanned_to: floor, end: true })
    }
}
