//! Bounds of the embedded log, each with its unit and reason.

use std::num::NonZeroU64;
use std::time::Duration;

use gesta_core::{BATCH_BYTES_MAX, Limits};

use crate::format::{EndBody, FRAME_HEADER_BYTES, RECORD_HEADER_BYTES, StartBody, mark_len};

/// The smallest segment: a few frames and the marks around them.
pub const SEGMENT_SIZE_BYTES_MIN: u64 = 64 << 10;
/// The largest segment: offsets within one are 30 bits.
pub const SEGMENT_SIZE_BYTES_MAX: u64 = 1 << 30;
/// Segments of a log that was not told otherwise.
pub const SEGMENT_SIZE_BYTES_DEFAULT: u64 = 256 << 20;
/// The first segments of a log: an empty log is small.
const SEGMENT_SIZE_BYTES_FIRST: u64 = 1 << 20;
/// A new segment takes at most this part of what the log holds already: one in so many.
const SEGMENT_SHARE_OF_LOG: u64 = 2;

/// Bytes of batches that may wait for the writer: beyond that, appends are refused as overloaded.
pub(crate) const QUEUE_BYTES_MAX: usize = 256 << 20;
/// Batches that may wait for the writer.
pub(crate) const QUEUE_BATCHES_MAX: usize = 65_536;
/// Bytes of one group, after which it is written and synced: what a sync may make the first of a group wait for.
pub(crate) const GROUP_BYTES_MAX: usize = 16 << 20;
/// Batches that are decided in one go, whatever becomes of them: their callers may come again at once, and whoever decides is a caller
/// as well.
pub(crate) const DECISIONS_MAX: usize = 1_024;
/// After so long without an append, an idle frame says that everything is durable.
pub(crate) const IDLE_AFTER: Duration = Duration::from_millis(75);

/// How much of the log a table knows before it becomes a run: what an open has to load, and what a first run is.
pub(crate) const INDEX_RUN_BYTES_DEFAULT: u64 = 64 << 20;
pub(crate) const INDEX_RUN_BYTES_MIN: u64 = 1 << 10;
pub(crate) const INDEX_RUN_BYTES_MAX: u64 = 1 << 30;
/// Bytes that a background write may have in flight: more of them make the syncs of the foreground wait, and each sync of its own is
/// one that the foreground waits for as well.
pub(crate) const BACKGROUND_BYTES_IN_FLIGHT: usize = 8 << 20;
/// What an open indexes before it returns, in tables that are full of the log: what a log may have in memory when it is killed while the
/// disk is slow. More is indexed beside the open log.
pub(crate) const BUILT_IN_OPEN_TABLES: u64 = 6;
/// Threads that build an index: each has a table in memory that is written when it is full.
pub(crate) const REBUILD_THREADS_MAX: usize = 8;
/// Until what failed in the background is tried again: twice as long each time.
const RETRY_PAUSE_MIN: Duration = Duration::from_secs(1);
const RETRY_PAUSE_MAX: Duration = Duration::from_secs(60);
/// What is kept in memory of runs: blocks of them, and the last events of their streams.
pub(crate) const INDEX_CACHE_BYTES_DEFAULT: u64 = 256 << 20;
/// The last events of streams take one of so many parts of that: by default what a million streams need.
pub(crate) const HEADS_SHARE: u64 = 4;
/// Offsets of names are 32 bits.
pub(crate) const HEADS_BYTES_MAX: u64 = 2 << 30;

/// Streams that a report of damage names, and reports that name any: people read them, and each looks through all names of a run.
pub(crate) const LOST_STREAMS_NAMED_MAX: usize = 10;
pub(crate) const DAMAGE_NAMED_MAX: usize = 16;

/// Reads that may wait for a thread: beyond that, reads are refused as overloaded.
pub(crate) const READS_WAITING_MAX: usize = 4_096;
/// Bytes between two records that are read in one go rather than in two: about what a second read costs.
pub(crate) const READ_GAP_BYTES_MAX: u64 = 16 << 10;
/// Bytes that one read from a file brings into memory, unless one record is larger.
pub(crate) const READ_BYTES_MAX: u64 = 4 << 20;
/// Bytes of records far apart that share a buffer.
pub(crate) const READ_BUFFER_BYTES: usize = 64 << 10;
/// Reads that the disk is told of before they are made: more of them at once it does no faster.
pub(crate) const READS_AHEAD: usize = 64;
/// Bytes of such reads: what is read ahead takes memory.
pub(crate) const READ_AHEAD_BYTES_MAX: u64 = 8 << 20;
/// Events that an asynchronous read takes from memory on its caller's thread, and their bytes: what takes about as long as to have
/// another thread do it.
pub(crate) const CACHED_READ_EVENTS_MAX: usize = 64;
pub(crate) const CACHED_READ_BYTES_MAX: u64 = 64 << 10;

