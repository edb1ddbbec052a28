//! A gap in the frames of a log, and the frame that ends it.

use crate::format::FrameHeader;
use crate::segment::ChainPosition;

/// A place without a valid frame, until the frame that follows it is found.
pub(crate) struct Gap {
    pub(crate) segment: u64,
    pub(crate) offset: u64,
    /// The last position that must have been here. A missing file had at least one event. Headers of frames that are
    /// damaged or belong to another history raise it too.
    pub(crate) last: u64,
    /// The place in the chain after the headers that continue it, although their frames are damaged.
    pub(crate) chain: ChainPosition,
    /// The end of the last frames of another history in the gap, if any.
    pub(crate) refused: Option<ChainPosition>,
    /// Whether the gap is a segment that is intact, and that a stale manifest does not list.
    pub(crate) is_unlisted: bool,
}

impl Gap {
    /// A gap that begins after `chain`.
    pub(crate) const fn new(segment: u64, offset: u64, chain: ChainPosition) -> Self {
        Self { segment, offset, last: 0, chain, refused: None, is_unlisted: false }
    }

    /// Whether the log continues with the frame of this header. `is_whole` tells if the frame is valid in full. Every
    /// other frame counts as lost.
    ///
    /// A frame with the next number that does not continue the chain comes from another file: for example, a segment
    /// of a copy of this log that was written to separately. All frames that continue it are refused as well.
    pub(crate) fn ends_with(&mut self, header: &FrameHeader, is_whole: bool) -> bool {
        let continues = self.chain.accepts(header);
        let is_own = continues || self.may_lie_ahead(header);
        if is_own && is_whole {
            return true;
        }
        if !is_own {
            let mut end = ChainPosition::before(header);
            end.pass(header);
            self.refused = Some(end);
        } else if continues {
            self.chain.pass(header);
        }
        self.last = self.last.max(header.next_position() - 1);
        false
    }

    /// Whether a frame may come later in the log than the missing part. The chain is unknown after the gap, so only a
    /// frame that continues another history certainly does not belong here.
    pub(crate) fn may_lie_ahead(&self, header: &FrameHeader) -> bool {
        let before = ChainPosition::before(header);
        let is_of_another =
            self.refused.is_some_and(|own| (own.number, own.checksum) == (before.number, before.checksum));
        before.number > self.chain.number && before.position >= self.chain.position && !is_of_another
    }

    /// Whether the gap holds frames of another history.
    pub(crate) const fn is_refused(&self) -> bool {
        self.refused.is_some()
    }

    /// The description for a report of damage.
    pub(crate) const fn what(&self, otherwise: &'static str) -> &'static str {
        match (self.refused, self.is_unlisted) {
            (Some(_), _) => "frames of another history of the log stand here",
            (None, true) => "the segment holds events, and the manifest does not list it",
            (None, false) => otherwise,
        }
    }
}
