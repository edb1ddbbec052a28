//! Loading: pages of events folded into states, as they are now or were before.

use std::num::{NonZeroU32, NonZeroU64};

use gesta_core::{
    Checkpoint, Direction, EventStore, Limit, Read, Select, StreamName, Timestamp, Version, When,
};

use crate::boundary::{At, Boundary, Part, fold_one};
use crate::error::LoadError;
use crate::state::State;

/// The limits of one page of a fold. Large, since a fold needs all the events before it can go on.
const PAGE: Limit = Limit {
    events: NonZeroU32::new(10_000).unwrap(),
    bytes: NonZeroU64::new(8 << 20).unwrap(),
    examined: NonZeroU64::new(1_000_000).unwrap(),
};

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

/// Loads the missing events of each part of a boundary. Several parts are read up to one place in the log, so their
/// states belong together.
pub(crate) async fn load_boundary<B: Boundary>(
    store: &dyn EventStore,
    boundary: &mut B,
) -> Result<(), LoadError> {
    let parts = boundary.parts();
    if parts.is_empty() {
        return Err(LoadError::EmptyBoundary { tag: None });
    }
    let until = if parts.len() > 1 { Some(store.locate(When::Head).await?) } else { None };
    for part in parts {
        load_part(store, part, until.as_ref()).await?;
    }
    Ok(())
}

async fn load_part(
    store: &dyn EventStore,
    part: &mut dyn Part,
    until: Option<&Checkpoint>,
) -> Result<(), LoadError> {
    loop {
        let read =
            Read { select: part.next()?, direction: Direction::Forward, until: until.cloned(), limit: PAGE };
        let page = store.read(read).await?;
        for event in &page.events {
            part.apply(event)?;
        }
        part.reached(page.scanned_to);
        if page.end {
            return Ok(());
        }
    }
}

pub(crate) async fn load<S: State>(
    store: &dyn EventStore,
    stream: StreamName,
) -> Result<Loaded<S>, LoadError> {
    let mut at = At::<S>::stream(stream);
    load_part(store, &mut at, None).await?;
    let (state, version, scanned_to) = at.into_parts();
    Ok(Loaded { state, version, checkpoint: scanned_to.expect("a loaded part has been read") })
}

pub(crate) async fn load_at<S: State>(
    store: &dyn EventStore,
    stream: StreamName,
    as_of: AsOf,
) -> Result<Loaded<S>, LoadError> {
    match as_of {
        AsOf::Version(version) => load_version(store, stream, version).await,
        AsOf::Checkpoint(until) => fold_until(store, stream, Some(until), None).await,
        AsOf::RecordedAt(time) => {
            let until = store.locate(When::RecordedUpTo(time)).await?;
            fold_until(store, stream, Some(until), None).await
        }
        AsOf::Time(time) => fold_until(store, stream, None, Some(time)).await,
    }
}

async fn fold_until<S: State>(
    store: &dyn EventStore,
    stream: StreamName,
    until: Option<Checkpoint>,
    happened_by: Option<Timestamp>,
) -> Result<Loaded<S>, LoadError> {
    let (mut state, mut version, mut next) = (S::default(), None, None);
    loop {
        let select = Select::Stream { name: stream.clone(), from: next };
        let page = store
            .read(Read { select, direction: Direction::Forward, until: until.clone(), limit: PAGE })
            .await?;
        for event in &page.events {
            if happened_by.is_none_or(|time| event.time() <= time) {
                fold_one(&mut state, event)?;
                version = Some(event.version());
            }
        }
        next = page.events.last().map(|event| event.version().next()).or(next);
        if page.end {
            return Ok(Loaded { state, version, checkpoint: page.scanned_to });
        }
    }
}

async fn load_version<S: State>(
    store: &dyn EventStore,
    stream: StreamName,
    asked: Version,
) -> Result<Loaded<S>, LoadError> {
    let (mut state, mut next) = (S::default(), Version::FIRST);
    loop {
        let wanted = u32::try_from((asked.get() - next.get()).saturating_add(1)).unwrap_or(u32::MAX);
        let events = NonZeroU32::new(wanted).unwrap_or(NonZeroU32::MIN).min(PAGE.events);
        let select = Select::Stream { name: stream.clone(), from: Some(next) };
        let read =
            Read { select, direction: Direction::Forward, until: None, limit: Limit { events, ..PAGE } };
        let page = store.read(read).await?;
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
