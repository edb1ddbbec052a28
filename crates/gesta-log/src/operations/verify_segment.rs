//! Verifies one sealed segment: header, frames, records, chain and END, against the manifest.
//!
//! A sealed segment never changes, so this takes no lock and disturbs no one. Backups, their check and scrubs share
//! it.

use crate::damage::Damage;
use crate::format::{
    EndBody, FRAME_ALIGNMENT, Frame, FrameHeader, FrameKind, Sealed, SegmentEntry, last_frame, last_position,
    sealed_len,
};
use crate::recover::{Gap, RecoverError, check_header};
use crate::segment::{ChainPosition, SegmentFile, Stop, Tally, Walker};

/// The valid part of a segment, and its damage.
#[derive(Debug, Default)]
pub(crate) struct Proof {
    pub(crate) frames: u64,
    pub(crate) events: u64,
    pub(crate) damage: Vec<Damage>,
    /// Damaged marks between whole batches: no event is lost with them, but their content stands nowhere else.
    pub(crate) flaws: Vec<Damage>,
    /// The place that the next segment must continue, if it was verified.
    pub(crate) end: Option<ChainPosition>,
}

struct Prover<'a> {
    walker: Walker<'a>,
    segment: &'a SegmentFile,
    sealed: Sealed,
    tally: Tally,
    chain: ChainPosition,
    damage: Vec<Damage>,
    flaws: Vec<Damage>,
    /// Whether a place without a valid frame was found. Then not every header was counted.
    has_gap: bool,
    /// Whether the segment continues the one before it; `true` if that is unknown.
    continues: bool,
    /// Whether the last frame is valid.
    is_end_known: bool,
}

/// Damage that covers all events of a segment.
pub(crate) fn all_lost(entry: &SegmentEntry, sealed: &Sealed, what: impl Into<String>) -> Damage {
    let (from, to) = (sealed.first_position, last_position(sealed));
    Damage::of(entry.header.id, 0, from, to, what)
}

/// Verifies every byte of a sealed segment, and that it continues the one before, if the end of that one was
/// verified.
pub(crate) fn prove(
    segment: &SegmentFile,
    entry: &SegmentEntry,
    sealed: &Sealed,
    before: Option<&ChainPosition>,
) -> Result<Proof, RecoverError> {
    let mut prover = Prover::new(segment, *sealed)?;
    prover.damage.extend(check_header(segment, &entry.header)?);
    prover.check_len();
    prover.begin(before)?;
    let mut offset = SegmentFile::first_frame_offset();
    while offset < sealed.end {
        offset = prover.pass(offset)?;
    }
    prover.check_end()?;
    Ok(prover.finish())
}

impl<'a> Prover<'a> {
    fn new(segment: &'a SegmentFile, sealed: Sealed) -> Result<Self, RecoverError> {
        let before = ChainPosition {
            number: sealed.first_frame.saturating_sub(1),
            position: sealed.first_position.saturating_sub(1),
            ..ChainPosition::START
        };
        let (walker, tally) = (Walker::new(segment)?, Tally::begin(&segment.salt, &before));
        Ok(Self {
            walker,
            segment,
            sealed,
            tally,
            chain: before,
            damage: Vec::new(),
            flaws: Vec::new(),
            has_gap: false,
            continues: true,
            is_end_known: true,
        })
    }

    fn check_len(&mut self) {
        let (len, expected) = (self.walker.file_len(), sealed_len(&self.sealed));
        if len != expected {
            let what = format!("the file has {len} bytes where it was sealed with {expected}");
            self.flaw(len.min(expected), what);
        }
    }

    /// Checks the first frame: it must be a START that continues the segment before.
    fn begin(&mut self, before: Option<&ChainPosition>) -> Result<(), RecoverError> {
        let first = SegmentFile::first_frame_offset();
        let Some((_, header)) = self.walker.frame_at(first)? else {
            return self.begin_without_start(before);
        };
        if header.kind != FrameKind::Start {
            self.flaw(first, "the first frame is no START".to_owned());
        }
        if before.is_some_and(|before| !before.accepts(&header)) {
            self.flaw(first, "it does not continue the segment before it".to_owned());
            self.continues = false;
        }
        // The frame continues one in another file. If that file was verified, the link was checked above.
        self.chain.checksum = header.previous;
        Ok(())
    }

    /// START takes no number, so the first numbered frame is chained to the same frame as START.
    fn begin_without_start(&mut self, before: Option<&ChainPosition>) -> Result<(), RecoverError> {
        if let Some(before) = before {
            self.chain.checksum = before.checksum;
        } else if let Some((_, header)) = self.walker.next_header(SegmentFile::first_frame_offset())?
            && header.number == self.sealed.first_frame
        {
            self.chain.checksum = header.previous;
        }
        Ok(())
    }

    /// Verifies frames up to damage, and skips the damage. Returns where to continue.
    fn pass(&mut self, from: u64) -> Result<u64, RecoverError> {
        let limit = self.sealed.end;
        let tally = &mut self.tally;
        let stop = self.walker.walk(from, limit, &mut self.chain, |frame, _, offset| {
            tally.add(&frame.header, offset);
        })?;
        match stop {
            Stop::NoFrame { offset } if offset >= limit => Ok(offset),
            Stop::NoFrame { offset } => self.pass_damage(offset, offset),
            // An END before the end of the segment ends nothing.
            Stop::End { offset } => self.pass_damage(offset, offset + FRAME_ALIGNMENT as u64),
        }
    }

