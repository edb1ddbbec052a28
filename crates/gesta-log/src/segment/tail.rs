//! Where the log ends: the state that the next frame follows.

use std::sync::Arc;

use super::file::{MissingFile, SegmentFile};
use super::point::LogPoint;
use super::tally::{SegmentEnd, Tally};
use super::walk::ChainPosition;
use crate::bugs::{Bug, planted};
use crate::format::{EndBody, Seal, mark_len};
use crate::limits::MARKS_RESERVE_BYTES;

/// The end of the log, over all segments. Includes frames that are written and not yet synced.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Tail {
    pub(crate) chain: ChainPosition,
    /// The last frame known to be synced.
    pub(crate) durable: u64,
    /// The last frame that the watermark of a synced frame covers.
    pub(crate) covered: u64,
    /// The last frame that has events.
    pub(crate) last_with_events: u64,
}

/// The segment that is written to.
pub(crate) struct ActiveSegment {
    pub(crate) segment: Arc<SegmentFile>,
    pub(crate) size_bytes: u64,
    /// The offset of the next frame.
    pub(crate) offset: u64,
    pub(crate) tally: Tally,
}

impl ActiveSegment {
    /// A segment without frames, after that end of the log.
    pub(crate) fn fresh(segment: Arc<SegmentFile>, size_bytes: u64, tail: &Tail) -> Self {
        let tally = Tally::begin(&segment.salt, &tail.chain);
        Self { segment, size_bytes, offset: SegmentFile::first_frame_offset(), tally }
    }

    /// No segment: nothing fits, and the log goes on in the next one that is made.
    pub(crate) fn none(tail: &Tail) -> Self {
        let segment = SegmentFile { id: 0, salt: [0; 16], file: Arc::new(MissingFile) };
        Self { offset: 0, ..Self::fresh(Arc::new(segment), 0, tail) }
    }

    /// True if there is a segment.
    pub(crate) const fn is_there(&self) -> bool {
        self.size_bytes > 0
    }

    /// True if a frame of that length fits after `pending` bytes, with room left for the marks after it.
    pub(crate) fn fits(&self, pending: usize, length: usize) -> bool {
        self.offset + (pending + length + MARKS_RESERVE_BYTES) as u64 <= self.size_bytes
    }

    /// True if an idle frame of that length fits, with START, and END after it. Every batch leaves this room free.
    pub(crate) fn has_room_for_idle(&self, length: usize) -> bool {
        self.offset + (length + mark_len(EndBody::BYTES)) as u64 <= self.size_bytes
    }

    /// True if it is time to prepare the next segment.
    pub(crate) fn is_half_full(&self) -> bool {
        self.offset > self.size_bytes / 2
    }

    /// True if the log will soon go on in the next segment.
    pub(crate) const fn is_almost_full(&self) -> bool {
        self.offset > self.size_bytes - self.size_bytes / 8
    }

    /// Continues after a place in a segment.
    pub(crate) fn resume(segment: Arc<SegmentFile>, size_bytes: u64, point: &LogPoint) -> Self {
        assert!(segment.id == point.segment, "a place is in its segment");
        Self { segment, size_bytes, offset: point.offset, tally: Tally::resume(point) }
    }

    /// The place after its last frame, which is also the last of `tail`.
    pub(crate) fn point(&self, tail: &Tail) -> LogPoint {
        self.tally.point(self.segment.id, self.offset, &tail.chain)
    }

    /// Its end, after the last frame of `tail`.
    pub(crate) fn end(&self, tail: &Tail) -> SegmentEnd {
        let seal = tail.mark_seal(&self.segment, self.offset);
        SegmentEnd { body: self.tally.body(), sealed: self.tally.sealed(self.offset), seal }
    }
}

