//! Segments that runs cover: an open does not read them, but it looks whether their files are there.
//!
//! *Invariant*: no listed segment is gone, replaced or cut short without a report, whoever covers it and whatever the manifest says of
//! its end. Bytes that rot within a file which is there are found by reads, by a scrub, and by a check of the whole log.

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
use crate::folder::SegmentState;
use crate::format::{FRAME_HEADER_BYTES, FrameHeader, FrameName, SEGMENT_HEADER_BYTES};
use crate::index::{Key, LookupError, PartRef, ReadMode, Run};
use crate::segment::{SegmentFile, Walker};

const OTHER_HISTORY: &str = "frames of another history of the log stand here";

/// What a run knows of one segment.
struct Piece<'a> {
    part: PartRef<'a>,
    /// The first and the last position of it that stand there.
    first: u64,
    last: u64,
    /// Where the last of its frames ends.
    end: u64,
}

/// Damage to what the runs cover, as far as it is visible without reading all frames: in the first `covered` segments, and in the
/// beginning of the next one, in which the last run ends.
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

/// A segment, and what runs know of it.
struct Covered<'a> {
    listed: &'a Listed,
    pieces: Vec<Piece<'a>>,
    /// The frames at the ends of runs that stand in it, and their offsets.
    named: Vec<(u64, FrameName)>,
    /// The first and the last position that stand in it, as far as runs or the manifest know; `to` is below `from` if there is none.
    from: u64,
    to: u64,
}

impl<'a> Covered<'a> {
    fn of(listed: &'a Listed, runs: &'a [Arc<Run>]) -> Self {
        let id = listed.entry.header.id;
        let pieces = runs.iter().flat_map(|run| pieces_of(run, id)).collect::<Vec<_>>();
        let named = runs.iter().flat_map(|run| named_frames(run, id)).collect();
        // Without an event, it holds marks alone: no position is lost with it.
        let begins = match &listed.entry.state {
            SegmentState::Sealed(sealed) => sealed.first_position,
            SegmentState::Active | SegmentState::Spare => 1,
        };
        let from = pieces.first().map_or(begins, |piece| piece.first);
        let to = pieces.last().map_or_else(|| from.saturating_sub(1), |piece| piece.last);
        Self { listed, pieces, named, from, to }
    }

    fn damage(&self, offset: u64, from: u64, what: &str) -> Damage {
        Damage {
            segment: self.listed.entry.header.id,
            offset,
            from,
            to: self.to,
            end_is_known: true,
            what: what.to_owned(),
        }
    }
}

/// Damage to a segment that the runs cover as a whole.
fn look_at(own: &Covered<'_>, next: Option<&Listed>) -> Result<Option<Damage>, RecoverError> {
    let sealed_end = match &own.listed.entry.state {
        SegmentState::Sealed(sealed) => sealed.end,
        SegmentState::Active | SegmentState::Spare => 0,
    };
    let Some(segment) = &own.listed.segment else {
        return Ok(Some(own.damage(0, own.from, "the file of the segment is gone")));
    };
    let len = segment.file.len().map_err(io_error(format!("reading segment {}", segment.id)))?;
    if len >= SEGMENT_HEADER_BYTES as u64 && !is_own(segment, own)? {
        return Ok(Some(own.damage(0, own.from, "another file stands in the place of the segment")));
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

/// Damage to the part of a segment that runs cover, if they do not cover all of it.
fn look_at_begun(own: &Covered<'_>) -> Result<Option<Damage>, RecoverError> {
    match &own.listed.segment {
        None if own.named.is_empty() => Ok(None),
        None => Ok(Some(own.damage(0, own.from, "the file of the segment is gone"))),
        Some(segment) => look_at_ends(segment, own),
    }
}

/// Looks whether the frames that runs name as their ends still stand in a segment.
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

/// Whether the last event before a hole is the one that the runs know there. Frames of another history prove their own checksums.
fn is_known(hole: &Hole, pieces: &[Piece<'_>]) -> bool {
    let Some((position, event)) = &hole.last_event else { return true };
    let Some(piece) = pieces.iter().find(|piece| (piece.first..=piece.last).contains(position)) else {
        return true;
    };
    let found = piece.part.find_id(&Key::stream(event.stream()), &Key::id(event.id()));
    // An index that cannot be read contradicts nothing.
    found.map_or(true, |found| found.is_some_and(|(_, at)| at == *position))
}

/// What a run knows of a segment.
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

/// The frames at the ends of a run that stand in a segment, and their offsets.
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

/// Whether a file is that of the segment: its header says so, or a frame in it does. Headers rot, and a file that lost both its header
/// and its first frame still holds the others.
fn is_own(segment: &SegmentFile, own: &Covered<'_>) -> Result<bool, RecoverError> {
    let last = own.pieces.last().and_then(|piece| piece.last_frame().ok());
    let is_own = is_frame(segment, SegmentFile::first_frame_offset())
        || last.is_some_and(|offset| is_frame(segment, offset))
        || check_header(segment, &own.listed.entry.header)?.is_none();
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
    fn last_frame(&self) -> Result<u64, LookupError> {
        let first_of_batch = self.part.batch_start(self.last)?;
        let record = self.part.locator().location(self.part.relative(first_of_batch))?.offset;
        Ok(record.saturating_sub(FRAME_HEADER_BYTES as u64))
    }

    /// The first position of the first batch that does not lie before an offset as a whole; the one behind its last if there is none.
    fn first_behind(&self, offset: u64) -> u64 {
        // What cannot be looked up may lie behind it.
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
