//! The end of a segment, according to the manifest or the next segment.

use super::Listed;
use super::error::RecoverError;
use crate::format::{EndBody, Frame, FrameKind, Sealed, SegmentState, StartBody};
use crate::segment::{ChainPosition, SegmentFile, Stop, Tally, Walker};

/// The certain end of a segment's frames, and their checksum.
#[derive(Debug, Clone, Copy)]
pub(crate) struct SettledEnd {
    pub(crate) offset: u64,
    /// The checksum over the headers of its frames.
    pub(crate) checksum: u32,
}

impl SettledEnd {
    pub(crate) const fn of(sealed: &Sealed) -> Self {
        Self { offset: sealed.end, checksum: sealed.checksum }
    }

    /// Where the frames of a file end, if they are valid but not those of this segment: the file was replaced by one
    /// of another history.
    pub(crate) fn other_history(
        &self,
        walker: &mut Walker<'_>,
    ) -> Result<Option<ChainPosition>, RecoverError> {
        if let Some((bytes, header)) = walker.frame_at(self.offset)?
            && header.kind == FrameKind::End
            && let Ok(frame) = Frame::read(walker.salt(), self.offset, &bytes)
            && let Some(body) = EndBody::decode(frame.command)
        {
            return Ok((body.checksum != self.checksum).then(|| ChainPosition::before(&header)));
        }
        let first = SegmentFile::first_frame_offset();
        let Some((_, header)) = walker.frame_at(first)? else { return Ok(None) };
        let mut chain = ChainPosition::before(&header);
        let mut tally = Tally::begin(walker.salt(), &chain);
        let mut is_own = false;
        let stop = walker.walk(first, u64::MAX, &mut chain, |frame, _, offset| {
            tally.add(&frame.header, offset);
            let ends_here = offset + frame.header.length as u64 == self.offset;
            is_own |= ends_here && tally.body().checksum == self.checksum;
        })?;
        let (Stop::End { offset } | Stop::NoFrame { offset }) = stop;
        // Frames that stop before the settled end mean damage.
        let is_damaged = offset < self.offset && matches!(stop, Stop::NoFrame { .. });
        Ok((!is_own && !is_damaged).then_some(chain))
    }
}

/// The certain end of a segment's frames, from the manifest or from the next segment's START.
pub(crate) fn settled_end(own: &Listed, next: Option<&Listed>) -> Result<Option<SettledEnd>, RecoverError> {
    if let SegmentState::Sealed(sealed) = &own.entry.state {
        return Ok(Some(SettledEnd::of(sealed)));
    }
    let Some(segment) = next.and_then(|next| next.segment.as_ref()) else { return Ok(None) };
    let mut walker = Walker::new(segment)?;
    let Some((bytes, header)) = walker.frame_at(SegmentFile::first_frame_offset())? else { return Ok(None) };
    let start = (header.kind == FrameKind::Start)
        .then(|| Frame::read(&segment.salt, SegmentFile::first_frame_offset(), &bytes).ok())
        .flatten()
        .and_then(|frame| StartBody::decode(frame.command));
    let start = start.filter(|start| start.previous_segment == own.entry.header.id);
    Ok(start.map(|start| SettledEnd { offset: start.previous_end, checksum: start.previous_checksum }))
}
