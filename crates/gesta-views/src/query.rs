//! Queries on a view: their limits, their answers, and why one is not answered.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use event_listener::Event;
use gesta_core::{Checkpoint, Retry};

use crate::limits::VALUE_BYTES;
use crate::run_error::RunError;

/// A value in a row, or of a parameter.
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

impl SqlValue {
    /// What it counts for in limits: 16 bytes, plus those of its text or blob.
    #[must_use]
    pub const fn counted_bytes(&self) -> usize {
        VALUE_BYTES
            + match self {
                Self::Text(text) => text.len(),
                Self::Blob(bytes) => bytes.len(),
                Self::Null | Self::Integer(_) | Self::Real(_) => 0,
            }
    }
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

impl QueryLimits {
    /// When a query that begins now has to end. A time without end is a year.
    pub(crate) fn deadline(&self) -> Instant {
        const YEAR: Duration = Duration::from_secs(365 * 24 * 60 * 60);
        Instant::now() + self.time.min(YEAR)
    }
}

/// Ends a query or an evaluation from another thread. Clones share the same state.
#[derive(Debug, Clone, Default)]
pub struct Cancel(Arc<Cancelled>);

#[derive(Debug, Default)]
struct Cancelled {
    is_cancelled: AtomicBool,
    changed: Event,
}

impl Cancel {
    /// Ends the queries that hold this at once, and the evaluations after their current page or cut.
    pub fn cancel(&self) {
        self.0.is_cancelled.store(true, Ordering::SeqCst);
        self.0.changed.notify(usize::MAX);
    }

    pub(crate) fn is_cancelled(&self) -> bool {
        self.0.is_cancelled.load(Ordering::SeqCst)
    }

    /// Waits until it is cancelled.
    #[cfg(feature = "postgres")]
    pub(crate) async fn cancelled(&self) {
        loop {
            // Listen first, look second: a change in between is not missed.
            let listener = self.0.changed.listen();
            if self.is_cancelled() {
                return;
            }
            listener.await;
        }
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
    /// The parked streams of the view, by name: the rows lack their last events. A stream that is parked or released while the query
    /// runs may be missing here, or be named too many.
    pub parked: Vec<String>,
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
    /// The database refuses the query.
    #[error("{database} refuses the query: {message}")]
    Sql {
        /// The database: SQLite or PostgreSQL.
        database: &'static str,
        /// Its message.
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
}
