//! Segments that runs cover. An open does not read them, but checks that their files exist.
//!
//! *Invariant*: no listed segment is missing, replaced or cut short without a report. This does not depend on the run
//! that covers it, or on the end that the manifest gives. Rot within an existing file is found by reads, by a scrub,
//! and by a check of the whole log.

#[cfg(test)]
#[cfg(feature = "sim")]
mod tests;

use std::sync::Arc;

use super::error::{RecoverError, io_error};
use super::settled_end::settled_end;
use super::standing::{Hole, Standing, standing};
use super::{Listed, check_header};
use crate::damage::Damage;
use crate::env::read_exact_at;
use crate::format::{FRAME_HEADER_BYTES, FrameHeader, FrameName, SEGMENT_HEADER_BYTES, SegmentState};
use crate::index::{Key, LookupError, PartRef, ReadMode, Run};
use crate::segment::{SegmentFile, Walker};

const OTHER_HISTORY: &str = "frames of another history of the log stand here";

/// The part of a segment that one run covers.
struct Piece<'a> {
    part: PartRef<'a>,
    /// The first and the last position of the run in the segment.
    first: u64,
    last: u64,
    /// The end of the run's last frame in the segment.
    end: u64,
}

/// Damage to the covered part of the log that is visible without reading all frames. Checks the first `covered`
/// segments, and the beginning of the next one, where the last run ends.
pub(super) fn look_at_covered(
    listed: &[Listed],
    covered: usize,
    runs: &[Arc<Run>],
) -> Result<Vec<Damage>, RecoverError> {
    let whole = listed[..covered].iter().enumerate();
    let in_whole = whole.map(|(at, own)| look_at(&Covered::of(own, runs), listed.get(at + 1)));
    let begun = listed.get(covered).map(|own| look_at_begun(&Covered::of(own, runs)));
    in_whole.chain(begun).filter_map(Result::transpose).collect()
}

/// A segment, and what the runs contain about it.
struct Covered<'a> {
    listed: &'a Listed,
    pieces: Vec<Piece<'a>>,
    /// The first and last frames of runs, if they are in this segment, with their offsets.
    named: Vec<(u64, FrameName)>,
    /// The first and the last position in the segment, as far as runs or the manifest contain them. `to` is less than
    /// `from` if there is none.
    from: u64,
    to: u64,
}

impl<'a> Covered<'a> {
    fn of(listed: &'a Listed, runs: &'a [Arc<Run>]) -> Self {
        let id = listed.entry.header.id;
        let pieces = runs.iter().flat_map(|run| pieces_of(run, id)).collect::<Vec<_>>();
        let named = runs.iter().flat_map(|run| named_frames(run, id)).collect();
        // A segment without events holds only marks: its loss loses no position.
        let begins = match &listed.entry.state {
            SegmentState::Sealed(sealed) => sealed.first_position,
            SegmentState::Active | SegmentState::Spare => 1,
        };
        let from = pieces.first().map_or(begins, |piece| piece.first);
        let to = pieces.last().map_or_else(|| from.saturating_sub(1), |piece| piece.last);
        Self { listed, pieces, named, from, to }
    }

    fn damage(&self, offset: u64, from: u64, what: &str) -> Damage {
        Damage::of(self.listed.entry.header.id, offset, from, self.to, what)
    }
}

/// Damage to a segment that runs cover completely.
fn look_at(own: &Covered<'_>, next: Option<&Listed>) -> Result<Option<Damage>, RecoverError> {
    let sealed_end = match &own.listed.entry.state {
        SegmentState::Sealed(sealed) => sealed.end,
        SegmentState::Active | SegmentState::Spare => 0,
    };
    let Some(segment) = &own.listed.segment else {
        return Ok(Some(own.damage(0, own.from, "the file of the segment is missing")));
    };
    let len = segment.file.len().map_err(io_error(format!("reading segment {}", segment.id)))?;
    if len >= SEGMENT_HEADER_BYTES as u64 && !is_own(segment, own)? {
        return Ok(Some(own.damage(0, own.from, "the file of the segment was replaced by another file")));
    }
    let end = own.pieces.last().map_or(0, |piece| piece.end).max(sealed_end);
    if len < end {
        let lost = own.pieces.iter().map(|piece| piece.first_behind(len)).find(|lost| *lost <= own.to);
        return Ok(Some(own.damage(
            len,
            lost.unwrap_or(own.to + 1),
            "the file of the segment ends too early",
        )));
    }
    if is_of_another_history(segment, own.listed, next)? {
        return Ok(Some(own.damage(0, own.from, OTHER_HISTORY)));
    }
    look_at_ends(segment, own)
}

/// Damage to the covered beginning of a segment.
fn look_at_begun(own: &Covered<'_>) -> Result<Option<Damage>, RecoverError> {
    match &own.listed.segment {
        None if own.named.is_empty() => Ok(None),
        None => Ok(Some(own.damage(0, own.from, "the file of the segment is missing"))),
        Some(segment) => look_at_ends(segment, own),
    }
}

