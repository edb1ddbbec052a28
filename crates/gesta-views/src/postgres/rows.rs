//! The tables of a view in code: one statement reads the rows that a page needs, and one for each table writes those that it changed.

use gesta_consumer::Stop;
use gesta_core::RecordedEvent;
use tokio_postgres::types::ToSql;
use tokio_postgres::{Error, Row, Statement};

use crate::limits::WRITE_BYTES_MAX;
use crate::postgres::error::{is_missing_object, kind, message};
use crate::postgres::version::PostgresVersion;
use crate::query::SqlValue;
use crate::rows::{
    Column, ColumnType, Page, RowApplier, RowChange, Step, Table, TableChanges, names, quoted,
};
use crate::run_error::{DatabaseErrorKind, RunError};
use crate::target::Outcome;

/// The tables of a view, and its code.
pub(crate) struct RowTables<'v> {
    version: &'v PostgresVersion,
    page: Page<'v>,
    tables: Vec<Prepared<'v>>,
    /// The code that applied a page which is not committed yet.
    applied: Option<Box<dyn RowApplier>>,
}

/// The statements on one table. Rows are sent as arrays, one for each column.
struct Prepared<'v> {
    table: &'v Table,
    select: Statement,
    upsert: Statement,
    delete: Statement,
}

/// Rows that were not written.
struct Unwritten<'c> {
    error: Error,
    table: &'c Table,
    /// The first of them.
    row: &'c RowChange,
}

/// The code that applied events, and what they changed.
type Changed = (Box<dyn RowApplier>, Vec<TableChanges>);

/// The values of a column, as a parameter.
type Array<'a> = Box<dyn ToSql + Sync + Send + 'a>;

impl<'v> RowTables<'v> {
    /// Prepares the statements on the version's connection.
    pub(crate) fn new(version: &'v PostgresVersion, page: Page<'v>) -> Result<Self, RunError> {
        let tables = page.tables().iter().map(|table| Prepared::new(version, table));
        let tables = tables.collect::<Result<_, _>>()?;
        Ok(Self { version, page, tables, applied: None })
    }

    /// Applies the pieces of a page, begins a transaction, and writes the rows that they changed.
    ///
    /// Rows of the first piece are read before the transaction, which the server ends if it idles: a page may take longer. They are still
    /// as they were read, or the page does not commit: who writes here moves the checkpoint or raises the fence, in the same transaction.
    pub(crate) async fn apply(
        &mut self,
        pieces: &[&[RecordedEvent]],
        stop: &Stop,
    ) -> Result<Outcome, RunError> {
        for (at, events) in pieces.iter().enumerate() {
            let Some((applier, changes)) = self.change(events, stop).await? else {
                return Ok(Outcome::Interrupted);
            };
            if at == 0 {
                self.batch("begin").await?;
            }
            self.write(events, &changes).await?;
            self.applied = Some(applier);
        }
        Ok(Outcome::Applied)
    }

    /// Applies events to the rows in memory. `None`: the signal was raised.
    async fn change(&mut self, events: &[RecordedEvent], stop: &Stop) -> Result<Option<Changed>, RunError> {
        // What a page that was not committed left in memory goes with it.
        self.applied = None;
        let mut applier = self.page.begin();
        loop {
            match applier.apply(events, stop).map_err(|failure| self.page.error(events, failure))? {
                Step::Done => break,
                Step::Interrupted => return Ok(None),
                Step::Load(keys) => {
                    let rows = self.read(&keys).await?;
                    applier.load(rows).map_err(|failure| self.page.error(events, failure))?;
                }
            }
        }
        let changes = self.page.changes(&mut *applier, events, refused)?;
        Ok(Some((applier, changes)))
    }

    /// The transaction of the page was committed.
    pub(crate) fn committed(&mut self) {
        if let Some(applier) = self.applied.take() {
            self.page.committed(applier);
        }
    }

    async fn read(&self, keys: &[Vec<Vec<SqlValue>>]) -> Result<Vec<Vec<Vec<SqlValue>>>, RunError> {
        let mut rows = Vec::with_capacity(keys.len());
        for (prepared, keys) in self.tables.iter().zip(keys) {
            rows.push(self.read_table(prepared, keys).await.map_err(|error| self.failed(&error))?);
        }
        Ok(rows)
    }

    async fn read_table(
        &self,
        prepared: &Prepared<'_>,
        keys: &[Vec<SqlValue>],
    ) -> Result<Vec<Vec<SqlValue>>, Error> {
        // A key with a value that PostgreSQL does not hold has no row.
        let keys =
            keys.iter().map(Vec::as_slice).filter(|key| key.iter().all(|value| refused(value).is_none()));
        if keys.clone().next().is_none() {
            return Ok(Vec::new());
        }
        let keys = arrays(prepared.table.key(), keys);
        let found = self.version.session.client.query(&prepared.select, &references(&keys)).await?;
        found.iter().map(|row| values(row, &prepared.table.columns)).collect()
    }

