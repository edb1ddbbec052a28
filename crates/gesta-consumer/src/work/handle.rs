//! What workers call: a handler of deliveries, and how it fails.

use std::time::Duration;

use gesta_core::BoxFuture;

use crate::group::{Delivery, Settlement, Then};

/// Handles the deliveries of a group. Several may run at the same time, each of another stream.
pub trait Handle: Send + Sync {
    /// Handles the events of a delivery, in their order.
    ///
    /// The same events come again after a crash, and after a delivery that was lost. Another member may have them already
    /// then. So the target is the fence: it keeps the last version that it has seen of each stream, in the transaction of
    /// the effect, and drops what is not newer.
    ///
    /// # Errors
    /// [`Failed`] names the first event that was not handled, and its fate.
    ///
    /// # Cancel safety
    /// The future is dropped when the group takes the delivery away, and when the workers stop and it takes longer than 5 s.
    /// Then its events come again. A panic counts as [`Then::Retry`] of the first event.
    fn handle<'a>(&'a self, delivery: &'a Delivery) -> BoxFuture<'a, Result<(), Failed>>;
}

/// A delivery was not handled to its end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failed {
    /// The number of events that were handled, from the front.
    pub handled: usize,
    /// The fate of the event after those.
    pub then: Then,
    /// Why, for people.
    pub error: String,
}

impl Failed {
    /// The event after the first `handled` ones failed. It is tried again after a pause, and counts as poison after as many
    /// attempts as the group allows.
    #[must_use]
    pub fn retry(handled: usize, error: impl Into<String>) -> Self {
        Self { handled, then: Then::Retry { after: None }, error: error.into() }
    }

    /// The event after the first `handled` ones cannot be handled here and now. It comes again after `after`, or after the
    /// pause of the group; no attempt is counted.
    #[must_use]
    pub fn release(handled: usize, after: Option<Duration>, error: impl Into<String>) -> Self {
        Self { handled, then: Then::Release { after }, error: error.into() }
    }

    /// The event after the first `handled` ones can never be handled. Its stream is parked.
    #[must_use]
    pub fn park(handled: usize, error: impl Into<String>) -> Self {
        Self { handled, then: Then::Park, error: error.into() }
    }
}

/// The settlement of a delivery, from how its handling ended.
pub(super) fn settlement(delivery: &Delivery, ended: Result<(), Failed>) -> Settlement {
    match ended {
        Ok(()) => Settlement::handled(delivery.id),
        // An error after the last event is about none of them.
        Err(failed) if failed.handled >= delivery.events.len() => {
            Settlement { error: Some(failed.error), ..Settlement::handled(delivery.id) }
        }
        Err(Failed { handled, then, error }) => {
            Settlement { error: Some(error), ..Settlement::then(delivery.id, handled, then) }
        }
    }
}
