//! Makes the tail durable. Torn bytes are moved to quarantine and cut off. Valid frames that may never have reached
//! the disk are copied into a new segment, or, if they have no events, written again.
//!
//! A crash can interrupt every step, and the step can be repeated: nothing is cut before its content is durable and
//! listed elsewhere.

use std::path::Path;
use std::sync::Arc;

use super::error::{RecoverError, io_error};
use super::settled_end::{SettledEnd, settled_end};
use super::tail::{FrameAt, TailState, TailSurvey};
use super::{Listed, Recovery};
use crate::bugs::{Bug, planted};
use crate::env::{Env, has_no_room, write_whole};
use crate::folder::segment_path;
use crate::format::{
    DurableMark, EndBody, Frame, FrameKind, Manifest, Prepared, Seal, Sealed, SegmentEntry, SegmentRole,
    SegmentState, StartBody, last_position, mark_len, version_in, write_mark,
};
use crate::segment::{
    ChainPosition, LogPoint, SegmentEnd, SegmentFile, Stop, Tally, Walker, new_header, write_end,
};

/// The log under repair.
pub(crate) struct Rescue<'a> {
    pub(crate) env: &'a dyn Env,
    pub(crate) root: &'a Path,
    pub(crate) manifest: &'a mut Manifest,
    pub(crate) report: &'a mut Recovery,
}

