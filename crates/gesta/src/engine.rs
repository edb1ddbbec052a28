//! The loop behind every command: check for a repeat, load, decide, append; start over if another writer was faster.
//!
//! *Invariants:* a command with a known key is never decided again. After a batch in doubt, only the same batch is sent.
//! The append expects exactly the versions that the decision read.

use std::num::NonZeroU32;

use gesta_core::{
    AppendError, Appended, Batch, Checkpoint, CommandKey, Direction, EventId, EventStore, Expected, Limit,
    NewEvent, Place, Query, Read, ReadError, RecordedEvent, Retry, Select, StreamName, Version,
};

use crate::boundary::{Boundary, expected};
use crate::error::{EncodeError, LoadError, SendError};
use crate::fact::Fact;
use crate::handle::{Call, Written};
use crate::load::load_boundary;

/// How often a batch in doubt is sent again before the caller gets the doubt.
const RESENDS: u32 = 3;

impl Call {
    /// Runs the loop for a boundary.
    pub(crate) async fn run<B: Boundary, E>(
        self,
        mut boundary: B,
        mut decide: impl FnMut(&B) -> Result<Vec<Fact>, SendError<E>>,
    ) -> Result<Written, SendError<E>> {
        let store = &**self.gesta.event_store();
        if let Some(first) = self.first_answer(&mut boundary).await? {
            return Ok(repeat(store, first).await?);
        }
        for _ in 0..self.gesta.attempts_max() {
            load_boundary(store, &mut boundary).await?;
            self.check_expectation(store, &mut boundary).await?;
            let facts = decide(&boundary)?;
            if facts.is_empty() {
                return Ok(nothing_to_record(&mut boundary));
            }
            let batch = self.batch(&facts, &mut boundary)?;
            let sent = Sent { id: batch.events[0].id, batch };
            match sent.settle(store).await {
                Ok(appended) if !appended.repeated => return Ok(written(facts, &sent.batch, appended)),
                Ok(appended) => {
                    // An append in doubt had happened, or the same command was sent twice at once.
                    let mut first = repeat(store, appended).await?;
                    first.repeated = first.events.first().is_none_or(|event| event.id() != sent.id);
                    return Ok(first);
                }
                Err(SendError::Append(
                    AppendError::Conflict { .. } | AppendError::ConditionFailed { .. },
                )) => {}
                Err(error) => return Err(error),
            }
        }
        Err(SendError::Contended { attempts: self.gesta.attempts_max() })
    }

    async fn first_answer<B: Boundary, E>(&self, boundary: &mut B) -> Result<Option<Appended>, SendError<E>> {
        let Some(command) = self.command.clone() else { return Ok(None) };
        let near = near(boundary, &command)?;
        self.gesta.event_store().repeat_of(command, near).await.map_err(SendError::Append)
    }

    async fn check_expectation<B: Boundary, E>(
        &self,
        store: &dyn EventStore,
        boundary: &mut B,
    ) -> Result<(), SendError<E>> {
        let Some(expected) = self.expected else { return Ok(()) };
        let stream = boundary.parts().first().and_then(|part| part.expectation());
        let Some((stream, actual)) = stream else { return Ok(()) };
        let last = match (expected, actual) {
            (Expected::Event { version, .. }, Some(last)) if version == last => {
                id_at(store, &stream, last).await.map_err(LoadError::from)?
            }
            _ => None,
        };
        if expected.is_met_by(actual, |id| actual.filter(|_| last == Some(id))) {
            return Ok(());
        }
        Err(SendError::VersionMismatch { stream, expected, actual })
    }

    fn batch<B: Boundary>(&self, facts: &[Fact], boundary: &mut B) -> Result<Batch, EncodeError> {
        let (meta, environment) = (self.gesta.meta(), self.gesta.environment());
        let (tags, metadata) = (meta.tags()?, meta.to_bytes());
        let time = meta.happened_at().unwrap_or_else(|| environment.now());
        let events = facts.iter().map(|fact| NewEvent {
            schema_version: fact.schema_version,
            metadata: metadata.clone(),
            tags: fact.tags.iter().chain(&tags).cloned().collect(),
            ..NewEvent::json(
                environment.event_id(),
                fact.stream.clone(),
                fact.event_type.clone(),
                time,
                fact.data.clone(),
            )
        });
        let mut batch = Batch::new(events);
        batch.command = self.command.clone();
        let parts = boundary.parts();
        batch.conditions = parts.iter().filter_map(|part| part.condition()).collect();
        batch.expect = expectations(parts.iter().filter_map(|part| part.expectation()));
        Ok(batch)
    }
}

