//! The tables of a view in code: one statement reads the rows that a page needs, and one for each table writes those that it changed.

use gesta_consumer::Stop;
use gesta_core::RecordedEvent;
use tokio_postgres::types::ToSql;
use tokio_postgres::{Error, Row, Statement};

use crate::postgres::error::is_missing_object;
use crate::postgres::version::PostgresVersion;
use crate::query::SqlValue;
use crate::rows::{
    Column, ColumnType, Page, RowApplier, RowChange, Step, Table, TableChanges, names, quoted,
};
use crate::run_error::{DatabaseErrorKind, RunError};
use crate::target::Outcome;

const ACTION: &str = "write to the view";

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

/// The values of a column, as a parameter.
type Array<'a> = Box<dyn ToSql + Sync + Send + 'a>;

impl<'v> RowTables<'v> {
    /// Prepares the statements on the version's connection.
    pub(crate) fn new(version: &'v PostgresVersion, page: Page<'v>) -> Result<Self, RunError> {
        let tables = page.tables().iter().map(|table| Prepared::new(version, table));
        let tables = tables.collect::<Result<_, _>>()?;
        Ok(Self { version, page, tables, applied: None })
    }

    /// Applies a page and writes the rows that it changed, within a transaction.
    pub(crate) async fn apply(&mut self, events: &[RecordedEvent], stop: &Stop) -> Result<Outcome, RunError> {
        // What a page that was not committed left in memory goes with it.
        self.applied = None;
        let mut applier = self.page.begin();
        loop {
            match applier.apply(events, stop).map_err(|failure| self.page.error(events, failure))? {
                Step::Done => break,
                Step::Interrupted => return Ok(Outcome::Interrupted),
                Step::Load(keys) => {
                    let rows = self.read(&keys).await?;
                    applier.load(rows).map_err(|failure| self.page.error(events, failure))?;
                }
            }
        }
        let changes = self.page.changes(&mut *applier, events, refused)?;
        for (prepared, changes) in self.tables.iter().zip(&changes) {
            self.write(prepared, changes).await.map_err(|error| self.failed(&error))?;
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
        if keys.is_empty() {
            return Ok(Vec::new());
        }
        let keys = arrays(prepared.table.key(), keys.iter().map(Vec::as_slice));
        let found = self.version.session.client.query(&prepared.select, &references(&keys)).await?;
        found.iter().map(|row| values(row, &prepared.table.columns)).collect()
    }

    async fn write(&self, prepared: &Prepared<'_>, changes: &TableChanges) -> Result<(), Error> {
        let (client, table) = (&self.version.session.client, prepared.table);
        if !changes.delete.is_empty() {
            let keys = arrays(table.key(), changes.delete.iter().map(RowChange::values));
            client.execute(&prepared.delete, &references(&keys)).await?;
        }
        if !changes.put.is_empty() {
            let rows = arrays(&table.columns, changes.put.iter().map(RowChange::values));
            client.execute(&prepared.upsert, &references(&rows)).await?;
        }
        Ok(())
    }

    fn failed(&self, error: &Error) -> RunError {
        match self.version.failed(ACTION, error) {
            // Another runner dropped this version: the next try sees that.
            RunError::Postgres { action, database, message, .. } if is_missing_object(error) => {
                RunError::Postgres { action, database, message, kind: DatabaseErrorKind::Transient }
            }
            error => error,
        }
    }
}

impl RowChange {
    fn values(&self) -> &[SqlValue] {
        &self.values
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
