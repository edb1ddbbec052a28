//! The sandbox for queries: one statement, read-only, within limits of time, rows and bytes.
//!
//! Five walls, each enough to keep writes out: the file is opened read-only, `query_only` is set, the authorizer allows
//! reads only, the statement must be one that SQLite calls read-only, and the transaction is rolled back.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use gesta_core::{Checkpoint, Retry};
use rusqlite::limits::Limit;
use rusqlite::types::{ToSqlOutput, ValueRef};
use rusqlite::{Connection, Error, ErrorCode, OpenFlags, Statement, ToSql};

use crate::authorize::{Gate, Mode};
use crate::database::read_checkpoint;
use crate::limits;
use crate::run_error::RunError;
use crate::sqlite::{DatabaseErrorKind, harden, lossy_text, message};

/// A value of SQLite.
#[derive(Debug, Clone, PartialEq)]
pub enum SqlValue {
    /// Null.
    Null,
    /// A whole number.
    Integer(i64),
    /// A floating-point number.
    Real(f64),
    /// A string.
    Text(String),
    /// Bytes.
    Blob(Vec<u8>),
}

impl From<i64> for SqlValue {
    fn from(number: i64) -> Self {
        Self::Integer(number)
    }
}

impl From<f64> for SqlValue {
    fn from(number: f64) -> Self {
        Self::Real(number)
    }
}

impl From<&str> for SqlValue {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

impl From<String> for SqlValue {
    fn from(text: String) -> Self {
        Self::Text(text)
    }
}

impl ToSql for SqlValue {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(ToSqlOutput::Borrowed(match self {
            Self::Null => ValueRef::Null,
            Self::Integer(number) => ValueRef::Integer(*number),
            Self::Real(number) => ValueRef::Real(*number),
            Self::Text(text) => ValueRef::Text(text.as_bytes()),
            Self::Blob(bytes) => ValueRef::Blob(bytes),
        }))
    }
}

impl From<ValueRef<'_>> for SqlValue {
    fn from(value: ValueRef<'_>) -> Self {
        match value {
            ValueRef::Null => Self::Null,
            ValueRef::Integer(number) => Self::Integer(number),
            ValueRef::Real(number) => Self::Real(number),
            ValueRef::Text(bytes) => Self::Text(lossy_text(bytes)),
            ValueRef::Blob(bytes) => Self::Blob(bytes.to_owned()),
        }
    }
}

/// How much a query may cost. Beyond a limit it fails: an answer is never a part of the whole.
#[derive(Debug, Clone)]
pub struct QueryLimits {
    /// How long it may take, including the wait for a view that is being opened.
    pub time: Duration,
    /// How many rows its answer may have.
    pub rows: usize,
    /// How many bytes its answer may have: 16 for each value, plus the bytes of its text or blob. No single value on the way
    /// may be larger either, except that 1 MiB is always allowed.
    pub bytes: usize,
    /// Ends the query early, for a caller that no longer wants the answer.
    pub cancel: Option<Cancel>,
}

impl Default for QueryLimits {
    /// 5 seconds, 10,000 rows, 16 MiB.
    fn default() -> Self {
        Self { time: Duration::from_secs(5), rows: 10_000, bytes: 16 << 20, cancel: None }
    }
}

/// Ends a query or an evaluation from another thread. Clones share the same state.
#[derive(Debug, Clone, Default)]
pub struct Cancel(Arc<AtomicBool>);

impl Cancel {
    /// Ends the queries that hold this at once, and the evaluations after their current page.
    pub fn cancel(&self) {
        self.0.store(true, Ordering::SeqCst);
    }

    pub(crate) fn is_cancelled(&self) -> bool {
        self.0.load(Ordering::SeqCst)
    }
}

/// The answer to a query.
#[derive(Debug, Clone, PartialEq)]
pub struct Rows {
    /// The names of the columns.
    pub columns: Vec<String>,
    /// The rows, each with one value for each column.
    pub rows: Vec<Vec<SqlValue>>,
    /// The exact place in the log that the rows show: it was read in the same transaction.
    pub checkpoint: Checkpoint,
}

