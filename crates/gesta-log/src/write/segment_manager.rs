//! The segment manager: makes the next segment ahead of time, lists it in the manifest, and seals full segments, so
//! that the writer rarely waits for any of that.
//!
//! *Invariants*
//! - The manifest on the disk lists a segment as active before the writer gets it, and so before any event in it is
//!   acknowledged.
//! - A segment is sealed only after its last group was synced. The manifest lists it as sealed only after its file
//!   was synced.

#[cfg(test)]
#[cfg(feature = "sim")]
mod tests;

use std::io;
use std::ops::ControlFlow;
use std::path::PathBuf;
use std::sync::Arc;

use super::manifest::SharedManifest;
use super::worker::{Drive, End, Status, Work, Worker};
use crate::bugs::{Bug, planted};
use crate::env::{Env, has_no_room};
use crate::folder::segment_path;
use crate::format::{Sealed, SegmentEntry, SegmentHeader, SegmentRole, SegmentState, StartBody};
use crate::limits::{MARKS_RESERVE_BYTES, SEGMENT_SIZE_BYTES_MIN, START_BYTES, next_segment_bytes};
use crate::segment::{ActiveSegment, SegmentEnd, SegmentFile, Spare, make_file, new_header, write_end};

/// The length of a segment is a multiple of a page.
const PAGE_BYTES: u64 = 4096;

/// The writer's handle of the segment manager.
pub(crate) struct SegmentManager {
    worker: Worker<Keeping>,
    segment_size_bytes: u64,
    store: [u8; 16],
    boot_epoch: u64,
}

/// The state of the next segment.
#[derive(Default)]
enum Next {
    #[default]
    None,
    /// The segment manager works on it.
    Asked,
    /// It is made and listed.
    Ready(Spare),
    /// The last attempt failed. A spare from before the attempt is kept.
    Failed(NotReady, Option<Spare>),
}

/// Why there is no next segment.
#[derive(Debug, thiserror::Error)]
#[error("{what}: {source}")]
pub(crate) struct NotReady {
    what: String,
    source: io::Error,
}

impl NotReady {
    /// True if more space on the device would help.
    pub(crate) fn is_for_want_of_space(&self) -> bool {
        has_no_room(&self.source)
    }
}

/// The size of a segment to make, in bytes.
#[derive(Debug, Clone, Copy)]
struct Wanted {
    /// If the device has the room.
    size_bytes: u64,
    /// The smallest size to try.
    least_bytes: u64,
}

impl Wanted {
    /// A segment after `log_bytes` of log, for a frame of that length.
    fn after(log_bytes: u64, frame_len: usize, full_size_bytes: u64) -> Self {
        let least_bytes = least_size_for(frame_len);
        let grown = next_segment_bytes(log_bytes, full_size_bytes);
        Self { size_bytes: grown.max(size_for(frame_len)).max(least_bytes), least_bytes }
    }

    /// A segment that is made ahead of time, for frames of unknown length.
    fn ahead(log_bytes: u64, full_size_bytes: u64) -> Self {
        let least_bytes = SEGMENT_SIZE_BYTES_MIN;
        let size_bytes = next_segment_bytes(log_bytes, full_size_bytes).max(least_bytes);
        Self { size_bytes, least_bytes }
    }

    /// The size to try after the device had no room for `size_bytes`.
    fn smaller_than(&self, size_bytes: u64) -> Option<u64> {
        let half = size_bytes / 2 - size_bytes / 2 % PAGE_BYTES;
        (size_bytes > self.least_bytes).then_some(half.max(self.least_bytes))
    }
}

/// A full segment to seal. All of it is synced.
pub(crate) struct SealTask {
    pub(crate) segment: Arc<SegmentFile>,
    /// The segment in which the log continues.
    pub(crate) successor: u64,
    pub(crate) end: SegmentEnd,
}

enum Task {
    /// Make the next segment, in place of one that is too small, if there is one.
    Make {
        wanted: Wanted,
        state: SegmentState,
        instead_of: Option<Spare>,
    },
    /// List a spare as active.
    Activate(Spare),
    /// Remove a segment that nothing was written to.
    Discard(Spare),
    Seal(Box<SealTask>),
}

