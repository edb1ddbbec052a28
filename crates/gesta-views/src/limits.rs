//! Every limit of this crate, with its unit and reason.

use std::num::{NonZeroU32, NonZeroU64};
use std::time::Duration;

use gesta_core::Limit;

/// Bytes of a view's name, which becomes part of a file name.
pub const VIEW_NAME_BYTES_MAX: usize = 64;

/// Bytes of the name of a table or column of a view in code: PostgreSQL cuts names at 63.
pub(crate) const TABLE_NAME_BYTES_MAX: usize = 60;

/// Characters of a text of a key in a message.
pub(crate) const MESSAGE_KEY_CHARACTERS: usize = 80;

/// Rows in one `insert` of a view in code into SQLite. More gain nothing.
pub(crate) const ROWS_PER_INSERT: usize = 16;

/// How long the check of a definition may run its statements on an empty database.
pub(crate) const CHECK_TIME_MAX: Duration = Duration::from_secs(2);

/// Events applied in one transaction while catching up. Larger pages gain nothing: the cost of a commit is spread thin by
/// then, and a stop or a failing event would throw away more work.
pub(crate) const PAGE_EVENTS: NonZeroU32 = NonZeroU32::new(5_000).unwrap();

/// Bytes of events held in memory for one transaction.
pub(crate) const PAGE_BYTES: NonZeroU64 = NonZeroU64::new(8 << 20).unwrap();

/// The page of the log that one transaction of a view applies.
pub(crate) const PAGE: Limit = Limit { events: PAGE_EVENTS, bytes: PAGE_BYTES, examined: EXAMINED };

/// The page of the log that one transaction of a view in code applies. A row is written once a page, so large pages write less.
pub(crate) const ROW_PAGE: Limit = Limit {
    events: NonZeroU32::new(20_000).unwrap(),
    bytes: NonZeroU64::new(16 << 20).unwrap(),
    examined: EXAMINED,
};

/// Events that the store examines for one page, so that a view of rare events still keeps its checkpoint fresh.
const EXAMINED: NonZeroU64 = NonZeroU64::new(200_000).unwrap();

/// How often a run rebuilds a damaged database before the view stops: a fourth time points at the machine.
pub(crate) const REBUILDS_MAX: u32 = 3;

/// Streams that one version of a view holds back. More are no faults of single events: the view stops.
pub(crate) const PARKED_STREAMS_MAX: usize = 1_024;

/// Characters of the error that is kept of a parked stream.
pub(crate) const PARKED_ERROR_CHARACTERS: usize = 1_000;

/// How long an operator waits for parked events to be applied again. They are applied to the end all the same.
pub(crate) const REPLAY_TIME_MAX: Duration = Duration::from_secs(10);

/// Held events of a stream that one transaction applies again.
pub(crate) const REPLAY_PAGE: Limit =
    Limit { events: NonZeroU32::new(1_000).unwrap(), bytes: PAGE_BYTES, examined: EXAMINED };

/// How long a rollback waits for its version to serve. At the head of the log this takes a moment.
pub(crate) const ROLL_BACK_TIME_MAX: Duration = Duration::from_secs(10);

/// Bytes of a view's write-ahead log before new queries are held back so that it can be emptied.
pub(crate) const WAL_BYTES_MAX: u64 = 64 << 20;

/// Bytes of the write-ahead log's file that are kept for reuse once it starts anew.
pub(crate) const WAL_BYTES_KEPT: i64 = 16 << 20;

/// Pages in the write-ahead log before a commit copies them into the database: 16 MiB.
pub(crate) const WAL_CHECKPOINT_PAGES: u32 = 4_000;

/// How long new queries are held back for running ones to end. Longer than any query with the default limits runs.
pub(crate) const WAL_DRAIN_TIME_MAX: Duration = Duration::from_secs(30);

/// How long SQLite itself waits for a lock.
pub(crate) const BUSY_TIMEOUT: Duration = Duration::from_secs(2);

/// Page cache of the connection that writes a view's database, in KiB.
pub(crate) const WRITER_CACHE_KIB: u32 = 32 << 10;

/// Page cache of one reading connection, in KiB.
pub(crate) const READER_CACHE_KIB: u32 = 4 << 10;

/// Idle reading connections kept for the next query on a view.
pub(crate) const IDLE_READERS_MAX: usize = 8;

