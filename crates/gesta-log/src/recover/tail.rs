//! The tail step: decides which part of the last used segment was acknowledged, and what a crash left after it.

#[cfg(test)]
#[cfg(feature = "sim")]
mod tests;

use super::Listed;
use super::error::RecoverError;
use super::standing::{Standing, standing};
use super::unlisted::UnlistedEnd;
use crate::bugs::{Bug, planted};
use crate::format::{FRAME_HEADER_BYTES, FrameHeader, FrameName, Manifest, SegmentState};
use crate::segment::{ChainPosition, LogPoint, SegmentFile, Stop, Walker};

const SECTOR_BYTES: u64 = 512;

/// The content of the last used segment after its valid frames.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum TailState {
    /// An END frame, or the end that the manifest lists.
    Sealed,
    /// Zeros, to the end of the file.
    Clean,
    /// A torn write up to that offset, which was never acknowledged.
    Torn { to: u64 },
    /// Bytes that may have been acknowledged or not.
    Unproven,
    /// Acknowledged bytes that are damaged or missing.
    Corrupt,
}

/// One valid frame of the last segment.
#[derive(Debug, Clone, Copy)]
pub(crate) struct FrameAt {
    pub(crate) offset: u64,
    pub(crate) header: FrameHeader,
}

/// The result of reading the last used segment. Nothing is changed.
pub(crate) struct TailSurvey {
    /// Its place in the list; later segments are unused. `None` if no segment is used.
    pub(crate) at: Option<usize>,
    /// Where the survey began: at the segment's first frame, or after everything that is known to be synced and
    /// indexed.
    pub(crate) from: LogPoint,
    /// Its valid frames from there on, in order.
    pub(crate) frames: Vec<FrameAt>,
    /// Where they end.
    pub(crate) stop: u64,
    pub(crate) state: TailState,
    /// Every frame up to this one was synced.
    pub(crate) watermark: u64,
    /// Unused segments that hold a torn first write, and the end of that write.
    pub(crate) torn_spares: Vec<(usize, u64)>,
    /// True if an unused segment holds bytes that are neither zeros nor torn.
    pub(crate) unproven_spare: bool,
    /// The last event in segments that the manifest does not list.
    pub(crate) unlisted: Option<UnlistedEnd>,
    /// A segment that belongs to another history of the log: one of its frames contradicts the manifest or a run.
    pub(crate) other_history: Option<OtherHistory>,
}

/// A segment of another history of the log, for example from a copy of the folder that was written to separately.
#[derive(Debug, Clone, Copy)]
pub(crate) struct OtherHistory {
    /// Its place in the list.
    pub(crate) at: usize,
    /// Where its frames end.
    pub(crate) end: ChainPosition,
}

/// Reads the last used segment, from `known` on. Everything before that is known to be synced.
pub(crate) fn survey_tail(
    manifest: &Manifest,
    listed: &[Listed],
    known: &LogPoint,
) -> Result<TailSurvey, RecoverError> {
    let mut survey = TailSurvey {
        at: None,
        from: *known,
        frames: Vec::new(),
        stop: 0,
        state: TailState::Clean,
        watermark: manifest.proven_frame().max(known.chain.number),
        torn_spares: Vec::new(),
        unproven_spare: false,
        unlisted: None,
        other_history: None,
    };
    for (at, own) in listed.iter().enumerate().rev() {
        let Some(segment) = &own.segment else { continue };
        let mut walker = Walker::new(segment)?;
        let sealed = matches!(own.entry.state, SegmentState::Sealed(_));
        let is_later = |own: &Listed| !matches!(own.entry.state, SegmentState::Sealed(_));
        if planted(Bug::LaterSegmentsIgnored) && listed[..at].iter().any(is_later) {
            continue;
        }
        if sealed || walker.next_header(SegmentFile::first_frame_offset())?.is_some() {
            survey.at = Some(at);
            let last_before = last_frame_before(&listed[..at])?;
            survey.look_at(&own.entry.state, &mut walker, last_before)?;
            break;
        }
        survey.look_at_unused(at, &mut walker)?;
    }
    survey.hold_against(manifest, listed, known)?;
    Ok(survey)
}

