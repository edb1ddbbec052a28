//! Why an event was recorded: its causes up to the first one, and its effects.
//!
//! An event names its cause in the tag `$causation`. [`Meta::caused_by`](crate::Meta::caused_by) sets it; processes, groups and
//! hosts do so by themselves.

mod find;
#[cfg(test)]
mod tests;

use std::collections::HashSet;

use gesta_core::{EventId, EventStore, Item, NameError, Query, ReadError, RecordedEvent, StreamName, Tag};

use find::{find, read_all};

/// The most levels that are followed up or down.
pub const LEVELS_MAX: usize = 64;
/// The most effects that are returned.
pub const EFFECTS_MAX: usize = 1_000;

/// An event and what led to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Causes {
    /// The event.
    pub event: RecordedEvent,
    /// Its cause, the cause of that, and so on. The first one stands last.
    pub causes: Vec<RecordedEvent>,
    /// What the last of them, or the event itself without any, came from.
    pub origin: Origin,
}

/// Where a chain of causes begins.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Origin {
    /// The event names no cause.
    Unnamed,
    /// The event names a cause that is no event of this store: a command, a request, or an event of another store.
    Outside {
        /// The cause, as the event names it.
        causation: String,
    },
    /// Events of several streams have the id that is named.
    Ambiguous {
        /// The id.
        id: EventId,
        /// The streams, in the order of the log.
        streams: Vec<StreamName>,
    },
    /// The cause is already in the chain: the tags lead in a circle.
    Circle {
        /// The id of the cause.
        id: EventId,
    },
    /// The chain goes on beyond [`LEVELS_MAX`] levels.
    Cut {
        /// The cause that was not looked up.
        id: EventId,
    },
}

/// An event and what it led to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Effects {
    /// The event.
    pub event: RecordedEvent,
    /// Its effects. Those of an effect follow it at once, one level deeper; effects of one cause are in the order of the log.
    pub effects: Vec<Effect>,
    /// True if there are more than [`EFFECTS_MAX`] effects, or [`LEVELS_MAX`] levels.
    pub is_cut: bool,
}

/// An effect of an event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Effect {
    /// 1 for what the event caused itself, 2 for what that caused, and so on.
    pub level: usize,
    /// The event.
    pub event: RecordedEvent,
}

/// The causes or effects of an event could not be found.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CausesError {
    /// No event has the id.
    #[error("{}", no_event(*.id, .stream.as_ref()))]
    NoEvent {
        /// The id.
        id: EventId,
        /// The stream that was named, if any.
        stream: Option<StreamName>,
    },
    /// Events of several streams have the id: an id is unique only within its stream.
    #[error("events of {} streams have the id {id}: name the stream", .streams.len())]
    Ambiguous {
        /// The id.
        id: EventId,
        /// The streams, in the order of the log.
        streams: Vec<StreamName>,
    },
    /// The store could not be read.
    #[error(transparent)]
    Read(#[from] ReadError),
}

fn no_event(id: EventId, stream: Option<&StreamName>) -> String {
    match stream {
        Some(stream) => format!("stream `{stream}` has no event with the id {id}"),
        None => format!("no event has the id {id}"),
    }
}

/// Finds the causes of an event, up to the first one. `stream` is needed if events of several streams have the id.
///
/// # Errors
/// There is no such event, there are several, or the store could not be read.
pub async fn causes_of(
    store: &dyn EventStore,
    id: EventId,
    stream: Option<&StreamName>,
) -> Result<Causes, CausesError> {
    let event = find(store, id, stream).await?;
    let mut seen = HashSet::from([key(&event)]);
    let mut causes = Vec::new();
    let origin = loop {
        let last = causes.last().unwrap_or(&event);
        let Some(causation) = last.tag("$causation") else { break Origin::Unnamed };
        let Ok(id) = causation.parse::<EventId>() else {
            break Origin::Outside { causation: causation.to_owned() };
        };
        if causes.len() == LEVELS_MAX {
            break Origin::Cut { id };
        }
        match find(store, id, None).await {
            Ok(cause) if !seen.insert(key(&cause)) => break Origin::Circle { id },
            Ok(cause) => causes.push(cause),
            Err(CausesError::NoEvent { .. }) => break Origin::Outside { causation: causation.to_owned() },
            Err(CausesError::Ambiguous { id, streams }) => break Origin::Ambiguous { id, streams },
            Err(error) => return Err(error),
        }
    };
    Ok(Causes { event, causes, origin })
}

/// Finds the effects of an event, down to the last ones. `stream` is needed if events of several streams have the id.
///
/// # Errors
/// There is no such event, there are several, or the store could not be read.
pub async fn effects_of(
    store: &dyn EventStore,
    id: EventId,
    stream: Option<&StreamName>,
) -> Result<Effects, CausesError> {
    let event = find(store, id, stream).await?;
    let (mut effects, mut is_cut) = (Vec::new(), false);
    let mut seen = HashSet::from([key(&event)]);
    let mut ahead = direct(store, &event, 1).await?;
    // The next one stands last.
    ahead.reverse();
    while let Some(effect) = ahead.pop() {
        if !seen.insert(key(&effect.event)) {
            continue;
        }
        if effects.len() == EFFECTS_MAX || effect.level > LEVELS_MAX {
            is_cut = true;
            continue;
        }
        ahead.extend(direct(store, &effect.event, effect.level + 1).await?.into_iter().rev());
        effects.push(effect);
    }
    Ok(Effects { event, effects, is_cut })
}

/// What an event caused itself, in the order of the log: one more than is returned, at most.
async fn direct(
    store: &dyn EventStore,
    cause: &RecordedEvent,
    level: usize,
) -> Result<Vec<Effect>, ReadError> {
    let causation = |id: EventId| -> Result<Query, NameError> {
        Ok(Item { tags: vec![Tag::from_parts("$causation", &id.to_string())?], ..Item::default() }.into())
    };
    let query = causation(cause.id()).expect("an id is the value of a tag");
    let events = read_all(store, query, EFFECTS_MAX + 1).await?;
    Ok(events.into_iter().map(|event| Effect { level, event }).collect())
}

fn key(event: &RecordedEvent) -> (String, EventId) {
    (event.stream().to_owned(), event.id())
}
