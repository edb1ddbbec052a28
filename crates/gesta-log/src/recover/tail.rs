//! The tail step: what of the last segment that is used was acknowledged, and what a crash left behind.

use super::{Listed, RecoverError};
use crate::format::{EndBody, FrameHeader, FrameKind, StartBody};
use crate::manifest::{Manifest, SegmentState};
use crate::segment::SegmentFile;
use crate::walk::{Follow, Stop, Walker};

const SECTOR_BYTES: u64 = 512;

/// What stands where the valid frames of the last segment end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum TailState {
    /// An END frame, or the end that the manifest knows.
    Sealed,
    /// Zeros, to the end of the file.
    Clean,
    /// A torn write that nobody was told of, up to that offset.
    Torn { to: u64 },
    /// Bytes that may have been acknowledged or not.
    Unproven,
    /// Bytes that were acknowledged.
    Corrupt,
}

/// One valid frame of the last segment.
#[derive(Debug, Clone, Copy)]
pub(crate) struct FrameAt {
    pub(crate) offset: u64,
    pub(crate) header: FrameHeader,
}

/// The last segment that is used, looked at and not changed.
pub(crate) struct TailSurvey {
    /// Its place in the list; later ones are unused. `None` if no segment is used.
    pub(crate) at: Option<usize>,
    /// Its valid frames, in order.
    pub(crate) frames: Vec<FrameAt>,
    pub(crate) start: Option<StartBody>,
    /// Where they end.
    pub(crate) stop: u64,
    pub(crate) state: TailState,
    /// Every frame up to this one was synced.
    pub(crate) watermark: u64,
    /// Unused segments that do not hold only zeros: a torn first write.
    pub(crate) unclean_spares: Vec<usize>,
}

/// Looks at the last segment that is used.
pub(crate) fn survey_tail(manifest: &Manifest, listed: &[Listed]) -> Result<TailSurvey, RecoverError> {
    let mut survey = TailSurvey {
        at: None,
        frames: Vec::new(),
        start: None,
        stop: 0,
        state: TailState::Clean,
        watermark: manifest.durable_frame,
        unclean_spares: Vec::new(),
    };
    for (at, own) in listed.iter().enumerate().rev() {
        let Some(segment) = &own.segment else { continue };
        let mut walker = Walker::new(segment)?;
        let sealed = matches!(own.entry.state, SegmentState::Sealed(_));
        if sealed || walker.next_header(SegmentFile::first_frame_offset())?.is_some() {
            survey.at = Some(at);
            survey.look_at(&own.entry.state, &mut walker)?;
            break;
        }
        survey.look_at_unused(at, &mut walker)?;
    }
    Ok(survey)
}

impl TailSurvey {
    fn look_at_unused(&mut self, at: usize, walker: &mut Walker<'_>) -> Result<(), RecoverError> {
        let from = SegmentFile::first_frame_offset();
        let to = walker.last_nonzero(from)?;
        if to > from {
            self.unclean_spares.push(at);
            if !is_torn(walker, from, to)? {
                self.state = TailState::Unproven;
            }
        }
        Ok(())
    }

    fn look_at(&mut self, state: &SegmentState, walker: &mut Walker<'_>) -> Result<(), RecoverError> {
        let first = SegmentFile::first_frame_offset();
        let limit = match state {
            SegmentState::Sealed(sealed) => sealed.end,
            _ => u64::MAX,
        };
        let mut follow = match walker.frame_at(first)? {
            Some((_, header)) => Follow::before(&header),
            None => Follow::START,
        };
        let frames = &mut self.frames;
        let start = &mut self.start;
        let stop = walker.walk(first, limit, &mut follow, |frame, _, offset| {
            match frame.header.kind {
                FrameKind::Start => *start = StartBody::decode(frame.command),
                FrameKind::End => assert!(EndBody::decode(frame.command).is_some(), "END has its body"),
                FrameKind::Events | FrameKind::Idle => {}
            }
            frames.push(FrameAt { offset, header: frame.header });
        })?;
        let durable = self.frames.iter().map(|frame| frame.header.durable).max().unwrap_or(0);
        self.watermark = self.watermark.max(durable);
        match stop {
            Stop::End { offset } => {
                self.frames.pop();
                (self.stop, self.state) = (offset, TailState::Sealed);
            }
            Stop::NoFrame { offset } if offset == limit => {
                (self.stop, self.state) = (offset, TailState::Sealed)
            }
            Stop::NoFrame { offset } => {
                self.stop = offset;
                let judged = self.judge(walker, offset, follow.number + 1)?;
                // What an unused segment has left in doubt stays in doubt.
                if self.state != TailState::Unproven || judged == TailState::Corrupt {
                    self.state = judged;
                }
            }
        }
        Ok(())
    }

    /// Judges the first place where no valid frame stands, in the order that is the rule.
    fn judge(
        &mut self,
        walker: &mut Walker<'_>,
        offset: u64,
        expected: u64,
    ) -> Result<TailState, RecoverError> {
        let mut from = offset;
        while let Some((at, header)) = walker.next_header(from)? {
            self.watermark = self.watermark.max(header.durable);
            from = at + header.length as u64;
        }
        if expected <= self.watermark {
            return Ok(TailState::Corrupt);
        }
        let to = walker.last_nonzero(offset)?;
        if to == offset {
            return Ok(TailState::Clean);
        }
        Ok(if is_torn(walker, offset, to)? { TailState::Torn { to } } else { TailState::Unproven })
    }

    /// The frames that are not known to be synced.
    pub(crate) fn beyond_watermark(&self) -> &[FrameAt] {
        let known = self
            .frames
            .iter()
            .take_while(|frame| !frame.header.kind.is_numbered() || frame.header.number <= self.watermark);
        &self.frames[known.count()..]
    }
}

/// Whether the frame at an offset has the shape of a torn write: some sector's part inside it is all zero. Without a valid
/// header it is taken to reach to the next valid one, else to the last byte that is not zero.
fn is_torn(walker: &mut Walker<'_>, offset: u64, last_nonzero: u64) -> Result<bool, RecoverError> {
    let end = match walker.next_header(offset)? {
        Some((at, header)) if at == offset => at + header.length as u64,
        Some((at, _)) => at,
        None => last_nonzero,
    };
    let end = end.min(walker.file_len());
    let mut at = offset;
    while at < end {
        let sector_end = (at / SECTOR_BYTES + 1) * SECTOR_BYTES;
        let part = walker.bytes(at, usize::try_from(sector_end.min(end) - at).expect("a sector"))?;
        if part.iter().all(|byte| *byte == 0) {
            return Ok(true);
        }
        at = sector_end;
    }
    Ok(false)
}
