//! Counts a segment frame by frame: the totals for its END and for the manifest.

use super::point::{HeadersChecksum, LogPoint, Progress};
use super::walk::ChainPosition;
use crate::folder::Sealed;
use crate::format::{EndBody, FrameHeader, FrameKind, Salt, Seal, write_mark};

/// The running totals of one segment: its START and numbered frames.
pub(crate) struct Tally {
    salt: Salt,
    headers: HeadersChecksum,
    /// The totals so far; `None` before the first frame.
    counted: Option<(Progress, ChainPosition)>,
}

/// The end of a counted segment.
pub(crate) struct SegmentEnd {
    pub(crate) body: EndBody,
    pub(crate) sealed: Sealed,
    /// The seal of its END frame.
    pub(crate) seal: Seal,
}

impl Tally {
    pub(crate) fn new(salt: &Salt) -> Self {
        Self { salt: *salt, headers: HeadersChecksum::new(salt), counted: None }
    }

    /// Continues after a place in the segment.
    pub(crate) fn resume(salt: &Salt, from: &LogPoint) -> Self {
        let headers = HeadersChecksum::resume(from.progress.end.checksum);
        Self { salt: *salt, headers, counted: Some((from.progress, from.chain)) }
    }

    /// Counts the next frame. END is not counted.
    pub(crate) fn add(&mut self, header: &FrameHeader) {
        if header.kind == FrameKind::End {
            return;
        }
        let (progress, chain) = self.counted.get_or_insert_with(|| {
            let chain = ChainPosition::before(header);
            (Progress::begin(&self.salt, &chain), chain)
        });
        self.headers.add(header.checksum);
        chain.pass(header);
        progress.end.count(header);
    }

    /// The totals since the segment's beginning.
    pub(crate) fn body(&self) -> EndBody {
        let counted = self.counted.map_or(EndBody::EMPTY, |(progress, _)| progress.end);
        EndBody { checksum: self.headers.value(), ..counted }
    }

    /// The end of the segment if its frames end at `offset`; `None` if it has no frames.
    pub(crate) fn end_at(&self, offset: u64) -> Option<SegmentEnd> {
        let (Progress { first_frame, first_position, .. }, chain) = self.counted?;
        let body = self.body();
        let EndBody { frames, events, checksum, .. } = body;
        let sealed = Sealed { first_frame, first_position, frames, events, end: offset, checksum };
        let seal = Seal {
            salt: self.salt,
            offset,
            number: chain.number,
            position: chain.position + 1,
            durable: chain.number,
            recorded_at: chain.recorded_at,
            previous: chain.checksum,
        };
        Some(SegmentEnd { body, sealed, seal })
    }
}

impl SegmentEnd {
    /// The bytes of the END frame.
    pub(crate) fn frame(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        write_mark(&mut bytes, FrameKind::End, &self.seal, &self.body.encode());
        bytes
    }
}
