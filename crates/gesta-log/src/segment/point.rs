//! A place between two frames, with all that a reader or writer needs to continue there.

use super::walk::ChainPosition;
use crate::format::EndBody;

/// A place in the log: after a whole frame, or before the first one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct LogPoint {
    /// The segment, and the offset in its file at which the next frame begins; 0 before the first frame of the log.
    pub(crate) segment: u64,
    pub(crate) offset: u64,
    /// Where the last numbered frame begins, in the same segment.
    pub(crate) last_frame: u64,
    pub(crate) chain: ChainPosition,
    pub(crate) progress: Progress,
}

impl LogPoint {
    /// Before the first frame of a log.
    pub(crate) const START: Self =
        Self { segment: 0, offset: 0, last_frame: 0, chain: ChainPosition::START, progress: Progress::BEGIN };
}

/// The totals of a segment up to a place in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Progress {
    /// The numbers of the first frame and of the first event in the segment, or of the next ones if it has none.
    pub(crate) first_frame: u64,
    pub(crate) first_position: u64,
    /// The totals that an END there would hold. Their checksum covers the headers so far.
    pub(crate) end: EndBody,
}

impl Progress {
    /// At the beginning of a log.
    pub(crate) const BEGIN: Self = Self { first_frame: 1, first_position: 1, end: EndBody::EMPTY };
}
