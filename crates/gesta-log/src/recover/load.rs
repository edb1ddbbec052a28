//! The load step: over every frame of every segment, into the index. Finds damage and writes nothing.

use std::sync::Arc;

use bytes::Bytes;
use gesta_core::EventBytes;

use super::tail::{TailState, TailSurvey};
use super::{Listed, RecoverError};
use crate::bugs::{Bug, planted};
use crate::commit::{ActiveSegment, HeadersChecksum, Tail};
use crate::damage::Damage;
use crate::format::{
    EndBody, FRAME_ALIGNMENT, Frame, FrameHeader, FrameKind, RECORD_HEADER_BYTES, StartBody, u64_at,
};
use crate::index::{Index, IndexedEvent};
use crate::manifest::{Manifest, SegmentState};
use crate::segment::SegmentFile;
use crate::walk::{Follow, Stop, Walker};

/// What the load step found.
pub(crate) struct Loaded {
    pub(crate) index: Index,
    pub(crate) tail: Tail,
    /// The last used segment, if it takes more frames.
    pub(crate) active: Option<ActiveSegment>,
    pub(crate) frames: u64,
    pub(crate) events: u64,
}

/// A place where no valid frame stood, until it is known what follows.
struct Gap {
    segment: u64,
    offset: u64,
    /// The last position that must have stood there: at least one event in a file that is missing, and what headers say whose
    /// frames do not prove themselves.
    last: u64,
}

struct Loader {
    index: Index,
    /// The segment that is loaded.
    segment: u64,
    follow: Follow,
    gap: Option<Gap>,
    frames: u64,
    events: u64,
    last_with_events: u64,
    covered: u64,
    /// What END of the current segment will say.
    headers: HeadersChecksum,
    end: EndBody,
}

/// Loads every segment up to the last used one.
pub(crate) fn load(
    manifest: &Manifest,
    listed: &[Listed],
    survey: &TailSurvey,
) -> Result<Loaded, RecoverError> {
    let mut loader = Loader {
        index: Index::default(),
        segment: 0,
        follow: Follow::START,
        gap: None,
        frames: 0,
        events: 0,
        last_with_events: 0,
        covered: manifest.durable_frame,
        headers: HeadersChecksum::new(&[]),
        end: EndBody::default(),
    };
    let mut active = None;
    let used = survey.at.map_or(0, |at| at + 1);
    for (at, own) in listed[..used].iter().enumerate() {
        let is_last = at + 1 == used;
        let next = listed.get(at + 1).filter(|_| !is_last);
        match &own.segment {
            Some(segment) => active = loader.segment(own, segment, next, is_last.then_some(survey))?,
            None => loader.open_missing(own.entry.header.id),
        }
    }
    loader.missing_unused(&listed[used..]);
    loader.close_gap_at_end(manifest);
    let Loader { index, follow, frames, events, last_with_events, covered, .. } = loader;
    let tail = Tail {
        number: follow.number,
        checksum: follow.checksum,
        position: follow.position,
        recorded_at: follow.recorded_at,
        durable: follow.number,
        covered,
        last_with_events,
    };
    Ok(Loaded { index, tail, active, frames, events })
}

