//! Why the handling of an event in a delivery ends before its end, and what becomes of the event.

use std::fmt::Display;

use gesta_consumer::Failed;
use gesta_consumer::group::Then;
use gesta_core::{ReadError, RecordedEvent, Retry, with_causes};

use crate::error::LoadError;
use crate::event::{Event, Recorded};
use crate::process::Failure;

/// The fate of an event, and why.
#[derive(Debug, thiserror::Error)]
#[error("{error}")]
pub(crate) struct Halt {
    then: Then,
    error: String,
}

impl Halt {
    /// It comes again, and counts no attempt.
    pub(crate) fn release(error: impl Display) -> Self {
        Self { then: Then::Release { after: None }, error: error.to_string() }
    }

    /// Its stream is parked, for an operator.
    pub(crate) fn park(error: impl Display) -> Self {
        Self { then: Then::Park, error: error.to_string() }
    }

    /// As [`Self::park`], with the sources of the error.
    pub(crate) fn park_because(error: &(dyn std::error::Error + 'static)) -> Self {
        Self::park(with_causes(error))
    }

    /// What a newer program wrote, and what cannot be read now, is released. Damage and data that never decode are parked.
    pub(crate) fn of_load(error: &LoadError) -> Self {
        let waits = match error {
            LoadError::UnknownType { .. } | LoadError::UnknownSchemaVersion { .. } => true,
            LoadError::Read(error) => error.retry() != Retry::Never || *error == ReadError::Closed,
            _ => false,
        };
        if waits { Self::release(with_causes(error)) } else { Self::park_because(error) }
    }

    /// By the kind of the failure.
    pub(crate) fn of_failure(failure: &Failure) -> Self {
        let then = match failure {
            Failure::Transient(_) => Then::Retry { after: None },
            Failure::Unavailable(_) => Then::Release { after: None },
            Failure::Final(_) => Then::Park,
        };
        Self { then, error: with_causes(failure) }
    }

    /// The end of a delivery whose first `handled` events were handled.
    pub(crate) fn after(self, handled: usize) -> Failed {
        Failed { handled, then: self.then, error: self.error }
    }
}

/// Decodes an event of a delivery. An event that is read as nothing is handled by that.
pub(crate) fn decode<E: Event>(event: &RecordedEvent) -> Result<Vec<Recorded<E>>, Halt> {
    let decoded = Recorded::decode(event).map_err(|error| Halt::of_load(&error))?;
    decoded.ok_or_else(|| {
        let event_type = event.event_type();
        Halt::release(format_args!(
            "this host does not know the event type `{event_type}`: upgrade it, or ask for fewer types"
        ))
    })
}
