//! What folds one view for a while, apart from the versions that serve. `sqlite` and `postgres` implement it.

use gesta_core::{Checkpoint, RecordedEvent};

use crate::parked::Pieces;
use crate::run_error::RunError;
use crate::target::Reads;

/// A database of one view that goes with this and all that reads it. Every call may block.
pub(crate) trait Scratch {
    /// Applies events. After an error that parks a stream, none of them is.
    fn apply(&mut self, events: &[RecordedEvent], pieces: Pieces) -> Result<(), RunError>;

    /// Shows readers what was applied, as of a place in the log.
    fn show(&mut self, at: &Checkpoint) -> Result<(), RunError>;

    /// A handle that answers queries, now and after the last event.
    fn reads(&self) -> Result<Box<dyn Reads>, RunError>;
}
