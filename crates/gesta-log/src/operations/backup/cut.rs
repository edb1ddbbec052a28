//! The cut of a backup: its segments, and where the last one ends.

use std::io;
use std::sync::Arc;

use super::error::{BackupError, backup_io};
use crate::damage::Damage;
use crate::env::Mode;
use crate::folder::Folder;
use crate::format::{FrameKind, Manifest, Sealed, SegmentEntry, SegmentState, last_frame, last_position};
use crate::segment::{ChainPosition, SegmentEnd, SegmentFile, Tally, Walker};

/// A consistent cut: every event up to a position and none after.
pub(crate) struct Cut {
    pub(crate) position: u64,
    pub(crate) frame: u64,
    /// In the order of the log.
    pub(crate) segments: Vec<CutSegment>,
}

/// One segment, as the backup holds it.
pub(crate) struct CutSegment {
    pub(crate) entry: SegmentEntry,
    pub(crate) sealed: Sealed,
    /// The END frame of a segment that is cut; `None` for a sealed one, which has its END.
    pub(crate) end: Option<Vec<u8>>,
}

/// Cuts segment by segment.
struct Cutter<'a> {
    source: &'a Folder<'a>,
    /// The position to cut at.
    position: u64,
    /// How far the segments so far go.
    reached: ChainPosition,
    segments: Vec<CutSegment>,
}

impl Cut {
    /// Cuts the log of a manifest after a position. Every segment with an event up to there must be listed.
    pub(crate) fn at(source: &Folder<'_>, manifest: &Manifest, position: u64) -> Result<Self, BackupError> {
        let mut cutter = Cutter { source, position, reached: ChainPosition::START, segments: Vec::new() };
        for entry in &manifest.segments {
            if cutter.reached.position == position {
                break;
            }
            cutter.segment(entry)?;
        }
        let Cutter { reached, segments, .. } = cutter;
        if reached.position != position {
            let segment = manifest.segments.last().map_or(0, |entry| entry.header.id);
            return Err(lost(segment, &reached, position, "no valid frame follows"));
        }
        Ok(Self { position, frame: reached.number, segments })
    }
}

impl Cutter<'_> {
    fn segment(&mut self, entry: &SegmentEntry) -> Result<(), BackupError> {
        match entry.state {
            // A segment that was sealed since the position was read may extend beyond it.
            SegmentState::Sealed(sealed) if last_position(&sealed) <= self.position => {
                self.check_continues(entry, sealed.first_frame - 1, sealed.first_position - 1)?;
                self.reached.number = last_frame(&sealed);
                self.reached.position = last_position(&sealed);
                self.segments.push(CutSegment { entry: entry.clone(), sealed, end: None });
                Ok(())
            }
            _ => self.part(entry),
        }
    }

    /// Walks to the end of the frame that holds the position, or to the end of the segment.
    fn part(&mut self, entry: &SegmentEntry) -> Result<(), BackupError> {
        let id = entry.header.id;
        let segment = match SegmentFile::open(self.source.env, self.source.root, &entry.header, Mode::Read) {
            Ok(segment) => segment,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Err(self.lost(entry, self.position, "the file is missing"));
            }
            Err(error) => return Err(backup_io(format!("opening segment {id}"))(error)),
        };
        let Some(ended) = self.walk(entry, &segment)? else { return Ok(()) };
        let entry = SegmentEntry { state: SegmentState::Sealed(ended.sealed), ..entry.clone() };
        self.segments.push(CutSegment { entry, sealed: ended.sealed, end: Some(ended.frame()) });
        Ok(())
    }

    fn walk(
        &mut self,
        entry: &SegmentEntry,
        segment: &Arc<SegmentFile>,
    ) -> Result<Option<SegmentEnd>, BackupError> {
        let recover_error = || {
            |error: crate::segment::WalkError| BackupError::Open(self.source.recover_error()(error.into()))
        };
        let mut walker = Walker::new(segment).map_err(recover_error())?;
        let first = SegmentFile::first_frame_offset();
        let Some((_, header)) = walker.frame_at(first).map_err(recover_error())? else { return Ok(None) };
        let (mut offset, mut chain) = (first, ChainPosition::before(&header));
        let mut tally = Tally::begin(&segment.salt, &chain);
        while chain.position < self.position {
            let Some((_, header)) = walker.frame_at(offset).map_err(recover_error())? else { break };
            if header.kind == FrameKind::End || !chain.accepts(&header) {
                break;
            }
            if offset == first {
                self.check_continues(entry, chain.number, chain.position)?;
            }
            chain.pass(&header);
            tally.add(&header, offset);
            offset += header.length as u64;
        }
        if offset == first {
            return Ok(None);
        }
        (self.reached.number, self.reached.position) = (chain.number, chain.position);
        Ok(Some(tally.end_at(segment, offset, &chain)))
    }

    /// Checks that a segment whose first frame and position these are continues the segments so far.
    fn check_continues(&self, entry: &SegmentEntry, number: u64, position: u64) -> Result<(), BackupError> {
        if (number, position) == (self.reached.number, self.reached.position) {
            return Ok(());
        }
        Err(self.lost(entry, position, "it does not continue the segment before it"))
    }

    fn lost(&self, entry: &SegmentEntry, to: u64, what: &str) -> BackupError {
        lost(entry.header.id, &self.reached, to, what)
    }
}

/// The positions after `reached` up to `to` are lost.
fn lost(segment: u64, reached: &ChainPosition, to: u64, what: &str) -> BackupError {
    let from = reached.position + 1;
    BackupError::Damaged(Damage::of(segment, 0, from, to, what))
}