/// The id of the event of a stream at a version.
async fn id_at(
    store: &dyn EventStore,
    stream: &StreamName,
    version: Version,
) -> Result<Option<EventId>, ReadError> {
    let select = Select::Stream { name: stream.clone(), from: Some(version) };
    let page = store.read(Read::from(select).limit(Limit::events(NonZeroU32::MIN))).await?;
    Ok(page.events.first().filter(|event| event.version() == version).map(|event| event.id()))
}

/// One expectation per stream. If two parts read a stream at different versions, the older one is expected, which fails:
/// the decision saw states that never existed together.
fn expectations(seen: impl Iterator<Item = (StreamName, Option<Version>)>) -> Vec<(StreamName, Expected)> {
    let mut oldest: Vec<(StreamName, Option<Version>)> = Vec::new();
    for (stream, version) in seen {
        match oldest.iter_mut().find(|(known, _)| *known == stream) {
            Some((_, known)) => *known = (*known).min(version),
            None => oldest.push((stream, version)),
        }
    }
    oldest.into_iter().map(|(stream, version)| (stream, expected(version))).collect()
}

/// A stream that the command would write to. It tells the store where to look for the key.
fn near<B: Boundary>(boundary: &mut B, command: &CommandKey) -> Result<StreamName, LoadError> {
    let parts = boundary.parts();
    if let Some((stream, _)) = parts.iter().find_map(|part| part.expectation()) {
        return Ok(stream);
    }
    if let Some(stream) = parts.iter().find_map(|part| named_by(part.condition()?.fail_if_any)) {
        return Ok(stream);
    }
    // Without a named stream the boundary spans the log. The store then has one place for keys, so any name will do.
    Ok(StreamName::new(format!("command-{}", command.request[0]))?)
}

/// A stream that the query names.
fn named_by(query: Query) -> Option<StreamName> {
    match query {
        Query::All => None,
        Query::Any(items) => items.into_iter().find_map(|item| item.stream),
    }
}

/// A batch that is sent at least once.
struct Sent {
    id: EventId,
    batch: Batch,
}

impl Sent {
    /// Appends the batch. While the outcome is in doubt, sends the same batch again.
    async fn settle<E>(&self, store: &dyn EventStore) -> Result<Appended, SendError<E>> {
        let mut doubt = None;
        for _ in 0..=RESENDS {
            match store.append(self.batch.clone()).await {
                Ok(appended) => return Ok(appended),
                Err(AppendError::InDoubt { reason }) => doubt = Some(reason),
                // After a doubt, most other errors only mean that the store did not look.
                Err(error) if doubt.is_none() || settles(&error) => return Err(SendError::Append(error)),
                Err(_) => {}
            }
        }
        let reason = doubt.expect("every other outcome was returned");
        Err(SendError::InDoubt { reason, batch: Box::new(self.batch.clone()) })
    }
}

/// True if the error also settles earlier sendings of the batch: they were not and will not be recorded. A stream that is
/// behind the expectation settles nothing.
fn settles(error: &AppendError) -> bool {
    let looked = matches!(
        error,
        AppendError::Conflict { .. }
            | AppendError::ConditionFailed { .. }
            | AppendError::IdTaken { .. }
            | AppendError::KeyReused
    );
    looked && error.retry() == Retry::Never
}

fn written(facts: Vec<Fact>, batch: &Batch, appended: Appended) -> Written {
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

fn nothing_to_record<B: Boundary>(boundary: &mut B) -> Written {
    let parts = boundary.parts();
    let seen = parts.iter().filter_map(|part| part.expectation());
    let versions = seen.filter_map(|(stream, version)| Some((stream, version?))).collect::<Vec<_>>();
    let checkpoints = parts.iter().filter_map(|part| part.scanned_to());
    let checkpoint =
        checkpoints.cloned().reduce(|a, b| a.meet(&b)).expect("loading refuses a boundary without parts");
    let versions = last_versions(versions.iter().map(|(stream, version)| (stream, *version)));
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
async fn repeat(store: &dyn EventStore, first: Appended) -> Result<Written, LoadError> {
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