    /// Skips the damage at `offset`. Searches from `from` on for the frame that continues the log.
    fn pass_damage(&mut self, offset: u64, from: u64) -> Result<u64, RecoverError> {
        self.has_gap = true;
        let mut gap = Gap::new(self.segment.id, offset, self.chain);
        let next = self.next_own(&mut gap, from)?;
        let from = self.chain.position + 1;
        let to = match &next {
            Some((_, header)) => header.position - 1,
            None => last_position(&self.sealed),
        };
        let what = gap.what("no valid frame stands here");
        let damage = Damage::of(self.segment.id, offset, from, to, what);
        // A mark, START or idle, with valid frames after it.
        match next.is_some() && from > to && !gap.is_refused() {
            true => self.flaws.push(damage),
            false => self.damage.push(damage),
        }
        match next {
            Some((at, header)) => {
                self.chain = ChainPosition::before(&header);
                Ok(at)
            }
            None => {
                (self.chain.number, self.chain.position) = (last_frame(&self.sealed), to);
                self.is_end_known = false;
                Ok(self.sealed.end)
            }
        }
    }

    /// The next frame that continues the log, by the same rule as an open: an event that an open would not show is
    /// lost.
    fn next_own(&mut self, gap: &mut Gap, from: u64) -> Result<Option<(u64, FrameHeader)>, RecoverError> {
        let mut offset = from;
        while let Some((at, header)) =
            self.walker.next_header(offset)?.filter(|(at, _)| *at < self.sealed.end)
        {
            if gap.ends_with(&header, self.walker.is_whole(at)?) {
                return Ok(Some((at, header)));
            }
            offset = at + FRAME_ALIGNMENT as u64;
        }
        Ok(None)
    }

    /// Checks that the frames are the sealed ones, and that END stands at its place with the right totals.
    fn check_end(&mut self) -> Result<(), RecoverError> {
        let end = self.sealed.end;
        let is_own = self.tally.sealed(end) == self.sealed;
        if !is_own && (!self.has_gap || !self.continues) {
            self.refuse();
            return Ok(());
        }
        let frame = self.walker.frame_at(end)?.filter(|(_, header)| header.kind == FrameKind::End);
        let body = frame.and_then(|(bytes, _)| {
            let frame = Frame::read(&self.segment.salt, end, &bytes).ok()?;
            EndBody::decode(frame.command)
        });
        match body {
            None => self.flaw(end, "no END stands here".to_owned()),
            Some(body) if is_own && body != self.tally.body() => {
                self.flaw(end, "END does not match the content of the segment".to_owned());
            }
            // After damage the totals cover the rest only.
            Some(_) => {}
        }
        Ok(())
    }

    /// Rejects the whole segment: its frames are valid, but are not the ones that were sealed.
    fn refuse(&mut self) {
        let (segment, offset) = (self.segment.id, SegmentFile::first_frame_offset());
        let (from, to) = (self.sealed.first_position, last_position(&self.sealed));
        let what = "frames of another history of the log stand here";
        self.damage = vec![Damage::of(segment, offset, from, to, what)];
        self.tally = Tally::begin(&self.segment.salt, &self.chain);
        self.is_end_known = false;
    }

    fn flaw(&mut self, offset: u64, what: String) {
        let (from, to) = (self.chain.position + 1, self.chain.position);
        self.damage.push(Damage::of(self.segment.id, offset, from, to, what));
    }

    fn finish(self) -> Proof {
        let EndBody { frames, events, .. } = self.tally.body();
        let end = self.is_end_known.then_some(self.chain);
        Proof { frames, events, damage: self.damage, flaws: self.flaws, end }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::env::Mode;
    use crate::env::OsEnv;
    use crate::format::{Manifest, SegmentState};
    use crate::store::LogStore;
    use crate::testing::batch;
    use crate::testing::options;

    #[test]
    fn a_segment_must_continue_the_one_before_it() {
        let folder = tempfile::tempdir().unwrap();
        let log = LogStore::open(folder.path(), &options()).unwrap();
        for number in 1..=40 {
            log.append_blocking(batch(number)).unwrap();
        }
        drop(log);
        let manifest = Manifest::load(&OsEnv, folder.path()).unwrap().unwrap();
        let prove = |at: usize, before: ChainPosition| {
            let entry = &manifest.segments[at];
            let SegmentState::Sealed(sealed) = entry.state else { panic!("it is sealed") };
            let segment = SegmentFile::open(&OsEnv, folder.path(), &entry.header, Mode::Read).unwrap();
            super::prove(&segment, entry, &sealed, Some(&before)).unwrap()
        };
        let first = prove(0, ChainPosition::START);
        let end = first.end.unwrap();
        assert_eq!((first.damage.len(), prove(1, end).damage.len()), (0, 0));
        // A segment of another log with as many frames before it.
        let damage = prove(1, ChainPosition { checksum: end.checksum ^ 1, ..end }).damage;
        assert!(damage[0].what.contains("does not continue") && !damage[0].loses_events(), "{damage:?}");
    }
}
