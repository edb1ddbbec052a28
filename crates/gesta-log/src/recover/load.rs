//! The load step: reads every frame that no run covers into tables. It finds damage and writes nothing; the caller
//! decides what happens to full tables. A range of segments can be loaded alone: records carry their versions, so the
//! result for one range does not depend on another.

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use bytes::Bytes;
use gesta_core::{EventBytes, EventId};

use super::Listed;
use super::covered::look_at_covered;
use super::error::RecoverError;
use super::gap::Gap;
use super::settled_end::settled_end;
use super::tail::{TailState, TailSurvey};
use crate::bugs::{Bug, planted};
use crate::damage::Damage;
use crate::format::{
    EndBody, FRAME_ALIGNMENT, Frame, FrameHeader, FrameKind, FrameName, Manifest, RECORD_HEADER_BYTES,
    SegmentState, version_in,
};
use crate::index::{FullTable, IndexSnapshot, IndexedEvent, MemTable, State};
use crate::segment::{ActiveSegment, ChainPosition, LogPoint, SegmentFile, Stop, Tail, Tally, Walker};

/// The result of the load step.
pub(crate) struct Loaded {
    pub(crate) snapshot: IndexSnapshot,
    pub(crate) damage: Vec<Damage>,
    /// Full tables that are not on the disk.
    pub(crate) ended: Vec<FullTable>,
    pub(crate) tail: Tail,
    /// The last used segment, if it takes more frames.
    pub(crate) active: Option<ActiveSegment>,
    pub(crate) frames: u64,
    pub(crate) events: u64,
}

/// Takes full tables while a log is loaded.
pub(crate) trait Tables {
    /// Whether a table is full at a position. It has `bytes` bytes in memory and covers `log_bytes` bytes of the log.
    fn is_full(&self, bytes: usize, log_bytes: u64, position: u64) -> bool;
    /// Sees every event before it is added to the active table.
    fn see(&mut self, _event: &IndexedEvent<'_>, _position: u64, _table: &State) {}
    /// Takes a full table that ends there. Gives it back if it stays in memory.
    fn take(&mut self, table: State, end: &LogPoint) -> Option<State>;
}

struct Loader<'a> {
    damage: Vec<Damage>,
    tables: &'a mut dyn Tables,
    /// The tables before the active one that stay in memory; with its end, if a table is to become a run.
    earlier: Vec<(State, Option<LogPoint>)>,
    /// The active table, and the bytes of the log that it covers.
    table: State,
    table_log_bytes: u64,
    /// The end of the last batch in the active table.
    table_end: Option<LogPoint>,
    /// The current segment.
    segment: Option<Arc<SegmentFile>>,
    chain: ChainPosition,
    gap: Option<Gap>,
    frames: u64,
    events: u64,
    last_with_events: u64,
    covered: u64,
    /// Counts the current segment.
    tally: Tally,
    stop: Option<&'a AtomicBool>,
}

/// The result for a range of segments without an error.
pub(crate) struct LoadedRange {
    /// The header of the first frame; `None` if the range begins after a known place.
    pub(crate) first: Option<FrameHeader>,
    /// The place in the chain that the next frame must continue.
    pub(crate) end: ChainPosition,
}

