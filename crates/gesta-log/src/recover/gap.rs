//! A gap in the frames of a log, and the frame that ends it.

use crate::format::FrameHeader;
use crate::segment::ChainPosition;

/// A place where no valid frame stood, until it is known what follows.
pub(crate) struct Gap {
    pub(crate) segment: u64,
    pub(crate) offset: u64,
    /// The last position that must have stood there: at least one event in a file that is missing, and what headers say whose
    /// frames do not prove themselves or are of another history.
    pub(crate) last: u64,
    /// What comes next, as far as headers continue the chain whose frames do not prove themselves.
    pub(crate) chain: ChainPosition,
    /// Where the last frames end that were met of another history, if any were.
    pub(crate) refused: Option<ChainPosition>,
}

impl Gap {
    /// A gap behind what stands there.
    pub(crate) const fn new(segment: u64, offset: u64, chain: ChainPosition) -> Self {
        Self { segment, offset, last: 0, chain, refused: None }
    }

    /// Whether the log goes on with the frame of that header, which proves itself in full or not. What it does not go on with
    /// is counted as lost.
    ///
    /// Where the frame with the next number stands and does not continue the chain, somebody put it there: a segment of a copy
    /// of this log, say, that went on by itself. All that continues it is refused as well.
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

    /// Whether a frame may come later in the log than what is missing: its chain is unknown then, so only what continues another
    /// history is certain not to be of this one.
    pub(crate) fn may_lie_ahead(&self, header: &FrameHeader) -> bool {
        let before = ChainPosition::before(header);
        let is_of_another =
            self.refused.is_some_and(|own| (own.number, own.checksum) == (before.number, before.checksum));
        before.number > self.chain.number && before.position >= self.chain.position && !is_of_another
    }

    /// Whether frames of another history were met.
    pub(crate) const fn is_refused(&self) -> bool {
        self.refused.is_some()
    }

    /// What to say of it.
    pub(crate) const fn what(&self, otherwise: &'static str) -> &'static str {
        if self.refused.is_some() { "frames of another history of the log stand here" } else { otherwise }
    }
}
