//! The tables of a view in code: their rows are read by key, and the changes of a page are written in bulk.

use std::path::Path;

use gesta_consumer::Stop;
use gesta_core::RecordedEvent;
use rusqlite::{Connection, Error, Statement};

use crate::limits::ROWS_PER_INSERT;
use crate::query::SqlValue;
use crate::rows::{Page, RowApplier, RowChange, Step, Table, TableChanges, names, quoted};
use crate::run_error::{DatabaseErrorKind, RunError};
use crate::sqlite::apply::is_interrupt;
use crate::sqlite::connection::message;
use crate::sqlite::database::database;
use crate::target::Outcome;

/// The tables of a view, and its code.
pub(crate) struct RowTables<'c> {
    connection: &'c Connection,
    page: Page<'c>,
    tables: Vec<Prepared<'c>>,
    /// The code that applied a page which is not committed yet.
    applied: Option<Box<dyn RowApplier>>,
}

/// A row that was not written.
struct Unwritten<'r> {
    error: Error,
    table: &'r Table,
    row: &'r RowChange,
}

impl Unwritten<'_> {
    /// The row itself is at fault, and would be refused again.
    fn is_refused(&self) -> bool {
        DatabaseErrorKind::of(&self.error) == DatabaseErrorKind::Permanent && !is_interrupt(&self.error)
    }
}

/// The statements on one table.
struct Prepared<'c> {
    columns: usize,
    select: Statement<'c>,
    insert_one: Statement<'c>,
    insert_many: Statement<'c>,
    delete: Statement<'c>,
}

impl<'c> RowTables<'c> {
    pub(crate) fn new(connection: &'c Connection, page: Page<'c>) -> rusqlite::Result<Self> {
        let tables = page.tables().iter().map(|table| Prepared::new(connection, table));
        let tables = tables.collect::<rusqlite::Result<_>>()?;
        Ok(Self { connection, page, tables, applied: None })
    }

    /// Applies a page and writes the rows that it changed.
    pub(crate) fn apply(&mut self, events: &[RecordedEvent], stop: &Stop) -> Result<Outcome, RunError> {
        // What a page that was not committed left in memory goes with it.
        self.applied = None;
        let mut applier = self.page.begin();
        loop {
            match applier.apply(events, stop).map_err(|failure| self.page.error(events, failure))? {
                Step::Done => break,
                Step::Interrupted => return Ok(Outcome::Interrupted),
                Step::Load(keys) => match self.read(&keys) {
                    Ok(rows) => applier.load(rows).map_err(|failure| self.page.error(events, failure))?,
                    Err(error) => return self.failed("read", &error, stop),
                },
            }
        }
        let changes = self.page.changes(&mut *applier, events, |_| None)?;
        if let Err(unwritten) = write(&mut self.tables, self.page.tables(), &changes) {
            if !unwritten.is_refused() {
                return self.failed("write to", &unwritten.error, stop);
            }
            let Unwritten { error, table, row } = unwritten;
            let message = table.of_row(row, &format!("SQLite refuses it: {}", message(&error)));
            return Err(self.page.refused(events, message, row));
        }
        self.applied = Some(applier);
        Ok(Outcome::Applied)
    }

    /// The transaction of the page was committed.
    pub(crate) fn committed(&mut self) {
        if let Some(applier) = self.applied.take() {
            self.page.committed(applier);
        }
    }

    fn read(&mut self, keys: &[Vec<Vec<SqlValue>>]) -> rusqlite::Result<Vec<Vec<Vec<SqlValue>>>> {
        self.tables.iter_mut().zip(keys).map(|(table, keys)| table.read(keys)).collect()
    }

    fn failed(&self, action: &'static str, error: &Error, stop: &Stop) -> Result<Outcome, RunError> {
        if is_interrupt(error) && stop.is_raised() {
            return Ok(Outcome::Interrupted);
        }
        let path = Path::new(self.connection.path().unwrap_or_default());
        Err(database(path, action, error))
    }
}

impl<'c> Prepared<'c> {
    fn new(connection: &'c Connection, table: &Table) -> rusqlite::Result<Self> {
        let (name, all) = (quoted(&table.name), names(&table.columns));
        let by_key = table.key().iter().map(|column| format!("{} = ?", quoted(&column.name)));
        let by_key = by_key.collect::<Vec<_>>().join(" and ");
        let insert = |rows| {
            let row = format!("({})", vec!["?"; table.columns.len()].join(", "));
            let (values, conflict) = (vec![row.as_str(); rows].join(", "), table.on_conflict());
            connection.prepare(&format!("insert into {name} ({all}) values {values} {conflict}"))
        };
        Ok(Self {
            columns: table.columns.len(),
            select: connection.prepare(&format!("select {all} from {name} where {by_key}"))?,
            insert_one: insert(1)?,
            insert_many: insert(ROWS_PER_INSERT)?,
            delete: connection.prepare(&format!("delete from {name} where {by_key}"))?,
        })
    }

    /// Reads the rows that exist.
    fn read(&mut self, keys: &[Vec<SqlValue>]) -> rusqlite::Result<Vec<Vec<SqlValue>>> {
        let mut rows = Vec::new();
        for key in keys {
            bind(&mut self.select, key)?;
            let mut found = self.select.raw_query();
            if let Some(row) = found.next()? {
                let values = (0..self.columns).map(|at| Ok(SqlValue::from(row.get_ref(at)?)));
                rows.push(values.collect::<rusqlite::Result<_>>()?);
            }
        }
        Ok(rows)
    }

    fn write<'r>(&mut self, table: &'r Table, changes: &'r TableChanges) -> Result<(), Unwritten<'r>> {
        for row in &changes.delete {
            let deleted = run(&mut self.delete, std::slice::from_ref(row));
            deleted.map_err(|error| Unwritten { error, table, row })?;
        }
        for rows in changes.put.chunks(ROWS_PER_INSERT) {
            if rows.len() < ROWS_PER_INSERT {
                self.insert_each(table, rows)?;
                continue;
            }
            let inserted = run(&mut self.insert_many, rows);
            let Err(error) = inserted else { continue };
            let unwritten = Unwritten { error, table, row: &rows[0] };
            // The statement kept none of its rows. Alone, the row that is refused has a name.
            if unwritten.is_refused() {
                self.insert_each(table, rows)?;
            }
            return Err(unwritten);
        }
        Ok(())
    }

    fn insert_each<'r>(&mut self, table: &'r Table, rows: &'r [RowChange]) -> Result<(), Unwritten<'r>> {
        let insert = &mut self.insert_one;
        rows.iter().try_for_each(|row| {
            run(insert, std::slice::from_ref(row)).map_err(|error| Unwritten { error, table, row })
        })
    }
}

/// Writes the changes of a page.
fn write<'r>(
    prepared: &mut [Prepared<'_>],
    tables: &'r [Table],
    changes: &'r [TableChanges],
) -> Result<(), Unwritten<'r>> {
    let each = prepared.iter_mut().zip(tables).zip(changes);
    each.into_iter().try_for_each(|((prepared, table), changes)| prepared.write(table, changes))
}

fn run(statement: &mut Statement<'_>, rows: &[RowChange]) -> rusqlite::Result<()> {
    bind(statement, rows.iter().flat_map(|row| &row.values))?;
    statement.raw_execute().map(|_| ())
}

fn bind<'v>(
    statement: &mut Statement<'_>,
    values: impl IntoIterator<Item = &'v SqlValue>,
) -> rusqlite::Result<()> {
    (1..).zip(values).try_for_each(|(index, value)| statement.raw_bind_parameter(index, value))
}
