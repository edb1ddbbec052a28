//! The parts of a parsed definition: header, schema and handlers.

use std::ops::RangeInclusive;
use std::sync::Arc;

use gesta_core::{Category, EventType};
use sha2::{Digest, Sha256};

use crate::dialect::Dialect;
use crate::envelope::Envelope;
use crate::limits::VIEW_NAME_BYTES_MAX;
use crate::parked::OnError;
use crate::rows::{RowHandler, Table};
use crate::statements::Statement;

/// The parts of a definition.
pub(crate) struct Parts {
    pub(crate) name: String,
    /// The file's name, for messages.
    pub(crate) file: String,
    /// The definition as it was written; `None` if it is code.
    pub(crate) text: Option<String>,
    pub(crate) dialect: Dialect,
    pub(crate) version: u32,
    /// What happens at an event that cannot be applied. It does not change the rows of the other events, so it is not hashed.
    pub(crate) on_error: OnError,
    /// Only streams of these categories. Empty means all.
    pub(crate) categories: Vec<Category>,
    pub(crate) schema: Vec<Statement>,
    pub(crate) work: Work,
}

/// What a view does with its events.
pub(crate) enum Work {
    /// The statements of a `.sql` file.
    Statements(Vec<Handler>),
    /// Code that changes rows.
    Code(Code),
}

/// The code of a view, and the tables whose rows it changes.
#[derive(Clone)]
pub(crate) struct Code {
    pub(crate) event_types: Vec<EventType>,
    pub(crate) tables: Vec<Table>,
    pub(crate) handler: Arc<dyn RowHandler>,
}

/// The statements for some types of events.
pub(crate) struct Handler {
    pub(crate) line: u32,
    pub(crate) accepts: Vec<Accepts>,
    /// The fields that the statements and `-- require` name, sorted.
    pub(crate) fields: Vec<String>,
    /// Indices of the fields that must be there.
    pub(crate) required: Vec<usize>,
    /// The statements, each with the sources of its parameters.
    pub(crate) statements: Vec<(Statement, Vec<Parameter>)>,
}

/// An event type and the schema versions of it that a handler reads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Accepts {
    /// `None` for every type.
    pub(crate) event_type: Option<EventType>,
    pub(crate) versions: Vec<RangeInclusive<u16>>,
}

/// The source of a statement's parameter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Parameter {
    Envelope(Envelope),
    /// An index into the handler's fields.
    Field(usize),
}

impl Parts {
    /// The handlers of a `.sql` file.
    pub(crate) fn handlers(&self) -> &[Handler] {
        match &self.work {
            Work::Statements(handlers) => handlers,
            Work::Code(_) => &[],
        }
    }

    /// The code of a view that is not a `.sql` file.
    pub(crate) const fn code(&self) -> Option<&Code> {
        match &self.work {
            Work::Statements(_) => None,
            Work::Code(code) => Some(code),
        }
    }

    /// Hashes each part after its length, so that no two definitions give the same bytes.
    pub(crate) fn digest(&self) -> [u8; 32] {
        /// Raised when a release gives other rows for the same definition.
        const RUNTIME: &str = "gesta view 1";
        let mut hasher = Sha256::new();
        let mut add = |part: &str| {
            hasher.update((part.len() as u64).to_le_bytes());
            hasher.update(part);
        };
        [RUNTIME, self.dialect.name(), &self.version.to_string()].into_iter().for_each(&mut add);
        add(&self.categories.len().to_string());
        self.categories.iter().for_each(|category| add(category.as_str()));
        add(&self.schema.len().to_string());
        self.schema.iter().for_each(|statement| add(&statement.normal));
        for handler in self.handlers() {
            add(&format!("{:?}", handler.accepts));
            add(&format!("{:?}", handler.required.iter().map(|at| &handler.fields[*at]).collect::<Vec<_>>()));
            add(&handler.statements.len().to_string());
            handler.statements.iter().for_each(|(statement, _)| add(&statement.normal));
        }
        if let Some(code) = self.code() {
            // Columns are part of the schema. Events of a type that is new to a view were not applied.
            add("code");
            code.event_types.iter().for_each(|event_type| add(event_type.as_str()));
        }
        hasher.finalize().into()
    }
}

/// The name in the address of a reload over HTTP.
const TAKEN: &str = "reload";

/// Whether a text can be a view's name. It becomes part of a file name, so other characters are refused.
pub(crate) fn is_view_name(name: &str) -> bool {
    name != TAKEN
        && (1..=VIEW_NAME_BYTES_MAX).contains(&name.len())
        && name.bytes().all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'_'))
}
