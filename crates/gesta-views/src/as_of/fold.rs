//! A view that is folded on in a temporary database, and read between two steps.

use gesta_core::{Checkpoint, RecordedEvent};

use super::{Budget, EvaluateError};
use crate::definition::Definition;
use crate::parked::{OnError, ParkedStreams, Parking, Then};
use crate::run_error::RunError;
use crate::scratch::Scratch;
use crate::target::Reads;

/// A view, the database that it is folded in, and the streams that it holds back.
pub(super) struct Fold {
    name: String,
    policy: OnError,
    scratch: Box<dyn Scratch>,
    /// The streams that are not shown to the end.
    parked: ParkedStreams,
}

impl Fold {
    /// The view without events, in a database for it.
    pub(super) fn begin(definition: &Definition, scratch: Box<dyn Scratch>) -> Self {
        let (name, policy) = (definition.name().to_owned(), definition.on_error());
        Self { name, policy, scratch, parked: ParkedStreams::default() }
    }

    /// Applies events, in the order of the log. What a running view would park is parked.
    pub(super) fn apply(
        &mut self,
        events: &[RecordedEvent],
        budget: &Budget<'_>,
    ) -> Result<(), EvaluateError> {
        let before = self.parked.clone();
        let mut parking = Parking::new(&self.name, self.policy, &before, events);
        loop {
            match self.scratch.apply(&parking.events(), parking.pieces()) {
                Ok(()) => break,
                Err(error) => match parking.failed(error) {
                    Then::Again => budget.check()?,
                    Then::Fail(error) => return Err(budget.ended(error)),
                },
            }
        }
        self.parked.apply(&parking.changes());
        Ok(())
    }

    /// The streams that are not shown to the end, by name.
    pub(super) fn parked(&self) -> Vec<String> {
        self.parked.names()
    }

    /// Shows readers what was applied, as of a place in the log.
    pub(super) fn show(&mut self, at: &Checkpoint, budget: &Budget<'_>) -> Result<(), EvaluateError> {
        self.scratch.show(at).map_err(|error| budget.ended(error))
    }

    /// A handle that answers queries. It keeps the database, also when this is dropped.
    pub(super) fn reads(&self) -> Result<Box<dyn Reads>, RunError> {
        self.scratch.reads()
    }
}
