//! Applies events: the prepared handlers of a definition, and the transaction of rows and checkpoint.

use std::collections::HashMap;
use std::ops::RangeInclusive;
use std::path::Path;

use gesta_core::{Checkpoint, RecordedEvent};
use rusqlite::{Connection, Error, ErrorCode, Statement};

use crate::database::{MARK_CAUGHT_UP, database};
use crate::fields::{Field, FieldProblem, extract};
use crate::parse::handler_line;
use crate::parts::{Handler, Parameter, Parts};
use crate::run_error::{EventPlace, RunError};
use crate::signal::Signal;
use crate::sqlite::{DatabaseErrorKind, message};
use crate::statements;

/// The outcome of applying a page.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    Applied,
    /// The signal was raised; nothing of the page was kept.
    Interrupted,
}

/// The prepared statements of a definition on one connection.
pub(crate) struct Applier<'c> {
    parts: &'c Parts,
    statements: Vec<Vec<Statement<'c>>>,
    by_type: HashMap<&'c str, Vec<Reads<'c>>>,
    /// The handlers of every type: `-- on *`.
    others: Vec<Reads<'c>>,
}

/// The versions of a type that a handler reads.
#[derive(Clone)]
struct Reads<'c> {
    handler: usize,
    versions: Vec<&'c RangeInclusive<u16>>,
    /// Whether the handler names the type. Such handlers alone decide which versions of it are known.
    names_type: bool,
}

impl<'c> Applier<'c> {
    pub(crate) fn new(connection: &'c Connection, parts: &'c Parts) -> rusqlite::Result<Self> {
        let mut by_type: HashMap<&str, Vec<Reads<'_>>> = HashMap::new();
        let mut others = Vec::new();
        for (handler, parsed) in parts.handlers.iter().enumerate() {
            for accepts in &parsed.accepts {
                let versions = accepts.versions.iter();
                let Some(event_type) = &accepts.event_type else {
                    others.push(Reads { handler, versions: versions.collect(), names_type: false });
                    continue;
                };
                let readers = by_type.entry(event_type.as_str()).or_default();
                // A handler that names a type twice still runs once for each event.
                match readers.last_mut().filter(|last| last.handler == handler) {
                    Some(last) => last.versions.extend(versions),
                    None => readers.push(Reads { handler, versions: versions.collect(), names_type: true }),
                }
            }
        }
        for readers in by_type.values_mut() {
            readers.extend(others.iter().cloned());
            readers.sort_by_key(|reads| reads.handler);
        }
        let prepare = |handler: &Handler| {
            handler.statements.iter().map(|(statement, _)| connection.prepare(&statement.sql)).collect()
        };
        let statements = parts.handlers.iter().map(prepare).collect::<rusqlite::Result<_>>()?;
        Ok(Self { parts, statements, by_type, others })
    }

    /// Runs every handler of every event, in the order of the events and of the file.
    pub(crate) fn apply(&mut self, events: &[RecordedEvent], signal: &Signal) -> Result<Outcome, RunError> {
        let mut fields = Vec::new();
        for event in events {
            if signal.is_raised() || self.apply_one(event, signal, &mut fields)? == Outcome::Interrupted {
                return Ok(Outcome::Interrupted);
            }
        }
        Ok(Outcome::Applied)
    }

    fn apply_one<'e>(
        &mut self,
        event: &'e RecordedEvent,
        signal: &Signal,
        fields: &mut Vec<Field<'e>>,
    ) -> Result<Outcome, RunError> {
        let version = event.schema_version();
        let readers = self.by_type.get(event.event_type()).unwrap_or(&self.others);
        let is_named = readers.iter().any(|reads| reads.names_type);
        let mut handled = false;
        for reads in readers.iter().filter(|reads| reads.reads(version)) {
            handled |= reads.names_type == is_named;
            let handler = &self.parts.handlers[reads.handler];
            take_fields(event, handler, fields).map_err(|problem| RunError::Field {
                event: EventPlace::of(event),
                file: self.parts.file.clone(),
                line: handler.line,
                problem,
            })?;
            let statements = handler.statements.iter().zip(&mut self.statements[reads.handler]);
            for ((source, parameters), statement) in statements {
                match run(statement, parameters, event, fields) {
                    Ok(()) => {}
                    Err(error) if is_interrupt(&error) && signal.is_raised() => {
                        return Ok(Outcome::Interrupted);
                    }
                    Err(error) => {
                        let missing = missing(handler, parameters, fields);
                        return Err(statement_error(self.parts, event, source, missing, &error));
                    }
                }
            }
        }
        if handled {
            return Ok(Outcome::Applied);
        }
        Err(RunError::UnknownVersion {
            event: EventPlace::of(event),
            file: self.parts.file.clone(),
            line: handler_line(event.event_type(), version),
        })
    }
}

impl Reads<'_> {
    fn reads(&self, version: u16) -> bool {
        self.versions.iter().any(|versions| versions.contains(&version))
    }
}