impl Loader {
    /// Loads one segment. Gives what the writer needs to go on in it, if it is the last one and open at its end.
    fn segment(
        &mut self,
        own: &Listed,
        segment: &Arc<SegmentFile>,
        next: Option<&Listed>,
        survey: Option<&TailSurvey>,
    ) -> Result<Option<ActiveSegment>, RecoverError> {
        self.segment = segment.id;
        self.index.begin_segment(Arc::clone(segment));
        self.headers = HeadersChecksum::new(&segment.salt);
        self.end = EndBody::default();
        let first = Follow { ..self.follow };
        let settled = settled_end(own, next)?;
        let limit = match survey {
            Some(survey) if survey.state != TailState::Corrupt => survey.stop,
            _ => settled.unwrap_or(u64::MAX),
        };
        let mut walker = Walker::new(segment)?;
        let mut offset = SegmentFile::first_frame_offset();
        loop {
            if self.gap.is_some() {
                let Some((at, header)) = walker.next_header(offset)?.filter(|(at, _)| *at < limit) else {
                    break;
                };
                if !walker.is_whole(at)? || !self.close_gap(&header) {
                    self.extend_gap(&header);
                    offset = at + FRAME_ALIGNMENT as u64;
                    continue;
                }
                offset = at;
            }
            let mut follow = self.follow;
            let stop =
                walker.walk(offset, limit, &mut follow, |frame, bytes, at| self.frame(frame, bytes, at))?;
            self.follow = follow;
            match stop {
                Stop::End { .. } => return Ok(None),
                Stop::NoFrame { offset: at } if at >= limit => break,
                // Behind damage, the log ends where everything that was acknowledged has been seen.
                Stop::NoFrame { .. }
                    if survey.is_some_and(|survey| survey.watermark <= self.follow.number) =>
                {
                    break;
                }
                Stop::NoFrame { offset: at } => {
                    if settled.is_none() && survey.is_none() && self.continues_in(next)? {
                        return Ok(None);
                    }
                    self.open_gap(segment.id, at);
                    offset = at;
                }
            }
        }
        let goes_on =
            survey.filter(|survey| matches!(survey.state, TailState::Clean | TailState::Torn { .. }));
        Ok(goes_on.map(|survey| ActiveSegment {
            segment: Arc::clone(segment),
            size_bytes: own.entry.size_bytes,
            offset: survey.stop,
            first_frame: first.number + 1,
            first_position: first.position + 1,
            headers: std::mem::replace(&mut self.headers, HeadersChecksum::new(&[])),
            end: self.end,
        }))
    }

    /// Whether the next segment's first frame follows what was read: then nothing is missing here.
    fn continues_in(&self, next: Option<&Listed>) -> Result<bool, RecoverError> {
        let Some(segment) = next.and_then(|next| next.segment.as_ref()) else { return Ok(false) };
        let first = Walker::new(segment)?.next_header(SegmentFile::first_frame_offset())?;
        Ok(first.is_some_and(|(_, header)| self.follow.accepts(&header)))
    }

    fn frame(&mut self, frame: &Frame<'_>, bytes: &Bytes, offset: u64) {
        let header = &frame.header;
        self.covered = self.covered.max(header.durable);
        if header.kind == FrameKind::End {
            return self.check_end(frame, offset);
        }
        self.headers.add(header.checksum);
        if !header.kind.is_numbered() {
            return;
        }
        self.frames += 1;
        self.end.frames += 1;
        let frame_end = offset + header.length as u64;
        if header.kind == FrameKind::Idle {
            return self.index.end_frame(frame_end);
        }
        self.last_with_events = header.number;
        if self.end.events == 0 {
            self.end.first_recorded_at = header.recorded_at;
        }
        self.end.events += u64::from(header.events);
        self.end.last_recorded_at = header.recorded_at;
        self.events += u64::from(header.events);
        self.batch(frame, bytes, offset, frame_end);
    }

    /// END says what its segment holds.
    fn check_end(&mut self, frame: &Frame<'_>, offset: u64) {
        let counted = EndBody { checksum: self.headers.value(), ..self.end };
        // Behind damage the count is of what is left.
        if EndBody::decode(frame.command) != Some(counted) && self.index.damage().is_empty() {
            let (segment, from, to) = (self.segment, self.follow.position + 1, self.follow.position);
            let what = "END does not say what the segment holds".to_owned();
            self.index.report_damage(Damage { segment, offset, from, to, what });
        }
    }

    fn batch(&mut self, frame: &Frame<'_>, bytes: &Bytes, offset: u64, frame_end: u64) {
        let mut versions = Vec::with_capacity(frame.header.events as usize);
        let base = bytes.as_ptr() as usize;
        for record in frame.records() {
            let at = record.as_ptr() as usize - base;
            let event = EventBytes::parse(bytes.slice(at + RECORD_HEADER_BYTES..at + record.len()));
            let event = match event {
                Ok(event) => event,
                Err(error) => {
                    self.lose_event(offset + at as u64, error.to_string());
                    continue;
                }
            };
            let version = u64_at(record, 8);
            let indexed =
                IndexedEvent { stream: event.stream(), event_type: event.event_type(), id: event.id() };
            let place = u32::try_from(offset + at as u64).expect("a segment is at most 1 GiB");
            if !self.index.insert_at(version, &indexed, event.tags(), place) {
                let position = self.index.last();
                let what = format!("version {version} of stream `{}` stands twice", event.stream());
                let (segment, offset) = (self.segment, u64::from(place));
                self.index.report_damage(Damage { segment, offset, from: position, to: position, what });
            }
            if !planted(Bug::IdsNotRebuilt) {
                self.index.insert_id(event.id());
            }
            versions.push(version);
        }
        self.index.end_batch(frame.header.recorded_at, frame_end);
        if let Some((key, request)) =
            frame.command_key().filter(|_| versions.len() == frame.header.events as usize)
            && !planted(Bug::KeysNotRebuilt)
        {
            self.index.insert_command(key, request, &versions);
        }
    }

