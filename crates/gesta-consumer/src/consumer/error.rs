//! The errors of handlers.

use std::error::Error;

use gesta_core::{Position, Retry};

/// An error of a handler.
pub trait HandlerError: Error + Send + Sync + 'static {
    /// Returns the advice on handling the same page again. `Never` and `Unknown` stop the consumer.
    fn retry(&self) -> Retry;

    /// Returns the event that could not be handled, if the error is about one.
    fn event(&self) -> Option<Position> {
        None
    }
}
