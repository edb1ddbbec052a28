//! Finds the frames of a segment in its bytes as `docs/format.md` describes them, independently of the log's code.

use crate::harm::HEADER_BYTES;

pub(crate) const FRAME_HEADER_BYTES: usize = 64;

/// The fields of a frame's header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct FramePlace {
    pub(crate) offset: usize,
    pub(crate) len: usize,
    pub(crate) padding: usize,
    pub(crate) events: u64,
    /// Position of its first event.
    pub(crate) position: u64,
    pub(crate) number: u64,
    /// Watermark: every frame up to this number was synced before this frame was written.
    pub(crate) durable: u64,
}

impl FramePlace {
    /// True if the frame's checksums cover the byte at `at` of the segment.
    pub(crate) const fn proves(&self, at: usize) -> bool {
        self.offset <= at && at < self.offset + self.len - self.padding
    }

    /// The position of the last event up to the end of this frame; 0 if there is none.
    pub(crate) const fn last_position(&self) -> u64 {
        self.position + self.events - 1
    }

    pub(crate) const fn holds(&self, at: usize) -> bool {
        self.offset <= at && at < self.offset + self.len
    }
}

/// The frames of an intact segment.
pub(crate) fn frames(segment: &[u8]) -> Vec<FramePlace> {
    let mut frames = Vec::new();
    let mut offset = HEADER_BYTES;
    while let Some(header) =
        segment.get(offset..offset + FRAME_HEADER_BYTES).filter(|header| header.starts_with(b"GFRM"))
    {
        let u32_at = |at: usize| u32::from_le_bytes(header[at..at + 4].try_into().expect("4 bytes"));
        let u64_at = |at: usize| u64::from_le_bytes(header[at..at + 8].try_into().expect("8 bytes"));
        let [number, position, durable] = [16, 24, 32].map(u64_at);
        let len = usize::try_from(u32_at(8)).expect("small");
        let (events, padding) = (u64::from(u32_at(12)), usize::from(header[61]));
        frames.push(FramePlace { offset, len, padding, events, position, number, durable });
        offset += len;
    }
    frames
}
