//! A state as it would be with other events.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;

use gesta_core::{Checkpoint, EventStore, RecordedEvent, StreamName, Timestamp, Version, When};

use serde::Deserialize;
use serde_json::Value;

use super::range::Range;
use crate::boundary::fold_one;
use crate::error::{DecodeError, LoadError};
use crate::event::Event;
use crate::load::{AsOf, Loaded};
use crate::state::State;
use crate::words::explain_json;

/// Other events than those that were recorded. Nothing is written.
#[derive(Debug, Clone)]
pub struct WhatIf<E> {
    /// The versions of events to leave out.
    pub without: Vec<Version>,
    /// Events in the place of those with these versions.
    pub replace: Vec<(Version, E)>,
    /// Events after those with these versions, in the order of this list.
    pub insert: Vec<(Version, E)>,
    /// The point to stop at; `None` is now.
    pub until: Option<AsOf>,
}

impl<E> Default for WhatIf<E> {
    fn default() -> Self {
        Self { without: Vec::new(), replace: Vec::new(), insert: Vec::new(), until: None }
    }
}

/// Where a fold ends.
#[derive(Default)]
struct End {
    until: Option<Checkpoint>,
    last: Option<Version>,
    happened_by: Option<Timestamp>,
}

impl End {
    async fn of(store: &dyn EventStore, as_of: Option<AsOf>) -> Result<Self, LoadError> {
        Ok(match as_of {
            None => Self::default(),
            Some(AsOf::Version(version)) => Self { last: Some(version), ..Self::default() },
            Some(AsOf::Checkpoint(until)) => Self { until: Some(until), ..Self::default() },
            Some(AsOf::RecordedAt(time)) => {
                Self { until: Some(store.locate(When::RecordedUpTo(time)).await?), ..Self::default() }
            }
            Some(AsOf::Time(time)) => Self { happened_by: Some(time), ..Self::default() },
        })
    }
}

/// Folds a stream with other events. The version is that of the last recorded event that was passed.
///
/// # Errors
/// [`LoadError::NoSuchVersion`] if a version that is named was not passed.
pub(crate) async fn what_if<S: State>(
    store: &dyn EventStore,
    stream: StreamName,
    what: WhatIf<S::Event>,
) -> Result<Loaded<S>, LoadError> {
    let WhatIf { without, replace, insert, until } = what;
    let End { until, last, happened_by } = End::of(store, until).await?;
    let until = match until {
        Some(until) => until,
        None => store.locate(When::Head).await?,
    };
    let named = without.iter().chain(replace.iter().chain(&insert).map(|(version, _)| version)).copied();
    let named = named.chain(last).collect::<BTreeSet<_>>();
    let without = without.into_iter().collect::<BTreeSet<_>>();
    let mut replace = replace.into_iter().collect::<BTreeMap<_, _>>();
    let mut inserted = BTreeMap::<_, Vec<_>>::new();
    for (version, event) in insert {
        inserted.entry(version).or_default().push(event);
    }
    let (mut state, mut version, mut passed) = (S::default(), None, None);
    let range = Range { store, stream: &stream, until: &until };
    let fold = |event: &RecordedEvent| {
        passed = Some(event.version());
        if happened_by.is_some_and(|time| event.time() > time) {
            return Ok(ControlFlow::Continue(()));
        }
        version = passed;
        if let Some(other) = replace.remove(&event.version()) {
            state.evolve(other);
        } else if !without.contains(&event.version()) {
            fold_one(&mut state, event)?;
        }
        inserted.remove(&event.version()).into_iter().flatten().for_each(|event| state.evolve(event));
        Ok(ControlFlow::Continue(()))
    };
    range.visit(Version::FIRST, last, fold).await?;
    if let Some(asked) = named.into_iter().next_back().filter(|asked| Some(*asked) > passed) {
        return Err(LoadError::NoSuchVersion { stream, asked, last: passed });
    }
    Ok(Loaded { state, version, checkpoint: until })
}

/// An event as it is stored, for a [`WhatIf`] of an entity that is known by its category only.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct JsonEvent {
    /// Its type.
    #[serde(rename = "type")]
    pub event_type: String,
    /// The schema version of its type; the newest by default.
    pub schema_version: Option<u16>,
    /// Its data.
    pub data: Value,
}

/// The events that stored ones are read as. One that is read as several is replaced by all of them.
///
/// # Errors
/// Why an event cannot be read.
pub(crate) fn decoded<E: Event>(what: WhatIf<JsonEvent>) -> Result<WhatIf<E>, String> {
    let WhatIf { mut without, replace, insert, until } = what;
    let (mut replaced, mut inserted) = (Vec::new(), Vec::new());
    for (version, event) in replace {
        let mut events = decode(&event)?.into_iter();
        match events.next() {
            Some(first) => replaced.push((version, first)),
            None => without.push(version),
        }
        inserted.extend(events.map(|event| (version, event)));
    }
    for (version, event) in insert {
        inserted.extend(decode(&event)?.into_iter().map(|event| (version, event)));
    }
    Ok(WhatIf { without, replace: replaced, insert: inserted, until })
}

fn decode<E: Event>(event: &JsonEvent) -> Result<Vec<E>, String> {
    let JsonEvent { event_type, schema_version, data } = event;
    let known = E::TYPES.iter().find(|info| info.name == event_type);
    let schema_version = schema_version.or(known.map(|info| info.version)).unwrap_or(1);
    let mut events = Vec::new();
    let data = data.to_string();
    match E::decode(event_type, schema_version, data.as_bytes(), &mut |event| events.push(event)) {
        Ok(true) => Ok(events),
        Ok(false) => {
            let known = E::TYPES.iter().map(|info| format!("`{}`", info.name)).collect::<Vec<_>>();
            Err(format!("`{event_type}` is no event of this entity: known are {}", known.join(", ")))
        }
        Err(DecodeError::Json { source, .. }) => {
            Err(format!("the data of `{event_type}` does not decode: {}", explain_json(&source)))
        }
        Err(error) => Err(error.to_string()),
    }
}