/// Events of a page from which on another thread that has nothing to do reads half of it: what takes longer than to wake the thread.
pub(crate) const HALVES_EVENTS_MIN: usize = 512;

/// The newest events that readers at the head share: what comes within a few commits.
pub(crate) const RECENT_EVENTS: usize = 1_024;
/// Bytes of a read whose events are shared: each of them may hold all of it in memory.
pub(crate) const RECENT_READ_BYTES_MAX: u64 = 16 << 10;

/// A scrub in the background reads so fast at the least: a small log is read within minutes, and not in steps of hours that a restart
/// would begin anew.
pub(crate) const SCRUB_BYTES_PER_SECOND_MIN: NonZeroU64 = NonZeroU64::new(1 << 20).expect("it is not zero");
/// A scrub that has a rate reads a segment again after so long at the earliest: a small log would be read without end.
pub(crate) const SCRUB_AGAIN_AFTER: Duration = Duration::from_secs(24 * 60 * 60);
/// How often a scrub in the background looks for a segment whose time has come.
pub(crate) const SCRUB_LOOK_EVERY: Duration = Duration::from_secs(60);
/// Damaged places in one segment that a scrub keeps apart.
pub(crate) const SCRUB_DAMAGE_MAX: usize = 64;

/// What every segment keeps free for the marks that end it: an idle frame and END.
pub(crate) const MARKS_RESERVE_BYTES: usize = mark_len(0) + mark_len(EndBody::BYTES);
/// What START takes at the beginning of a segment.
pub(crate) const START_BYTES: usize = mark_len(StartBody::BYTES);

const _: () = assert!(MARKS_RESERVE_BYTES == 168, "docs/format.md says so");

/// How long to wait after so many failures in a row.
pub(crate) fn retry_pause(failures: u32) -> Duration {
    let doublings = failures.saturating_sub(1).min(16);
    (RETRY_PAUSE_MIN * (1 << doublings)).min(RETRY_PAUSE_MAX)
}

/// The size of the segment that follows so many bytes of log, where a full one has `full_size_bytes`. It grows with the log, so that what
/// is reserved ahead, and what an open has to look through for zeros, stays in proportion to what is stored.
pub(crate) fn next_segment_bytes(log_bytes: u64, full_size_bytes: u64) -> u64 {
    let share = log_bytes / SEGMENT_SHARE_OF_LOG;
    let whole = share - share % SEGMENT_SIZE_BYTES_FIRST;
    whole.max(SEGMENT_SIZE_BYTES_FIRST).min(full_size_bytes)
}

/// The limits of a log with segments of that size: a frame fits half a segment, so that a roll never wastes more.
pub(crate) fn limits(segment_size_bytes: u64) -> Limits {
    let mut limits = Limits::default();
    let half = usize::try_from(segment_size_bytes / 2).unwrap_or(usize::MAX);
    let frame_overhead = FRAME_HEADER_BYTES + gesta_core::COMMAND_KEY_BYTES_MAX + 64;
    let bytes = half - frame_overhead;
    limits.batch_bytes_max = BATCH_BYTES_MAX.min(bytes);
    // The records' own headers come on top of the canonical bytes that the limit counts.
    limits.batch_events_max = limits.batch_events_max.min(bytes / (4 * RECORD_HEADER_BYTES));
    limits.batch_bytes_max =
        limits.batch_bytes_max.min(bytes - limits.batch_events_max * RECORD_HEADER_BYTES);
    limits.data_bytes_max = limits.data_bytes_max.min(limits.batch_bytes_max / 2);
    limits.metadata_bytes_max = limits.metadata_bytes_max.min(limits.batch_bytes_max / 4);
    limits
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn segments_grow_with_the_log_up_to_their_full_size() {
        const MIB: u64 = 1 << 20;
        let sizes = [0, MIB, 3 * MIB, 4 * MIB, 17 * MIB, 512 * MIB, 5_000 * MIB]
            .map(|log| next_segment_bytes(log, 256 * MIB) / MIB);
        assert_eq!(sizes, [1, 1, 1, 2, 8, 256, 256]);
        assert_eq!(next_segment_bytes(17 * MIB, 64 << 10), 64 << 10, "never more than the full size");
    }

    #[test]
    fn pauses_between_attempts_grow_up_to_a_minute() {
        let pauses = [1, 2, 3, 7, 100].map(retry_pause);
        assert_eq!(pauses, [1, 2, 4, 60, 60].map(Duration::from_secs));
    }
}
