//! Applies events: the prepared handlers of a definition, or its code.

use gesta_consumer::Stop;
use gesta_core::RecordedEvent;
use rusqlite::{Connection, Error, ErrorCode, Statement};

use crate::definition::Definition;
use crate::fields::Field;
use crate::parts::{Handler, Parameter, Parts};
use crate::plan::Plan;
use crate::run_error::{DatabaseErrorKind, RunError};
use crate::sqlite::connection::message;
use crate::sqlite::rows::RowTables;
use crate::target::Outcome;

/// What applies the events of a definition on one connection.
pub(crate) enum Applier<'c> {
    Statements(Statements<'c>),
    Rows(RowTables<'c>),
}

impl<'c> Applier<'c> {
    pub(crate) fn new(connection: &'c Connection, definition: &'c Definition) -> rusqlite::Result<Self> {
        Ok(match definition.page() {
            Some(page) => Self::Rows(RowTables::new(connection, page)?),
            None => Self::Statements(Statements::new(connection, definition.parts())?),
        })
    }

    /// Applies every event, in their order, within a transaction of the caller.
    pub(crate) fn apply(&mut self, events: &[RecordedEvent], stop: &Stop) -> Result<Outcome, RunError> {
        match self {
            Self::Statements(statements) => statements.apply(events, stop),
            Self::Rows(tables) => tables.apply(events, stop),
        }
    }

    /// The transaction of the last page was committed.
    pub(crate) fn committed(&mut self) {
        if let Self::Rows(tables) = self {
            tables.committed();
        }
    }
}

/// The prepared statements of a definition.
pub(crate) struct Statements<'c> {
    plan: Plan<'c>,
    statements: Vec<Vec<Statement<'c>>>,
}

impl<'c> Statements<'c> {
    fn new(connection: &'c Connection, parts: &'c Parts) -> rusqlite::Result<Self> {
        let prepare = |handler: &Handler| {
            handler.statements.iter().map(|(statement, _)| connection.prepare(&statement.sql)).collect()
        };
        let statements = parts.handlers().iter().map(prepare).collect::<rusqlite::Result<_>>()?;
        Ok(Self { plan: Plan::new(parts), statements })
    }

    /// Runs every handler of every event, in the order of the events and of the file.
    fn apply(&mut self, events: &[RecordedEvent], stop: &Stop) -> Result<Outcome, RunError> {
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

/// Whether a statement was ended by [`Connection::get_interrupt_handle`].
pub(super) fn is_interrupt(error: &Error) -> bool {
    error.sqlite_error_code() == Some(ErrorCode::OperationInterrupted)
}