    /// Writes the changes of a page. If PostgreSQL refuses them, they are written again row by row, to name the event of the row
    /// that it refuses: its key is too large for an index, for example.
    async fn write(&self, events: &[RecordedEvent], changes: &[TableChanges]) -> Result<(), RunError> {
        let Err(mut unwritten) = self.write_pieces(changes, WRITE_BYTES_MAX).await else { return Ok(()) };
        if is_refused(&unwritten.error) {
            self.batch("rollback; begin").await?;
            unwritten = self.write_pieces(changes, 0).await.err().unwrap_or(unwritten);
        }
        let Unwritten { error, table, row } = unwritten;
        if !is_refused(&error) {
            return Err(self.failed(&error));
        }
        let message = table.of_row(row, &format!("PostgreSQL refuses it: {}", message(&error)));
        Err(self.page.refused(events, message, row))
    }

    /// Writes changes in pieces of at most that many bytes, or of one row.
    async fn write_pieces<'c>(
        &'c self,
        changes: &'c [TableChanges],
        bytes_max: usize,
    ) -> Result<(), Unwritten<'c>> {
        for (Prepared { table, delete, upsert, .. }, changes) in self.tables.iter().zip(changes) {
            let deletes = pieces(&changes.delete, bytes_max).map(|rows| (delete, table.key(), rows));
            let puts = pieces(&changes.put, bytes_max).map(|rows| (upsert, &table.columns[..], rows));
            for (statement, columns, rows) in deletes.chain(puts) {
                let values = arrays(columns, rows.iter().map(RowChange::values));
                let written = self.version.session.client.execute(statement, &references(&values)).await;
                written.map_err(|error| Unwritten { error, table, row: &rows[0] })?;
            }
        }
        Ok(())
    }

    async fn batch(&self, sql: &str) -> Result<(), RunError> {
        self.version.session.client.batch_execute(sql).await.map_err(|error| self.failed(&error))
    }

    fn failed(&self, error: &Error) -> RunError {
        self.version.failed_to_write(error)
    }
}

impl RowChange {
    fn values(&self) -> &[SqlValue] {
        &self.values
    }

    fn bytes(&self) -> usize {
        self.values.iter().map(SqlValue::counted_bytes).sum()
    }
}

impl<'v> Prepared<'v> {
    fn new(version: &PostgresVersion, table: &'v Table) -> Result<Self, RunError> {
        let (name, all) = (quoted(&table.name), names(&table.columns));
        let read = table.columns.iter().map(|column| format!("t.{}", quoted(&column.name)));
        let read = read.collect::<Vec<_>>().join(", ");
        let keys = format!("unnest({}) as k({})", parameters(table.key()), numbered(table.key()));
        let by_key = table.key().iter().enumerate().map(|(at, column)| {
            let collate = if column.column_type == ColumnType::Text { " collate \"C\"" } else { "" };
            format!("t.{} = k.k{at}{collate}", quoted(&column.name))
        });
        let by_key = by_key.collect::<Vec<_>>().join(" and ");
        let rows = format!("unnest({}) as r({})", parameters(&table.columns), numbered(&table.columns));
        let prepare = |sql: String| {
            let prepared = version.session.wait(version.session.client.prepare(&sql));
            prepared.ok_or(RunError::ShutDown)?.map_err(|error| version.unusable(&error))
        };
        Ok(Self {
            table,
            select: prepare(format!("select {read} from {keys} join {name} as t on {by_key}"))?,
            upsert: prepare(format!(
                "insert into {name} ({all}) select * from {rows} {}",
                table.on_conflict()
            ))?,
            delete: prepare(format!("delete from {name} as t using {keys} where {by_key}"))?,
        })
    }
}

/// Cuts changes into pieces of at most that many bytes, or of one row.
fn pieces(changes: &[RowChange], bytes_max: usize) -> impl Iterator<Item = &[RowChange]> {
    let mut bytes = 0;
    changes.chunk_by(move |row, next| {
        bytes += row.bytes();
        let fits = bytes + next.bytes() <= bytes_max;
        if !fits {
            bytes = 0;
        }
        fits
    })
}

/// Whether the server refuses a row, and would refuse it again.
fn is_refused(error: &Error) -> bool {
    kind(error) == DatabaseErrorKind::Permanent && !is_missing_object(error)
}

