//! Why something could not be looked up.

use std::io;

/// Why a look-up in the index gives no answer. It never stands for "not there".
#[derive(Debug, thiserror::Error)]
pub(crate) enum Fault {
    /// The caller must not wait for the disk, and the answer is there.
    #[error("the index is on the disk")]
    NotInMemory,
    #[error(
        "the index is built anew beside the open log, {done} of {of} events are done{}: try again later, events by position can be read",
        failure.as_ref().map_or_else(String::new, |failure| format!(" ({failure})"))
    )]
    Building { done: u64, of: u64, failure: Option<String> },
    #[error(
        "segment {segment} does not prove itself at offset {offset}: what of it is lost, if anything, is known once the index is built anew"
    )]
    Unproven { segment: u64, offset: u64 },
    #[error("reading index file {run} failed: {source}")]
    Io { run: u64, source: io::Error },
    #[error("reading segment {segment} at offset {offset} failed: {source}")]
    Log { segment: u64, offset: u64, source: io::Error },
    #[error(
        "index file {run} is damaged at offset {offset}; no event is lost: open the log again, which builds it anew; one that takes no writes needs its folder `index` deleted for that"
    )]
    Damaged { run: u64, offset: u64 },
}

/// Whether a look-up may wait for the disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reach {
    /// What is not in memory is [`Fault::NotInMemory`].
    Memory,
    Disk,
}
