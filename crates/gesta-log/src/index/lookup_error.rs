//! Why a look-up failed.

use std::io;

/// Why a look-up in the index gives no answer. It never means "not there".
#[derive(Debug, thiserror::Error)]
pub(crate) enum LookupError {
    /// The answer is on the disk, and the caller must not wait for it.
    #[error("the answer is on the disk, and this call must not wait for it")]
    NotInMemory,
    #[error(
        "the index is being rebuilt beside the open log, {done} of {of} events are done{}: try again later, or read by position",
        failure.as_ref().map_or_else(String::new, |failure| format!(" ({failure})"))
    )]
    Building { done: u64, of: u64, failure: Option<String> },
    #[error(
        "segment {segment} is damaged at offset {offset}: the lost positions are known once the index is rebuilt"
    )]
    Unproven { segment: u64, offset: u64 },
    #[error("reading index file {run} failed: {source}")]
    Io { run: u64, source: io::Error },
    #[error("reading segment {segment} at offset {offset} failed: {source}")]
    Log { segment: u64, offset: u64, source: io::Error },
    #[error(
        "index file {run} is damaged at offset {offset}; no event is lost: open the log again to rebuild it; for a read-only log, delete its folder `index` first"
    )]
    Damaged { run: u64, offset: u64 },
}

/// Whether a look-up may wait for the disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ReadMode {
    /// An answer that is not in memory gives [`LookupError::NotInMemory`].
    Memory,
    Disk,
}
