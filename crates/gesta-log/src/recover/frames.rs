//! Reads of the log by position without an index: a walk over frames.
//!
//! *Invariant*: a segment is shown only after the headers of all its frames match the manifest or, in the last
//! segment, the result of recovery. A frame is verified in full before it is shown. So no event is shown that the
//! index would not hold.
//!
//! *Choice: start points are found by walking*, once a segment and about one for each 4 MiB. They are not stored. The
//! visible cost: the first page of a segment waits until all of the segment was read.

use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use gesta_core::{Limit, Position, RecordedEvent};

use super::Listed;
use super::error::RecoverError;
use super::tail::{TailState, TailSurvey};
use crate::format::{Frame, FrameHeader, FrameKind, Record, Sealed, SegmentState, StartBody};
use crate::index::LookupError;
use crate::segment::{ChainPosition, SegmentFile, Tally, WalkError, Walker};

/// The distance between start points: the bytes of one read.
const STEP_BYTES: u64 = 4 << 20;

/// The segments of a log without known damage.
pub(crate) struct Frames {
    pieces: Vec<Piece>,
}

/// One segment, and what stands in it.
struct Piece {
    segment: Arc<SegmentFile>,
    /// The expected end of its frames.
    expected: Sealed,
    /// The start points of walks, once its headers are verified.
    steps: OnceLock<Box<[Step]>>,
}

/// A frame with events, and the position of the first of them.
#[derive(Debug, Clone, Copy)]
struct Step {
    position: u64,
    offset: u64,
}

/// The result of a walk.
pub(crate) struct Scanned {
    pub(crate) events: Vec<RecordedEvent>,
    pub(crate) scanned_to: u64,
    pub(crate) end: bool,
}

/// One record, and where it stands.
struct Found {
    position: u64,
    record: Bytes,
}

impl Frames {
    /// The frames of a log, if the manifest and the survey of its end locate all of them. `None` if something is
    /// missing or damaged: only a full load can tell what.
    pub(crate) fn of(listed: &[Listed], survey: &TailSurvey) -> Result<Option<Self>, RecoverError> {
        let Some(last) = survey.at.filter(|_| listed.iter().all(|own| own.segment.is_some())) else {
            return Ok(None);
        };
        if !matches!(survey.state, TailState::Clean | TailState::Sealed) {
            return Ok(None);
        }
        let mut pieces = Vec::<Piece>::with_capacity(last + 1);
        for (at, own) in listed[..=last].iter().enumerate() {
            let segment = own.segment.as_ref().expect("all of them are there");
            let expected = match &own.entry.state {
                SegmentState::Sealed(sealed) => Some(*sealed),
                _ if at == last => counted(segment, survey),
                _ => None,
            };
            let (frame, position) = pieces.last().map_or((1, 1), |before| next_numbers(&before.expected));
            let follows = |own: &Sealed| (own.first_frame, own.first_position) == (frame, position);
            let Some(expected) = expected.filter(follows) else { return Ok(None) };
            pieces.push(Piece { segment: Arc::clone(segment), expected, steps: OnceLock::new() });
        }
        let is_continued = match &pieces[..] {
            [.., before, last] => starts_behind(before, last)?,
            _ => true,
        };
        Ok(is_continued.then_some(Self { pieces }))
    }

    /// The position of the last event.
    pub(crate) fn last_position(&self) -> u64 {
        self.pieces.last().map_or(0, Piece::last)
    }

    /// Whole batches after a position: a page is cut between batches only.
    pub(crate) fn forward(&self, at: u64, bound: u64, limit: Limit) -> Result<Scanned, LookupError> {
        let mut taken = Taken { events: Vec::new(), bytes: 0, limit };
        let mut reached = at;
        let wanted = self.pieces.iter().filter(|own| own.last() > at && own.first() <= bound);
        for piece in wanted {
            let walked = piece.walk(piece.step_before(at + 1), |header, found| {
                if header.next_position() - 1 <= at {
                    return Ok(true);
                }
                if taken.is_full() || header.position > bound {
                    return Ok(false);
                }
                reached = (header.next_position() - 1).min(bound);
                let mut own = found()?;
                own.retain(|own| own.position > at && own.position <= bound);
                taken.take(piece, &own).map(|()| true)
            });
            match walked {
                Ok(true) => {}
                Ok(false) if reached >= bound => break,
                Ok(false) => return Ok(taken.so_far(reached)),
                // The events before the error are shown; the next page begins with the error.
                Err(_) if !taken.events.is_empty() => {
                    let last = taken.last_position();
                    return Ok(taken.so_far(last));
                }
                Err(fault) => return Err(fault),
            }
        }
        Ok(Scanned { events: taken.events, scanned_to: bound.max(at), end: true })
    }