impl Rescue<'_> {
    /// Brings the last used segment into a state that the log can continue from.
    pub(crate) fn settle(&mut self, listed: &[Listed], survey: &TailSurvey) -> Result<(), RecoverError> {
        let Some(at) = survey.at else { return Ok(()) };
        for (before, next) in listed[..at].iter().zip(&listed[1..]) {
            self.finish(before, next)?;
        }
        let own = &listed[at];
        let segment = own.segment.as_ref().expect("a surveyed segment is open");
        match survey.state {
            TailState::Unproven | TailState::Corrupt => return self.write_beyond_again(listed, survey),
            TailState::Sealed if matches!(own.entry.state, SegmentState::Sealed(_)) => {
                return self.end_source_again(listed, at);
            }
            TailState::Sealed => return self.seal_at(segment, &survey.from, &survey.frames, survey.stop),
            TailState::Torn { to } => self.quarantine(segment, survey.stop, to)?,
            TailState::Clean => self.make_whole(segment, own.entry.size_bytes)?,
        }
        if planted(Bug::TrustPageCache) && survey.state == TailState::Clean {
            return Ok(());
        }
        let beyond = survey.beyond_watermark();
        let holds_events = beyond.iter().any(|frame| frame.header.kind == FrameKind::Events);
        if let TailState::Torn { .. } = survey.state
            && !holds_events
        {
            self.cut(segment, survey.stop, own.entry.size_bytes)?;
        }
        // START is unnumbered, so no watermark covers it: it may not be on the disk.
        let start = survey.frames.first().filter(|frame| frame.header.kind == FrameKind::Start);
        self.write_again(segment, start.map_or(&[], std::slice::from_ref))?;
        if holds_events {
            return self.copy_out(own, segment, survey);
        }
        self.write_again(segment, beyond)?;
        // Frames are appended only to segments that this store made: after a restore, the log continues in a new one.
        let is_foreign = own.entry.header.origin != self.manifest.store;
        if is_foreign && survey.holds_frames() {
            self.seal_at(segment, &survey.from, &survey.frames, survey.stop)?;
        }
        Ok(())
    }

    /// Writes the frames that are not known to be synced again, in place, and syncs them.
    pub(crate) fn write_beyond_again(
        &self,
        listed: &[Listed],
        survey: &TailSurvey,
    ) -> Result<(), RecoverError> {
        match survey.at.and_then(|at| listed[at].segment.as_ref()) {
            Some(segment) => self.write_again(segment, survey.beyond_watermark()),
            None => Ok(()),
        }
    }

    /// Copies the bytes of a torn write to quarantine, durably, before they are cut.
    fn quarantine(&mut self, segment: &SegmentFile, from: u64, to: u64) -> Result<(), RecoverError> {
        if planted(Bug::QuarantineSkipped) {
            return Ok(());
        }
        let folder = self.root.join("quarantine");
        let mut walker = Walker::new(segment)?;
        // The copy begins with the first byte that is not zero.
        let from = walker.first_nonzero(from)?.min(to);
        let bytes = walker.bytes(from, usize::try_from(to - from).expect("a tail fits memory"))?;
        let epoch = self.manifest.boot_epoch;
        let path = folder.join(format!("{:012}-{from}-{epoch}.torn", segment.id));
        let keep = || {
            write_whole(self.env, &path, &bytes)?.sync_all()?;
            self.env.sync_dir(&folder)
        };
        keep().map_err(io_error("keeping the bytes of a torn write"))?;
        self.report.quarantined_bytes += to - from;
        Ok(())
    }

    /// Moves the bytes between two offsets to quarantine on an operator's request, and makes the room from the first
    /// offset on writable again.
    pub(crate) fn drop_behind(
        &mut self,
        segment: &SegmentFile,
        from: u64,
        to: u64,
        size_bytes: u64,
    ) -> Result<(), RecoverError> {
        self.quarantine(segment, from, to)?;
        self.cut(segment, from, size_bytes)
    }

    /// Removes everything from an offset on, and makes the room writable again.
    fn cut(&mut self, segment: &SegmentFile, at: u64, size_bytes: u64) -> Result<(), RecoverError> {
        if planted(Bug::NoZerosAfterCut) {
            return Ok(());
        }
        let cut = || {
            segment.file.set_len(at)?;
            segment.file.sync_all()
        };
        cut().map_err(io_error(format!("cutting the torn end of segment {}", segment.id)))?;
        self.make_whole(segment, size_bytes.max(at))
    }

    /// Restores the full length of a segment after an interrupted cut. If the disk is full, the segment's size
    /// becomes the length of its file.
    fn make_whole(&mut self, segment: &SegmentFile, size_bytes: u64) -> Result<(), RecoverError> {
        let file = &segment.file;
        let fill = || {
            let len = file.len()?;
            if len < size_bytes {
                file.fill_zeros(len, size_bytes)?;
                file.sync_all()?;
            }
            Ok(())
        };
        let what = || io_error(format!("filling segment {} with zeros", segment.id));
        match fill() {
            Err(error) if has_no_room(&error) => {
                let len = file.len().map_err(what())?;
                self.entry_mut(segment.id).size_bytes = len.min(size_bytes);
                Ok(())
            }
            filled => filled.map_err(what()),
        }
    }

    /// Seals a segment if a crash came after the log continued in the next one and before the seal. Its end is
    /// settled.
    fn finish(&mut self, own: &Listed, next: &Listed) -> Result<(), RecoverError> {
        let (Some(segment), Some(settled)) = (&own.segment, settled_end(own, Some(next))?) else {
            return Ok(());
        };
        let len = segment.file.len().map_err(io_error(format!("reading segment {}", segment.id)))?;
        let is_sealed = matches!(own.entry.state, SegmentState::Sealed(_));
        if is_sealed && len == settled.offset + mark_len(EndBody::BYTES) as u64 {
            return Ok(());
        }
        match frames_up_to(segment, settled)? {
            Some((from, frames)) => self.seal_at(segment, &from, &frames, settled.offset),
            // The load step reports this damage.
            None => Ok(()),
        }
    }

    /// Writes the end of the last copy's source again. The source is ended after the copy is listed; if the sync then
    /// failed, the end may be in memory only. Once the log continues, it must be durable.
    fn end_source_again(&mut self, listed: &[Listed], copy: usize) -> Result<(), RecoverError> {
        if listed[copy].entry.header.role != SegmentRole::Recovery {
            return Ok(());
        }
        let Some(source) = copy.checked_sub(1).map(|at| &listed[at]) else { return Ok(()) };
        let (Some(segment), SegmentState::Sealed(sealed)) = (&source.segment, &source.entry.state) else {
            return Ok(());
        };
        match frames_up_to(segment, SettledEnd::of(sealed))? {
            Some((from, frames)) => {
                self.write_again(segment, &frames[..1])?;
                self.seal_at(segment, &from, &frames, sealed.end)
            }
            None => Ok(()),
        }
    }

    /// Moves the remains of a torn first write in an unused segment to quarantine.
    pub(crate) fn quarantine_spare(&mut self, segment: &SegmentFile, to: u64) -> Result<(), RecoverError> {
        self.quarantine(segment, SegmentFile::first_frame_offset(), to)
    }

    /// Writes frames again, with the same bytes, and syncs them: an earlier sync that failed may have left them in
    /// memory only.
    fn write_again(&self, segment: &SegmentFile, frames: &[FrameAt]) -> Result<(), RecoverError> {
        if planted(Bug::BeyondNotWrittenAgain) {
            return Ok(());
        }
        let mut walker = Walker::new(segment)?;
        for frame in frames {
            let bytes = walker.bytes(frame.offset, frame.header.length)?;
            let written = segment.file.write_at(&[&bytes], frame.offset);
            written.map_err(io_error(format!("writing the end of segment {} again", segment.id)))?;
        }
        segment.file.sync_all().map_err(io_error(format!("syncing segment {}", segment.id)))
    }

    /// Seals a segment at `end`, after these frames, which follow `from`, and records it in the manifest.
    fn seal_at(
        &mut self,
        segment: &SegmentFile,
        from: &LogPoint,
        frames: &[FrameAt],
        end: u64,
    ) -> Result<(), RecoverError> {
        let end = end_of(segment, from, frames, end);
        write_end(segment, &end).map_err(io_error(format!("ending segment {}", segment.id)))?;
        self.entry_mut(segment.id).state = SegmentState::Sealed(end.sealed);
        let Seal { number, previous: checksum, .. } = end.seal;
        self.manifest.durable.raise(DurableMark { number, checksum, position: last_position(&end.sealed) });
        self.replace_manifest()
    }

    /// Copies every frame beyond the watermark into a new sealed segment, then cuts the original.
    fn copy_out(
        &mut self,
        own: &Listed,
        segment: &SegmentFile,
        survey: &TailSurvey,
    ) -> Result<(), RecoverError> {
        let beyond = survey.beyond_watermark();
        let kept = &survey.frames[..survey.frames.len() - beyond.len()];
        let cut_at = beyond[0].offset;
        let end = end_of(segment, &survey.from, kept, cut_at);
        let (copy, mark) = self.write_copy(segment, beyond, &end)?;
        if planted(Bug::CutBeforeListed) {
            write_end(segment, &end).map_err(io_error("ending it too early"))?;
        }

        let at = self.manifest.segments.iter().position(|entry| entry.header.id == own.entry.header.id);
        let at = at.expect("the segment is listed");
        self.manifest.segments[at].state = SegmentState::Sealed(end.sealed);
        self.manifest.segments.insert(at + 1, copy);
        // The copied frames have new checksums.
        self.manifest.durable.raise(mark);
        self.replace_manifest()?;
        write_end(segment, &end).map_err(io_error(format!("ending segment {}", segment.id)))?;
        self.report.rescued_frames += beyond.len() as u64;
        Ok(())
    }

    /// Writes the frames of a source after its `end` into a new segment: sealed, durable and in its place, but not
    /// listed yet.
    fn write_copy(
        &self,
        source: &SegmentFile,
        frames: &[FrameAt],
        end: &SegmentEnd,
    ) -> Result<(SegmentEntry, DurableMark), RecoverError> {
        let header =
            new_header(self.env, self.manifest, SegmentRole::Recovery).map_err(io_error("drawing a salt"))?;
        let (path, temporary) = (
            segment_path(self.root, header.id),
            segment_path(self.root, header.id).with_extension("seg.tmp"),
        );
        let start = StartBody {
            previous_segment: source.id,
            previous_end: end.sealed.end,
            previous_checksum: end.sealed.checksum,
            manifest_generation: self.manifest.generation + 1,
            store: self.manifest.store,
            boot_epoch: self.manifest.boot_epoch,
        };
        let (bytes, sealed, mark) = copy_bytes(source, frames, &header.salt, &start, &end.seal)?;
        let bytes = [header.encode(), bytes].concat();
        let write = || {
            let copy = write_whole(self.env, &temporary, &bytes)?;
            if !planted(Bug::CopyNotSynced) {
                copy.sync_all()?;
            }
            self.env.rename(&temporary, &path)?;
            self.env.sync_dir(&self.root.join("segments"))
        };
        write().map_err(io_error(format!("copying the end of segment {}", source.id)))?;
        let size_bytes = bytes.len() as u64;
        Ok((SegmentEntry { header, size_bytes, state: SegmentState::Sealed(sealed) }, mark))
    }

    fn entry_mut(&mut self, id: u64) -> &mut SegmentEntry {
        let entry = self.manifest.segments.iter_mut().find(|entry| entry.header.id == id);
        entry.expect("the segment is listed")
    }

    fn replace_manifest(&mut self) -> Result<(), RecoverError> {
        self.manifest.replace(self.env, self.root).map_err(io_error("replacing the manifest"))
    }
}

