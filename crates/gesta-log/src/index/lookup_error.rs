//! Why a look-up failed.

use std::io;

/// Says that the index is not complete yet.
const BUILDING: &str = "the index is being rebuilt beside the open log";
/// Says what heals a damaged index.
const REBUILD: &str = "open the log again to rebuild it";

/// Why a look-up in the index gives no answer. It never means "not there".
#[derive(Debug, thiserror::Error)]
pub(crate) enum LookupError {
    /// The answer is on the disk, and the caller must not wait for it.
    #[error("the answer is on the disk, and this call must not wait for it")]
    NotInMemory,
    #[error(
        "{BUILDING}, {done} of {of} events are done{}: try again later, or read by position",
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
        "index file {run} is damaged at offset {offset}; no event is lost: {REBUILD}; for a read-only log, delete its folder `index` first"
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

/// What keeps the index from answering, for the simulation: the reason of an unavailable store is a text.
#[cfg(feature = "sim")]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum IndexFault {
    /// It is not complete yet.
    Building,
    /// One of its files is damaged.
    Damaged,
}

#[cfg(feature = "sim")]
impl IndexFault {
    /// The fault in the text of an error; `None` if the error has another reason.
    #[must_use]
    pub fn of(text: &str) -> Option<Self> {
        match () {
            () if text.contains(BUILDING) => Some(Self::Building),
            () if text.contains(REBUILD) => Some(Self::Damaged),
            () => None,
        }
    }
}

#[cfg(test)]
#[cfg(feature = "sim")]
mod tests {
    use super::*;

    #[test]
    fn the_simulation_knows_the_faults_of_the_index_from_each_other() {
        let source = || io::Error::other("a fault");
        let errors = [
            (LookupError::Building { done: 1, of: 2, failure: None }, Some(IndexFault::Building)),
            (LookupError::Damaged { run: 1, offset: 2 }, Some(IndexFault::Damaged)),
            (LookupError::Unproven { segment: 1, offset: 2 }, None),
            (LookupError::Io { run: 1, source: source() }, None),
            (LookupError::Log { segment: 1, offset: 2, source: source() }, None),
            (LookupError::NotInMemory, None),
        ];
        for (error, fault) in errors {
            assert_eq!(IndexFault::of(&format!("a read failed: {error}")), fault, "{error}");
        }
    }
}
