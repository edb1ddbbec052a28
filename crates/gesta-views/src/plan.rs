//! Which handlers take an event: the part of applying events that all databases share.

use std::collections::HashMap;
use std::ops::RangeInclusive;

use gesta_core::RecordedEvent;

use crate::fields::{Field, FieldProblem, extract};
use crate::parse::handler_line;
use crate::parts::{Handler, Parameter, Parts};
use crate::run_error::{DatabaseErrorKind, EventPlace, RunError};
use crate::target::Outcome;
use crate::value::Value;

/// The handlers of a definition by event type.
pub(crate) struct Plan<'d> {
    pub(crate) parts: &'d Parts,
    by_type: HashMap<&'d str, Vec<Takes<'d>>>,
    /// The handlers of every type: `-- on *`.
    others: Vec<Takes<'d>>,
}

/// The versions of a type that a handler takes.
#[derive(Clone)]
struct Takes<'d> {
    handler: usize,
    versions: Vec<&'d RangeInclusive<u16>>,
    /// Whether the handler names the type. Such handlers alone decide which versions of it are known.
    names_type: bool,
}

impl<'d> Plan<'d> {
    pub(crate) fn new(parts: &'d Parts) -> Self {
        let mut by_type: HashMap<&str, Vec<Takes<'_>>> = HashMap::new();
        let mut others = Vec::new();
        for (handler, parsed) in parts.handlers().iter().enumerate() {
            for accepts in &parsed.accepts {
                let versions = accepts.versions.iter();
                let Some(event_type) = &accepts.event_type else {
                    others.push(Takes { handler, versions: versions.collect(), names_type: false });
                    continue;
                };
                let takers = by_type.entry(event_type.as_str()).or_default();
                // A handler that names a type twice still runs once for each event.
                match takers.last_mut().filter(|last| last.handler == handler) {
                    Some(last) => last.versions.extend(versions),
                    None => takers.push(Takes { handler, versions: versions.collect(), names_type: true }),
                }
            }
        }
        for takers in by_type.values_mut() {
            takers.extend(others.iter().cloned());
            takers.sort_by_key(|takes| takes.handler);
        }
        Self { parts, by_type, others }
    }

    /// Calls `run` for every handler of an event, in the order of the file, with the handler's index and the fields that it
    /// reads. `fields` is kept from event to event for its memory.
    pub(crate) fn each_handler<'e>(
        &self,
        event: &'e RecordedEvent,
        fields: &mut Vec<Field<'e>>,
        mut run: impl FnMut(usize, &Handler, &[Field<'e>]) -> Result<Outcome, RunError>,
    ) -> Result<Outcome, RunError> {
        let version = event.schema_version();
        let takers = self.by_type.get(event.event_type()).unwrap_or(&self.others);
        let is_named = takers.iter().any(|takes| takes.names_type);
        let mut handled = false;
        for takes in takers.iter().filter(|takes| takes.takes(version)) {
            handled |= takes.names_type == is_named;
            let handler = &self.parts.handlers()[takes.handler];
            take_fields(event, handler, fields).map_err(|problem| RunError::Field {
                event: EventPlace::of(event),
                file: self.parts.file.clone(),
                line: handler.line,
                problem,
            })?;
            if run(takes.handler, handler, fields)? == Outcome::Interrupted {
                return Ok(Outcome::Interrupted);
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

    /// The error of a statement: `statement` of `handler`, by their indices, failed for an event.
    pub(crate) fn statement_error(
        &self,
        event: &RecordedEvent,
        (handler, statement): (usize, usize),
        message: String,
        kind: DatabaseErrorKind,
    ) -> RunError {
        let handler = &self.parts.handlers()[handler];
        let (source, parameters) = &handler.statements[statement];
        let mut fields = Vec::new();
        let missing = match extract(event, &handler.fields, &mut fields) {
            Ok(()) => missing(handler, parameters, &fields),
            Err(_) => Vec::new(),
        };
        RunError::Statement {
            event: EventPlace::of(event),
            file: self.parts.file.clone(),
            line: source.line,
            message,
            missing,
            kind,
        }
    }
}

impl Takes<'_> {
    fn takes(&self, version: u16) -> bool {
        self.versions.iter().any(|versions| versions.contains(&version))
    }
}

impl Parameter {
    /// Its value for an event with these fields.
    pub(crate) fn value<'v>(&self, event: &'v RecordedEvent, fields: &'v [Field<'_>]) -> Value<'v> {
        match self {
            Self::Envelope(envelope) => envelope.of(event),
            Self::Field(field) => fields[*field].value(),
        }
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
