//! The sandbox for queries: one statement, read-only, within limits of time, rows and bytes.
//!
//! Five walls, each enough to keep writes out: the file is opened read-only, `query_only` is set, the authorizer allows
//! reads only, the statement must be one that SQLite calls read-only, and the transaction is rolled back.

use std::path::Path;
use std::time::Instant;

use rusqlite::limits::Limit;
use rusqlite::types::ValueRef;
use rusqlite::{Connection, Error, ErrorCode, OpenFlags, Statement};

use crate::limits;
use crate::query::{Cancel, QueryError, QueryLimits, Rows, SqlValue};
use crate::run_error::DatabaseErrorKind;
use crate::sqlite::authorize::{Gate, Mode};
use crate::sqlite::connection::{harden, message, read_checkpoint};

/// A connection that can only read.
pub(crate) struct Reader {
    connection: Connection,
    gate: Gate,
}

impl Reader {
    pub(crate) fn open(path: &Path) -> rusqlite::Result<Self> {
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = Connection::open_with_flags(path, flags)?;
        connection.busy_timeout(limits::BUSY_TIMEOUT)?;
        Self::new(connection)
    }

    /// Restricts a connection to reading.
    pub(crate) fn new(mut connection: Connection) -> rusqlite::Result<Self> {
        harden(&connection)?;
        connection.pragma_update(None, "query_only", true)?;
        connection.pragma_update(None, "cache_size", -i64::from(limits::READER_CACHE_KIB))?;
        for (limit, value) in [
            (Limit::SQLITE_LIMIT_SQL_LENGTH, limits::QUERY_TEXT_BYTES_MAX),
            (Limit::SQLITE_LIMIT_EXPR_DEPTH, limits::QUERY_EXPRESSION_DEPTH_MAX),
            (Limit::SQLITE_LIMIT_COMPOUND_SELECT, limits::QUERY_COMPOUND_MAX),
            (Limit::SQLITE_LIMIT_VDBE_OP, limits::QUERY_INSTRUCTIONS_MAX),
            (Limit::SQLITE_LIMIT_COLUMN, limits::QUERY_COLUMNS_MAX),
            (Limit::SQLITE_LIMIT_LIKE_PATTERN_LENGTH, limits::QUERY_PATTERN_BYTES_MAX),
            (Limit::SQLITE_LIMIT_VARIABLE_NUMBER, limits::QUERY_PARAMETERS_MAX),
            (Limit::SQLITE_LIMIT_WORKER_THREADS, 0),
        ] {
            connection.set_limit(limit, value)?;
        }
        let gate = Gate::install(&mut connection)?;
        Ok(Self { connection, gate })
    }

    /// Answers one query. The connection can be used again, also after an error.
    pub(crate) fn query(
        &mut self,
        sql: &str,
        parameters: &[(String, SqlValue)],
        limits: &QueryLimits,
        deadline: Instant,
    ) -> Result<Rows, QueryError> {
        let value_bytes = limits.bytes.clamp(limits::QUERY_VALUE_BYTES_MIN, limits::QUERY_VALUE_BYTES_MAX);
        let value_bytes = i32::try_from(value_bytes).expect("the bounds are far below 2 GiB");
        let cancel = limits.cancel.clone().unwrap_or_default();
        let is_over = move || cancel.is_cancelled() || Instant::now() >= deadline;
        self.gate.set(Mode::Runner);
        self.connection
            .set_limit(Limit::SQLITE_LIMIT_LENGTH, value_bytes)
            .and_then(|_| self.connection.progress_handler(limits::STEPS_PER_LOOK, Some(is_over)))
            .and_then(|()| self.connection.execute_batch("begin"))
            .map_err(|error| self.refusal(&error, limits))?;
        let rows = self.query_within(sql, parameters, limits);
        self.gate.set(Mode::Runner);
        let none: Option<fn() -> bool> = None;
        let ended = self.connection.progress_handler(0, none);
        let ended = ended.and_then(|()| self.connection.execute_batch("rollback"));
        ended.map_err(|error| self.refusal(&error, limits))?;
        rows
    }

