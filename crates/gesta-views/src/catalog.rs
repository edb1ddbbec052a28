//! Compares a definition with the events that a host knows: a misspelt type, version or field is a warning.
//!
//! A warning and no error, since a log can also have events of other programs.

use std::fmt;

use gesta_core::EventType;

use crate::parts::{Handler, Parameter, Parts};

/// An event type that a host knows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KnownEvent {
    /// Its name.
    pub name: String,
    /// The newest version of its schema.
    pub version: u16,
    /// The fields of its data in that version; `None` if they are not known.
    pub fields: Option<Vec<String>>,
}

/// A name in a definition that the host does not know: it may be misspelt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DefinitionWarning {
    /// The file.
    pub file: String,
    /// The line in it, from 1.
    pub line: u32,
    /// The name that is not known.
    pub unknown: UnknownName,
    /// A known name that differs by a few characters.
    pub similar: Option<String>,
}

/// A name that a host does not know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum UnknownName {
    /// The application has no such event type.
    Type(String),
    /// The application has the event type, but not this schema version.
    Version {
        /// The type.
        event_type: String,
        /// The version.
        version: u16,
    },
    /// No event of the handler has such a field.
    Field(String),
}

impl fmt::Display for DefinitionWarning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { file, line, unknown, similar } = self;
        match unknown {
            UnknownName::Type(name) => {
                write!(f, "{file}:{line}: the application has no event type `{name}`")?
            }
            UnknownName::Version { event_type, version } => {
                write!(f, "{file}:{line}: the application has no version {version} of `{event_type}`")?
            }
            UnknownName::Field(name) => {
                write!(f, "{file}:{line}: no event of this handler has a field `{name}`")?
            }
        }
        similar.iter().try_for_each(|similar| write!(f, ": did you mean `{similar}`?"))
    }
}

/// The names in a definition that a host with these events does not know.
pub(crate) fn warnings(parts: &Parts, known: &[KnownEvent]) -> Vec<DefinitionWarning> {
    let warn =
        |line, unknown, similar| DefinitionWarning { file: parts.file.clone(), line, unknown, similar };
    let mut warnings = Vec::new();
    for handler in parts.handlers() {
        let types = handler.accepts.iter().filter_map(|accepts| accepts.event_type.as_ref());
        for name in types.map(EventType::as_str).filter(|name| find(known, name).is_none()) {
            let similar = similar(name, known.iter().map(|event| event.name.as_str()));
            warnings.push(warn(handler.line, UnknownName::Type(name.to_owned()), similar));
        }
        for (event, version) in newer_versions(handler, known) {
            let unknown = UnknownName::Version { event_type: event.name.clone(), version };
            warnings.push(warn(handler.line, unknown, Some(format!("{}@{}", event.name, event.version))));
        }
        let Some(fields) = fields_of(handler, known) else { continue };
        for (name, line) in names(handler).into_iter().filter(|(name, _)| !fields.contains(name)) {
            let similar = similar(name, fields.iter().copied());
            warnings.push(warn(line, UnknownName::Field(name.to_owned()), similar));
        }
    }
    warnings.sort_by_key(|warning| warning.line);
    warnings
}

fn find<'k>(known: &'k [KnownEvent], name: &str) -> Option<&'k KnownEvent> {
    known.iter().find(|event| event.name == name)
}

/// The types whose newest version is older than the last one that a handler names. Which older versions there were is not known.
fn newer_versions<'k>(
    handler: &Handler,
    known: &'k [KnownEvent],
) -> impl Iterator<Item = (&'k KnownEvent, u16)> {
    handler.accepts.iter().filter_map(|accepts| {
        let event = find(known, accepts.event_type.as_ref()?.as_str())?;
        let last = accepts.versions.iter().map(|versions| *versions.end()).max()?;
        (last > event.version).then_some((event, last))
    })
}

/// All fields of a handler's events; `None` if some are not known, as those of older versions are not.
fn fields_of<'k>(handler: &Handler, known: &'k [KnownEvent]) -> Option<Vec<&'k str>> {
    let mut fields = Vec::new();
    for accepts in &handler.accepts {
        let event = find(known, accepts.event_type.as_ref()?.as_str())?;
        if accepts.versions.iter().any(|versions| *versions != (event.version..=event.version)) {
            return None;
        }
        fields.extend(event.fields.as_ref()?.iter().map(String::as_str));
    }
    Some(fields)
}

/// The fields that a handler names, each with the line of its first use.
fn names(handler: &Handler) -> Vec<(&str, u32)> {
    let used =
        handler.statements.iter().flat_map(|(statement, sources)| statement.parameters.iter().zip(sources));
    let used = used.filter_map(|((_, line), source)| match source {
        Parameter::Field(field) => Some((*field, *line)),
        Parameter::Envelope(_) => None,
    });
    let required = handler.required.iter().map(|field| (*field, handler.line));
    let mut names: Vec<(&str, u32)> = Vec::new();
    for (field, line) in used.chain(required) {
        let name = handler.fields[field].as_str();
        if names.iter().all(|(known, _)| *known != name) {
            names.push((name, line));
        }
    }
    names
}

/// The closest name within a third of its length in edits.
fn similar<'k>(name: &str, known: impl Iterator<Item = &'k str>) -> Option<String> {
    let ranked = known.map(|known| (distance(name, known), known));
    let (distance, closest) = ranked.min_by_key(|(distance, _)| *distance)?;
    (distance <= name.chars().count().max(3) / 3).then(|| closest.to_owned())
}

/// The Levenshtein distance: insertions, deletions and replacements from one text to the other.
fn distance(from: &str, to: &str) -> usize {
    let to = to.chars().collect::<Vec<_>>();
    let mut row = (0..=to.len()).collect::<Vec<_>>();
    for (at, char) in from.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = at + 1;
        for (column, other) in to.iter().enumerate() {
            let replaced = diagonal + usize::from(char != *other);
            diagonal = row[column + 1];
            row[column + 1] = replaced.min(diagonal + 1).min(row[column] + 1);
        }
    }
    row[to.len()]
}