/// Loads every segment up to the last used one, from `from` on. The runs cover everything before. Stops early with an
/// error once `stop` is set.
pub(crate) fn load(
    manifest: &Manifest,
    listed: &[Listed],
    survey: &TailSurvey,
    mut snapshot: IndexSnapshot,
    from: &LogPoint,
    tables: &mut dyn Tables,
    stop: Option<&AtomicBool>,
) -> Result<Loaded, RecoverError> {
    let mut loader = Loader::new(from, tables, stop);
    loader.covered = loader.covered.max(manifest.durable.number);
    let begin = listed.iter().position(|own| own.entry.header.id == from.segment).unwrap_or(0);
    loader.damage = look_at_covered(listed, begin, &snapshot.runs)?;
    let refused = |at: usize| survey.other_history.filter(|other| other.at == at).map(|other| other.end);
    let mut active = None;
    let used = survey.at.map_or(0, |at| at + 1);
    for (at, own) in listed.iter().enumerate().take(used).skip(begin) {
        let is_last = at + 1 == used;
        let next = listed.get(at + 1).filter(|_| !is_last);
        let resume = (own.entry.header.id == from.segment).then_some(from.offset);
        match (&own.segment, refused(at)) {
            (Some(segment), Some(end)) => loader.refuse(segment.id, resume, end),
            (Some(segment), None) => {
                active = loader.segment(own, segment, resume, next, is_last.then_some(survey))?;
            }
            // Nothing was ever written to a spare.
            (None, _) if own.entry.state == SegmentState::Spare => {}
            (None, _) => loader.open_missing(own.entry.header.id),
        }
    }
    loader.missing_unused(&listed[used.max(begin)..]);
    if loader.chain.number < survey.watermark {
        let (segment, offset) = end_of_frames(listed, survey);
        loader.open_gap(segment, offset);
    }
    if let Some(unlisted) = survey.unlisted.filter(|own| own.position > loader.chain.position) {
        let is_intact = loader.gap.is_none();
        let gap = loader.open_gap(unlisted.segment, SegmentFile::first_frame_offset());
        gap.last = gap.last.max(unlisted.position);
        gap.is_unlisted = is_intact;
    }
    loader.close_gap_at_end(manifest);
    assert!(loader.table.last() == loader.chain.position, "the tables end where the log does");
    let Loader { damage, earlier, table, chain, frames, events, last_with_events, covered, .. } = loader;
    let ended = link(earlier, table, &mut snapshot.tables);
    let tail = Tail { chain, durable: chain.number, covered, last_with_events };
    Ok(Loaded { snapshot, damage, ended, tail, active, frames, events })
}

/// Loads a range of used segments that does not contain the last one, from its first frame on or from a place in its
/// first segment. The last table ends with the range. `None` if there is anything but valid frames in sequence: only
/// a load of the whole log can tell what is wrong.
pub(crate) fn load_range(
    listed: &[Listed],
    range: Range<usize>,
    from: Option<&LogPoint>,
    tables: &mut dyn Tables,
    stop: &AtomicBool,
) -> Result<Option<LoadedRange>, RecoverError> {
    let Some(first_segment) = &listed[range.start].segment else { return Ok(None) };
    let mut first = None;
    let begin = match from {
        Some(from) => *from,
        None => {
            let offset = SegmentFile::first_frame_offset();
            let Some((_, header)) = Walker::new(first_segment)?.frame_at(offset)? else { return Ok(None) };
            first = Some(header);
            LogPoint { chain: ChainPosition::before(&header), ..LogPoint::START }
        }
    };
    let mut loader = Loader::new(&begin, tables, Some(stop));
    for (own, next) in listed[range.clone()].iter().zip(&listed[range.start + 1..]) {
        let Some(segment) = &own.segment else { return Ok(None) };
        let resume = from.filter(|from| from.segment == segment.id).map(|from| from.offset);
        loader.segment(own, segment, resume, Some(next), None)?;
        if loader.gap.is_some() || !loader.damage.is_empty() {
            return Ok(None);
        }
    }
    if let Some(end) = loader.table_end {
        loader.end_table(end);
    }
    Ok(Some(LoadedRange { first, end: loader.chain }))
}

impl<'a> Loader<'a> {
    fn new(from: &LogPoint, tables: &'a mut dyn Tables, stop: Option<&'a AtomicBool>) -> Self {
        Self {
            damage: Vec::new(),
            tables,
            earlier: Vec::new(),
            table: State::new(from.chain.position + 1),
            table_log_bytes: 0,
            table_end: None,
            segment: None,
            chain: from.chain,
            gap: None,
            frames: 0,
            events: 0,
            last_with_events: from.chain.number,
            covered: from.chain.number,
            tally: Tally::resume(from),
            stop,
        }
    }