impl Tail {
    /// The seal of a mark without a number.
    pub(crate) fn mark_seal(&self, segment: &SegmentFile, offset: u64) -> Seal {
        Seal {
            salt: segment.salt,
            offset,
            number: self.chain.number,
            position: self.chain.position + 1,
            durable: match () {
                () if planted(Bug::NoWatermark) => 0,
                () if planted(Bug::ClaimsUnsynced) => self.chain.number,
                () => self.durable,
            },
            recorded_at: self.chain.recorded_at,
            previous: self.chain.checksum,
        }
    }

    /// The seal of the next numbered frame.
    pub(crate) fn next_seal(&self, segment: &SegmentFile, offset: u64, recorded_at: i64) -> Seal {
        Seal { number: self.chain.number + 1, recorded_at, ..self.mark_seal(segment, offset) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SIZE_BYTES: u64 = 64 << 10;
    const TAIL: Tail = Tail {
        chain: ChainPosition { number: 7, checksum: 6, position: 50, recorded_at: 40 },
        durable: 5,
        covered: 4,
        last_with_events: 7,
    };

    fn segment() -> Arc<SegmentFile> {
        Arc::new(SegmentFile { id: 3, salt: [9; 16], file: Arc::new(MissingFile) })
    }

    #[test]
    fn a_frame_fits_if_it_leaves_room_for_the_marks() {
        let active = ActiveSegment::fresh(segment(), SIZE_BYTES, &TAIL);
        let free = usize::try_from(SIZE_BYTES - active.offset).unwrap();
        for pending in [0, 8, 4096] {
            let most = free - MARKS_RESERVE_BYTES - pending;
            assert!(active.fits(pending, most) && !active.fits(pending, most + 1), "behind {pending}");
        }
        let most = free - mark_len(EndBody::BYTES);
        assert!(active.has_room_for_idle(most) && !active.has_room_for_idle(most + 1));
    }

    #[test]
    fn nothing_fits_without_a_segment() {
        let none = ActiveSegment::none(&TAIL);
        assert!(!none.fits(0, 0) && !none.has_room_for_idle(0));
    }

    #[test]
    fn a_segment_is_almost_full_beyond_seven_eighths() {
        let mut active = ActiveSegment::fresh(segment(), SIZE_BYTES, &TAIL);
        let is_almost_full = [SIZE_BYTES / 2, SIZE_BYTES / 8 * 7, SIZE_BYTES / 8 * 7 + 8].map(|offset| {
            active.offset = offset;
            active.is_almost_full()
        });
        assert_eq!(is_almost_full, [false, false, true]);
    }

    #[test]
    fn a_segment_is_half_full_beyond_its_middle() {
        let mut active = ActiveSegment::fresh(segment(), SIZE_BYTES, &TAIL);
        let is_half_full = [4096, SIZE_BYTES / 2, SIZE_BYTES / 2 + 8, SIZE_BYTES].map(|offset| {
            active.offset = offset;
            active.is_half_full()
        });
        assert_eq!(is_half_full, [false, false, true, true]);
    }

    #[test]
    fn a_resumed_segment_is_sealed_as_if_written_without_a_stop() {
        let mut active = ActiveSegment::fresh(segment(), SIZE_BYTES, &TAIL);
        active.tally.add_start(10);
        active.tally.add_numbered(4096, 11, 2, 100);
        active.offset = 4200;
        let mut resumed = ActiveSegment::resume(segment(), SIZE_BYTES, &active.point(&TAIL));
        for own in [&mut active, &mut resumed] {
            own.tally.add_numbered(4200, 12, 1, 110);
            own.offset = 4300;
        }
        assert_eq!(resumed.point(&TAIL), active.point(&TAIL));
        let (SegmentEnd { body, sealed, .. }, resumed) = (active.end(&TAIL), resumed.end(&TAIL));
        assert_eq!((resumed.body, resumed.sealed), (body, sealed));
        assert_eq!((sealed.first_frame, sealed.first_position), (8, 51));
        assert_eq!((sealed.frames, sealed.events, sealed.end), (2, 3, 4300));
        assert_eq!((body.first_recorded_at, body.last_recorded_at), (100, 110));
        assert_eq!(body.checksum, sealed.checksum);
    }
}