/// Why a query was not answered.
#[derive(Debug, thiserror::Error)]
pub enum QueryError {
    /// No view has this name.
    #[error("there is no view `{name}`")]
    UnknownView {
        /// The name in the request.
        name: String,
    },
    /// The view has no rows to show yet.
    #[error("the view `{name}` is not open yet: query it again after a pause")]
    NotReady {
        /// The view.
        name: String,
    },
    /// The view stopped before it had rows to show.
    #[error("the view `{name}` has stopped")]
    Stopped {
        /// The view.
        name: String,
        /// Why it stopped.
        #[source]
        error: Arc<RunError>,
    },
    /// The query does something that queries may not do.
    #[error("{reason}")]
    NotAllowed {
        /// What it does, and what is allowed.
        reason: String,
    },
    /// There is more than one statement, or none.
    #[error("the query is {found}: send one `select`")]
    NotOneStatement {
        /// What the text has instead.
        found: &'static str,
    },
    /// A parameter has no name.
    #[error("parameter {index} of the query has no name: write `:name` and give its value by that name")]
    UnnamedParameter {
        /// Its number, from 1.
        index: usize,
    },
    /// A parameter of the query has no value.
    #[error("the parameter `{name}` of the query has no value: give it one, or null")]
    MissingParameter {
        /// The parameter.
        name: String,
    },
    /// A value was given for a parameter that the query does not have.
    #[error("the query has no parameter `{name}`: remove its value, or write `:{name}` in the query")]
    UnknownParameter {
        /// The parameter.
        name: String,
    },
    /// SQLite refuses the query.
    #[error("SQLite refuses the query: {message}")]
    Sql {
        /// SQLite's message.
        message: String,
    },
    /// The query ran too long.
    #[error("the query took longer than {} ms: narrow it by a condition on an indexed column, or add an index to the view", time.as_millis())]
    TimeLimit {
        /// How long it may run.
        time: Duration,
    },
    /// The query was cancelled.
    #[error("the query was cancelled")]
    Cancelled,
    /// The answer has too many rows.
    #[error(
        "the query gives more than {rows} rows: add a `limit`, and go on with a condition on the last row's key"
    )]
    TooManyRows {
        /// How many rows are allowed.
        rows: usize,
    },
    /// The answer, or one value on the way to it, is too large.
    #[error("the query needs more than {bytes} bytes: select fewer columns or rows")]
    TooManyBytes {
        /// How many bytes are allowed.
        bytes: usize,
    },
    /// The view's database cannot be read at present.
    #[error("the view's database cannot be read at present ({message}): query it again")]
    Busy {
        /// What is in the way.
        message: String,
    },
    /// The view's database is damaged. A running view rebuilds it from the log.
    #[error(
        "the view's database is damaged ({message}): a running view rebuilds it from the log, so query it again after a pause; restart a view that has stopped"
    )]
    Damaged {
        /// SQLite's message.
        message: String,
    },
}

impl QueryError {
    /// Whether, and when, it helps to send the same query again.
    #[must_use]
    pub const fn retry(&self) -> Retry {
        match self {
            Self::NotReady { .. } | Self::Damaged { .. } => Retry::AfterPause,
            Self::Busy { .. } => Retry::Now,
            _ => Retry::Never,
        }
    }

    /// An error that is not about limits or permissions: the query's, the file's or the machine's.
    pub(crate) fn of_database(error: &Error) -> Self {
        let message = message(error);
        match DatabaseErrorKind::of(error) {
            DatabaseErrorKind::Transient => Self::Busy { message },
            DatabaseErrorKind::Damaged => Self::Damaged { message },
            DatabaseErrorKind::Permanent => Self::Sql { message },
        }
    }
}

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
        let mut answer = Rows { columns, rows: Vec::new(), checkpoint };
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
