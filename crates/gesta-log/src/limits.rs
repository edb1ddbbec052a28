//! Limits of the embedded log, each with its unit and reason.

use std::num::NonZeroU64;
use std::time::Duration;

use gesta_core::{BATCH_BYTES_MAX, Limits};

use crate::format::{EndBody, FRAME_HEADER_BYTES, RECORD_HEADER_BYTES, StartBody, mark_len};

/// The smallest segment: a few frames and the marks around them.
pub const SEGMENT_SIZE_BYTES_MIN: u64 = 64 << 10;
/// The largest segment: offsets within one are 30 bits.
pub const SEGMENT_SIZE_BYTES_MAX: u64 = 1 << 30;
/// The size of a full segment, unless the options give another.
pub const SEGMENT_SIZE_BYTES_DEFAULT: u64 = 256 << 20;
/// The first segments of a log are this small, so that an empty log is small.
const SEGMENT_SIZE_BYTES_FIRST: u64 = 1 << 20;
/// A new segment is at most this fraction of the log: 1/2.
const SEGMENT_SHARE_OF_LOG: u64 = 2;

/// Bytes of batches that may wait for the writer. Further appends are refused as overloaded.
pub(crate) const QUEUE_BYTES_MAX: usize = 256 << 20;
/// Batches that may wait for the writer. Further appends are refused as overloaded.
pub(crate) const QUEUE_BATCHES_MAX: usize = 65_536;
/// Bytes after which a group is written and synced: this bounds how long the first batch of a group waits.
pub(crate) const GROUP_BYTES_MAX: usize = 16 << 20;
/// Batches decided in one go, including refused ones. Their callers may append again at once, and the thread that
/// decides is one of the callers.
pub(crate) const DECISIONS_MAX: usize = 1_024;
/// An idle frame is written this long after the last append. Its watermark covers everything.
pub(crate) const IDLE_AFTER: Duration = Duration::from_millis(75);
/// The writer's thread looks this often whether the folder at the log's path is still the log's.
pub(crate) const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Bytes of the log that a table covers before it becomes a run. An open loads up to this much, and a first run
/// covers as much.
pub(crate) const INDEX_RUN_BYTES_DEFAULT: u64 = 64 << 20;
pub(crate) const INDEX_RUN_BYTES_MIN: u64 = 1 << 10;
pub(crate) const INDEX_RUN_BYTES_MAX: u64 = 1 << 30;
/// Bytes that a background write may have in flight. More bytes delay the foreground's syncs, and so does each
/// additional background sync.
pub(crate) const BACKGROUND_BYTES_IN_FLIGHT: usize = 8 << 20;
/// What an open indexes before it returns, counted in full tables: as much as a log may have in memory when it is
/// killed while the disk is slow. A larger part is indexed after open.
pub(crate) const BUILT_IN_OPEN_TABLES: u64 = 6;
/// Threads that build an index. Each has one table in memory, which is written when it is full.
pub(crate) const REBUILD_THREADS_MAX: usize = 8;
/// The first pause before failed background work is tried again. It doubles each time.
const RETRY_PAUSE_MIN: Duration = Duration::from_secs(1);
const RETRY_PAUSE_MAX: Duration = Duration::from_secs(60);
/// Memory for the content of runs: their blocks, and stream heads.
pub(crate) const INDEX_CACHE_BYTES_DEFAULT: u64 = 256 << 20;
/// Share of the cache for stream heads: 1/4. With the default cache, this is enough for a million streams.
pub(crate) const HEADS_SHARE: u64 = 4;
/// The largest memory for stream heads: offsets of names are 32 bits.
pub(crate) const HEADS_BYTES_MAX: u64 = 2 << 30;

/// Streams that a report of damage names, and reports that name streams. People read them, and each report scans all
/// names of a run.
pub(crate) const LOST_STREAMS_NAMED_MAX: usize = 10;
pub(crate) const DAMAGE_NAMED_MAX: usize = 16;