/// The fields that a statement reads and the event does not have.
fn missing(handler: &Handler, parameters: &[Parameter], fields: &[Field<'_>]) -> Vec<String> {
    let read = parameters.iter().filter_map(|parameter| match parameter {
        Parameter::Field(field) => Some(*field),
        Parameter::Envelope(_) => None,
    });
    read.filter(|field| fields[*field] == Field::Missing).map(|field| handler.fields[field].clone()).collect()
}

fn statement_error(
    parts: &Parts,
    event: &RecordedEvent,
    source: &statements::Statement,
    missing: Vec<String>,
    error: &Error,
) -> RunError {
    RunError::Statement {
        event: EventPlace::of(event),
        file: parts.file.clone(),
        line: source.line,
        message: message(error),
        missing,
        kind: DatabaseErrorKind::of(error),
    }
}

fn take_fields<'e>(
    event: &'e RecordedEvent,
    handler: &Handler,
    fields: &mut Vec<Field<'e>>,
) -> Result<(), FieldProblem> {
    extract(event, &handler.fields, fields)?;
    let is_absent = |index: &&usize| matches!(fields[**index], Field::Missing | Field::Null);
    match handler.required.iter().find(is_absent) {
        Some(index) => Err(FieldProblem::Required { field: handler.fields[*index].clone() }),
        None => Ok(()),
    }
}

fn run(
    statement: &mut Statement<'_>,
    parameters: &[Parameter],
    event: &RecordedEvent,
    fields: &[Field<'_>],
) -> rusqlite::Result<()> {
    for (index, parameter) in (1..).zip(parameters) {
        let value = match parameter {
            Parameter::Envelope(envelope) => envelope.of(event),
            Parameter::Field(field) => fields[*field].to_sql(),
        };
        statement.raw_bind_parameter(index, value)?;
    }
    statement.raw_execute().map(|_| ())
}

fn is_interrupt(error: &Error) -> bool {
    error.sqlite_error_code() == Some(ErrorCode::OperationInterrupted)
}

/// Writes pages. The rows of a page and its checkpoint become visible and durable together, or not at all.
pub(crate) struct Writer<'c> {
    connection: &'c Connection,
    path: &'c Path,
    applier: Applier<'c>,
    begin: Statement<'c>,
    advance: Statement<'c>,
    mark_caught_up: Statement<'c>,
    commit: Statement<'c>,
}

/// Whether a page brings the view to the head of the log for the first time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reach {
    /// More of the log follows, or it had caught up before.
    Page,
    /// The page is the first one to reach the head of the log.
    Head,
}

impl<'c> Writer<'c> {
    pub(crate) fn new(
        connection: &'c Connection,
        path: &'c Path,
        parts: &'c Parts,
    ) -> Result<Self, RunError> {
        let prepare = || {
            Ok(Self {
                connection,
                path,
                applier: Applier::new(connection, parts)?,
                begin: connection.prepare("begin immediate")?,
                advance: connection.prepare("update gesta_checkpoint set at = ?2 where at = ?1")?,
                mark_caught_up: connection.prepare(MARK_CAUGHT_UP)?,
                commit: connection.prepare("commit")?,
            })
        };
        prepare().map_err(|error| database(path, "prepare", &error))
    }

    /// Applies the events between two checkpoints in one transaction. The mark that the view has caught up is part of it: a
    /// stop or a crash must not come between a checkpoint that callers can see and the mark.
    pub(crate) fn apply(
        &mut self,
        events: &[RecordedEvent],
        from: &Checkpoint,
        to: &Checkpoint,
        reach: Reach,
        signal: &Signal,
    ) -> Result<Outcome, RunError> {
        let outcome = self.apply_within(events, from, to, reach, signal);
        // After some errors, such as a full disk, SQLite has ended the transaction itself.
        if !matches!(outcome, Ok(Outcome::Applied)) && !self.connection.is_autocommit() {
            let rolled_back = self.connection.execute_batch("rollback");
            rolled_back.map_err(|error| database(self.path, "roll back", &error))?;
        }
        outcome
    }

    fn apply_within(
        &mut self,
        events: &[RecordedEvent],
        from: &Checkpoint,
        to: &Checkpoint,
        reach: Reach,
        signal: &Signal,
    ) -> Result<Outcome, RunError> {
        let failed = |error: Error| database(self.path, "write to", &error);
        self.begin.raw_execute().map_err(failed)?;
        if self.applier.apply(events, signal)? == Outcome::Interrupted {
            return Ok(Outcome::Interrupted);
        }
        // Compare and set, so that two runners of one view never both commit.
        let advanced = self.advance.execute((from.to_string(), to.to_string())).map_err(failed)?;
        if advanced != 1 {
            return Err(RunError::CheckpointMoved { expected: from.clone(), path: self.path.to_owned() });
        }
        if reach == Reach::Head {
            self.mark_caught_up.raw_execute().map_err(failed)?;
        }
        self.commit.raw_execute().map_err(failed)?;
        Ok(Outcome::Applied)
    }
}