    /// Events from a position down to the one after another, cut exactly.
    pub(crate) fn backward(&self, at: u64, floor: u64, limit: Limit) -> Result<Scanned, LookupError> {
        let mut taken = Taken { events: Vec::new(), bytes: 0, limit };
        let wanted = self.pieces.iter().rev().filter(|own| own.first() <= at && own.last() > floor);
        for piece in wanted {
            let steps = match piece.steps() {
                Err(fault) if taken.events.is_empty() => return Err(fault),
                Err(_) => return Ok(taken.so_far_backward()),
                Ok(steps) => steps,
            };
            for (index, step) in steps.iter().enumerate().rev().filter(|(_, step)| step.position <= at) {
                let end = steps.get(index + 1).map_or(u64::MAX, |next| next.position);
                if end <= floor + 1 {
                    break;
                }
                match piece.take_step(*step, end, (floor, at), &mut taken) {
                    Ok(true) => {}
                    Err(fault) if taken.events.is_empty() => return Err(fault),
                    _ => return Ok(taken.so_far_backward()),
                }
            }
        }
        Ok(Scanned { events: taken.events, scanned_to: floor.min(at), end: true })
    }
}

impl Piece {
    const fn first(&self) -> u64 {
        self.expected.first_position
    }

    const fn last(&self) -> u64 {
        self.expected.first_position + self.expected.events - 1
    }

    fn unproven(&self, offset: u64) -> LookupError {
        LookupError::Unproven { segment: self.segment.id, offset }
    }

    fn steps(&self) -> Result<&[Step], LookupError> {
        if let Some(steps) = self.steps.get() {
            return Ok(steps);
        }
        // Two readers may do this at once. Both get the same result.
        let steps = self.prove()?;
        Ok(self.steps.get_or_init(|| steps.into()))
    }

    /// The start point for a walk to a position of this segment.
    fn step_before(&self, position: u64) -> Result<Option<Step>, LookupError> {
        let steps = self.steps()?;
        let at = steps.partition_point(|step| step.position <= position.max(self.first()));
        Ok(at.checked_sub(1).map(|at| steps[at]))
    }

    /// Verifies the headers of all frames against the expected end.
    fn prove(&self) -> Result<Vec<Step>, LookupError> {
        let mut walker = Walker::new(&self.segment).map_err(fault)?;
        let (mut offset, mut steps) = (SegmentFile::first_frame_offset(), Vec::<Step>::new());
        let mut counted = None;
        while offset < self.expected.end {
            let Some((_, header)) = walker.frame_at(offset).map_err(fault)? else {
                return Err(self.unproven(offset));
            };
            let (chain, tally) = counted.get_or_insert_with(|| {
                let chain = ChainPosition::before(&header);
                (chain, Tally::begin(&self.segment.salt, &chain))
            });
            if header.kind == FrameKind::End || !chain.accepts(&header) {
                return Err(self.unproven(offset));
            }
            chain.pass(&header);
            tally.add(&header, offset);
            if header.events > 0 && steps.last().is_none_or(|last| offset - last.offset >= STEP_BYTES) {
                steps.push(Step { position: header.position, offset });
            }
            offset += header.length as u64;
        }
        let is_proven = counted.is_some_and(|(_, tally)| tally.sealed(offset) == self.expected);
        if is_proven { Ok(steps) } else { Err(self.unproven(SegmentFile::first_frame_offset())) }
    }

    /// Walks over the frames with events from a start point on, as long as `visit` returns true. `visit` gets the
    /// header, and can ask for the records. Returns `false` if `visit` did.
    fn walk(
        &self,
        from: Result<Option<Step>, LookupError>,
        mut visit: impl FnMut(
            &FrameHeader,
            &dyn Fn() -> Result<Vec<Found>, LookupError>,
        ) -> Result<bool, LookupError>,
    ) -> Result<bool, LookupError> {
        let Some(Step { mut offset, .. }) = from? else { return Ok(true) };
        let mut walker = Walker::new(&self.segment).map_err(fault)?;
        while offset < self.expected.end {
            let Some((bytes, header)) = walker.frame_at(offset).map_err(fault)? else {
                return Err(self.unproven(offset));
            };
            if header.events > 0 && !visit(&header, &|| self.records(offset, &bytes))? {
                return Ok(false);
            }
            offset += header.length as u64;
        }
        Ok(true)
    }