/// The frames of a segment up to its end, and where they begin; `None` if they do not end there, or if they are
/// different frames.
fn frames_up_to(
    segment: &SegmentFile,
    end: SettledEnd,
) -> Result<Option<(LogPoint, Vec<FrameAt>)>, RecoverError> {
    let mut frames = Vec::new();
    let mut walker = Walker::new(segment)?;
    let first = SegmentFile::first_frame_offset();
    let Some((_, header)) = walker.frame_at(first)? else { return Ok(None) };
    let mut chain = ChainPosition::before(&header);
    let from = LogPoint::begin(segment.id, &segment.salt, &chain);
    let mut tally = Tally::resume(&from);
    let stop = walker.walk(first, end.offset, &mut chain, |frame, _, offset| {
        frames.push(FrameAt { offset, header: frame.header });
        tally.add(&frame.header, offset);
    })?;
    let ends_there = stop == Stop::NoFrame { offset: end.offset }
        && !frames.is_empty()
        && tally.body().checksum == end.checksum;
    Ok(ends_there.then_some((from, frames)))
}

/// The end of a segment at an offset, after these frames, which follow `from`.
fn end_of(segment: &SegmentFile, from: &LogPoint, frames: &[FrameAt], end: u64) -> SegmentEnd {
    let last = frames.last().map_or(from.offset, |frame| frame.offset + frame.header.length as u64);
    assert!(last == end, "a segment ends behind its last frame");
    let (mut tally, mut chain) = (Tally::resume(from), from.chain);
    for frame in frames {
        tally.add(&frame.header, frame.offset);
        chain.pass(&frame.header);
    }
    tally.end_at(segment, end, &chain)
}