/// `$1::text[], $2::bigint[]`, for columns of these types.
fn parameters(columns: &[Column]) -> String {
    let one = |(number, column): (usize, &Column)| {
        let element = match column.column_type {
            ColumnType::Integer => "bigint",
            ColumnType::Real => "double precision",
            ColumnType::Text => "text",
            ColumnType::Bytes => "bytea",
            ColumnType::Boolean => "boolean",
        };
        format!("${number}::{element}[]")
    };
    (1..).zip(columns).map(one).collect::<Vec<_>>().join(", ")
}

/// `k0, k1`, a name for each column.
fn numbered(columns: &[Column]) -> String {
    (0..columns.len()).map(|at| format!("k{at}")).collect::<Vec<_>>().join(", ")
}

/// The values of rows by column.
fn arrays<'a>(columns: &[Column], rows: impl Iterator<Item = &'a [SqlValue]> + Clone) -> Vec<Array<'a>> {
    let array = |(at, column): (usize, &Column)| -> Array<'a> {
        let values = rows.clone().map(|row| &row[at]);
        match column.column_type {
            ColumnType::Integer => Box::new(values.map(integer).collect::<Vec<_>>()),
            ColumnType::Boolean => {
                Box::new(values.map(|value| integer(value).map(|number| number != 0)).collect::<Vec<_>>())
            }
            ColumnType::Real => Box::new(values.map(real).collect::<Vec<_>>()),
            ColumnType::Text => Box::new(values.map(text).collect::<Vec<_>>()),
            ColumnType::Bytes => Box::new(values.map(bytes).collect::<Vec<_>>()),
        }
    };
    columns.iter().enumerate().map(array).collect()
}

fn references<'r>(arrays: &'r [Array<'_>]) -> Vec<&'r (dyn ToSql + Sync)> {
    arrays.iter().map(|array| &**array as &(dyn ToSql + Sync)).collect()
}

const fn integer(value: &SqlValue) -> Option<i64> {
    match value {
        SqlValue::Integer(number) => Some(*number),
        _ => None,
    }
}

const fn real(value: &SqlValue) -> Option<f64> {
    match value {
        SqlValue::Real(number) => Some(*number),
        _ => None,
    }
}

const fn text(value: &SqlValue) -> Option<&str> {
    match value {
        SqlValue::Text(text) => Some(text.as_str()),
        _ => None,
    }
}

const fn bytes(value: &SqlValue) -> Option<&[u8]> {
    match value {
        SqlValue::Blob(bytes) => Some(bytes.as_slice()),
        _ => None,
    }
}

/// The values of a row that was read.
fn values(row: &Row, columns: &[Column]) -> Result<Vec<SqlValue>, Error> {
    let value = |(at, column): (usize, &Column)| {
        let value = match column.column_type {
            ColumnType::Integer => row.try_get::<_, Option<i64>>(at)?.map(SqlValue::Integer),
            ColumnType::Boolean => {
                row.try_get::<_, Option<bool>>(at)?.map(|value| SqlValue::Integer(value.into()))
            }
            ColumnType::Real => row.try_get::<_, Option<f64>>(at)?.map(SqlValue::Real),
            ColumnType::Text => row.try_get::<_, Option<String>>(at)?.map(SqlValue::Text),
            ColumnType::Bytes => row.try_get::<_, Option<Vec<u8>>>(at)?.map(SqlValue::Blob),
        };
        Ok(value.unwrap_or(SqlValue::Null))
    };
    columns.iter().enumerate().map(value).collect()
}

/// Why PostgreSQL does not hold a value that fits its column.
fn refused(value: &SqlValue) -> Option<&'static str> {
    let has_zero = matches!(value, SqlValue::Text(text) if text.contains('\0'));
    has_zero.then_some("has a character with the number 0, which PostgreSQL does not store")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(sizes: &[usize], bytes_max: usize, expected: &[usize]) {
        let row = |size: &usize| RowChange { values: vec![SqlValue::Blob(vec![0; *size])], event: 0 };
        let rows = sizes.iter().map(row).collect::<Vec<_>>();
        let lengths = pieces(&rows, bytes_max).map(<[_]>::len).collect::<Vec<_>>();
        assert_eq!(lengths, expected, "{sizes:?} in pieces of {bytes_max}");
    }

    #[test]
    fn rows_are_written_in_pieces_of_bounded_bytes() {
        // Each value counts 16 bytes more.
        check(&[], 100, &[]);
        check(&[34, 34], 100, &[2]);
        check(&[34, 35], 100, &[1, 1]);
        check(&[4, 4, 4, 4, 4, 4, 4], 60, &[3, 3, 1]);
        check(&[4, 1_000, 4, 4], 60, &[1, 1, 2]);
        check(&[4, 4, 4], 0, &[1, 1, 1]);
    }
}