    /// Loads one segment, from `resume` on if its beginning is already loaded. Returns what the writer needs to
    /// continue in it, if it is the last one and its end is open.
    fn segment(
        &mut self,
        own: &Listed,
        segment: &Arc<SegmentFile>,
        resume: Option<u64>,
        next: Option<&Listed>,
        survey: Option<&TailSurvey>,
    ) -> Result<Option<ActiveSegment>, RecoverError> {
        self.segment = Some(Arc::clone(segment));
        self.table.begin_segment(Arc::clone(segment));
        if resume.is_none() {
            self.tally = Tally::begin(&segment.salt, &self.chain);
        }
        let settled = settled_end(own, next)?;
        let limit = match survey {
            Some(survey) if survey.state != TailState::Corrupt => survey.stop,
            _ => settled.map_or(u64::MAX, |settled| settled.offset),
        };
        let mut walker = Walker::new(segment)?.stopped_by(self.stop);
        let mut offset = resume.unwrap_or(SegmentFile::first_frame_offset());
        if let Some(settled) = settled
            && let Some(end) = settled.other_history(&mut walker)?
        {
            self.refuse(segment.id, Some(offset), end);
            return Ok(None);
        }
        loop {
            if let Some(gap) = &mut self.gap {
                let Some((at, header)) = walker.next_header(offset)?.filter(|(at, _)| *at < limit) else {
                    break;
                };
                if !gap.ends_with(&header, walker.is_whole(at)?) {
                    offset = at + FRAME_ALIGNMENT as u64;
                    continue;
                }
                self.close_gap(&header);
                offset = at;
            }
            let mut chain = self.chain;
            let stop =
                walker.walk(offset, limit, &mut chain, |frame, bytes, at| self.frame(frame, bytes, at))?;
            self.chain = chain;
            match stop {
                Stop::End { .. } => return Ok(None),
                Stop::NoFrame { offset: at } if at >= limit => break,
                // After damage, the log ends once everything that was acknowledged has been read.
                Stop::NoFrame { .. }
                    if survey.is_some_and(|survey| survey.watermark <= self.chain.number) =>
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
        Ok(goes_on.map(|survey| {
            let point = self.tally.point(segment.id, survey.stop, &self.chain);
            ActiveSegment::resume(Arc::clone(segment), own.entry.size_bytes, &point)
        }))
    }

    /// Whether the next segment's first frame continues the chain: then nothing is missing here.
    fn continues_in(&self, next: Option<&Listed>) -> Result<bool, RecoverError> {
        let Some(segment) = next.and_then(|next| next.segment.as_ref()) else { return Ok(false) };
        let first = Walker::new(segment)?.next_header(SegmentFile::first_frame_offset())?;
        Ok(first.is_some_and(|(_, header)| self.chain.accepts(&header)))
    }

    fn frame(&mut self, frame: &Frame<'_>, bytes: &Bytes, offset: u64) {
        let header = &frame.header;
        self.covered = self.covered.max(header.durable);
        if header.kind == FrameKind::End {
            return self.check_end(frame, offset);
        }
        self.tally.add(header, offset);
        if !header.kind.is_numbered() {
            return;
        }
        self.frames += 1;
        let frame_end = offset + header.length as u64;
        if header.kind == FrameKind::Idle {
            return self.table.end_frame(frame_end);
        }
        self.last_with_events = header.number;
        self.events += u64::from(header.events);
        self.batch(frame, bytes, offset, frame_end);
        self.table_log_bytes += header.length as u64;
        self.end_full_table(header, frame_end);
    }

    /// Checks END against the frames that were counted.
    fn check_end(&mut self, frame: &Frame<'_>, offset: u64) {
        // After damage, the count covers only the remaining frames.
        if EndBody::decode(frame.command) != Some(self.tally.body()) && self.damage.is_empty() {
            let (from, to) = (self.chain.position + 1, self.chain.position);
            self.report_damage(offset, from, to, "END does not match the content of the segment".to_owned());
        }
    }

    fn segment_id(&self) -> u64 {
        self.segment.as_ref().map_or(0, |segment| segment.id)
    }

    fn report_damage(&mut self, offset: u64, from: u64, to: u64, what: String) {
        let segment = self.segment_id();
        self.damage.push(Damage::of(segment, offset, from, to, what));
    }

    fn batch(&mut self, frame: &Frame<'_>, bytes: &Bytes, offset: u64, frame_end: u64) {
        let header = &frame.header;
        let mut versions = Vec::with_capacity(header.events as usize);
        let base = bytes.as_ptr() as usize;
        self.table.begin_frame(FrameName { number: header.number, checksum: header.checksum });
        for record in frame.records() {
            let at = record.as_ptr() as usize - base;
            let event = EventBytes::parse(bytes.slice(at + RECORD_HEADER_BYTES..at + record.len()));
            match event {
                Ok(event) => {
                    let version = version_in(record);
                    self.event(&event, version, offset + at as u64, versions.is_empty());
                    versions.push(version);
                }
                Err(error) => {
                    self.table.break_off_batch(header.recorded_at, offset + at as u64);
                    self.lose_event(offset + at as u64, error.to_string());
                }
            }
        }
        if self.table.len() > 0 {
            self.table.end_batch(header.recorded_at, frame_end);
        }
        if let Some((key, request)) = frame.command_key().filter(|_| versions.len() == header.events as usize)
            && !planted(Bug::KeysNotRebuilt)
        {
            self.table.insert_command(key, request, &versions);
        }
    }

    fn event(&mut self, event: &EventBytes, version: u64, offset: u64, is_first_of_frame: bool) {
        let mut indexed =
            IndexedEvent { stream: event.stream(), event_type: event.event_type(), id: event.id() };
        let place = u32::try_from(offset).expect("a segment is at most 1 GiB");
        let position = self.table.last() + 1;
        self.tables.see(&indexed, position, &self.table);
        if planted(Bug::IdsNotRebuilt) {
            indexed.id = EventId::from_u128(position.into());
        }
        let given = self.table.insert(&indexed, event.tags(), place, is_first_of_frame, || version);
        if given != version {
            let what = format!("stream `{}` has version {version} here, expected {given}", event.stream());
            self.report_damage(offset, position, position, what);
        }
    }

    /// Ends the active table if it is full.
    fn end_full_table(&mut self, header: &FrameHeader, frame_end: u64) {
        let position = header.next_position() - 1;
        let chain = ChainPosition {
            number: header.number,
            checksum: header.checksum,
            position,
            recorded_at: header.recorded_at,
        };
        let point = self.tally.point(self.segment_id(), frame_end, &chain);
        self.table_end = Some(point);
        if self.tables.is_full(self.table.bytes(), self.table_log_bytes, position) {
            self.end_table(point);
        }
    }

    /// Ends the active table after its last batch, and begins the next.
    fn end_table(&mut self, point: LogPoint) {
        // Runs must follow one another without a gap, so everything after damage stays in memory.
        assert!(self.table.last() == point.chain.position, "a table ends with a batch");
        let is_whole = !self.damage.iter().any(Damage::loses_events);
        let may_be_taken = is_whole && self.earlier.is_empty();
        let table = self.begin_table(point.chain.position + 1);
        let kept = if may_be_taken { self.tables.take(table, &point) } else { Some(table) };
        self.earlier.extend(kept.map(|table| (table, Some(point))));
    }

    /// Begins the next table, and returns the one before it.
    fn begin_table(&mut self, first: u64) -> State {
        let before = std::mem::replace(&mut self.table, State::new(first));
        self.table_log_bytes = 0;
        self.table_end = None;
        if let Some(segment) = &self.segment {
            self.table.begin_segment(Arc::clone(segment));
        }
        before
    }

    /// Continues at a position, after lost events. Tables are dense, so a new one begins there.
    fn skip_to(&mut self, position: u64) {
        let before = self.begin_table(position);
        if before.len() > 0 {
            self.earlier.push((before, None));
        }
    }

    /// Skips a record whose check is right but that is not an event. This program did not write it.
    fn lose_event(&mut self, offset: u64, what: String) {
        let position = self.table.last() + 1;
        self.skip_to(position + 1);
        self.report_damage(offset, position, position, what);
    }

    fn open_gap(&mut self, segment: u64, offset: u64) -> &mut Gap {
        self.gap.get_or_insert(Gap::new(segment, offset, self.chain))
    }

    /// Skips a segment of another history. Its frames end at `end`.
    fn refuse(&mut self, segment: u64, from: Option<u64>, end: ChainPosition) {
        let offset = from.unwrap_or(SegmentFile::first_frame_offset());
        self.open_gap(segment, offset).refused = Some(end);
    }

    fn open_missing(&mut self, segment: u64) {
        let first_lost = self.chain.position + 1;
        let gap = self.open_gap(segment, 0);
        gap.last = gap.last.max(first_lost);
    }

    /// Ends the gap at the next valid frame, and reports the missing positions.
    fn close_gap(&mut self, header: &FrameHeader) {
        let next = ChainPosition::before(header);
        let gap = self.gap.take().expect("there is a gap");
        self.report(gap, next.position, true, "no valid frame stands here");
        self.chain = next;
    }

    /// Ends a gap without a valid frame after it. Everything that the manifest proves to be durable is missing.
    fn close_gap_at_end(&mut self, manifest: &Manifest) {
        if let Some(gap) = self.gap.take() {
            let position = manifest.proven_position().max(self.chain.position).max(gap.last);
            self.report(gap, position, false, "no valid frame stands here or later");
            self.chain.position = position;
            self.chain.number = self.chain.number.max(manifest.proven_frame());
        }
    }

    fn report(&mut self, gap: Gap, last: u64, end_is_known: bool, what: &'static str) {
        let what = gap.what(what);
        let from = self.chain.position + 1;
        if last >= from {
            self.skip_to(last + 1);
        }
        let Gap { segment, offset, .. } = gap;
        self.damage.push(Damage { end_is_known, ..Damage::of(segment, offset, from, last, what) });
    }

    /// Finds listed segments after the last used one whose files are missing. They may have held frames, unless the
    /// manifest lists them as spares.
    fn missing_unused(&mut self, unused: &[Listed]) {
        let may_have_held_frames =
            |own: &&Listed| own.segment.is_none() && own.entry.state != SegmentState::Spare;
        if let Some(missing) = unused.iter().find(may_have_held_frames) {
            self.open_missing(missing.entry.header.id);
        }
    }
}

/// Links the tables of a load. The last of them grows on. Returns those that are to become runs.
fn link(
    earlier: Vec<(State, Option<LogPoint>)>,
    active: State,
    tables: &mut Vec<Arc<MemTable>>,
) -> Vec<FullTable> {
    let (states, mut ends): (Vec<_>, Vec<_>) = earlier.into_iter().unzip();
    ends.push(None);
    tables.extend(states.into_iter().chain([active]).map(MemTable::of));
    for pair in tables.windows(2) {
        pair[0].end_with(Arc::clone(&pair[1]));
    }
    let ended = tables.iter().zip(ends).filter_map(|(table, end)| Some((Arc::clone(table), end?)));
    ended.map(|(table, end)| FullTable::new(table, end)).collect()
}

/// The end of the log's frames: in the first segment after them, if there is one.
fn end_of_frames(listed: &[Listed], survey: &TailSurvey) -> (u64, u64) {
    let unused = listed.get(survey.at.map_or(0, |at| at + 1));
    match (unused, survey.at) {
        (Some(own), _) => (own.entry.header.id, SegmentFile::first_frame_offset()),
        (None, Some(at)) => (listed[at].entry.header.id, survey.stop),
        (None, None) => (0, 0),
    }
}
