//! What a command wrote: the events of an append, of an earlier sending of the command, or none.

use gesta_core::{
    Appended, Batch, Checkpoint, Direction, EventId, EventStore, Limit, Place, Placed, Query, Read,
    RecordedEvent, Select, StreamName, Version,
};

use crate::error::LoadError;
use crate::fact::Fact;
use crate::handle::Committed;

/// What a call wrote, or for a repeat, what the first sending wrote.
pub(crate) struct Written {
    pub(crate) facts: Vec<Fact>,
    /// The ids of the events, in the same order.
    pub(crate) ids: Vec<EventId>,
    /// For a repeat, the events as recorded; otherwise empty.
    pub(crate) events: Vec<RecordedEvent>,
    pub(crate) places: Vec<Placed>,
    pub(crate) versions: Vec<(StreamName, Version)>,
    pub(crate) checkpoint: Checkpoint,
    pub(crate) repeated: bool,
}

impl Written {
    pub(crate) fn with<E>(self, events: Vec<E>) -> Committed<E> {
        let Self { places, versions, checkpoint, repeated, .. } = self;
        Committed { events, places, versions, checkpoint, repeated }
    }
}

/// What an append wrote.
pub(crate) fn written(facts: Vec<Fact>, batch: &Batch, appended: Appended) -> Written {
    let Appended { places, checkpoint, .. } = appended;
    let streams =
        facts.iter().map(|fact| &fact.stream).zip(&places).map(|(stream, place)| (stream, place.version));
    let versions = last_versions(streams);
    let ids = batch.events.iter().map(|event| event.id).collect();
    Written { facts, ids, events: Vec::new(), places, versions, checkpoint, repeated: false }
}

fn last_versions<'a>(events: impl Iterator<Item = (&'a StreamName, Version)>) -> Vec<(StreamName, Version)> {
    let mut versions: Vec<(StreamName, Version)> = Vec::new();
    for (stream, version) in events {
        match versions.iter_mut().find(|(known, _)| known == stream) {
            Some((_, known)) => *known = (*known).max(version),
            None => versions.push((stream.clone(), version)),
        }
    }
    versions
}

/// The result of a command that was accepted without events.
pub(crate) fn nothing_to_record(versions: Vec<(StreamName, Version)>, checkpoint: Checkpoint) -> Written {
    Written {
        facts: Vec::new(),
        ids: Vec::new(),
        events: Vec::new(),
        places: Vec::new(),
        versions,
        checkpoint,
        repeated: false,
    }
}

/// The result of an earlier sending of the command, read back from the log.
pub(crate) async fn repeat(store: &dyn EventStore, first: Appended) -> Result<Written, LoadError> {
    let events = read_back(store, &first).await?;
    let facts = events.iter().map(Fact::of_recorded).collect::<Result<Vec<_>, _>>()?;
    let streams =
        facts.iter().map(|fact| &fact.stream).zip(&events).map(|(stream, event)| (stream, event.version()));
    let versions = last_versions(streams);
    let ids = events.iter().map(|event| event.id()).collect();
    let Appended { places, checkpoint, .. } = first;
    Ok(Written { facts, ids, events, places, versions, checkpoint, repeated: true })
}

async fn read_back(store: &dyn EventStore, appended: &Appended) -> Result<Vec<RecordedEvent>, LoadError> {
    let (Some(first), Some(last)) = (appended.places.first(), appended.places.last()) else {
        return Ok(Vec::new());
    };
    let partition = first.position.partition;
    let at = |sequence: u64| appended.checkpoint.clone().with(partition, sequence);
    let (mut from, until): (Checkpoint, Checkpoint) =
        (at(first.position.sequence - 1), at(last.position.sequence));
    let mut events = Vec::with_capacity(appended.places.len());
    loop {
        let select = Select::Log { query: Query::All, from: Place::At(from), lanes: None };
        let read = Read {
            select,
            direction: Direction::Forward,
            until: Some(until.clone()),
            limit: Limit::default(),
        };
        let page = store.read(read).await?;
        let ours =
            |event: &RecordedEvent| appended.places.iter().any(|place| place.position == event.position());
        events.extend(page.events.into_iter().filter(ours));
        if page.end {
            return Ok(events);
        }
        from = page.scanned_to;
    }
}
