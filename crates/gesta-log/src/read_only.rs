//! Why a log takes no writes, for its owner and for programs that act on it.

use std::fmt;

/// Why a log takes no writes. Its text is [`Self::reason`].
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct ReadOnly {
    /// What a program can act on. If there are several causes, the first one.
    pub cause: ReadOnlyCause,
    /// All causes in words, and what helps.
    pub reason: String,
}

/// What keeps a log from taking writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ReadOnlyCause {
    /// Acknowledged events are damaged or missing.
    Damaged,
    /// The manifest lacks segments that hold events.
    StaleManifest,
    /// The log ends in bytes that may be acknowledged events or not. An operator has to decide.
    UnprovenTail,
    /// This process may not write to the folder.
    NotPermitted,
    /// It was asked to be read alone.
    Asked,
    /// The folder is a replica: it takes what its source has recorded, and nothing else.
    Replica,
    /// The disk was full when the log was opened.
    StorageFull,
    /// A write or a sync failed while the log was open.
    WriteFailed,
    /// The folder was moved, removed or replaced while the log was open.
    Displaced,
    /// The writer panicked.
    Panicked,
}

impl ReadOnly {
    pub(crate) fn new(cause: ReadOnlyCause, reason: impl Into<String>) -> Self {
        Self { cause, reason: reason.into() }
    }

    /// Adds another reason.
    pub(crate) fn and(self, other: Self) -> Self {
        Self { reason: format!("{}; {}", self.reason, other.reason), ..self }
    }
}

impl fmt::Display for ReadOnly {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.reason)
    }
}