    /// The records of a frame. Verifies the whole frame.
    fn records(&self, offset: u64, bytes: &Bytes) -> Result<Vec<Found>, LookupError> {
        let frame = Frame::read(&self.segment.salt, offset, bytes).map_err(|_| self.unproven(offset))?;
        let records = (frame.header.position..).zip(frame.records());
        Ok(records.map(|(position, record)| Found { position, record: bytes.slice_ref(record) }).collect())
    }

    /// Takes the records between two positions, newest first, from a start point up to a position. `false` once the
    /// page is full.
    fn take_step(
        &self,
        step: Step,
        end: u64,
        (floor, at): (u64, u64),
        taken: &mut Taken,
    ) -> Result<bool, LookupError> {
        let mut found = Vec::new();
        self.walk(Ok(Some(step)), |header, records| {
            if header.position >= end || header.position > at {
                return Ok(false);
            }
            if header.next_position() > floor + 1 {
                found.append(&mut records()?);
            }
            Ok(true)
        })?;
        let wanted = found.iter().rev().filter(|own| own.position > floor && own.position <= at);
        for own in wanted {
            if taken.is_full() {
                return Ok(false);
            }
            taken.take(self, std::slice::from_ref(own))?;
        }
        Ok(true)
    }
}

/// The events taken so far, against the page's limit.
struct Taken {
    events: Vec<RecordedEvent>,
    bytes: u64,
    limit: Limit,
}

impl Taken {
    /// Takes all of these events, or none.
    fn take(&mut self, piece: &Piece, found: &[Found]) -> Result<(), LookupError> {
        let read = |own: &Found| {
            let position = Position { partition: 0, sequence: own.position };
            let event = Record::read(&piece.segment.salt, position, &own.record);
            // The frame is valid, so a record that is not an event was not written by this program.
            event.map_err(|_| piece.unproven(SegmentFile::first_frame_offset()))
        };
        let mut events = found.iter().map(read).collect::<Result<Vec<_>, _>>()?;
        self.events.append(&mut events);
        self.bytes += found.iter().map(|own| own.record.len() as u64).sum::<u64>();
        Ok(())
    }

    fn is_full(&self) -> bool {
        let events = self.events.len();
        events >= self.limit.events.get() as usize
            || events as u64 >= self.limit.examined.get()
            || self.bytes >= self.limit.bytes.get()
    }

    fn last_position(&self) -> u64 {
        self.events.last().expect("a page that is cut has an event").position().sequence
    }

    fn so_far(self, scanned_to: u64) -> Scanned {
        Scanned { events: self.events, scanned_to, end: false }
    }

    fn so_far_backward(self) -> Scanned {
        let scanned_to = self.last_position() - 1;
        self.so_far(scanned_to)
    }
}

/// The end of the last segment, as recovery just found it; `None` if recovery started in the middle of the segment.
fn counted(segment: &SegmentFile, survey: &TailSurvey) -> Option<Sealed> {
    if survey.from.segment != segment.id || survey.from.offset != SegmentFile::first_frame_offset() {
        return None;
    }
    let mut tally = Tally::resume(&survey.from);
    survey.frames.iter().for_each(|frame| tally.add(&frame.header, frame.offset));
    survey.holds_frames().then(|| tally.sealed(survey.stop))
}

const fn next_numbers(sealed: &Sealed) -> (u64, u64) {
    (sealed.first_frame + sealed.frames, sealed.first_position + sealed.events)
}

/// Whether the START of a segment names the segment before it and its end.
fn starts_behind(before: &Piece, last: &Piece) -> Result<bool, RecoverError> {
    let offset = SegmentFile::first_frame_offset();
    let Some((bytes, header)) = Walker::new(&last.segment)?.frame_at(offset)? else { return Ok(false) };
    let frame = Frame::read(&last.segment.salt, offset, &bytes).ok();
    let start = frame.filter(|_| header.kind == FrameKind::Start);
    let start = start.and_then(|frame| StartBody::decode(frame.command));
    Ok(start.is_some_and(|start| {
        start.previous_segment == before.segment.id
            && start.previous_end == before.expected.end
            && start.previous_checksum == before.expected.checksum
    }))
}

fn fault(error: WalkError) -> LookupError {
    match error {
        WalkError::Io { segment, source } => LookupError::Log { segment, offset: 0, source },
        WalkError::Newer { segment, offset } => {
            let source = std::io::Error::other(error);
            LookupError::Log { segment, offset, source }
        }
    }
}
