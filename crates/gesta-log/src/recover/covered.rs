//! Segments that runs cover: an open does not read them, but it looks whether their files are there.
//!
//! *Invariant*: no listed segment is gone, replaced or cut short without a report, whoever covers it and whatever the manifest says of
//! its end. Bytes that rot within a file which is there are found by reads, by a scrub, and by a check of the whole log.

use std::sync::Arc;

use super::load::settled_end;
use super::{Listed, RecoverError, check_header, io_error};
use crate::damage::Damage;
use crate::env::read_exact_at;
use crate::format::{FRAME_HEADER_BYTES, FrameHeader};
use crate::index::{Fault, PartRef, Reach, Run};
use crate::manifest::SegmentState;
use crate::segment::SegmentFile;
use crate::walk::Walker;

/// What a run knows of one segment.
struct Piece<'a> {
    part: PartRef<'a>,
    /// The first and the last position of it that stand there.
    first: u64,
    last: u64,
    /// Where the last of its frames ends.
    end: u64,
}

/// Damage to the first so many segments, which the runs cover, as far as it shows without reading them.
pub(super) fn look_at_covered(
    listed: &[Listed],
    covered: usize,
    runs: &[Arc<Run>],
) -> Result<Vec<Damage>, RecoverError> {
    let covered = listed[..covered].iter().enumerate();
    let damage = covered.filter_map(|(at, own)| look_at(own, listed.get(at + 1), runs).transpose());
    damage.collect()
}

fn look_at(own: &Listed, next: Option<&Listed>, runs: &[Arc<Run>]) -> Result<Option<Damage>, RecoverError> {
    let id = own.entry.header.id;
    let pieces = runs.iter().flat_map(|run| pieces_of(run, id)).collect::<Vec<_>>();
    let sealed = match &own.entry.state {
        SegmentState::Sealed(sealed) => Some(sealed),
        _ => None,
    };
    // Without an event, it holds marks alone: no position is lost with it.
    let begins = sealed.map_or(1, |sealed| sealed.first_position);
    let from = pieces.first().map_or(begins, |piece| piece.first);
    let to = pieces.last().map_or(from - 1, |piece| piece.last);
    let damage =
        |offset, from, what: &str| Ok(Some(Damage { segment: id, offset, from, to, what: what.to_owned() }));
    let Some(segment) = &own.segment else { return damage(0, from, "the file of the segment is gone") };
    if !is_own(segment, own, &pieces)? {
        return damage(0, from, "another file stands in the place of the segment");
    }
    let len = segment.file.len().map_err(io_error(format!("reading segment {id}")))?;
    let end = pieces.last().map_or(0, |piece| piece.end).max(sealed.map_or(0, |sealed| sealed.end));
    if len >= end {
        return match is_of_another_history(segment, own, next)? {
            true => damage(0, from, "frames of another history of the log stand here"),
            false => Ok(None),
        };
    }
    let lost = pieces.iter().map(|piece| piece.first_behind(len)).find(|lost| *lost <= to);
    damage(len, lost.unwrap_or(to + 1), "the file of the segment ends too early")
}

/// What a run knows of a segment.
fn pieces_of(run: &Run, segment: u64) -> impl Iterator<Item = Piece<'_>> {
    let extents = &run.facts.extents;
    let own = extents.iter().enumerate().filter(move |(_, extent)| extent.segment == segment);
    own.map(|(at, extent)| Piece {
        part: PartRef::Run(run, Reach::Disk),
        first: extent.first,
        last: extents.get(at + 1).map_or(run.facts.last, |next| next.first - 1),
        end: extent.end,
    })
}

/// Whether a file is that of the segment: its header says so, or a frame in it does. Headers rot, and a file that lost both its header
/// and its first frame still holds the others.
fn is_own(segment: &SegmentFile, own: &Listed, pieces: &[Piece<'_>]) -> Result<bool, RecoverError> {
    let last = pieces.last().and_then(|piece| piece.last_frame().ok());
    let is_own = is_frame(segment, SegmentFile::first_frame_offset())
        || last.is_some_and(|offset| is_frame(segment, offset))
        || check_header(segment, &own.entry.header)?.is_none();
    Ok(is_own)
}

/// Whether the frames of a file are whole and not those that ended here: those of a copy of the log, say, that went on by itself, and whose
/// records prove themselves in this one's place. END says so; where there is none, all of the segment is read.
fn is_of_another_history(
    segment: &SegmentFile,
    own: &Listed,
    next: Option<&Listed>,
) -> Result<bool, RecoverError> {
    let Some(settled) = settled_end(own, next)? else { return Ok(false) };
    Ok(settled.other_history(&mut Walker::new(segment)?)?.is_some())
}

/// Whether a frame of the segment begins there. One that cannot be read proves nothing.
fn is_frame(segment: &SegmentFile, offset: u64) -> bool {
    let mut bytes = [0; FRAME_HEADER_BYTES];
    let read = read_exact_at(&*segment.file, &mut bytes, offset);
    read.is_ok() && FrameHeader::read(&segment.salt, offset, &bytes).is_ok()
}

impl Piece<'_> {
    /// Where its last frame with events begins.
    fn last_frame(&self) -> Result<u64, Fault> {
        let first_of_batch = self.part.batch_start(self.last)?;
        let record = self.part.locator().location(self.part.relative(first_of_batch))?.offset;
        Ok(record.saturating_sub(FRAME_HEADER_BYTES as u64))
    }

    /// The first position of the first batch that does not lie before an offset as a whole; the one behind its last if there is none.
    fn first_behind(&self, offset: u64) -> u64 {
        // What cannot be looked up may lie behind it.
        self.search_behind(offset).unwrap_or(self.first)
    }

    fn search_behind(&self, offset: u64) -> Result<u64, Fault> {
        let mut locator = self.part.locator();
        let (mut low, mut high) = (self.first, self.last + 1);
        while low < high {
            let middle = u64::midpoint(low, high);
            let is_before = locator.location(self.part.relative(middle))?.end <= offset;
            if is_before { low = middle + 1 } else { high = middle }
        }
        if low > self.last { Ok(low) } else { self.part.batch_start(low) }
    }
}

#[cfg(test)]
#[cfg(feature = "sim")]
mod tests;
