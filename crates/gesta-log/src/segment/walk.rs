//! Walks over the frames of a segment. Each frame is verified, and must follow the previous one exactly.

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;

use super::file::SegmentFile;
use crate::bugs::{Bug, planted};
use crate::format::{
    DurableMark, FRAME_ALIGNMENT, FRAME_HEADER_BYTES, Frame, FrameError, FrameHeader, FrameKind, Salt,
};

/// Bytes read ahead while walking.
const WINDOW_BYTES: usize = 4 << 20;
/// Bytes of readahead while zeros are skipped.
const AHEAD_BYTES: u64 = 64 << 20;

/// The state that the next frame must follow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ChainPosition {
    /// The last numbered frame, and the checksum of its header.
    pub(crate) number: u64,
    pub(crate) checksum: u32,
    /// The position of the last event, and the time at which it was recorded.
    pub(crate) position: u64,
    pub(crate) recorded_at: i64,
}

impl ChainPosition {
    /// Before the first frame of a log.
    pub(crate) const START: Self = Self { number: 0, checksum: 0, position: 0, recorded_at: i64::MIN };

    /// True if the frame with this header comes next.
    pub(crate) fn accepts(&self, header: &FrameHeader) -> bool {
        let number = self.number + header.kind.is_numbered() as u64;
        header.number == number
            && (header.previous == self.checksum || planted(Bug::NoChainCheck))
            && header.position == self.position + 1
            && header.recorded_at >= self.recorded_at
    }

    /// The state before a frame, taken from its header.
    pub(crate) const fn before(header: &FrameHeader) -> Self {
        Self {
            number: header.number.saturating_sub(header.kind.is_numbered() as u64),
            checksum: header.previous,
            position: header.position.saturating_sub(1),
            recorded_at: i64::MIN,
        }
    }

    /// Moves past a numbered frame that follows, with that checksum of its header.
    pub(crate) const fn advance(&mut self, header: u32, events: u64, recorded_at: i64) {
        self.number += 1;
        self.checksum = header;
        self.position += events;
        self.recorded_at = recorded_at;
    }

    /// Moves past a frame.
    pub(crate) const fn pass(&mut self, header: &FrameHeader) {
        if header.kind.is_numbered() {
            self.number = header.number;
            self.checksum = header.checksum;
        }
        self.position = header.next_position() - 1;
        self.recorded_at = header.recorded_at;
    }
}

/// Where a walk ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stop {
    /// After an END frame, which begins at this offset.
    End { offset: u64 },
    /// No valid frame follows at this offset.
    NoFrame { offset: u64 },
}

/// Why a walk could not go on.
#[derive(Debug, thiserror::Error)]
pub(crate) enum WalkError {
    #[error("reading segment {segment} failed")]
    Io { segment: u64, source: io::Error },
    #[error("segment {segment} needs a newer version of this program to read it from offset {offset} on")]
    Newer { segment: u64, offset: u64 },
}

impl WalkError {
    /// The system's error, or one that asks for a newer version.
    pub(crate) fn into_io(self) -> io::Error {
        match self {
            Self::Io { source, .. } => source,
            newer @ Self::Newer { .. } => io::Error::other(newer),
        }
    }
}

/// A segment's file, read in large pieces.
pub(crate) struct Walker<'a> {
    segment: &'a SegmentFile,
    len: u64,
    window: Bytes,
    window_at: u64,
    /// The offset at which the zeros at the end of the file begin; `None` until it is needed.
    content_end: Option<u64>,
    /// Ends the walk with an interrupted read.
    stop: Option<&'a AtomicBool>,
}

impl<'a> Walker<'a> {
    pub(crate) fn new(segment: &'a SegmentFile) -> Result<Self, WalkError> {
        let len = segment.file.len().map_err(|source| WalkError::Io { segment: segment.id, source })?;
        Ok(Self { segment, len, window: Bytes::new(), window_at: 0, content_end: None, stop: None })
    }

    /// Ends with [`io::ErrorKind::Interrupted`] before the next read, once `stop` is set.
    pub(crate) fn stopped_by(self, stop: Option<&'a AtomicBool>) -> Self {
        Self { stop, ..self }
    }

    pub(crate) const fn file_len(&self) -> u64 {
        self.len
    }

