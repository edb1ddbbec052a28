//! The limits of this store, each with its unit and reason.

use std::time::Duration;

use gesta_core::{DATA_BYTES_MAX, Limits, STREAM_NAME_BYTES_MAX};

/// Bytes of all events in one batch: the largest event of the contract alone. A batch is one message to the server, and is
/// in memory three times there.
const BATCH_BYTES_MAX: usize = DATA_BYTES_MAX + EVENT_ROOM_BYTES;
/// Bytes of an event beside its data, at most: metadata, tags, names.
const EVENT_ROOM_BYTES: usize = 128 * 1024;
/// Batches in one group. It bounds the time for which the writer holds the lock of the store.
pub(crate) const GROUP_BATCHES_MAX: usize = 1_024;
/// Bytes of events in one group, or one larger batch.
pub(crate) const GROUP_BYTES_MAX: usize = 4 * 1024 * 1024;
/// Bytes of events, and batches, in one step of a copy: some groups, and few enough for the queue.
pub(crate) const COPY_BYTES_MAX: usize = 4 * 1024 * 1024;
pub(crate) const COPY_BATCHES_MAX: usize = 8 * GROUP_BATCHES_MAX;
/// Bytes of batches that wait for the writer. Further ones are refused as `Overloaded`.
pub(crate) const QUEUE_BYTES_MAX: usize = 64 * 1024 * 1024;
/// Events that a search of conditions may leave to the look under the lock. A search that has left more goes on.
pub(crate) const SEARCH_GAP_MAX: u64 = 1_024;
/// Rounds of a search. Each takes the events that came during the one before, so that they shrink unless the database is overloaded.
pub(crate) const SEARCH_ROUNDS_MAX: u32 = 10;
/// Searches of one group under way at once: two on each connection for reads.
pub(crate) const SEARCHES_MAX: usize = 2 * READERS_MAX;
/// Events that are looked at under the lock. Several other writers may have their groups before this one gets it.
pub(crate) const NEWER_EVENTS_MAX: u64 = 8 * SEARCH_GAP_MAX;
/// Bytes of these events; the newest one may be larger.
pub(crate) const NEWER_BYTES_MAX: u64 = 8 * GROUP_BYTES_MAX as u64;
/// Connections for reads. Each can have several reads under way; a slow one delays only those behind it.
pub(crate) const READERS_MAX: usize = 4;
/// Rows that one statement of a page returns. A page with a larger limit takes several.
pub(crate) const CHUNK_ROWS_MAX: u64 = 4_096;
/// Postings of each tag that are looked at to find the rarest.
pub(crate) const PROBED_POSTINGS: i64 = 100;
/// Places whose marks are remembered, so that a token that comes back costs no look-up.
pub(crate) const MARKS_MAX: usize = 65_536;
/// Time for the checks and settings of a new connection.
pub(crate) const SETUP_TIME: Duration = Duration::from_secs(5);
/// Time for the answer to one round trip of the writer. A server that stands still is left after it.
pub(crate) const STEP_TIME: Duration = Duration::from_secs(10);
/// Time for the answer to one round trip of a read.
pub(crate) const READ_TIME: Duration = Duration::from_secs(35);
/// Time in which a read is tried again after a lost connection.
pub(crate) const READ_RETRY_TIME: Duration = Duration::from_secs(5);
/// The pause before the next try after a lost connection.
pub(crate) const RETRY_PAUSE: Duration = Duration::from_millis(50);
/// The longest pause between two tries to listen for commits. It doubles from [`RETRY_PAUSE`] on.
pub(crate) const LISTEN_PAUSE_MAX: Duration = Duration::from_secs(3);
/// The interval at which the head is read without a notification. It is the net below a lost one.
pub(crate) const POLL_INTERVAL: Duration = Duration::from_secs(1);
/// Bytes in the name of a schema: with the prefix of the channel it is a name of PostgreSQL, at most 63 bytes.
pub(crate) const SCHEMA_BYTES_MAX: usize = 50;
/// The oldest server that is taken, as `server_version_num` counts.
pub(crate) const SERVER_VERSION_MIN: i32 = 150_000;

const _: () = assert!(BATCH_BYTES_MAX <= QUEUE_BYTES_MAX, "the queue takes at least one batch");
const _: () = assert!(STREAM_NAME_BYTES_MAX < 2_000, "a name fits an index entry of PostgreSQL");

/// The limits that the store declares.
pub(crate) fn limits() -> Limits {
    let mut limits = Limits::default();
    limits.batch_bytes_max = BATCH_BYTES_MAX;
    limits
}
