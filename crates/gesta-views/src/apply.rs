//! Applies events: the prepared handlers of a definition, and the transaction that holds rows and checkpoint.

use std::collections::HashMap;
use std::ops::RangeInclusive;
use std::path::Path;

use gesta_core::{Checkpoint, RecordedEvent};
use rusqlite::{Connection, ErrorCode, Statement};

use crate::database::{MARK_CAUGHT_UP, database};
use crate::fields::{Field, FieldProblem, extract};
use crate::parse::handler_line;
use crate::parts::{Handler, Parameter, Parts};
use crate::race::Stop;
use crate::run_error::{EventPlace, RunError};
use crate::sqlite::{is_busy, message};

/// How far applying got.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    Applied,
    /// A stop was requested; nothing of the page was kept.
    Stopped,
}

/// The prepared statements of a definition on one connection.
pub(crate) struct Applier<'c> {
    parts: &'c Parts,
    statements: Vec<Vec<Statement<'c>>>,
    by_type: HashMap<&'c str, Vec<Reads<'c>>>,
    /// What reads the types that no handler names.
    others: Vec<Reads<'c>>,
}

/// Which versions of a type a handler reads.
#[derive(Clone)]
struct Reads<'c> {
    handler: usize,
    versions: Vec<&'c RangeInclusive<u16>>,
    /// Whether the handler names the type: then it, and not one that takes every type, says which versions are known.
    names_type: bool,
}

impl<'c> Applier<'c> {
    pub(crate) fn new(connection: &'c Connection, parts: &'c Parts) -> rusqlite::Result<Self> {
        let mut by_type: HashMap<&str, Vec<Reads<'_>>> = HashMap::new();
        let mut others = Vec::new();
        for (handler, own) in parts.handlers.iter().enumerate() {
            for accepts in &own.accepts {
                let versions = accepts.versions.iter();
                let Some(event_type) = &accepts.event_type else {
                    others.push(Reads { handler, versions: versions.collect(), names_type: false });
                    continue;
                };
                let readers = by_type.entry(event_type.as_str()).or_default();
                // A handler that names a type twice still runs once an event.
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
    pub(crate) fn apply(&mut self, events: &[RecordedEvent], stop: &Stop) -> Result<Outcome, RunError> {
        let mut fields = Vec::new();
        for event in events {
            if stop.is_requested() {
                return Ok(Outcome::Stopped);
            }
            let version = event.schema_version();
            let readers = self.by_type.get(event.event_type()).unwrap_or(&self.others);
            let is_named = readers.iter().any(|reads| reads.names_type);
            let mut handled = false;
            for reads in readers.iter().filter(|own| own.versions.iter().any(|own| own.contains(&version))) {
                handled |= reads.names_type == is_named;
                let handler = &self.parts.handlers[reads.handler];
                take_fields(event, handler, &mut fields).map_err(|problem| RunError::Field {
                    event: EventPlace::of(event),
                    file: self.parts.file.clone(),
                    line: handler.line,
                    problem,
                })?;
                for ((source, parameters), statement) in
                    handler.statements.iter().zip(&mut self.statements[reads.handler])
                {
                    match run(statement, parameters, event, &fields) {
                        Ok(()) => {}
                        Err(error) if is_interrupt(&error) && stop.is_requested() => {
                            return Ok(Outcome::Stopped);
                        }
                        Err(error) => {
                            return Err(RunError::Statement {
                                event: EventPlace::of(event),
                                file: self.parts.file.clone(),
                                line: source.line,
                                message: message(&error),
                                busy: is_busy(&error),
                            });
                        }
                    }
                }
            }
            if !handled {
                return Err(RunError::UnknownVersion {
                    event: EventPlace::of(event),
                    file: self.parts.file.clone(),
                    line: handler_line(event.event_type(), version),
                });
            }
        }
        Ok(Outcome::Applied)
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

fn is_interrupt(error: &rusqlite::Error) -> bool {
    error.sqlite_error_code() == Some(ErrorCode::OperationInterrupted)
}

/// Writes pages: the rows of each and the checkpoint behind it become visible and durable together, or not at all.
pub(crate) struct Writer<'c> {
    connection: &'c Connection,
    path: &'c Path,
    applier: Applier<'c>,
    begin: Statement<'c>,
    advance: Statement<'c>,
    mark_caught_up: Statement<'c>,
    commit: Statement<'c>,
}

/// Whether a view has caught up with a page: then it may serve while a newer version is built.
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

    /// Applies the events between two checkpoints in one transaction. The mark that the view has caught up belongs to it:
    /// once the checkpoint can be seen, a stop or a crash must not be able to come before the mark.
    pub(crate) fn apply(
        &mut self,
        events: &[RecordedEvent],
        from: &Checkpoint,
        to: &Checkpoint,
        reach: Reach,
        stop: &Stop,
    ) -> Result<Outcome, RunError> {
        let outcome = self.apply_within(events, from, to, reach, stop);
        // SQLite ends the transaction by itself after some errors, such as a full disk.
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
        stop: &Stop,
    ) -> Result<Outcome, RunError> {
        let failed = |error: rusqlite::Error| database(self.path, "write to", &error);
        self.begin.raw_execute().map_err(failed)?;
        if self.applier.apply(events, stop)? == Outcome::Stopped {
            return Ok(Outcome::Stopped);
        }
        // Compare and set: two runners of one view can never both commit.
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
