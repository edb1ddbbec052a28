//! Views whose handlers are code: tables with declared columns, and an object that reads and changes their rows.
//!
//! The object does no I/O. It says which rows it needs, gets them, and gives the rows that a page of events changed; the
//! database of the view reads and writes them in bulk. The crate `gesta` makes such views from Rust types: `gesta::RowView`.

mod page;
mod schema;

use std::sync::Arc;

use gesta_consumer::Stop;
use gesta_core::{EventType, RecordedEvent};

use crate::parked::OnError;
use crate::query::SqlValue;

pub(crate) use page::Page;
pub(crate) use schema::{check, names, quoted, schema};

/// A view whose handlers are code. [`Definition::rows`](crate::Definition::rows) makes a definition of it.
#[derive(Clone)]
pub struct RowDefinition {
    /// The view's name: 1 to 64 of `a-z`, `0-9` and `_`.
    pub name: String,
    /// Raised when the code gives other rows for the same events. It is part of the hash.
    pub version: u32,
    /// What it does at an event that it cannot apply.
    pub on_error: OnError,
    /// The types of the events that it takes.
    pub event_types: Vec<EventType>,
    /// Its tables, at least one.
    pub tables: Vec<Table>,
    /// Its code.
    pub handler: Arc<dyn RowHandler>,
}

/// A table of a view whose handlers are code.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Table {
    /// Its name: 1 to 60 of `a-z`, `0-9` and `_`, not beginning with a digit, `gesta_`, `sqlite_` or `pg_`, and none that a
    /// database uses itself, such as `excluded` and `xmin`.
    pub name: String,
    /// Its columns, those of the key first. At least one.
    pub columns: Vec<Column>,
    /// How many columns make the key, from the first one on.
    pub key_columns: usize,
}

/// A column of a [`Table`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Column {
    /// Its name, by the rules of a table's.
    pub name: String,
    /// The type of its values.
    pub column_type: ColumnType,
    /// It may be null. A column of the key may not.
    pub is_nullable: bool,
    /// It has an index.
    pub is_indexed: bool,
}

/// The type of a column.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ColumnType {
    /// A whole number of 64 bits: `integer` in SQLite, `bigint` in PostgreSQL.
    Integer,
    /// A floating-point number: `real`, `double precision`. Not for keys.
    Real,
    /// A text: `text`. It is compared byte by byte in both databases.
    Text,
    /// Bytes: `blob`, `bytea`.
    Bytes,
    /// True or false: `integer` with 1 and 0, `boolean`. Its value is an integer.
    Boolean,
}

impl ColumnType {
    /// Whether a value that is not null fits a column of this type.
    #[must_use]
    pub const fn holds(self, value: &SqlValue) -> bool {
        matches!(
            (self, value),
            (Self::Integer | Self::Boolean, SqlValue::Integer(_))
                | (Self::Real, SqlValue::Real(_))
                | (Self::Text, SqlValue::Text(_))
                | (Self::Bytes, SqlValue::Blob(_))
        )
    }
}

/// The code of a view.
pub trait RowHandler: Send + Sync + 'static {
    /// Begins to apply events to the rows of one version. What it knows of them comes from [`RowApplier::load`] alone.
    fn begin(&self) -> Box<dyn RowApplier>;
}

/// Applies pages of events. It may keep rows from page to page: nobody else changes them. It is dropped when the changes of a
/// page were not committed.
pub trait RowApplier: Send {
    /// Applies a page, from its first event on. [`Step::Load`] asks for rows; it is called with the same page again then.
    ///
    /// # Errors
    /// [`RowFailure`]. Nothing of the page is kept.
    fn apply(&mut self, events: &[RecordedEvent], stop: &Stop) -> Result<Step, RowFailure>;

    /// Takes the rows that it asked for, by table: those that exist, each with the values of all columns.
    ///
    /// # Errors
    /// [`RowFailure::Row`] if a row does not fit the code.
    fn load(&mut self, rows: Vec<Vec<Vec<SqlValue>>>) -> Result<(), RowFailure>;

    /// Takes the changes of the page that was applied, by table.
    ///
    /// # Errors
    /// [`RowFailure::Event`] for a row that cannot be stored.
    fn changes(&mut self) -> Result<Vec<TableChanges>, RowFailure>;
}

/// How far a page was applied.
#[derive(Debug, Clone, PartialEq)]
pub enum Step {
    /// To its end.
    Done,
    /// It needs the rows with these keys, by table. Each key has the values of the key's columns.
    Load(Vec<Vec<Vec<SqlValue>>>),
    /// The signal was raised.
    Interrupted,
}

/// The rows of one table that a page changed. No key occurs twice.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct TableChanges {
    /// Rows to insert, or to replace.
    pub put: Vec<RowChange>,
    /// Rows to delete, as the values of their keys. They need not exist.
    pub delete: Vec<RowChange>,
}

/// A row, or its key, with the event that changed it last.
#[derive(Debug, Clone, PartialEq)]
pub struct RowChange {
    /// The values of all columns, or of the key's.
    pub values: Vec<SqlValue>,
    /// The index of the event in the page.
    pub event: usize,
}

/// Why code could not apply a page.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RowFailure {
    /// It cannot apply an event.
    #[error("{message}")]
    Event {
        /// The index of the event in the page.
        event: usize,
        /// Why not.
        message: String,
    },
    /// A row in the database does not fit the code: its table was changed by hand, or the code has changed and its version has not.
    #[error("{message}")]
    Row {
        /// The row, and what is wrong with it.
        message: String,
    },
}

/// Why a [`RowDefinition`] is not a view.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RowDefinitionError {
    /// The view's name is not allowed.
    #[error("`{name}` cannot be a view's name: use 1 to 64 of a-z, 0-9 and _")]
    Name {
        /// The name.
        name: String,
    },
    /// The name of a table or column is not allowed.
    #[error(
        "`{name}` cannot be the name of a table or column: use 1 to 60 of a-z, 0-9 and _, not beginning with a digit, `gesta_`, `sqlite_` or `pg_`, and not {}",
        schema::RESERVED.join(", ")
    )]
    TableName {
        /// The name.
        name: String,
    },
    /// A name occurs twice.
    #[error("two tables, or two columns of a table, are named `{name}`: rename one of them")]
    Duplicate {
        /// The name.
        name: String,
    },
    /// The key of a table is not allowed.
    #[error(
        "the key of the table `{table}` is not allowed: it has one column at least, none of them nullable or a floating-point number"
    )]
    Key {
        /// The table.
        table: String,
    },
    /// There is no table.
    #[error("the view `{name}` has no table: give it at least one")]
    NoTable {
        /// The view.
        name: String,
    },
    /// There is no event type.
    #[error("the view `{name}` takes no type of event: name at least one")]
    NoEvents {
        /// The view.
        name: String,
    },
}
