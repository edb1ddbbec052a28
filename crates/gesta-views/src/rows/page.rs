//! The code of a view between two pages, for every database.

use gesta_core::RecordedEvent;

use super::{RowApplier, RowChange, RowFailure, Table, TableChanges};
use crate::definition::Definition;
use crate::limits::MESSAGE_KEY_CHARACTERS;
use crate::parts::Code;
use crate::query::SqlValue;
use crate::run_error::{EventPlace, RunError};

/// The code of a view, with the rows that it keeps in memory. They are dropped unless the page that changed them is committed.
pub(crate) struct Page<'d> {
    view: &'d str,
    code: &'d Code,
    applier: Option<Box<dyn RowApplier>>,
}

impl<'d> Page<'d> {
    pub(crate) fn new(view: &'d str, code: &'d Code) -> Self {
        Self { view, code, applier: None }
    }

    pub(crate) fn tables(&self) -> &'d [Table] {
        &self.code.tables
    }

    /// Begins a page. [`Self::committed`] takes the code back.
    pub(crate) fn begin(&mut self) -> Box<dyn RowApplier> {
        self.applier.take().unwrap_or_else(|| self.code.handler.begin())
    }

    /// The changes of the page were committed.
    pub(crate) fn committed(&mut self, applier: Box<dyn RowApplier>) {
        self.applier = Some(applier);
    }

    /// Takes the changes of a page. Each value fits its column, and `refused` has no reason against it.
    pub(crate) fn changes(
        &self,
        applier: &mut dyn RowApplier,
        events: &[RecordedEvent],
        refused: fn(&SqlValue) -> Option<&'static str>,
    ) -> Result<Vec<TableChanges>, RunError> {
        let changes = applier.changes().map_err(|failure| self.unstorable(events, failure))?;
        for (table, changes) in self.code.tables.iter().zip(&changes) {
            for row in changes.put.iter().chain(&changes.delete) {
                if let Some(reason) = table.misfit(&row.values, refused) {
                    let message = table.of_row(row, &reason);
                    return Err(self.unstorable(events, RowFailure::Event { event: row.event, message }));
                }
            }
        }
        Ok(changes)
    }

    /// The error of a row that the database refuses.
    pub(crate) fn refused(&self, events: &[RecordedEvent], message: String, row: &RowChange) -> RunError {
        self.unstorable(events, RowFailure::Event { event: row.event, message })
    }

    /// The error of a row that cannot be stored.
    fn unstorable(&self, events: &[RecordedEvent], failure: RowFailure) -> RunError {
        match self.error(events, failure) {
            RunError::Apply { event, view, message } => RunError::Unstorable { event, view, message },
            error => error,
        }
    }

    /// The error of a failure at a page.
    pub(crate) fn error(&self, events: &[RecordedEvent], failure: RowFailure) -> RunError {
        let view = self.view.to_owned();
        match failure {
            RowFailure::Event { event, message } => match events.get(event) {
                Some(event) => RunError::Apply { event: EventPlace::of(event), view, message },
                None => RunError::Row { view, message },
            },
            RowFailure::Row { message } => RunError::Row { view, message },
        }
    }
}

impl Definition {
    /// The code of the view, if its handlers are code.
    pub(crate) fn page(&self) -> Option<Page<'_>> {
        Some(Page::new(self.name(), self.parts().code()?))
    }
}

impl Table {
    /// Why values cannot be those of a row's first columns.
    fn misfit(&self, values: &[SqlValue], refused: fn(&SqlValue) -> Option<&'static str>) -> Option<String> {
        let misfit = values.iter().zip(&self.columns).find_map(|(value, column)| {
            let reason = match value {
                SqlValue::Null if column.is_nullable => return None,
                SqlValue::Null => "is null",
                SqlValue::Real(number) if number.is_nan() => "is not a number",
                value if column.column_type.holds(value) => refused(value)?,
                _ => "has a value of another type",
            };
            Some(format!("the column `{}` {reason}", column.name))
        });
        misfit.or_else(|| {
            let is_whole = values.len() == self.columns.len() || values.len() == self.key_columns;
            (!is_whole).then(|| format!("it has {} values", values.len()))
        })
    }

    /// A message about a row.
    pub(crate) fn of_row(&self, row: &RowChange, reason: &str) -> String {
        let key = row.values.iter().take(self.key_columns).map(|value| match value {
            SqlValue::Text(text) => text.chars().take(MESSAGE_KEY_CHARACTERS).collect(),
            SqlValue::Integer(number) => number.to_string(),
            other => format!("{other:?}"),
        });
        let key = key.collect::<Vec<_>>().join(", ");
        format!("the row `{key}` of the table `{}`: {reason}", self.name)
    }
}
