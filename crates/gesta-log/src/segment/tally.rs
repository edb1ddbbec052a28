//! Counts a segment frame by frame: the totals for its END, for the manifest and for a place in it.
//!
//! *Invariant*: everything that counts frames counts here: the writer, recovery, and every check. So the END that the
//! writer leaves is the one that a walk over the frames expects.

use super::file::SegmentFile;
use super::point::{LogPoint, Progress};
use super::walk::ChainPosition;
use crate::format::{Crc, EndBody, FrameHeader, FrameKind, Salt, Seal, Sealed, write_mark};

/// The running totals of one segment: its START and numbered frames.
pub(crate) struct Tally {
    /// The numbers of the first frame and of the first event, or of the next ones if there is none.
    first_frame: u64,
    first_position: u64,
    /// The offset of the last numbered frame; 0 if there is none.
    last_frame: u64,
    /// The running checksum over the headers.
    headers: Crc,
    /// The totals, except for the checksum.
    totals: EndBody,
}

/// The end of a counted segment.
pub(crate) struct SegmentEnd {
    pub(crate) body: EndBody,
    pub(crate) sealed: Sealed,
    /// The seal of its END frame.
    pub(crate) seal: Seal,
}

impl Tally {
    /// A segment before its first frame, after that place in the chain.
    pub(crate) fn begin(salt: &Salt, chain: &ChainPosition) -> Self {
        Self {
            first_frame: chain.number + 1,
            first_position: chain.position + 1,
            last_frame: 0,
            headers: Crc::salted(salt),
            totals: EndBody::EMPTY,
        }
    }

    /// A segment up to a place in it.
    pub(crate) fn resume(point: &LogPoint) -> Self {
        let Progress { first_frame, first_position, end } = point.progress;
        let headers = Crc::resume(end.checksum);
        Self { first_frame, first_position, last_frame: point.last_frame, headers, totals: end }
    }

    /// Counts the next frame, which begins at that offset. END is not counted.
    pub(crate) fn add(&mut self, header: &FrameHeader, offset: u64) {
        if header.kind.is_numbered() {
            self.add_numbered(offset, header.checksum, u64::from(header.events), header.recorded_at);
        } else if header.kind != FrameKind::End {
            self.add_start(header.checksum);
        }
    }

    /// Counts a START with that checksum of its header.
    pub(crate) fn add_start(&mut self, header: u32) {
        self.headers.update(&header.to_le_bytes());
    }

    /// Counts a numbered frame with that checksum of its header.
    pub(crate) fn add_numbered(&mut self, offset: u64, header: u32, events: u64, recorded_at: i64) {
        assert!(offset > self.last_frame, "frames are counted in their order");
        self.last_frame = offset;
        self.headers.update(&header.to_le_bytes());
        self.totals.count_numbered(events, recorded_at);
    }

    /// The offset of the last numbered frame; 0 if there is none.
    pub(crate) const fn last_frame(&self) -> u64 {
        self.last_frame
    }

    /// The body of END.
    pub(crate) fn body(&self) -> EndBody {
        EndBody { checksum: self.headers.value(), ..self.totals }
    }

    /// The properties of the segment if its frames end at that offset.
    pub(crate) fn sealed(&self, end: u64) -> Sealed {
        let EndBody { frames, events, checksum, .. } = self.body();
        let Self { first_frame, first_position, .. } = *self;
        Sealed { first_frame, first_position, frames, events, end, checksum }
    }

    /// The place after the frames so far. The last of them is also the last of `chain`.
    pub(crate) fn point(&self, segment: u64, offset: u64, chain: &ChainPosition) -> LogPoint {
        let Self { first_frame, first_position, last_frame, .. } = *self;
        let progress = Progress { first_frame, first_position, end: self.body() };
        LogPoint { segment, offset, last_frame, chain: *chain, progress }
    }

    /// The end of the segment if its frames end at `offset`, all of them durable, with the last of `chain`.
    pub(crate) fn end_at(&self, segment: &SegmentFile, offset: u64, chain: &ChainPosition) -> SegmentEnd {
        let seal = Seal {
            salt: segment.salt,
            offset,
            number: chain.number,
            position: chain.position + 1,
            durable: chain.number,
            recorded_at: chain.recorded_at,
            previous: chain.checksum,
        };
        SegmentEnd { body: self.body(), sealed: self.sealed(offset), seal }
    }
}

impl LogPoint {
    /// Before the first frame of a segment, after that place in the chain.
    pub(crate) fn begin(segment: u64, salt: &Salt, chain: &ChainPosition) -> Self {
        Tally::begin(salt, chain).point(segment, SegmentFile::first_frame_offset(), chain)
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
