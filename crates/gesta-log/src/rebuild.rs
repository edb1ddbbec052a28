//! Rebuild: builds the index of a log that is already open.
//!
//! Open settles the tail and counts the bytes that no run covers. If there are many, the log opens at once for reads
//! by position ([`Frames`]), and every operation that needs the index fails with its progress. Several threads build
//! ranges of segments into runs (`ranges`). Then the log is loaded like any other, from the end of those runs on, and
//! takes appends.
//!
//! *Invariants*
//! - No operation is answered from an incomplete index, and nothing is appended before the index is complete.
//! - Ranges are built only of a log without an error. An error in a range ends the work on ranges. The load then
//!   finds the error in the order of the log and reports it, so one piece of code judges damage.
//! - A log that is known to be damaged or read-only at open is loaded before open returns: opening early has no
//!   benefit there.

mod ranges;

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex};

use crate::damage::Damage;
use crate::env::Env;
use crate::error::OpenError;
use crate::folder::Folder;
use crate::format::{Manifest, SegmentState};
use crate::index::{Index, RunFiles};
use crate::limits::BUILT_IN_OPEN_TABLES;
use crate::options::Options;
use crate::recover::{Frames, Listed, Ready, Recovery, RunPolicy, Settled, ready};
use crate::segment::SegmentFile;
use crate::shared::Building;
use ranges::Ranges;

/// A log whose index is incomplete, and the state that the rebuild needs.
pub(crate) struct Rebuild {
    env: Arc<dyn Env>,
    root: PathBuf,
    options: Options,
    files: RunFiles,
    manifest: Manifest,
    settled: Settled,
    recovery: Recovery,
    building: Arc<Building>,
}

impl Rebuild {
    /// The rebuild of a settled log, if its index should be built after open. Returns the log otherwise.
    pub(crate) fn of(
        env: &Arc<dyn Env>,
        folder: &Folder<'_>,
        settled: Settled,
        (manifest, recovery): (&Manifest, &Recovery),
        files: &RunFiles,
        options: &Options,
    ) -> Result<Result<Self, Settled>, OpenError> {
        let is_sound = recovery.read_only.is_none() && !settled.is_read_only;
        if !is_sound || !is_worth_it(&settled, options) {
            return Ok(Err(settled));
        }
        let frames = Frames::of(&settled.listed, &settled.survey).map_err(folder.recover_error())?;
        let Some(frames) = frames.filter(|frames| is_all(frames, &settled, manifest)) else {
            return Ok(Err(settled));
        };
        let building = Building {
            frames,
            known: settled.known.chain.position,
            done: AtomicU64::new(0),
            is_done: AtomicBool::new(false),
            stop: AtomicBool::new(false),
            state: Mutex::default(),
            changed: Condvar::new(),
        };
        let mut settled = settled;
        // They are not needed any more, and there may be many.
        settled.survey.frames = Vec::new();
        Ok(Ok(Self {
            env: Arc::clone(env),
            root: folder.root.to_owned(),
            options: options.clone(),
            files: files.clone(),
            manifest: manifest.clone(),
            settled,
            recovery: recovery.clone(),
            building: Arc::new(building),
        }))
    }

    pub(crate) const fn building(&self) -> &Arc<Building> {
        &self.building
    }

    /// The complete part of the index.
    pub(crate) fn index(&self) -> Index {
        Index::in_part(self.settled.runs.clone(), self.settled.known.chain.position + 1)
    }

    /// Builds the index on `threads` threads, or on the caller's thread if `threads` is 1, and loads the log. After a
    /// failure, finished runs are kept.
    pub(crate) fn attempt(&mut self, threads: usize) -> Result<Ready, OpenError> {
        let building = Arc::clone(&self.building);
        let env = Arc::clone(&self.env);
        let root = self.root.clone();
        let folder = Folder { env: &*env, root: &root };
        self.note_done(self.settled.known.chain.position);
        let limits = self.options.table_limits();
        if is_worth_it(&self.settled, &self.options) {
            let ranges = Ranges {
                folder: &folder,
                files: &self.files,
                limits,
                building: &building,
                manifest: &mut self.manifest,
                settled: &mut self.settled,
            };
            ranges.build(threads)?;
            self.note_done(self.settled.known.chain.position);
        }
        let mut recovery = self.recovery.clone();
        let policy = RunPolicy { files: &self.files, limits };
        let mut ready =
            ready(&folder, &mut self.manifest, &self.settled, &mut recovery, &policy, Some(&building.stop))?;
        self.check_shown(&mut ready);
        Ok(ready)
    }

    fn note_done(&self, position: u64) {
        self.building.done.store(position - self.building.known, Ordering::Relaxed);
    }

    /// Checks that every event shown to readers is in the loaded log, and reports the others as damage.
    fn check_shown(&self, ready: &mut Ready) {
        let shown = self.building.frames.last_position();
        let last = ready.tail.chain.position;
        if last < shown {
            let what = "events that were read before the index was complete are missing";
            let segment = self.settled.listed.last().map_or(0, |own| own.entry.header.id);
            ready.damage.push(Damage::of(segment, 0, last + 1, shown, what));
            ready.recovery.note_damage(&self.settled.survey, &ready.damage);
            ready.writable = None;
        }
    }
}

/// Whether open should not wait for the index: there is more to index than the tables in memory of a killed log hold.
fn is_worth_it(settled: &Settled, options: &Options) -> bool {
    let Settled { listed, survey, known, .. } = settled;
    let Some(last) = survey.at.filter(|last| listed[*last].entry.header.id != known.segment) else {
        return false;
    };
    let begin = listed.iter().position(|own| own.entry.header.id == known.segment).unwrap_or(0);
    let before = listed[begin..last].iter().map(frames_len);
    let in_last = survey.stop.saturating_sub(SegmentFile::first_frame_offset());
    let covered = known.offset.saturating_sub(SegmentFile::first_frame_offset());
    let bytes = before.fold(in_last, u64::saturating_add).saturating_sub(covered);
    bytes > BUILT_IN_OPEN_TABLES * options.table_limits().log_bytes
}

/// The length of a segment's frames, according to the manifest.
fn frames_len(own: &Listed) -> u64 {
    let end = match &own.entry.state {
        SegmentState::Sealed(sealed) => sealed.end,
        SegmentState::Active | SegmentState::Spare => own.entry.size_bytes,
    };
    end.saturating_sub(SegmentFile::first_frame_offset())
}

/// Whether the frames contain everything that is known to be durable.
fn is_all(frames: &Frames, settled: &Settled, manifest: &Manifest) -> bool {
    let last = frames.last_position();
    last >= manifest.proven_position() && last > settled.known.chain.position
}
