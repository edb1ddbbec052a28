//! The events that the library records in the stream of a process, beside the process's own: `gesta.process.*`.
//!
//! | type | data |
//! | --- | --- |
//! | `gesta.process.reacted` | `{"input":{"stream":"order-42","id":"…"},"effects":[…]}` |
//! | `gesta.process.performed` | `{"effect":{"input":{…},"path":[0]},"outcome":…,"effects":[…]}` |
//! | `gesta.process.timer-set` | `{"timer":…,"due":1767225600000000000}` |
//! | `gesta.process.timer-cancelled` | `{"timer":…}` |
//! | `gesta.process.timer-fired` | `{"timer":…,"set":3}` |
//!
//! An input that is not the first event that its recorded one is read as also has `"piece":1`, its index. `effects` is left
//! out if it is empty. `due` is in nanoseconds since 1970 UTC, `set` the version of the `timer-set`. Effects,
//! outcomes and timers are the process's JSON.

use bytes::Bytes;
use gesta_core::{EventType, RecordedEvent, StreamName};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::identity::{EffectId, InputId};
use crate::error::{EncodeError, LoadError};
use crate::fact::Fact;

/// What the types of these events begin with. No other type may.
pub(crate) const PREFIX: &str = "gesta.process.";

const REACTED: &str = "gesta.process.reacted";
const PERFORMED: &str = "gesta.process.performed";
const TIMER_SET: &str = "gesta.process.timer-set";
const TIMER_CANCELLED: &str = "gesta.process.timer-cancelled";
const TIMER_FIRED: &str = "gesta.process.timer-fired";

/// The schema version of all of them.
const SCHEMA_VERSION: u16 = 1;

/// An event that the library records in the stream of a process.
#[derive(Debug, Clone)]
pub(crate) enum ProcessEvent {
    /// An input was taken.
    Reacted(Reacted),
    /// An effect has an outcome.
    Performed(Performed),
    /// A timer was set.
    TimerSet(TimerSet),
    /// A timer was cancelled.
    TimerCancelled(TimerCancelled),
    /// A timer fired.
    TimerFired(TimerFired),
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Reacted {
    pub(crate) input: InputId,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) effects: Vec<Box<RawValue>>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Performed {
    pub(crate) effect: EffectId,
    pub(crate) outcome: Box<RawValue>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) effects: Vec<Box<RawValue>>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct TimerSet {
    pub(crate) timer: TimerName,
    pub(crate) due: i64,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct TimerCancelled {
    pub(crate) timer: TimerName,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct TimerFired {
    pub(crate) timer: TimerName,
    pub(crate) set: u64,
}

/// The name of a timer: its JSON with sorted fields. Two timers are the same if their names are.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(transparent)]
pub(crate) struct TimerName(Box<RawValue>);

impl TimerName {
    pub(crate) fn new<T: Serialize>(timer: &T) -> Result<Self, EncodeError> {
        let sorted = serde_json::to_value(timer).map_err(|error| unprintable(TIMER_SET, &error))?;
        raw(TIMER_SET, &sorted).map(Self)
    }

    pub(crate) fn as_str(&self) -> &str {
        self.0.get()
    }

    pub(crate) fn read<T: DeserializeOwned>(&self) -> Result<T, serde_json::Error> {
        serde_json::from_str(self.as_str())
    }
}

/// True for the types of these events.
pub(crate) fn is_process_event(event_type: &str) -> bool {
    event_type.starts_with(PREFIX)
}

/// The type of a timer that fired, which is an input of its process.
pub(crate) fn timer_fired() -> EventType {
    EventType::new(TIMER_FIRED).expect("a valid event type")
}

/// The type of a timer that was set.
pub(crate) fn timer_set() -> EventType {
    EventType::new(TIMER_SET).expect("a valid event type")
}

/// A value of the process as JSON, in an event of that type.
pub(crate) fn raw<T: Serialize>(event_type: &'static str, value: &T) -> Result<Box<RawValue>, EncodeError> {
    serde_json::value::to_raw_value(value).map_err(|error| unprintable(event_type, &error))
}

/// An effect as JSON.
pub(crate) fn effect_json<T: Serialize>(effect: &T) -> Result<Box<RawValue>, EncodeError> {
    raw(REACTED, effect)
}

/// An outcome as JSON.
pub(crate) fn outcome_json<T: Serialize>(outcome: &T) -> Result<Box<RawValue>, EncodeError> {
    raw(PERFORMED, outcome)
}

impl ProcessEvent {
    pub(crate) const fn event_type(&self) -> &'static str {
        match self {
            Self::Reacted(_) => REACTED,
            Self::Performed(_) => PERFORMED,
            Self::TimerSet(_) => TIMER_SET,
            Self::TimerCancelled(_) => TIMER_CANCELLED,
            Self::TimerFired(_) => TIMER_FIRED,
        }
    }

    /// The event as a fact of that stream.
    pub(crate) fn encode(&self, stream: &StreamName) -> Result<Fact, EncodeError> {
        let event_type = self.event_type();
        let data = match self {
            Self::Reacted(data) => serde_json::to_vec(data),
            Self::Performed(data) => serde_json::to_vec(data),
            Self::TimerSet(data) => serde_json::to_vec(data),
            Self::TimerCancelled(data) => serde_json::to_vec(data),
            Self::TimerFired(data) => serde_json::to_vec(data),
        };
        Ok(Fact {
            stream: stream.clone(),
            event_type: EventType::new(event_type)?,
            schema_version: SCHEMA_VERSION,
            data: Bytes::from(data.map_err(|error| unprintable(event_type, &error))?),
            tags: Vec::new(),
            reverses: None,
        })
    }

    /// Decodes such an event; `None` for any other type.
    ///
    /// # Errors
    /// [`LoadError`] for an event of a newer version of the library, and for one that does not decode.
    pub(crate) fn decode(event: &RecordedEvent) -> Result<Option<Self>, LoadError> {
        if !is_process_event(event.event_type()) {
            return Ok(None);
        }
        if event.schema_version() != SCHEMA_VERSION {
            return Err(LoadError::UnknownSchemaVersion {
                stream: event.stream().to_owned(),
                version: event.version(),
                event_type: event.event_type().to_owned(),
                found: event.schema_version(),
                newest: SCHEMA_VERSION,
            });
        }
        let decoded = match event.event_type() {
            REACTED => read(event).map(Self::Reacted)?,
            PERFORMED => read(event).map(Self::Performed)?,
            TIMER_SET => read(event).map(Self::TimerSet)?,
            TIMER_CANCELLED => read(event).map(Self::TimerCancelled)?,
            TIMER_FIRED => read(event).map(Self::TimerFired)?,
            _ => return Err(LoadError::unknown_type(event)),
        };
        Ok(Some(decoded))
    }
}

fn read<T: DeserializeOwned>(event: &RecordedEvent) -> Result<T, LoadError> {
    serde_json::from_slice(event.data_slice()).map_err(|source| LoadError::undecodable(event, source))
}

fn unprintable(event_type: &'static str, error: &serde_json::Error) -> EncodeError {
    EncodeError::Json { event_type, reason: error.to_string() }
}