/// Checks that the segment still holds the frames that runs name as their ends.
fn look_at_ends(segment: &SegmentFile, own: &Covered<'_>) -> Result<Option<Damage>, RecoverError> {
    for (offset, name) in &own.named {
        match standing(segment, *offset, *name)? {
            Standing::There => {}
            Standing::Missing(hole) if is_known(&hole, &own.pieces) => {
                let from = hole.chain.map_or(own.from, |chain| chain.position + 1).max(own.from);
                return Ok(Some(own.damage(hole.offset, from, "no valid frame stands here")));
            }
            Standing::Missing(_) | Standing::Other => {
                return Ok(Some(own.damage(0, own.from, OTHER_HISTORY)));
            }
        }
    }
    Ok(None)
}

/// Whether the index has the same last event before a hole as the file. Frames of another history have valid
/// checksums, so the checksums do not decide this.
fn is_known(hole: &Hole, pieces: &[Piece<'_>]) -> bool {
    let Some((position, event)) = &hole.last_event else { return true };
    let Some(piece) = pieces.iter().find(|piece| (piece.first..=piece.last).contains(position)) else {
        return true;
    };
    let found = piece.part.find_id(&Key::stream(event.stream()), &Key::id(event.id()));
    // An unreadable index contradicts nothing.
    found.map_or(true, |found| found.is_some_and(|(_, at)| at == *position))
}

/// The parts of a segment that a run covers.
fn pieces_of(run: &Run, segment: u64) -> impl Iterator<Item = Piece<'_>> {
    let extents = &run.footer.extents;
    let own = extents.iter().enumerate().filter(move |(_, extent)| extent.segment == segment);
    own.map(|(at, extent)| Piece {
        part: PartRef::Run(run, ReadMode::Disk),
        first: extent.first,
        last: extents.get(at + 1).map_or(run.footer.last, |next| next.first - 1),
        end: extent.end,
    })
}

/// The first and the last frame of a run, if they are in the segment, with their offsets.
fn named_frames(run: &Run, segment: u64) -> impl Iterator<Item = (u64, FrameName)> {
    let footer = &run.footer;
    let end = &footer.end;
    let is_first = footer.extents.first().is_some_and(|extent| extent.segment == segment);
    let begin = is_first.then(|| PartRef::Run(run, ReadMode::Disk).locator().location(0).ok()).flatten();
    let begin =
        begin.map(|record| (record.offset.saturating_sub(FRAME_HEADER_BYTES as u64), footer.first_frame));
    let name = FrameName { number: end.chain.number, checksum: end.chain.checksum };
    begin.into_iter().chain((end.segment == segment).then_some((end.last_frame, name)))
}

/// Whether a file belongs to the segment: its header matches, or one of its frames does. Headers rot, and a file that
/// lost both its header and its first frame still has the others.
fn is_own(segment: &SegmentFile, own: &Covered<'_>) -> Result<bool, RecoverError> {
    let last = own.pieces.last().and_then(|piece| piece.last_frame().ok());
    let is_own = is_frame(segment, SegmentFile::first_frame_offset())
        || last.is_some_and(|offset| is_frame(segment, offset))
        || check_header(segment, &own.listed.entry.header)?.is_none();
    Ok(is_own)
}

/// Whether a file holds valid frames that are not those of this segment. They come from a copy of the log that was
/// written to separately, for example, and their records are valid here too. END decides; without END, the whole
/// segment is read.
fn is_of_another_history(
    segment: &SegmentFile,
    own: &Listed,
    next: Option<&Listed>,
) -> Result<bool, RecoverError> {
    let Some(settled) = settled_end(own, next)? else { return Ok(false) };
    Ok(settled.other_history(&mut Walker::new(segment)?)?.is_some())
}

/// Whether a frame of the segment begins at the offset. An unreadable frame counts as none.
fn is_frame(segment: &SegmentFile, offset: u64) -> bool {
    let mut bytes = [0; FRAME_HEADER_BYTES];
    let read = read_exact_at(&*segment.file, &mut bytes, offset);
    read.is_ok() && FrameHeader::read(&segment.salt, offset, &bytes).is_ok()
}

impl Piece<'_> {
    /// The offset of its last frame with events.
    fn last_frame(&self) -> Result<u64, LookupError> {
        let first_of_batch = self.part.batch_start(self.last)?;
        let record = self.part.locator().location(self.part.relative(first_of_batch))?.offset;
        Ok(record.saturating_sub(FRAME_HEADER_BYTES as u64))
    }

    /// The first position of the first batch that ends after an offset; one past the last position if there is none.
    fn first_behind(&self, offset: u64) -> u64 {
        // If the look-up fails, all events may lie after the offset.
        self.search_behind(offset).unwrap_or(self.first)
    }

    fn search_behind(&self, offset: u64) -> Result<u64, LookupError> {
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