/// Reads that may wait for a thread. Further reads are refused as overloaded.
pub(crate) const READS_WAITING_MAX: usize = 4_096;
/// The largest gap between two records that are read in one go: reading the gap costs about as much as a second read.
pub(crate) const READ_GAP_BYTES_MAX: u64 = 16 << 10;
/// Bytes of frames, and batches, in one step of a copy: enough that a sync costs little, and few enough to wait in the queue.
pub(crate) const COPY_BYTES_MAX: usize = 4 << 20;
pub(crate) const COPY_BATCHES_MAX: usize = 8_192;
/// The largest read from a file, unless one record is larger.
pub(crate) const READ_BYTES_MAX: u64 = 4 << 20;
/// The size of a buffer for records far apart.
pub(crate) const READ_BUFFER_BYTES: usize = 64 << 10;
/// Reads announced to the disk ahead of time: the disk is no faster with more at once.
pub(crate) const READS_AHEAD: usize = 64;
/// Bytes of announced reads: they take memory.
pub(crate) const READ_AHEAD_BYTES_MAX: u64 = 8 << 20;
/// Events, and their bytes, that an asynchronous read takes from memory on its caller's thread: about as fast as a
/// switch to another thread.
pub(crate) const CACHED_READ_EVENTS_MAX: usize = 64;
pub(crate) const CACHED_READ_BYTES_MAX: u64 = 64 << 10;

/// The smallest page whose second half an idle thread reads: smaller pages take less time than waking the thread.
pub(crate) const HALVES_EVENTS_MIN: usize = 512;

/// The newest events that readers at the head share: those of a few commits.
pub(crate) const RECENT_EVENTS: usize = 1_024;
/// The largest read whose events are shared: each event may keep the whole read in memory.
pub(crate) const RECENT_READ_BYTES_MAX: u64 = 16 << 10;

/// The lowest rate of a background scrub. It reads a small log within minutes, and not in steps of hours that a
/// restart would repeat.
pub(crate) const SCRUB_BYTES_PER_SECOND_MIN: NonZeroU64 = NonZeroU64::new(1 << 20).expect("it is not zero");
/// The shortest time before a scrub with a rate reads a segment again. Without it, a small log would be read
/// continuously.
pub(crate) const SCRUB_AGAIN_AFTER: Duration = Duration::from_secs(24 * 60 * 60);
/// How often a background scrub looks for a segment that is due.
pub(crate) const SCRUB_LOOK_EVERY: Duration = Duration::from_secs(60);
/// Damaged places that a scrub records separately in one segment.
pub(crate) const SCRUB_DAMAGE_MAX: usize = 64;

/// Space that every segment keeps free for the marks at its end: an idle frame and END.
pub(crate) const MARKS_RESERVE_BYTES: usize = mark_len(0) + mark_len(EndBody::BYTES);
/// The length of START.
pub(crate) const START_BYTES: usize = mark_len(StartBody::BYTES);

const _: () = assert!(MARKS_RESERVE_BYTES == 168, "documented in docs/format.md");

/// The pause after `failures` failures in a row.
pub(crate) fn retry_pause(failures: u32) -> Duration {
    let doublings = failures.saturating_sub(1).min(16);
    (RETRY_PAUSE_MIN * (1 << doublings)).min(RETRY_PAUSE_MAX)
}

/// The size of the segment after `log_bytes` bytes of log, if a full segment has `full_size_bytes`. It grows with the
/// log, so that the reserved space, and the zeros that an open has to read, stay in proportion to the data.
pub(crate) fn next_segment_bytes(log_bytes: u64, full_size_bytes: u64) -> u64 {
    let share = log_bytes / SEGMENT_SHARE_OF_LOG;
    let whole = share - share % SEGMENT_SIZE_BYTES_FIRST;
    whole.max(SEGMENT_SIZE_BYTES_FIRST).min(full_size_bytes)
}

/// The limits of a log with segments of that size. A frame fits half a segment, so that a roll never wastes more.
pub(crate) fn limits(segment_size_bytes: u64) -> Limits {
    let mut limits = Limits::default();
    let half = usize::try_from(segment_size_bytes / 2).unwrap_or(usize::MAX);
    let frame_overhead = FRAME_HEADER_BYTES + gesta_core::COMMAND_KEY_BYTES_MAX + 64;
    let bytes = half - frame_overhead;
    limits.batch_bytes_max = BATCH_BYTES_MAX.min(bytes);
    // The limit counts canonical bytes; the headers of records add to them.
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
