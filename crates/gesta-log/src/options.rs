//! How a log is opened.

use std::num::NonZeroU64;
use std::sync::Arc;
use std::time::Duration;

use gesta_core::Timestamp;

use crate::index::TableLimits;
use crate::limits::{
    HEADS_BYTES_MAX, HEADS_SHARE, INDEX_CACHE_BYTES_DEFAULT, INDEX_RUN_BYTES_DEFAULT, INDEX_RUN_BYTES_MAX,
    INDEX_RUN_BYTES_MIN, SEGMENT_SIZE_BYTES_DEFAULT,
};

/// How a log is opened.
#[derive(Clone)]
pub struct Options {
    /// The size of a full segment in bytes, 64 KiB to 1 GiB; by default 256 MiB. It bounds a batch to about half of it.
    pub segment_size_bytes: u64,
    /// The clock for `recorded_at`; by default the machine's clock.
    pub clock: Option<Clock>,
    /// Threads that read for asynchronous calls. When idle, they also read half of a large page for another read; at
    /// least 1, by default 2.
    pub read_threads: usize,
    /// The size of the log that the in-memory index may cover before it is written to the disk: 1 KiB to 1 GiB, by
    /// default 64 MiB. It takes up to half as much memory, and a few times that while the disk is slow. If there is
    /// no index, an open indexes up to six times as much of the log before it returns, and the rest afterwards.
    pub index_run_bytes: u64,
    /// Memory for index data that is already on the disk, in bytes; by default 256 MiB. A quarter is for the heads of
    /// streams, which appends need. Up to nine sixteenths are for filters, which rule out most new ids without a
    /// read. The rest is for blocks of index files.
    pub index_cache_bytes: u64,
    /// Background reads that verify sealed segments, on a separate thread; by default each segment once a week.
    pub scrub: Scrub,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            segment_size_bytes: SEGMENT_SIZE_BYTES_DEFAULT,
            clock: None,
            read_threads: 2,
            index_run_bytes: INDEX_RUN_BYTES_DEFAULT,
            index_cache_bytes: INDEX_CACHE_BYTES_DEFAULT,
            scrub: Scrub::default(),
        }
    }
}

impl Options {
    /// Memory for the heads of streams. It is taken from the share of blocks.
    pub(crate) fn heads_bytes(&self) -> usize {
        let bytes = (self.index_cache_bytes / HEADS_SHARE).min(HEADS_BYTES_MAX);
        usize::try_from(bytes).expect("at most 2 GiB")
    }

    pub(crate) const fn blocks_bytes(&self) -> u64 {
        self.index_cache_bytes - self.index_cache_bytes / HEADS_SHARE
    }

    pub(crate) fn table_limits(&self) -> TableLimits {
        let log_bytes = self.index_run_bytes.clamp(INDEX_RUN_BYTES_MIN, INDEX_RUN_BYTES_MAX);
        TableLimits { bytes: usize::try_from(log_bytes / 2).expect("at most 512 MiB"), log_bytes }
    }
}

/// The clock for `recorded_at`. If it goes back, events get the last recorded time.
pub type Clock = Arc<dyn Fn() -> Timestamp + Send + Sync>;

/// How an open log verifies its sealed segments in the background.
///
/// Without it, bit rot is found only when its bytes are needed, and by then it may be in every backup. Findings are
/// logged and in [`LogStore::scrub_status`](crate::LogStore::scrub_status); appends continue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scrub {
    /// No scrub: call [`LogStore::scrub`](crate::LogStore::scrub) or run `gesta scrub` instead.
    Off,
    /// Each segment once in this time, at the rate that this takes, at least 1 MiB/s. The default is a week: a
    /// terabyte takes 2 MB/s.
    Every(Duration),
    /// At this many bytes a second, one pass after the other, each segment at most once a day.
    BytesPerSecond(NonZeroU64),
}

impl Default for Scrub {
    fn default() -> Self {
        Self::Every(Duration::from_secs(7 * 24 * 60 * 60))
    }
}
