//! Damage: bytes that fail their check at a place where acknowledged events belong.
//!
//! *Detected*
//! - when the log is opened: by `recover.rs` (missing files and wrong headers), `recover/load.rs` (frames that are not in
//!   the index), `recover/covered.rs` (segments that runs cover; it reads only the frames at which runs end) and
//!   `recover/tail.rs` (the end of the log);
//! - by each read, in `read/fetch.rs`, which checks every record before it is served;
//! - by scrubs, verifications and backups, in `operations/verify_segment.rs`.
//!
//! *Recorded*
//! - in `Recovery` and in `Index::damage` when the log is opened; damage that loses events makes the log read-only;
//! - by a scrub in `operations/scrub/record.rs`: the record outlives the process, and appends go on.
//!
//! A read records nothing.
//!
//! *Reported*
//! - by reads as `ReadError::DataLoss` (`read.rs`);
//! - by `LogStore::recovery`, `LogStore::scrub_status`, and the reports of the operations;
//! - by backups as `BackupError::Damaged`: a backup refuses damage.

use std::fmt;

/// One damaged range of the log. Never served, never cut, always reported.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Damage {
    /// The id of the segment.
    pub segment: u64,
    /// The offset in its file at which the damage begins.
    pub offset: u64,
    /// The first lost position. Greater than `to` if no event is lost, for example if only a mark is damaged.
    pub from: u64,
    /// The last lost position. If the end of the loss is unknown, the last position that is known to be lost.
    pub to: u64,
    /// True if the loss ends at `to`. If the end of the log is lost, more events may be lost.
    pub end_is_known: bool,
    /// What was found there. If the index has them, also some of the streams whose events are lost.
    pub what: String,
}

impl Damage {
    /// The loss of the positions `from` to `to`; of none if `from` is greater.
    pub(crate) fn of(segment: u64, offset: u64, from: u64, to: u64, what: impl Into<String>) -> Self {
        Self { segment, offset, from, to, end_is_known: true, what: what.into() }
    }

    /// Damage that loses no event.
    pub(crate) fn flaw(segment: u64, offset: u64, what: impl Into<String>) -> Self {
        Self::of(segment, offset, 1, 0, what)
    }

    /// True if events are lost, false if only bytes around them are.
    #[must_use]
    pub const fn loses_events(&self) -> bool {
        self.from <= self.to
    }

    /// The place of the damage: segment and offset.
    #[must_use]
    pub fn location(&self) -> String {
        format!("segment {} at offset {}", self.segment, self.offset)
    }

    /// The same for a reader; says also if the end of the loss is unknown.
    pub(crate) fn location_for_reader(&self) -> String {
        match self.end_is_known {
            true => self.location(),
            false => format!("{}; the end of the loss is not known", self.location()),
        }
    }
}

impl fmt::Display for Damage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.location(), self.what)?;
        match (self.loses_events(), self.end_is_known) {
            (true, true) => write!(f, "; positions {} to {} are lost", self.from, self.to),
            (true, false) if self.from == self.to => {
                write!(f, "; positions from {} on are lost, the end is not known", self.from)
            }
            (true, false) => {
                write!(f, "; positions from {} on are lost, up to {} at least", self.from, self.to)
            }
            (false, _) => f.write_str("; no event is lost"),
        }
    }
}