/// The work of the segment manager.
struct Keeping {
    env: Arc<dyn Env>,
    root: PathBuf,
    manifest: Arc<SharedManifest>,
    /// A segment that is made, and that the manifest on disk may not list yet.
    made: Option<Spare>,
}

impl SegmentManager {
    /// Starts a segment manager for that manifest. It hands over `spare` first, which is listed already.
    pub(crate) fn start(
        env: Arc<dyn Env>,
        root: PathBuf,
        manifest: Arc<SharedManifest>,
        segment_size_bytes: u64,
        spare: Option<Spare>,
        drive: Drive,
    ) -> io::Result<Arc<Self>> {
        let (store, boot_epoch) = {
            let owner = manifest.lock();
            (owner.manifest.store, owner.manifest.boot_epoch)
        };
        let work = Keeping { env, root, manifest, made: None };
        let worker = Worker::start(work, spare.map_or(Next::None, Next::Ready), drive)?;
        Ok(Arc::new(Self { worker, segment_size_bytes, store, boot_epoch }))
    }

    /// Does the queued work, if no thread does it. `false` if a thread does.
    pub(crate) fn perform_waiting(&self) -> bool {
        self.worker.perform_waiting()
    }

    /// Has the next segment made, after `log_bytes` of log, unless there is one.
    pub(crate) fn prepare_next(&self, log_bytes: u64) {
        let mut shown = self.worker.lock();
        if matches!(shown.state, Next::None) {
            shown.state = Next::Asked;
            let wanted = Wanted::ahead(log_bytes, self.segment_size_bytes);
            self.worker.send(Task::Make { wanted, state: SegmentState::Spare, instead_of: None });
        }
    }

    /// Has the spare listed as active: the writer will need it soon.
    pub(crate) fn prepare_to_go_on(&self) {
        let mut shown = self.worker.lock();
        if matches!(&shown.state, Next::Ready(spare) if !spare.is_active) {
            let Next::Ready(spare) = std::mem::replace(&mut shown.state, Next::Asked) else { unreachable!() };
            self.worker.send(Task::Activate(spare));
        }
    }

    /// The segment after `log_bytes` of log, with room for a frame of that length. Waits until it is made and listed
    /// as active.
    pub(crate) fn take_next(&self, log_bytes: u64, frame_len: usize) -> Result<Spare, NotReady> {
        let wanted = Wanted::after(log_bytes, frame_len, self.segment_size_bytes);
        let mut shown = self.worker.lock();
        let mut was_asked = false;
        loop {
            let spare = match std::mem::take(&mut shown.state) {
                Next::Ready(spare) if spare.is_active && spare.size_bytes >= wanted.least_bytes => {
                    return Ok(spare);
                }
                Next::Ready(spare) => Some(spare),
                Next::None => None,
                Next::Failed(error, spare) if was_asked => {
                    shown.state = spare.map_or(Next::None, Next::Ready);
                    return Err(error);
                }
                // An attempt ahead of time failed: a smaller segment may fit, or there is room by now.
                Next::Failed(_, spare) => spare,
                Next::Asked => {
                    shown.state = Next::Asked;
                    if let Some(end) = &shown.end {
                        let what = "the next segment could not be made".to_owned();
                        return Err(NotReady { what, source: io::Error::other(end.reason()) });
                    }
                    shown = self.worker.wait(shown);
                    continue;
                }
            };
            shown.state = Next::Asked;
            was_asked = true;
            self.worker.send(match spare {
                Some(spare) if spare.size_bytes >= wanted.least_bytes => Task::Activate(spare),
                instead_of => Task::Make { wanted, state: SegmentState::Active, instead_of },
            });
        }
    }

    /// Removes a segment that the writer has taken and written nothing to.
    pub(crate) fn discard(&self, active: &ActiveSegment) {
        if active.is_there() {
            let (segment, size_bytes) = (Arc::clone(&active.segment), active.size_bytes);
            self.worker.send(Task::Discard(Spare { segment, size_bytes, generation: 0, is_active: true }));
        }
    }

    pub(crate) fn seal(&self, task: SealTask) {
        self.worker.send(Task::Seal(Box::new(task)));
    }