/// Steps of SQLite's virtual machine between two checks of time and cancellation: about 20 µs.
pub(crate) const STEPS_PER_LOOK: i32 = 1_000;

/// Bytes of the text of a query.
pub(crate) const QUERY_TEXT_BYTES_MAX: i32 = 100_000;

/// Bytes of one value that every query may build on the way to its answer, even with a lower byte limit.
pub(crate) const QUERY_VALUE_BYTES_MIN: usize = 1 << 20;

/// Bytes of one value that no query may exceed.
pub(crate) const QUERY_VALUE_BYTES_MAX: usize = 64 << 20;

/// Depth of an expression in a query.
pub(crate) const QUERY_EXPRESSION_DEPTH_MAX: i32 = 200;

/// Terms of a compound select in a query.
pub(crate) const QUERY_COMPOUND_MAX: i32 = 50;

/// Instructions of one query's program.
pub(crate) const QUERY_INSTRUCTIONS_MAX: i32 = 100_000;

/// Columns of one query's answer.
pub(crate) const QUERY_COLUMNS_MAX: i32 = 500;

/// Bytes of the pattern of `like` and `glob`, whose time grows with its square.
pub(crate) const QUERY_PATTERN_BYTES_MAX: i32 = 1_000;

/// Parameters of one query.
pub(crate) const QUERY_PARAMETERS_MAX: i32 = 1_000;

/// Bytes that a value in an answer counts for, plus the bytes of its text or blob.
pub(crate) const VALUE_BYTES: usize = 16;

/// How often a process that runs views in PostgreSQL writes its heartbeat.
#[cfg(feature = "postgres")]
pub(crate) const HEARTBEAT_PERIOD: Duration = Duration::from_secs(5);

/// The age of a heartbeat, by the clock of the database, after which another process takes over: two were missed.
pub(crate) const HEARTBEAT_AGE_MAX: Duration = Duration::from_secs(15);

/// How long a shutdown waits to give views in PostgreSQL up. Another process waits for the heartbeat's age otherwise.
#[cfg(feature = "postgres")]
pub(crate) const RELEASE_TIME_MAX: Duration = Duration::from_secs(2);

/// How long the server may work on a page or a statement of the runner. Longer than any takes: it ends a wait behind a proxy that
/// keeps a connection whose server is gone.
#[cfg(feature = "postgres")]
pub(crate) const ANSWER_TIME_MAX: Duration = Duration::from_secs(60 * 60);

/// How long the server may take to answer a heartbeat. A connection that is silent longer is replaced.
#[cfg(feature = "postgres")]
pub(crate) const HEARTBEAT_TIME_MAX: Duration = Duration::from_secs(6);

/// Bytes of the prefix of schemas in PostgreSQL: it leaves 33 for a view's name.
#[cfg(feature = "postgres")]
pub(crate) const POSTGRES_PREFIX_BYTES_MAX: usize = 20;

/// Bytes of a name in PostgreSQL, which cuts longer ones.
#[cfg(feature = "postgres")]
pub(crate) const POSTGRES_NAME_BYTES_MAX: usize = 63;

/// Statements that are sent to PostgreSQL before the answer of the first one is awaited. More gain nothing, and each holds
/// some memory.
#[cfg(feature = "postgres")]
pub(crate) const PIPELINE_STATEMENTS_MAX: usize = 1_000;

/// Bytes of the rows of a view in code that one statement writes into PostgreSQL, which refuses messages of 1 GiB. One row may be
/// larger.
#[cfg(feature = "postgres")]
pub(crate) const WRITE_BYTES_MAX: usize = 16 << 20;

/// How often a switch to a new version waits a moment for queries before the view tries again after a pause.
#[cfg(feature = "postgres")]
pub(crate) const SWITCH_TRIES: u32 = 20;

/// Rows of an answer that PostgreSQL sends before it is asked for more.
#[cfg(feature = "postgres")]
pub(crate) const PORTAL_ROWS: usize = 1_000;

/// Bytes of the text of a query on PostgreSQL.
#[cfg(feature = "postgres")]
pub(crate) const POSTGRES_QUERY_BYTES_MAX: usize = 100_000;

/// Bytes beside those of an answer's values that a query may receive: the protocol's, and descriptions of types.
#[cfg(feature = "postgres")]
pub(crate) const QUERY_OVERHEAD_BYTES: u64 = 1 << 20;
