//! What the checks of events find, each with its remedy.

use std::fmt;

use gesta_core::Position;

/// One thing that is wrong with an event type, or may be.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Finding {
    /// How bad it is.
    pub severity: Severity,
    /// The name of the event as stored.
    pub event_type: String,
    /// Its schema version; `None` where the type as a whole is meant.
    pub version: Option<u16>,
    /// The position of a stored event; `None` where none is meant.
    pub position: Option<Position>,
    /// What is wrong.
    pub problem: String,
    /// What helps.
    pub remedy: String,
}

/// How bad a finding is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// It deserves a look. Nothing fails.
    Warning,
    /// Stored events are not read, or programs that run do not read what this one writes.
    Error,
}

impl Finding {
    /// An error.
    pub(crate) fn error(
        event_type: &str,
        version: impl Into<Option<u16>>,
        problem: impl Into<String>,
        remedy: impl Into<String>,
    ) -> Self {
        Self {
            severity: Severity::Error,
            event_type: event_type.to_owned(),
            version: version.into(),
            position: None,
            problem: problem.into(),
            remedy: remedy.into(),
        }
    }

    /// A warning.
    pub(crate) fn warning(
        event_type: &str,
        version: impl Into<Option<u16>>,
        problem: impl Into<String>,
        remedy: impl Into<String>,
    ) -> Self {
        Self { severity: Severity::Warning, ..Self::error(event_type, version, problem, remedy) }
    }

    /// The same finding, about a stored event.
    pub(crate) fn at(mut self, position: Position) -> Self {
        self.position = Some(position);
        self
    }

    /// True for an error.
    #[must_use]
    pub const fn is_error(&self) -> bool {
        matches!(self.severity, Severity::Error)
    }
}

/// One line: type, version, position, problem, remedy.
impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let severity = if self.is_error() { "error" } else { "warning" };
        write!(f, "{severity}: {}", self.event_type)?;
        self.version.iter().try_for_each(|version| write!(f, " version {version}"))?;
        self.position.iter().try_for_each(|position| write!(f, " at position {position}"))?;
        write!(f, ": {}: {}", self.problem, self.remedy)
    }
}
