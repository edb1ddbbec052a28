//! Loading: pages of events folded into states, as they are now or were before.

use std::num::NonZeroU32;

use gesta_core::{
    Checkpoint, Direction, EventStore, Limit, Page, Read, Select, Snapshot, StreamName, Timestamp, Version,
    When,
};

use crate::boundary::{At, Boundary, Part, fold_one};
use crate::error::LoadError;
use crate::pages::{PAGE, Pages};
use crate::snapshot::planted::{Bug, planted};
use crate::snapshot::{Bounds, Declared, SnapshotUse, restored};
use crate::state::State;

/// A state and the place in the log that it was loaded at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Loaded<S> {
    /// The state.
    pub state: S,
    /// The version of the last event that was folded in; `None` without events.
    pub version: Option<Version>,
    /// How far the log was read.
    pub checkpoint: Checkpoint,
}

impl<S> Loaded<S> {
    pub(crate) fn map<T>(self, map: impl FnOnce(S) -> T) -> Loaded<T> {
        Loaded { state: map(self.state), version: self.version, checkpoint: self.checkpoint }
    }
}

impl<S> std::ops::Deref for Loaded<S> {
    type Target = S;

    fn deref(&self) -> &S {
        &self.state
    }
}

/// A point in the history of an entity.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AsOf {
    /// After the event with that version.
    Version(Version),
    /// At a place in the log.
    Checkpoint(Checkpoint),
    /// All events recorded up to that time. The answer can change until a later event is recorded.
    RecordedAt(Timestamp),
    /// All events whose `time` is at or before that time, in the order of their versions. `time` is set by the producer;
    /// when the events were recorded does not matter.
    Time(Timestamp),
}

/// Where states are loaded from: an event store, and perhaps snapshots.
#[derive(Clone, Copy)]
pub(crate) struct Source<'a> {
    pub(crate) events: &'a dyn EventStore,
    pub(crate) snapshots: Option<&'a SnapshotUse>,
}

/// Loads the missing events of each part of a boundary. Several parts are read up to one place in the log, so their
/// states belong together.
pub(crate) async fn load_boundary<B: Boundary>(
    source: Source<'_>,
    boundary: &mut B,
) -> Result<(), LoadError> {
    let parts = boundary.parts();
    if parts.is_empty() {
        return Err(LoadError::EmptyBoundary { tag: None });
    }
    let until = if parts.len() > 1 { Some(source.events.locate(When::Head).await?) } else { None };
    for part in parts {
        load_part(source, part, until.as_ref()).await?;
    }
    Ok(())
}

pub(crate) async fn load_part(
    source: Source<'_>,
    part: &mut dyn Part,
    until: Option<&Checkpoint>,
) -> Result<(), LoadError> {
    let snapshots = source.snapshots.zip(part.declared());
    let version = |part: &dyn Part| part.expectation().and_then(|(_, version)| version);
    let mut first = None;
    if let Some((snapshots, (declared, stream))) = &snapshots
        && version(part).is_none()
    {
        let bounds = Bounds { until, at_most: None };
        let restore = &mut |snapshot: &Snapshot| part.restore(snapshot);
        first =
            snapshots.start(source.events, declared, stream, bounds, restore).await?.map(|start| start.page);
    }
    let base = version(part);
    let (select, until) = (part.next()?, until.cloned());
    let read = Read { select, direction: Direction::Forward, until, limit: PAGE };
    let mut pages = Pages::with_first(source.events, read, first);
    while let Some(page) = pages.next().await? {
        for event in &page.events {
            part.apply(event)?;
        }
        part.reached(page.scanned_to);
    }
    if let (Some((snapshots, (declared, stream))), Some(version)) = (&snapshots, version(part)) {
        snapshots.passed(declared, stream, base, version);
    }
    Ok(())
}

pub(crate) async fn load<S: State>(source: Source<'_>, stream: StreamName) -> Result<Loaded<S>, LoadError> {
    let mut at = At::<S>::stream(stream);
    load_part(source, &mut at, None).await?;
    let (state, version, scanned_to) = at.into_parts();
    Ok(Loaded { state, version, checkpoint: scanned_to.expect("a loaded part has been read") })
}