impl TailSurvey {
    /// Compares the survey with what the manifest and the runs prove. A log that ends earlier has lost events, and a
    /// log with other frames has another history. Neither is changed.
    fn hold_against(
        &mut self,
        manifest: &Manifest,
        listed: &[Listed],
        known: &LogPoint,
    ) -> Result<(), RecoverError> {
        let begin = listed.iter().position(|own| own.entry.header.id == known.segment);
        let mut is_lost = false;
        if let Some(at) = begin
            && let Some(segment) = &listed[at].segment
        {
            let name = FrameName { number: known.chain.number, checksum: known.chain.checksum };
            match standing(segment, known.last_frame, name)? {
                Standing::There => {}
                Standing::Missing(_) => is_lost = true,
                Standing::Other => {
                    let end = walk_all(segment, None, |_| {})?;
                    self.other_history = Some(OtherHistory { at, end });
                }
            }
        } else {
            is_lost = begin.is_some();
        }
        if self.other_history.is_none() {
            self.other_history = self.find_contradicted(manifest, listed, (begin.unwrap_or(0), known))?;
        }
        let ends_early = self.end().number < self.watermark && !planted(Bug::AlwaysTruncate);
        if is_lost || ends_early || self.other_history.is_some() {
            self.state = TailState::Corrupt;
        }
        Ok(())
    }

    /// The first segment, from `begin` on, with a frame that contradicts the manifest. Sealed segments are compared
    /// with the manifest when they are loaded.
    fn find_contradicted(
        &self,
        manifest: &Manifest,
        listed: &[Listed],
        (begin, known): (usize, &LogPoint),
    ) -> Result<Option<OtherHistory>, RecoverError> {
        let is_other = |frame: &FrameHeader| {
            let name = FrameName { number: frame.number, checksum: frame.checksum };
            frame.kind.is_numbered() && manifest.contradicts(name)
        };
        let used = self.at.map_or(0, |at| at + 1);
        for (at, own) in listed.iter().enumerate().take(used).skip(begin) {
            let (Some(segment), SegmentState::Spare | SegmentState::Active) =
                (&own.segment, &own.entry.state)
            else {
                continue;
            };
            let (found, end) = if self.at == Some(at) {
                (self.frames.iter().any(|frame| is_other(&frame.header)), self.end())
            } else {
                let mut found = false;
                let from = (segment.id == known.segment).then_some(known);
                let end = walk_all(segment, from, |header| found |= is_other(header))?;
                (found, end)
            };
            if found {
                return Ok(Some(OtherHistory { at, end }));
            }
        }
        Ok(None)
    }

    /// The place in the chain that the next frame must continue.
    pub(crate) fn end(&self) -> ChainPosition {
        let mut end = self.from.chain;
        self.frames.iter().for_each(|frame| end.pass(&frame.header));
        end
    }

    fn look_at_unused(&mut self, at: usize, walker: &mut Walker<'_>) -> Result<(), RecoverError> {
        let from = SegmentFile::first_frame_offset();
        let to = walker.last_nonzero(from)?;
        if to > from {
            if is_torn(walker, from, to)? {
                self.torn_spares.push((at, to));
            } else {
                self.unproven_spare = true;
            }
        }
        Ok(())
    }

    fn look_at(
        &mut self,
        state: &SegmentState,
        walker: &mut Walker<'_>,
        last_before: u64,
    ) -> Result<(), RecoverError> {
        let limit = match state {
            SegmentState::Sealed(sealed) => sealed.end,
            _ => u64::MAX,
        };
        if self.from.segment != walker.segment_id() {
            self.from = first_point(walker, last_before)?;
        }
        let mut chain = self.from.chain;
        let frames = &mut self.frames;
        let stop = walker.walk(self.from.offset, limit, &mut chain, |frame, _, offset| {
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
                self.state = self.judge(walker, offset, chain.number + 1)?;
            }
        }
        Ok(())
    }