    pub(crate) const fn segment_id(&self) -> u64 {
        self.segment.id
    }

    pub(crate) const fn salt(&self) -> &Salt {
        &self.segment.salt
    }

    /// Passes every frame from `from` on, up to `limit` or the first place without a valid next frame.
    pub(crate) fn walk(
        &mut self,
        from: u64,
        limit: u64,
        chain: &mut ChainPosition,
        mut visit: impl FnMut(&Frame<'_>, &Bytes, u64),
    ) -> Result<Stop, WalkError> {
        let mut offset = from;
        while offset < limit {
            let Some((bytes, header)) = self.frame_at(offset)? else { break };
            if !chain.accepts(&header) {
                break;
            }
            let Ok(frame) = Frame::read(self.salt(), offset, &bytes) else { break };
            visit(&frame, &bytes, offset);
            chain.pass(&header);
            if header.kind == FrameKind::End {
                return Ok(Stop::End { offset });
            }
            offset += header.length as u64;
        }
        Ok(Stop::NoFrame { offset })
    }

    /// The bytes of the frame at that offset, if its header is valid and the file holds all of it.
    pub(crate) fn frame_at(&mut self, offset: u64) -> Result<Option<(Bytes, FrameHeader)>, WalkError> {
        let Some(header) = self.header_at(offset)? else { return Ok(None) };
        let bytes = self.bytes(offset, header.length)?;
        Ok((bytes.len() == header.length).then_some((bytes, header)))
    }

    /// True if the frame at that offset is valid, header and body, regardless of the frame it follows.
    pub(crate) fn is_whole(&mut self, offset: u64) -> Result<bool, WalkError> {
        let frame = self.frame_at(offset)?;
        Ok(frame.is_some_and(|(bytes, _)| Frame::read(self.salt(), offset, &bytes).is_ok()))
    }

    fn header_at(&mut self, offset: u64) -> Result<Option<FrameHeader>, WalkError> {
        let bytes = self.bytes(offset, FRAME_HEADER_BYTES)?;
        match FrameHeader::read(self.salt(), offset, &bytes) {
            Ok(header) => Ok(Some(header)),
            Err(FrameError::Unknown) => Err(WalkError::Newer { segment: self.segment.id, offset }),
            Err(_) => Ok(None),
        }
    }

    /// The next valid header at that offset or later. Frames begin at multiples of eight.
    pub(crate) fn next_header(&mut self, from: u64) -> Result<Option<(u64, FrameHeader)>, WalkError> {
        let mut offset = from.next_multiple_of(FRAME_ALIGNMENT as u64);
        // A segment that is not full ends in zeros, sometimes most of it. They are found once and skipped.
        let end = self.content_end()?;
        while offset < end && offset + FRAME_HEADER_BYTES as u64 <= self.len {
            let piece = self.rest_of_window(offset)?;
            let candidates = piece.chunks_exact(FRAME_ALIGNMENT).enumerate();
            let mut magics = candidates.filter(|(_, chunk)| chunk[..4] == *b"GFRM").map(|(at, _)| at);
            let Some(at) = magics.next() else {
                // The rest is shorter than a header, or has none; the next window begins with it.
                offset += (piece.len() - piece.len() % FRAME_ALIGNMENT).max(FRAME_ALIGNMENT) as u64;
                continue;
            };
            offset += (at * FRAME_ALIGNMENT) as u64;
            if let Some(header) = self.header_at(offset)? {
                return Ok(Some((offset, header)));
            }
            offset += FRAME_ALIGNMENT as u64;
        }
        Ok(None)
    }

    /// The bytes in memory from an offset on: at least a header, or a whole window if none were in memory. Fewer at
    /// the end of the file.
    fn rest_of_window(&mut self, offset: u64) -> Result<Bytes, WalkError> {
        self.bytes(offset, FRAME_HEADER_BYTES)?;
        let at = usize::try_from(offset - self.window_at).expect("within the window");
        Ok(self.window.slice(at.min(self.window.len())..))
    }

    /// The offset after the last byte that is not zero; at least `from`.
    pub(crate) fn last_nonzero(&mut self, from: u64) -> Result<u64, WalkError> {
        Ok(self.content_end()?.max(from))
    }

    /// The offset at which the zeros at the end of the file begin. Searched from the end, in large pieces.
    fn content_end(&mut self) -> Result<u64, WalkError> {
        if let Some(end) = self.content_end {
            return Ok(end);
        }
        // Zeroing a whole window would cost more than reading a small file.
        let mut buffer = vec![0; usize::try_from(self.len).map_or(WINDOW_BYTES, |len| len.min(WINDOW_BYTES))];
        let mut end = self.len;
        let mut hinted = end;
        while end > 0 {
            let from = end.saturating_sub(WINDOW_BYTES as u64);
            if from < hinted && end < self.len {
                // Only after the first piece: by now the file is known to end in zeros.
                let ahead = from.saturating_sub(AHEAD_BYTES);
                self.segment.file.will_read(ahead, from - ahead);
                hinted = ahead;
            }
            let piece = &mut buffer[..usize::try_from(end - from).expect("a window")];
            let read = self.segment.file.read_at(piece, from);
            let read = read.map_err(|source| WalkError::Io { segment: self.segment.id, source })?;
            if let Some(at) = last_nonzero(&piece[..read]) {
                end = from + at as u64 + 1;
                break;
            }
            end = from;
        }
        self.content_end = Some(end);
        Ok(end)
    }

    /// The first byte that is not zero at that offset or later; the end of the file if there is none.
    pub(crate) fn first_nonzero(&mut self, from: u64) -> Result<u64, WalkError> {
        let mut offset = from;
        while offset < self.len {
            let piece = self.bytes(offset, WINDOW_BYTES)?;
            if let Some(at) = piece.iter().position(|byte| *byte != 0) {
                return Ok(offset + at as u64);
            }
            offset += piece.len() as u64;
        }
        Ok(self.len)
    }

    /// Up to `len` bytes from an offset on; fewer at the end of the file.
    pub(crate) fn bytes(&mut self, offset: u64, len: usize) -> Result<Bytes, WalkError> {
        let len =
            usize::try_from((self.len.saturating_sub(offset)).min(len as u64)).expect("at most a usize");
        let window_end = self.window_at + self.window.len() as u64;
        if offset < self.window_at || offset + len as u64 > window_end {
            if self.stop.is_some_and(|stop| stop.load(Ordering::Relaxed)) {
                let source = io::ErrorKind::Interrupted.into();
                return Err(WalkError::Io { segment: self.segment.id, source });
            }
            let ahead = usize::try_from((self.len - offset.min(self.len)).min(WINDOW_BYTES.max(len) as u64));
            let mut buffer = vec![0; ahead.expect("at most a usize")];
            self.segment.file.will_read(offset + buffer.len() as u64, WINDOW_BYTES as u64);
            let read = self.segment.file.read_at(&mut buffer, offset);
            let read = read.map_err(|source| WalkError::Io { segment: self.segment.id, source })?;
            buffer.truncate(read);
            (self.window, self.window_at) = (buffer.into(), offset);
        }
        let at = usize::try_from(offset - self.window_at).expect("within the window");
        let end = (at + len).min(self.window.len());
        Ok(self.window.slice(at.min(end)..end))
    }
}

/// The index of the last byte that is not zero.
fn last_nonzero(bytes: &[u8]) -> Option<usize> {
    const ZEROS: [u8; 4096] = [0; 4096];
    let zeros = bytes.rchunks(ZEROS.len()).take_while(|chunk| **chunk == ZEROS[..chunk.len()]).count();
    let rest = &bytes[..bytes.len().saturating_sub(zeros * ZEROS.len())];
    rest.iter().rposition(|byte| *byte != 0)
}

impl DurableMark {
    /// The mark of a log whose frames up to there are synced.
    pub(crate) const fn of(chain: &ChainPosition) -> Self {
        Self { number: chain.number, checksum: chain.checksum, position: chain.position }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_byte_that_is_not_zero_is_found() {
        assert_eq!((last_nonzero(&[]), last_nonzero(&[0; 5_000])), (None, None));
        for at in [0, 1, 903, 904, 905, 4_999] {
            let mut bytes = [0; 5_000];
            bytes[at] = 1;
            bytes[at / 2] = 1;
            assert_eq!(last_nonzero(&bytes), Some(at));
        }
    }
}
