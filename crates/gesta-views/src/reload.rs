//! Reloads: definitions that changed or are new take effect while the views run.

use std::fmt;
use std::io;

use crate::definition::{Definition, LoadError};
use crate::hosted::Hosted;

/// What a reload did, by the names of views.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Reloaded {
    /// Views that are new. They are being built.
    pub added: Vec<String>,
    /// Views whose definition changed. Their new versions are being built, and the old ones answer queries. If only `-- on-error`
    /// changed, the version goes on.
    pub changed: Vec<String>,
    /// Views whose definition is the same.
    pub unchanged: Vec<String>,
    /// Views that no definition names any more. They run on until the next start of the host.
    pub undefined: Vec<String>,
    /// Definitions that were not taken. Their views run on with the ones before.
    pub refused: Vec<RefusedDefinition>,
}

/// A definition that was not taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RefusedDefinition {
    /// The view that runs on with the definition before; `None` if there is no such view.
    pub view: Option<String>,
    /// Why it was not taken, with file and line.
    pub error: String,
}

impl fmt::Display for RefusedDefinition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.view {
            Some(view) => write!(f, "{}; the view `{view}` runs on with the definition before", self.error),
            None => f.write_str(&self.error),
        }
    }
}

/// The outcome of a definition for a view that runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Given {
    Changed,
    Unchanged,
}

/// Why a view that runs does not take a definition.
#[derive(Debug, thiserror::Error)]
pub(crate) enum GiveError {
    #[error(
        "the dialect of the view `{name}` changed: restart the server for that, or give the view another name"
    )]
    Dialect { name: String },
    #[error("cannot start a thread for the view")]
    Thread(#[from] io::Error),
}

impl Hosted {
    /// Gives a definition to a view that runs.
    pub(crate) fn give(&self, definition: Definition) -> Result<Given, GiveError> {
        let _operating = self.operating();
        let given = self.view.given();
        if given.dialect() != definition.dialect() {
            return Err(GiveError::Dialect { name: self.view.name.clone() });
        }
        if given.hash() == definition.hash() && given.on_error() == definition.on_error() {
            self.view.give(definition);
            return Ok(Given::Unchanged);
        }
        self.standing_still(|| self.view.give(definition))?;
        Ok(Given::Changed)
    }
}

impl LoadError {
    /// True if the error is about the file of a definition, or the name of its view.
    pub(crate) fn concerns(&self, definition: &Definition) -> bool {
        let file = &definition.parts().file;
        match self {
            Self::Io { path, .. } => path.file_name().is_some_and(|name| name == file.as_str()),
            Self::Definition(error) => error.file == *file,
            Self::Duplicate { name, .. } => name == definition.name(),
        }
    }
}