    /// Judges the first place without a valid frame. The order of the checks is the rule.
    fn judge(
        &mut self,
        walker: &mut Walker<'_>,
        offset: u64,
        expected: u64,
    ) -> Result<TailState, RecoverError> {
        let mut from = offset;
        while let Some((at, header)) = walker.next_header(from)?
            && !planted(Bug::WatermarkBehindIgnored)
        {
            self.watermark = self.watermark.max(header.durable);
            from = at + header.length as u64;
        }
        if expected <= self.watermark && !planted(Bug::AlwaysTruncate) {
            return Ok(TailState::Corrupt);
        }
        let to = walker.last_nonzero(offset)?;
        if to == offset {
            return Ok(TailState::Clean);
        }
        let cuts = planted(Bug::AlwaysTruncate) || planted(Bug::UnprovenIsTorn);
        let is_torn = cuts || is_torn(walker, offset, to)?;
        Ok(if is_torn { TailState::Torn { to } } else { TailState::Unproven })
    }

    /// Whether the survey found a torn write, here or in an unused segment.
    pub(crate) fn is_torn(&self) -> bool {
        matches!(self.state, TailState::Torn { .. }) || !self.torn_spares.is_empty()
    }

    /// Whether the segment has any frame.
    pub(crate) fn holds_frames(&self) -> bool {
        !self.frames.is_empty() || self.from.offset > SegmentFile::first_frame_offset()
    }

    /// Leaves out frames that are not known to be synced, for a log that cannot be written to.
    pub(crate) fn clip_to_watermark(&mut self) {
        let beyond = self.beyond_watermark().len();
        if beyond > 0 {
            let kept = self.frames.len() - beyond;
            self.stop = self.frames[kept].offset;
            self.frames.truncate(kept);
        }
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

/// Visits the headers of a segment's frames, from its first frame or from a place on. Returns the place in the chain
/// that the next frame must continue.
fn walk_all(
    segment: &SegmentFile,
    from: Option<&LogPoint>,
    mut visit: impl FnMut(&FrameHeader),
) -> Result<ChainPosition, RecoverError> {
    let mut walker = Walker::new(segment)?;
    let first = SegmentFile::first_frame_offset();
    let (offset, mut chain) = match from {
        Some(from) => (from.offset, from.chain),
        None => (
            first,
            walker
                .frame_at(first)?
                .map_or(ChainPosition::START, |(_, header)| ChainPosition::before(&header)),
        ),
    };
    walker.walk(offset, u64::MAX, &mut chain, |frame, _, _| visit(&frame.header))?;
    Ok(chain)
}

/// The beginning of a segment's frames.
fn first_point(walker: &mut Walker<'_>, last_before: u64) -> Result<LogPoint, RecoverError> {
    let offset = SegmentFile::first_frame_offset();
    let chain = match walker.frame_at(offset)? {
        Some((_, header)) => ChainPosition::before(&header),
        None => ChainPosition { number: last_before, ..ChainPosition::START },
    };
    Ok(LogPoint::begin(walker.segment_id(), walker.salt(), &chain))
}

/// The last numbered frame in these segments.
fn last_frame_before(listed: &[Listed]) -> Result<u64, RecoverError> {
    for own in listed.iter().rev() {
        if let SegmentState::Sealed(sealed) = &own.entry.state {
            return Ok(sealed.first_frame + sealed.frames - 1);
        }
        let Some(segment) = &own.segment else { continue };
        let mut walker = Walker::new(segment)?;
        let first = SegmentFile::first_frame_offset();
        if let Some((_, header)) = walker.frame_at(first)? {
            let mut chain = ChainPosition::before(&header);
            walker.walk(first, u64::MAX, &mut chain, |_, _, _| {})?;
            return Ok(chain.number);
        }
    }
    Ok(0)
}

/// Whether the frame at an offset has the shape of a torn write: in some sector, the frame's part is all zeros. A
/// frame without a valid header reaches to the next valid header, else to the last byte that is not zero.
fn is_torn(walker: &mut Walker<'_>, offset: u64, last_nonzero: u64) -> Result<bool, RecoverError> {
    let end = match walker.next_header(offset)? {
        Some((at, header)) if at == offset => at + header.length as u64,
        Some((at, _)) => at,
        // A torn header may end in zeros, but it has the length of a header.
        None if planted(Bug::TornHeaderUnproven) => last_nonzero,
        None => last_nonzero.max(offset + FRAME_HEADER_BYTES as u64),
    };
    // Bytes after the end of the file count as zeros: its length may not have been durable either.
    let end = if planted(Bug::CutFileUnproven) { end.min(walker.file_len()) } else { end };
    if end > walker.file_len() {
        return Ok(true);
    }
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
