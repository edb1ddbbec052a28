//! Checks that a segment still holds a frame that a run names.

use bytes::Bytes;
use gesta_core::EventBytes;

use super::error::{RecoverError, io_error};
use crate::bugs::{Bug, planted};
use crate::format::{FRAME_HEADER_BYTES, Frame, FrameHeader, FrameKind, FrameName, RECORD_HEADER_BYTES};
use crate::segment::{ChainPosition, SegmentFile, Stop, Walker};

/// The content of the place where a named frame was written.
pub(super) enum Standing {
    /// The named frame.
    There,
    /// No valid frame. The valid frames of the segment end in a hole before it.
    Missing(Hole),
    /// Another frame: the segment belongs to another history of the log.
    Other,
}

/// Where the valid frames at the beginning of a segment end.
pub(super) struct Hole {
    pub(super) offset: u64,
    /// The place in the chain that the next frame must continue; `None` if the segment has no valid first frame.
    pub(super) chain: Option<ChainPosition>,
    /// The position of the first event in the last batch before the hole, and that event.
    pub(super) last_event: Option<(u64, EventBytes)>,
}

/// Looks for a frame at an offset. Reads that frame, and the segment up to there only if the frame is not found.
pub(super) fn standing(
    segment: &SegmentFile,
    offset: u64,
    name: FrameName,
) -> Result<Standing, RecoverError> {
    let header = read_up_to(segment, offset, FRAME_HEADER_BYTES)?;
    match FrameHeader::read(&segment.salt, offset, &header) {
        Ok(header) if (header.number, header.checksum) == (name.number, name.checksum) => {
            let frame = read_up_to(segment, offset, header.length)?;
            match Frame::read(&segment.salt, offset, &frame) {
                Ok(_) => Ok(Standing::There),
                Err(_) => look_before(segment, offset),
            }
        }
        _ if planted(Bug::ForeignRunBelieved) => Ok(Standing::There),
        Ok(_) => Ok(Standing::Other),
        Err(_) => look_before(segment, offset),
    }
}

/// Reads bytes of a segment. Bytes after the end of its file are zeros.
fn read_up_to(segment: &SegmentFile, offset: u64, len: usize) -> Result<Vec<u8>, RecoverError> {
    let mut bytes = vec![0; len];
    let read = segment.file.read_at(&mut bytes, offset);
    let read = read.map_err(io_error(format!("reading segment {}", segment.id)))?;
    bytes[read..].fill(0);
    Ok(bytes)
}

/// Distinguishes a hole from another history, whose frames begin and end elsewhere.
fn look_before(segment: &SegmentFile, offset: u64) -> Result<Standing, RecoverError> {
    let mut walker = Walker::new(segment)?;
    let first = SegmentFile::first_frame_offset();
    let Some((_, header)) = walker.frame_at(first)? else {
        return Ok(Standing::Missing(Hole { offset: first, chain: None, last_event: None }));
    };
    let (mut chain, mut last_event) = (ChainPosition::before(&header), None);
    let stop = walker.walk(first, u64::MAX, &mut chain, |frame, bytes, _| {
        if frame.header.kind == FrameKind::Events {
            last_event = first_event(frame, bytes);
        }
    })?;
    Ok(match stop {
        Stop::NoFrame { offset: stop } if stop <= offset => {
            Standing::Missing(Hole { offset: stop, chain: Some(chain), last_event })
        }
        // Valid frames extend across the offset, or END comes before it.
        Stop::NoFrame { .. } | Stop::End { .. } => Standing::Other,
    })
}

fn first_event(frame: &Frame<'_>, bytes: &Bytes) -> Option<(u64, EventBytes)> {
    let record = frame.records().next()?;
    let at = record.as_ptr() as usize - bytes.as_ptr() as usize;
    let event = EventBytes::parse(bytes.slice(at + RECORD_HEADER_BYTES..at + record.len())).ok()?;
    Some((frame.header.position, event))
}