pub(crate) async fn load_at<S: State>(
    source: Source<'_>,
    stream: StreamName,
    as_of: AsOf,
) -> Result<Loaded<S>, LoadError> {
    match as_of {
        AsOf::Version(version) => load_version(source, stream, version).await,
        AsOf::Checkpoint(until) => fold_until(source, stream, Some(until), None).await,
        AsOf::RecordedAt(time) => {
            let until = source.events.locate(When::RecordedUpTo(time)).await?;
            fold_until(source, stream, Some(until), None).await
        }
        // The events of a snapshot may be later by their own `time`.
        AsOf::Time(time) => {
            let snapshots = source.snapshots.filter(|_| planted(Bug::UsedByTime));
            fold_until(Source { snapshots, ..source }, stream, None, Some(time)).await
        }
    }
}

/// A fold that has begun, from a snapshot or from nothing.
struct Begun<S> {
    state: S,
    version: Option<Version>,
    /// The page after the snapshot.
    first: Option<Page>,
}

/// Begins a fold of a stream from a snapshot, if there is one.
async fn begin<S: State>(
    source: Source<'_>,
    stream: &StreamName,
    bounds: Bounds<'_>,
) -> Result<Begun<S>, LoadError> {
    let mut begun = Begun { state: S::default(), version: None, first: None };
    if let Some((snapshots, declared)) = source.snapshots.zip(Declared::of::<S>()) {
        let restore = &mut |snapshot: &Snapshot| {
            let state = restored::<S>(snapshot);
            state.map(|state| begun.state = state).is_some()
        };
        if let Some(start) = snapshots.start(source.events, &declared, stream, bounds, restore).await? {
            begun.version = Some(start.version);
            begun.first = Some(start.page);
        }
    }
    Ok(begun)
}

async fn fold_until<S: State>(
    source: Source<'_>,
    stream: StreamName,
    until: Option<Checkpoint>,
    happened_by: Option<Timestamp>,
) -> Result<Loaded<S>, LoadError> {
    let bounds = Bounds { until: until.as_ref(), at_most: None };
    let Begun { mut state, mut version, first } = begin::<S>(source, &stream, bounds).await?;
    let select = Select::Stream { name: stream.clone(), from: version.map(Version::next) };
    let read = Read { select, direction: Direction::Forward, until: until.clone(), limit: PAGE };
    let mut pages = Pages::with_first(source.events, read, first);
    let mut checkpoint = None;
    while let Some(page) = pages.next().await? {
        for event in &page.events {
            if happened_by.is_none_or(|time| event.time() <= time) {
                fold_one(&mut state, event)?;
                version = Some(event.version());
            }
        }
        checkpoint = Some(page.scanned_to);
    }
    Ok(Loaded { state, version, checkpoint: checkpoint.expect("a read has a page") })
}

async fn load_version<S: State>(
    source: Source<'_>,
    stream: StreamName,
    asked: Version,
) -> Result<Loaded<S>, LoadError> {
    let bounds = Bounds { until: None, at_most: Some(asked) };
    let Begun { mut state, version, mut first } = begin::<S>(source, &stream, bounds).await?;
    let mut next = version.map_or(Version::FIRST, Version::next);
    loop {
        let page = match first.take() {
            Some(page) => page,
            None => {
                let wanted = u32::try_from((asked.get() - next.get()).saturating_add(1)).unwrap_or(u32::MAX);
                let events = NonZeroU32::new(wanted).unwrap_or(NonZeroU32::MIN).min(PAGE.events);
                let select = Select::Stream { name: stream.clone(), from: Some(next) };
                let limit = Limit { events, ..PAGE };
                source.events.read(Read { select, direction: Direction::Forward, until: None, limit }).await?
            }
        };
        for event in page.events.iter().take_while(|event| event.version() <= asked) {
            fold_one(&mut state, event)?;
            next = event.version().next();
        }
        if next > asked {
            return Ok(Loaded { state, version: Some(asked), checkpoint: page.scanned_to });
        }
        if page.end {
            return Err(LoadError::NoSuchVersion { stream, asked, last: page.last_version });
        }
    }
}
