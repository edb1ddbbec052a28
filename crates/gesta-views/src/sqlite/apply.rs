//! Applies events: the prepared handlers of a definition.

use gesta_consumer::Stop;
use gesta_core::RecordedEvent;
use rusqlite::{Connection, Error, ErrorCode, Statement};

use crate::fields::Field;
use crate::parts::{Handler, Parameter, Parts};
use crate::plan::Plan;
use crate::run_error::{DatabaseErrorKind, RunError};
use crate::sqlite::connection::message;
use crate::target::Outcome;

/// The prepared statements of a definition on one connection.
pub(crate) struct Applier<'c> {
    plan: Plan<'c>,
    statements: Vec<Vec<Statement<'c>>>,
}

impl<'c> Applier<'c> {
    pub(crate) fn new(connection: &'c Connection, parts: &'c Parts) -> rusqlite::Result<Self> {
        let prepare = |handler: &Handler| {
            handler.statements.iter().map(|(statement, _)| connection.prepare(&statement.sql)).collect()
        };
        let statements = parts.handlers.iter().map(prepare).collect::<rusqlite::Result<_>>()?;
        Ok(Self { plan: Plan::new(parts), statements })
    }

    /// Runs every handler of every event, in the order of the events and of the file.
    pub(crate) fn apply(&mut self, events: &[RecordedEvent], stop: &Stop) -> Result<Outcome, RunError> {
        let mut fields = Vec::new();
        for event in events {
            if stop.is_raised() || self.apply_one(event, stop, &mut fields)? == Outcome::Interrupted {
                return Ok(Outcome::Interrupted);
            }
        }
        Ok(Outcome::Applied)
    }

    fn apply_one<'e>(
        &mut self,
        event: &'e RecordedEvent,
        stop: &Stop,
        fields: &mut Vec<Field<'e>>,
    ) -> Result<Outcome, RunError> {
        let Self { plan, statements } = self;
        plan.each_handler(event, fields, |index, handler, fields| {
            let prepared = handler.statements.iter().zip(&mut statements[index]);
            for (at, ((_, parameters), statement)) in prepared.enumerate() {
                match run(statement, parameters, event, fields) {
                    Ok(()) => {}
                    Err(error) if is_interrupt(&error) && stop.is_raised() => {
                        return Ok(Outcome::Interrupted);
                    }
                    Err(error) => {
                        let kind = DatabaseErrorKind::of(&error);
                        return Err(plan.statement_error(event, (index, at), message(&error), kind));
                    }
                }
            }
            Ok(Outcome::Applied)
        })
    }
}

fn run(
    statement: &mut Statement<'_>,
    parameters: &[Parameter],
    event: &RecordedEvent,
    fields: &[Field<'_>],
) -> rusqlite::Result<()> {
    for (index, parameter) in (1..).zip(parameters) {
        statement.raw_bind_parameter(index, parameter.value(event, fields))?;
    }
    statement.raw_execute().map(|_| ())
}

fn is_interrupt(error: &Error) -> bool {
    error.sqlite_error_code() == Some(ErrorCode::OperationInterrupted)
}
