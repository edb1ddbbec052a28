//! Everything in this crate that could grow without end, and where it ends.

use std::num::{NonZeroU32, NonZeroU64};
use std::time::Duration;

use gesta_core::Limit;

/// Bytes in a view's name: it becomes a part of a file's name, and leaves room for the rest of it.
pub const VIEW_NAME_BYTES_MAX: usize = 64;

/// How long the statements of a definition may take on an empty database when they are checked.
pub(crate) const CHECK_TIME_MAX: Duration = Duration::from_secs(2);

/// Events applied in one transaction while catching up. Larger pages no longer pay: the cost of a commit is spread
/// thin by then, and a stop or a failing event would throw away more work.
pub(crate) const PAGE_EVENTS: NonZeroU32 = NonZeroU32::new(5_000).unwrap();

/// Bytes of events held in memory for one transaction.
pub(crate) const PAGE_BYTES: NonZeroU64 = NonZeroU64::new(8 << 20).unwrap();

/// What one transaction of a view takes from the log.
pub(crate) const PAGE: Limit = Limit { events: PAGE_EVENTS, bytes: PAGE_BYTES, examined: EXAMINED };

/// What the store looks at for one page; so a view of rare events still keeps its checkpoint fresh.
const EXAMINED: NonZeroU64 = NonZeroU64::new(200_000).unwrap();

/// The first pause before something is tried again; each further one is twice as long.
pub(crate) const RETRY_PAUSE_MIN: Duration = Duration::from_millis(10);

/// The longest pause before something is tried again.
pub(crate) const RETRY_PAUSE_MAX: Duration = Duration::from_secs(5);

/// How often a transaction that found the database busy is tried again before the view stops. With the pauses
/// between them that is about half a minute.
pub(crate) const BUSY_RETRIES_MAX: u32 = 12;

/// How long SQLite itself waits for a lock.
pub(crate) const BUSY_TIMEOUT: Duration = Duration::from_secs(2);

/// Memory for the pages of a view's database while it is written, in KiB.
pub(crate) const WRITER_CACHE_KIB: u32 = 32 << 10;

/// Memory for the pages of a view's database in one reading connection, in KiB.
pub(crate) const READER_CACHE_KIB: u32 = 4 << 10;

/// Idle reading connections kept for the next query on a view.
pub(crate) const IDLE_READERS_MAX: usize = 8;

/// Steps of SQLite's virtual machine between two looks at the clock: about 20 µs.
pub(crate) const STEPS_PER_LOOK: i32 = 1_000;

/// Bytes of the text of a query.
pub(crate) const QUERY_TEXT_BYTES_MAX: i32 = 100_000;

/// Bytes of one value that a query may build on its way to an answer, whatever its limit of bytes: enough for every
/// `data` that an event can have.
pub(crate) const QUERY_VALUE_BYTES_MIN: usize = 1 << 20;

/// Bytes of one value in a query, at the most.
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

/// What a value in an answer counts for, besides the bytes of its text or blob.
pub(crate) const VALUE_BYTES: usize = 16;