    /// The body of a segment's START: the manifest of that generation lists the segment, and the previous segment
    /// ends as `sealed`.
    pub(crate) const fn start_body(&self, previous: u64, sealed: &Sealed, generation: u64) -> StartBody {
        StartBody {
            previous_segment: previous,
            previous_end: sealed.end,
            previous_checksum: sealed.checksum,
            manifest_generation: generation,
            store: self.store,
            boot_epoch: self.boot_epoch,
        }
    }

    /// Why the segment manager has failed; `None` if it works, and after a stop.
    pub(crate) fn failure(&self) -> Option<String> {
        match &self.worker.lock().end {
            Some(End::Failed(reason)) => Some(reason.clone()),
            Some(End::Stopped) | None => None,
        }
    }

    /// True if the segment manager has ended after a failure.
    pub(crate) fn has_failed(&self) -> bool {
        matches!(self.worker.lock().end, Some(End::Failed(_)))
    }

    /// Ends the segment manager after its queued tasks.
    pub(crate) fn stop(&self) {
        self.worker.stop();
    }

    /// Waits for the end of its thread.
    pub(crate) fn join(&self) {
        self.worker.join();
    }
}

impl Work for Keeping {
    type Task = Task;
    type State = Next;
    const THREAD: &'static str = "gesta-keep";
    const NAME: &'static str = "the segment manager";

    fn perform(&mut self, task: Task, status: &Status<Next>) -> ControlFlow<String> {
        match task {
            Task::Make { wanted, state, instead_of } => {
                let made = self.discard(instead_of).and_then(|()| self.make_next(wanted, state));
                let next = made.map_or_else(|error| Next::Failed(error, None), Next::Ready);
                status.change(|own| *own = next);
            }
            Task::Activate(spare) => {
                let next = self.activate(spare);
                status.change(|own| *own = next);
            }
            Task::Discard(spare) => {
                if let Err(error) = self.discard(Some(spare)) {
                    tracing::warn!(%error, "an unused segment could not be removed");
                }
            }
            Task::Seal(task) => {
                if let Err(error) = self.seal(&task) {
                    let path = segment_path(&self.root, task.segment.id);
                    return ControlFlow::Break(format!("sealing `{}` failed ({error})", path.display()));
                }
            }
        }
        ControlFlow::Continue(())
    }

    fn finish(&mut self, status: &Status<Next>) {
        let next = std::mem::take(&mut status.lock().state);
        self.give_back(next);
    }
}

impl Keeping {
    /// Makes a segment and lists it durably. If the manifest could not be replaced, the next attempt lists the
    /// segment that was made.
    fn make_next(&mut self, wanted: Wanted, state: SegmentState) -> Result<Spare, NotReady> {
        if let Some(small) = self.made.take_if(|made| made.size_bytes < wanted.least_bytes) {
            self.discard(Some(small))?;
        }
        let made = match self.made.take() {
            Some(made) => made,
            None => {
                // The manifest is not locked while the file is filled, which takes a while.
                let made = self.make_file(wanted);
                let (header, segment, size_bytes) = made.map_err(|source| self.not_made(wanted, source))?;
                let entry = SegmentEntry { header, size_bytes, state: SegmentState::Spare };
                let mut owner = self.manifest.lock();
                let mut listed = owner.manifest.segments.iter();
                assert!(listed.all(|own| own.header.id != entry.header.id), "a new segment has a new id");
                owner.manifest.segments.push(entry);
                Spare { segment, size_bytes, generation: 0, is_active: false }
            }
        };
        match self.list(&made, state) {
            Ok(generation) => Ok(Spare { generation, is_active: state == SegmentState::Active, ..made }),
            Err(source) => {
                self.made = Some(made);
                Err(self.not_listed(source))
            }
        }
    }

    fn activate(&self, spare: Spare) -> Next {
        match self.list(&spare, SegmentState::Active) {
            Ok(generation) => Next::Ready(Spare { generation, is_active: true, ..spare }),
            Err(source) => Next::Failed(self.not_listed(source), Some(spare)),
        }
    }