    fn query_within(
        &self,
        sql: &str,
        parameters: &[(String, SqlValue)],
        limits: &QueryLimits,
    ) -> Result<Rows, QueryError> {
        let refuse = |error| self.refusal(&error, limits);
        let checkpoint = read_checkpoint(&self.connection).map_err(refuse)?;
        self.gate.take_denial();
        self.gate.set(Mode::Query);
        let mut statement = self.connection.prepare(sql).map_err(refuse)?;
        if !statement.readonly() {
            return Err(QueryError::NotAllowed { reason: "queries only read: send one `select`".to_owned() });
        }
        if statement.column_count() == 0 {
            return Err(QueryError::NotOneStatement { found: "empty" });
        }
        bind(&mut statement, parameters).map_err(|error| match error {
            BindError::Query(error) => error,
            BindError::Sqlite(error) => refuse(error),
        })?;
        let columns = statement.column_names().map(str::to_owned).collect::<Vec<_>>();
        let mut answer = Rows { columns, rows: Vec::new(), checkpoint, parked: Vec::new() };
        let mut bytes = 0;
        let mut rows = statement.raw_query();
        while let Some(row) = rows.next().map_err(refuse)? {
            if answer.rows.len() == limits.rows {
                return Err(QueryError::TooManyRows { rows: limits.rows });
            }
            let mut values = Vec::with_capacity(answer.columns.len());
            for index in 0..answer.columns.len() {
                let value = row.get_ref(index).map_err(refuse)?;
                bytes += size(value);
                if bytes > limits.bytes {
                    return Err(QueryError::TooManyBytes { bytes: limits.bytes });
                }
                values.push(value.into());
            }
            answer.rows.push(values);
        }
        Ok(answer)
    }

    fn refusal(&self, error: &Error, limits: &QueryLimits) -> QueryError {
        if let Some(reason) = self.gate.take_denial() {
            return QueryError::NotAllowed { reason };
        }
        match error.sqlite_error_code() {
            Some(ErrorCode::OperationInterrupted)
                if limits.cancel.as_ref().is_some_and(Cancel::is_cancelled) =>
            {
                QueryError::Cancelled
            }
            Some(ErrorCode::OperationInterrupted) => QueryError::TimeLimit { time: limits.time },
            Some(ErrorCode::TooBig | ErrorCode::OutOfMemory) => {
                QueryError::TooManyBytes { bytes: limits.bytes }
            }
            _ if matches!(error, Error::MultipleStatement) => {
                QueryError::NotOneStatement { found: "more than one statement" }
            }
            _ => QueryError::of_database(error),
        }
    }
}

fn size(value: ValueRef<'_>) -> usize {
    limits::VALUE_BYTES
        + match value {
            ValueRef::Text(bytes) | ValueRef::Blob(bytes) => bytes.len(),
            _ => 0,
        }
}

enum BindError {
    Query(QueryError),
    Sqlite(Error),
}

/// Binds by name, with or without its leading sign. Every parameter gets exactly one value.
fn bind(statement: &mut Statement<'_>, parameters: &[(String, SqlValue)]) -> Result<(), BindError> {
    let mut used = vec![false; parameters.len()];
    for index in 1..=statement.parameter_count() {
        let name = statement.parameter_name(index).filter(|name| !name.starts_with('?'));
        let name = name.ok_or(BindError::Query(QueryError::UnnamedParameter { index }))?.to_owned();
        let given = parameters.iter().position(|(given, _)| *given == name || *given == name[1..]);
        let given = given.ok_or(BindError::Query(QueryError::MissingParameter { name }))?;
        used[given] = true;
        statement.raw_bind_parameter(index, &parameters[given].1).map_err(BindError::Sqlite)?;
    }
    match used.iter().position(|used| !used) {
        Some(unused) => {
            Err(BindError::Query(QueryError::UnknownParameter { name: parameters[unused].0.clone() }))
        }
        None => Ok(()),
    }
}

impl QueryError {
    /// An error that is not about limits or permissions: the query's, the file's or the machine's.
    pub(crate) fn of_database(error: &Error) -> Self {
        let message = message(error);
        match DatabaseErrorKind::of(error) {
            DatabaseErrorKind::Transient => Self::Busy { message },
            DatabaseErrorKind::Damaged => Self::Damaged { message },
            DatabaseErrorKind::Permanent => Self::Sql { database: "SQLite", message },
        }
    }
}
