//! Compares the events of an audit with those that a log holds in the same range.

use std::collections::BTreeMap;

use gesta_core::{Checkpoint, EventStore, Place, Position, Query, Read, RecordedEvent, When};
use gesta_wire::QueryJson;
use serde::Deserialize as _;

use super::line::{EventLine, Manifest, event_line};
use crate::failure::{Failure, Outcome};

/// The events of a log that match the query of a manifest, in its range. Each is compared with the line of its position. An event
/// without a line is found.
pub(super) struct LogEvents<'a> {
    store: &'a dyn EventStore,
    query: Query,
    /// Where the next page begins.
    from: Checkpoint,
    until: Checkpoint,
    /// True if all events were read.
    at_end: bool,
    /// Events that were read and whose lines are still to come.
    waiting: BTreeMap<(u16, u64), RecordedEvent>,
}

impl<'a> LogEvents<'a> {
    /// # Errors
    /// A failure if the log ends before the file does, or if it contradicts the manifest.
    pub(super) fn new(store: &'a dyn EventStore, manifest: &Manifest) -> Outcome<Self> {
        let (after, until) = range(manifest)?;
        let head = pollster::block_on(store.locate(When::Head))?;
        if head.sequences().len() != until.sequences().len() {
            return Err(Failure::new("the log has another number of partitions"));
        }
        // A restored log is another store with the same events in the same places.
        let here = |place: Checkpoint| match place.store() == head.store() {
            true => place,
            false => Checkpoint::new(head.store(), place.sequences()),
        };
        let (after, until) = (here(after), here(until));
        let ends = || until.sequences().zip(head.sequences());
        if ends().any(|(until, head)| until > head) {
            return Err(Failure::new(format!("the log ends at {head}, before the events of the file do")));
        }
        if manifest.closed && ends().any(|(until, head)| until == head) {
            return Err(Failure::new(
                "the manifest says that no event can come into this time any more, but the log has no later event",
            ));
        }
        check_times(store, manifest, &after, &until)?;
        let query = QueryJson::deserialize(&manifest.query).map_err(|error| error.to_string());
        let query = query.and_then(|query| query.to_query().map_err(|error| error.to_string()));
        let query = query.map_err(|error| Failure::new("the manifest's `query` is no query").cause(error))?;
        Ok(Self { store, query, from: after, until, at_end: false, waiting: BTreeMap::new() })
    }

    /// Compares a line with the line that the log gives now.
    pub(super) fn compare(
        &mut self,
        position: Position,
        line: &EventLine<'_>,
        source: &[u8],
    ) -> Result<(), String> {
        let at = (position.partition, position.sequence);
        while !self.at_end && self.from.sequence(position.partition) < position.sequence {
            self.read_on().map_err(|error| format!("the log cannot be read there: {error}"))?;
        }
        if let Some((&(partition, sequence), _)) = self.waiting.range((position.partition, 0)..at).next() {
            return Err(lacks(Position { partition, sequence }));
        }
        let stored = self.waiting.remove(&at).map(|event| event_line(&event, &line.redacted).0);
        if stored.is_some_and(|stored| stored.as_bytes() == source) {
            return Ok(());
        }
        Err("the log does not hold this event in this place".to_owned())
    }

    /// Checks that every event of the log had its line.
    pub(super) fn finish(mut self) -> Outcome {
        while !self.at_end && self.waiting.is_empty() {
            self.read_on().map_err(Failure::from)?;
        }
        match self.waiting.keys().next() {
            None => Ok(()),
            Some(&(partition, sequence)) => Err(Failure::new(lacks(Position { partition, sequence }))),
        }
    }

    fn read_on(&mut self) -> Result<(), gesta_core::ReadError> {
        let from = Place::At(self.from.clone());
        let read = Read::log_from(self.query.clone(), from).until(self.until.clone());
        let page = pollster::block_on(self.store.read(read))?;
        let events = page.events.into_iter();
        self.waiting.extend(events.map(|event| {
            let Position { partition, sequence } = event.position();
            ((partition, sequence), event)
        }));
        (self.from, self.at_end) = (page.scanned_to, page.end);
        Ok(())
    }
}

/// Checks that the places of a manifest are those of its times in the log.
fn check_times(
    store: &dyn EventStore,
    manifest: &Manifest,
    after: &Checkpoint,
    until: &Checkpoint,
) -> Outcome {
    let Some(between) = manifest.between else { return Ok(()) };
    let (begin, end) = between.places(store)?;
    // While the time is not closed, events may have come into it since.
    let is_whole = || match manifest.closed {
        true => until.sequences().eq(end.sequences()),
        false => until.sequences().zip(end.sequences()).all(|(until, end)| until <= end),
    };
    match after.sequences().eq(begin.sequences()) && is_whole() {
        true => Ok(()),
        false => {
            Err(Failure::new("the manifest's `after` and `until` are not the places of its times in the log"))
        }
    }
}

fn lacks(position: Position) -> String {
    format!("the log has a matching event at position {position}, which is missing in the file")
}

/// The places between which the events of a file lie.
pub(super) fn range(manifest: &Manifest) -> Outcome<(Checkpoint, Checkpoint)> {
    let place = |name: &str, text: &str| {
        text.parse::<Checkpoint>()
            .map_err(|error| Failure::new(format!("the manifest's `{name}` is no place")).because(&error))
    };
    let (after, until) = (place("after", &manifest.after)?, place("until", &manifest.until)?);
    if !until.is_comparable(&after) || !until.at_least(&after) || until.store().to_string() != manifest.store
    {
        return Err(Failure::new("the manifest's `store`, `after` and `until` do not fit together"));
    }
    Ok((after, until))
}