    /// Lists a segment in that state, durably, and returns the generation of the manifest.
    fn list(&self, spare: &Spare, state: SegmentState) -> io::Result<u64> {
        let mut owner = self.manifest.lock();
        let mut entries = owner.manifest.segments.iter_mut();
        let entry = entries.find(|entry| entry.header.id == spare.segment.id).expect("a spare is listed");
        assert!(!matches!(entry.state, SegmentState::Sealed(_)), "a spare has no frames");
        entry.state = state;
        if !planted(Bug::SpareBeforeListed) {
            owner.replace()?;
        }
        Ok(owner.manifest.generation)
    }

    /// Removes a spare that is too small: first from the manifest, then from the disk.
    fn discard(&self, spare: Option<Spare>) -> Result<(), NotReady> {
        let Some(Spare { segment, .. }) = spare else { return Ok(()) };
        let mut owner = self.manifest.lock();
        owner.manifest.segments.retain(|entry| entry.header.id != segment.id);
        owner.replace().map_err(|source| self.not_listed(source))?;
        if let Err(error) = self.env.remove(&segment_path(&self.root, segment.id)) {
            tracing::warn!(%error, segment = segment.id, "an unused segment could not be removed; the next open tries again");
        }
        Ok(())
    }

    /// Lists an unused segment as a spare when the log is closed. Nothing was or will be written to it, so its loss
    /// would lose no events.
    fn give_back(&self, next: Next) {
        let Next::Ready(spare) = next else { return };
        if spare.is_active
            && let Err(error) = self.list(&spare, SegmentState::Spare)
        {
            tracing::warn!(%error, segment = spare.segment.id, "the manifest could not be replaced when the log was closed");
        }
    }

    /// Makes the file of a segment, durably. Halves the size while the device has no room.
    fn make_file(&self, wanted: Wanted) -> io::Result<(SegmentHeader, Arc<SegmentFile>, u64)> {
        let header = new_header(&*self.env, &self.manifest.lock().manifest, SegmentRole::Spare)?;
        let mut size_bytes = wanted.size_bytes;
        loop {
            match make_file(&*self.env, &self.root, header.clone(), size_bytes) {
                Ok((header, segment)) => return Ok((header, segment, size_bytes)),
                Err(error) if has_no_room(&error) => {
                    size_bytes = wanted.smaller_than(size_bytes).ok_or(error)?;
                }
                Err(error) => return Err(error),
            }
        }
    }

    fn not_made(&self, wanted: Wanted, source: io::Error) -> NotReady {
        let Wanted { size_bytes, least_bytes } = wanted;
        let folder = self.root.join("segments");
        let what = match has_no_room(&source) {
            true => format!(
                "`{}` has no room for a segment of {size_bytes} bytes, nor for a smaller one of {least_bytes}",
                folder.display()
            ),
            false => format!("making a segment of {size_bytes} bytes in `{}` failed", folder.display()),
        };
        NotReady { what, source }
    }

    fn not_listed(&self, source: io::Error) -> NotReady {
        let what = format!("replacing `{}` failed", self.root.join("manifest").display());
        NotReady { what, source }
    }

    fn seal(&mut self, task: &SealTask) -> io::Result<()> {
        write_end(&task.segment, &task.end)?;
        let mut owner = self.manifest.lock();
        let mut is_listed = false;
        for entry in &mut owner.manifest.segments {
            if entry.header.id == task.segment.id {
                entry.state = SegmentState::Sealed(task.end.sealed);
                is_listed = true;
            } else if entry.header.id == task.successor {
                entry.state = SegmentState::Active;
            }
        }
        assert!(is_listed, "the manifest lists a segment before a frame is written to it");
        // The START of the next segment also shows where this one ends, so a later replacement of the manifest is
        // enough.
        if let Err(error) = owner.replace() {
            tracing::warn!(%error, segment = task.segment.id, "the manifest could not be replaced; the next change replaces it");
        }
        Ok(())
    }
}

/// The size of a segment that a frame of that length fills at most by half.
const fn size_for(frame_len: usize) -> u64 {
    2 * (frame_len + START_BYTES + MARKS_RESERVE_BYTES) as u64 + SegmentFile::first_frame_offset()
}

/// The size of the smallest segment that a frame of that length fits into.
const fn least_size_for(frame_len: usize) -> u64 {
    let frames = (frame_len + START_BYTES + MARKS_RESERVE_BYTES) as u64;
    (SegmentFile::first_frame_offset() + frames).next_multiple_of(PAGE_BYTES)
}