/// The bytes of a copy, START to END, and the mark of its last frame. Each frame is verified in the source before it
/// is sealed for its new place.
fn copy_bytes(
    source: &SegmentFile,
    frames: &[FrameAt],
    salt: &[u8; 16],
    start: &StartBody,
    previous: &Seal,
) -> Result<(Vec<u8>, Sealed, DurableMark), RecoverError> {
    let target = SegmentFile { id: 0, salt: *salt, file: Arc::clone(&source.file) };
    let first = SegmentFile::first_frame_offset();
    let mut chain = ChainPosition {
        number: previous.number,
        checksum: previous.previous,
        position: previous.position - 1,
        recorded_at: previous.recorded_at,
    };
    let (mut bytes, mut tally) = (Vec::new(), Tally::begin(salt, &chain));
    let start_seal = Seal { salt: *salt, offset: first, ..*previous };
    tally.add_start(write_mark(&mut bytes, FrameKind::Start, &start_seal, &start.encode()));
    let mut walker = Walker::new(source)?;
    for frame in frames {
        let original = walker.bytes(frame.offset, frame.header.length)?;
        let proven = Frame::read(&source.salt, frame.offset, &original).expect("the survey verified it");
        let header = proven.header;
        assert!(header.number == chain.number + 1, "numbered frames follow one another");
        let seal = Seal {
            salt: *salt,
            offset: first + bytes.len() as u64,
            number: header.number,
            position: header.position,
            durable: header.durable,
            recorded_at: header.recorded_at,
            previous: chain.checksum,
        };
        let checksum = if header.kind == FrameKind::Events {
            let mut copy = Prepared::reopen(&proven);
            let versions = proven.records().map(version_in).collect::<Vec<_>>();
            let checksum = copy.seal(&seal, versions);
            bytes.extend_from_slice(copy.bytes());
            checksum
        } else {
            write_mark(&mut bytes, header.kind, &seal, proven.command)
        };
        let events = u64::from(header.events);
        tally.add_numbered(seal.offset, checksum, events, header.recorded_at);
        chain.advance(checksum, events, header.recorded_at);
    }
    let end = tally.end_at(&target, first + bytes.len() as u64, &chain);
    bytes.extend_from_slice(&end.frame());
    Ok((bytes, end.sealed, DurableMark::of(&chain)))
}