    /// Passes over a record whose check holds and that is no event: nothing that this program wrote.
    fn lose_event(&mut self, offset: u64, what: String) {
        let position = self.index.last() + 1;
        self.index.skip_to(position + 1);
        self.index.report_damage(Damage {
            segment: self.segment,
            offset,
            from: position,
            to: position,
            what,
        });
    }

    fn open_gap(&mut self, segment: u64, offset: u64) {
        self.gap.get_or_insert(Gap { segment, offset, last: 0 });
    }

    fn open_missing(&mut self, segment: u64) {
        self.open_gap(segment, 0);
        let first_lost = self.follow.position + 1;
        self.gap.iter_mut().for_each(|gap| gap.last = gap.last.max(first_lost));
    }

    /// Counts what a header says whose frame does not prove itself.
    fn extend_gap(&mut self, header: &FrameHeader) {
        self.gap.iter_mut().for_each(|gap| gap.last = gap.last.max(header.next_position() - 1));
    }

    /// Ends a gap at a header behind it, and reports what is missing between. `false` if the header does not lie ahead.
    fn close_gap(&mut self, header: &FrameHeader) -> bool {
        let next = Follow::before(header);
        if next.number < self.follow.number || next.position < self.follow.position {
            return false;
        }
        let gap = self.gap.take().expect("there is a gap");
        self.report(gap, next.position, "no valid frame stands here");
        self.follow = next;
        true
    }

    /// A gap with nothing valid behind it: what the manifest knows to be durable is missing.
    fn close_gap_at_end(&mut self, manifest: &Manifest) {
        if let Some(gap) = self.gap.take() {
            let position = manifest.durable_position.max(self.follow.position).max(gap.last);
            self.report(gap, position, "no valid frame stands here or later");
            self.follow.position = position;
            self.follow.number = self.follow.number.max(manifest.durable_frame);
        }
    }

    fn report(&mut self, gap: Gap, last: u64, what: &str) {
        let from = self.follow.position + 1;
        if last >= from {
            self.index.skip_to(last + 1);
        }
        let Gap { segment, offset, .. } = gap;
        self.index.report_damage(Damage { segment, offset, from, to: last, what: what.to_owned() });
    }

    /// Listed segments behind the last used one whose files are gone: they may have held frames.
    fn missing_unused(&mut self, unused: &[Listed]) {
        if let Some(missing) = unused.iter().find(|own| own.segment.is_none()) {
            self.open_missing(missing.entry.header.id);
        }
    }
}

/// Where a segment's frames end for certain: the manifest or the next segment's START says so.
pub(super) fn settled_end(own: &Listed, next: Option<&Listed>) -> Result<Option<u64>, RecoverError> {
    if let SegmentState::Sealed(sealed) = &own.entry.state {
        return Ok(Some(sealed.end));
    }
    let Some(segment) = next.and_then(|next| next.segment.as_ref()) else { return Ok(None) };
    let mut walker = Walker::new(segment)?;
    let Some((bytes, header)) = walker.frame_at(SegmentFile::first_frame_offset())? else { return Ok(None) };
    let start = (header.kind == FrameKind::Start)
        .then(|| Frame::read(&segment.salt, SegmentFile::first_frame_offset(), &bytes).ok())
        .flatten()
        .and_then(|frame| StartBody::decode(frame.command));
    Ok(start.filter(|start| start.previous_segment == own.entry.header.id).map(|start| start.previous_end))
}
