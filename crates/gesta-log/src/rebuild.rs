//! Rebuild: the index of a log that is open already is built beside it.
//!
//! Open settles the tail and counts what no run covers. Where that is much, the log is open from then on for reads by position
//! ([`Frames`]), and everything that needs the index says how far it is. Ranges of segments are built into runs by several threads
//! (`ranges`); then the log is loaded as any other, from the end of those runs on, and takes writes.
//!
//! *Invariants*
//! - Nothing is answered from a part of the index, and nothing is appended before all of it is there.
//! - Ranges are only ever built of a log in which nothing is wrong. Where anything is, building them ends, and the load finds it, in the
//!   order of the log, and reports it: one code that judges damage.
//! - A log that is known to be damaged or read-only when it is opened is loaded before open returns: there is nothing to gain.

mod ranges;

use std::ops::ControlFlow;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use crate::damage::Damage;
use crate::env::Env;
use crate::folder::{Folder, RunPolicy, Settled};
use crate::index::{Fault, Index, RunFiles};
use crate::limits::{BUILT_IN_OPEN_TABLES, retry_pause};
use crate::manifest::{Manifest, SegmentState};
use crate::open::{Options, Ready, ready};
use crate::open_error::OpenError;
use crate::read::Frames;
use crate::recover::{Listed, Recovery};
use crate::segment::SegmentFile;
use ranges::Ranges;

/// How far the index is that is built anew.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IndexProgress {
    /// Events that are indexed, of those that were not when the log was opened.
    pub done: u64,
    /// All of those.
    pub of: u64,
    /// Why the last attempt failed, if it did. Another one follows after a pause.
    pub failure: Option<String>,
}

/// An index that is built beside the open log, as everybody else sees it.
pub(crate) struct Building {
    pub(crate) frames: Frames,
    /// The last position that runs covered when the log was opened.
    known: u64,
    done: AtomicU64,
    is_done: AtomicBool,
    stop: AtomicBool,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    failure: Option<String>,
    failures: u64,
    /// Nobody tries any more.
    is_over: bool,
}

/// A log that is still to be indexed, and everything that takes.
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

impl Building {
    /// Says how far the index is, as long as it is not whole.
    pub(crate) fn check_done(&self) -> Result<(), Fault> {
        match self.progress() {
            None => Ok(()),
            Some(IndexProgress { done, of, failure }) => Err(Fault::Building { done, of, failure }),
        }
    }

    /// How far it is; `None` once it is whole.
    pub(crate) fn progress(&self) -> Option<IndexProgress> {
        if self.is_done.load(Ordering::Acquire) {
            return None;
        }
        let failure = self.lock().failure.clone();
        let of = self.frames.last_position() - self.known;
        Some(IndexProgress { done: self.done.load(Ordering::Relaxed).min(of), of, failure })
    }

    /// From now on it is asked.
    pub(crate) fn finish(&self) {
        self.is_done.store(true, Ordering::Release);
        self.end();
    }

    /// Ends the work on it soon.
    pub(crate) fn stop(&self) {
        self.stop.store(true, Ordering::Relaxed);
        self.end();
    }

    /// Nobody works on it any more.
    pub(crate) fn end(&self) {
        self.lock().is_over = true;
        self.changed.notify_all();
    }

    pub(crate) fn is_stopped(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }

    /// So many more events are in runs.
    fn note_built(&self, events: u64) {
        self.done.fetch_add(events, Ordering::Relaxed);
    }

    /// Remembers why an attempt failed.
    pub(crate) fn fail(&self, failure: String) {
        tracing::warn!(failure, "the index could not be built anew");
        let mut state = self.lock();
        state.failure = Some(failure);
        state.failures += 1;
        drop(state);
        self.changed.notify_all();
    }

    /// Waits before another attempt; breaks where there is to be none.
    pub(crate) fn pause(&self, failures: u32) -> ControlFlow<()> {
        let waited =
            self.changed.wait_timeout_while(self.lock(), retry_pause(failures), |state| !state.is_over);
        match waited.unwrap_or_else(PoisonError::into_inner).0.is_over {
            true => ControlFlow::Break(()),
            false => ControlFlow::Continue(()),
        }
    }

    /// Waits until it is whole, or another attempt failed, or nobody works on it.
    pub(crate) fn wait(&self) {
        let state = self.lock();
        let failures = state.failures;
        let is_going_on = |state: &mut State| state.failures == failures && !state.is_over;
        let waited = self.changed.wait_while(state, is_going_on);
        drop(waited.unwrap_or_else(PoisonError::into_inner));
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Rebuild {
    /// The work on a log that was settled, if its index is better built beside it. Gives the log back otherwise.
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
            known: settled.known.follow.position,
            done: AtomicU64::new(0),
            is_done: AtomicBool::new(false),
            stop: AtomicBool::new(false),
            state: Mutex::default(),
            changed: Condvar::new(),
        };
        let mut settled = settled;
        // Nobody asks for them any more, and there may be many.
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

    /// What of the index is there.
    pub(crate) fn index(&self) -> Index {
        Index::in_part(self.settled.runs.clone(), self.settled.known.follow.position + 1)
    }

    /// Builds the index by that many threads, or, by one, on the caller's own, and loads the log. What was built is kept where that fails.
    pub(crate) fn attempt(&mut self, threads: usize) -> Result<Ready, OpenError> {
        let building = Arc::clone(&self.building);
        let env = Arc::clone(&self.env);
        let root = self.root.clone();
        let folder = Folder { env: &*env, root: &root };
        self.note_done(self.settled.known.follow.position);
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
            self.note_done(self.settled.known.follow.position);
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

    /// What was shown to readers is there, or reported.
    fn check_shown(&self, ready: &mut Ready) {
        let shown = self.building.frames.last_position();
        let last = ready.tail.position;
        if last < shown {
            let what = "events that were read before the index was built are not there".to_owned();
            let segment = self.settled.listed.last().map_or(0, |own| own.entry.header.id);
            ready.damage.push(Damage {
                segment,
                offset: 0,
                from: last + 1,
                to: shown,
                end_is_known: true,
                what,
            });
            ready.recovery.note_damage(&self.settled.survey, &ready.damage);
            ready.writable = None;
        }
    }
}

/// Whether so much is to be indexed that nobody should wait for it: more than the tables in memory of a log that was killed.
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

/// Bytes of the frames of a segment, as far as the manifest says.
fn frames_len(own: &Listed) -> u64 {
    let end = match &own.entry.state {
        SegmentState::Sealed(sealed) => sealed.end,
        SegmentState::Active | SegmentState::Spare => own.entry.size_bytes,
    };
    end.saturating_sub(SegmentFile::first_frame_offset())
}

/// Whether the frames are all that is known to be durable.
fn is_all(frames: &Frames, settled: &Settled, manifest: &Manifest) -> bool {
    let last = frames.last_position();
    last >= manifest.proven_position() && last > settled.known.follow.position
}
