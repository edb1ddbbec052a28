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
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, mpsc};

use crate::bugs::{Bug, planted};
use crate::env::{Env, has_no_room};
use crate::folder::{Manifest, Sealed, SegmentEntry, SegmentState, segment_path};
use crate::format::{EndBody, Seal, SegmentHeader, SegmentRole, StartBody};
use crate::limits::{MARKS_RESERVE_BYTES, SEGMENT_SIZE_BYTES_MIN, START_BYTES, next_segment_bytes};
use crate::segment::{ActiveSegment, SegmentFile, Spare, make_file, new_header, write_end};
use crate::shared::Shared;

/// The length of a segment is a multiple of a page.
const PAGE_BYTES: u64 = 4096;

/// The writer's handle of the segment manager.
pub(crate) struct SegmentManager {
    tasks: Mutex<mpsc::Sender<Task>>,
    state: Mutex<State>,
    changed: Condvar,
    /// The segment manager's work, if no thread does it.
    #[cfg(feature = "sim")]
    inline: Mutex<Option<SegmentManagerThread>>,
    segment_size_bytes: u64,
    store: [u8; 16],
    boot_epoch: u64,
}

#[derive(Default)]
struct State {
    next: Next,
    failure: Option<String>,
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
    pub(crate) end: EndBody,
    pub(crate) sealed: Sealed,
    pub(crate) seal: Seal,
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
    Stop,
}

/// The manifest of an open log, behind a lock that the writer never takes.
pub(crate) struct SharedManifest(Mutex<ManifestOwner>);

/// The manifest, and the folder that holds it.
pub(crate) struct ManifestOwner {
    pub(crate) manifest: Manifest,
    env: Arc<dyn Env>,
    root: PathBuf,
    shared: Arc<Shared>,
}

impl SharedManifest {
    pub(crate) fn new(manifest: Manifest, env: Arc<dyn Env>, root: PathBuf, shared: Arc<Shared>) -> Self {
        Self(Mutex::new(ManifestOwner { manifest, env, root, shared }))
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, ManifestOwner> {
        // If a panic left a change unwritten, the next change or the next open writes it.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ManifestOwner {
    /// Replaces the manifest durably. It records the newest synced frame.
    pub(crate) fn replace(&mut self) -> io::Result<()> {
        let mut newest = self.shared.synced.newest();
        newest.number += u64::from(planted(Bug::MarkBeyondDurable));
        self.manifest.durable.raise(newest);
        self.manifest.replace(&*self.env, &self.root)
    }

    /// Records the newest synced frame when the log is closed, if the manifest does not name it yet. Nothing else
    /// would later show that the log once reached that frame. A log that a failed write has made read-only is left as
    /// it is.
    pub(crate) fn record_synced(&mut self) {
        let is_poisoned = self.shared.poison.read().unwrap_or_else(PoisonError::into_inner).is_some();
        let is_recorded = self.shared.synced.newest().number <= self.manifest.durable.number;
        if is_poisoned || is_recorded || planted(Bug::SyncedNotRecorded) {
            return;
        }
        // The log is complete without the mark, but a later loss of its end would go unnoticed.
        if let Err(error) = self.replace() {
            tracing::warn!(%error, "the manifest could not be replaced when the log was closed");
        }
    }
}

/// The state of the segment manager.
struct Work {
    env: Arc<dyn Env>,
    root: PathBuf,
    manifest: Arc<SharedManifest>,
    /// A segment that is made, and that the manifest on disk may not list yet.
    made: Option<Spare>,
}

/// The segment manager's state and its queue of tasks. Lives on its thread.
pub(crate) struct SegmentManagerThread {
    work: Work,
    tasks: mpsc::Receiver<Task>,
}

impl SegmentManager {
    /// A segment manager for that manifest. It hands over `spare` first, which is listed already.
    pub(crate) fn new(
        env: Arc<dyn Env>,
        root: PathBuf,
        manifest: Arc<SharedManifest>,
        segment_size_bytes: u64,
        spare: Option<Spare>,
    ) -> (Arc<Self>, SegmentManagerThread) {
        let (sender, tasks) = mpsc::channel();
        let (store, boot_epoch) = {
            let owner = manifest.lock();
            (owner.manifest.store, owner.manifest.boot_epoch)
        };
        let segment_manager = Arc::new(Self {
            tasks: Mutex::new(sender),
            state: Mutex::new(State { next: spare.map_or(Next::None, Next::Ready), failure: None }),
            changed: Condvar::new(),
            #[cfg(feature = "sim")]
            inline: Mutex::new(None),
            segment_size_bytes,
            store,
            boot_epoch,
        });
        let work = Work { env, root, manifest, made: None };
        (segment_manager, SegmentManagerThread { work, tasks })
    }

    /// Keeps the work in the handle, for a log without threads. Queued work is done when it is needed, or by
    /// [`Self::perform_waiting`].
    #[cfg(feature = "sim")]
    pub(crate) fn keep_inline(&self, thread: SegmentManagerThread) {
        *self.inline.lock().unwrap_or_else(PoisonError::into_inner) = Some(thread);
    }

    /// Does the queued work, if no thread does it. `false` if a thread does.
    #[cfg(feature = "sim")]
    pub(crate) fn perform_waiting(&self) -> bool {
        let mut inline = self.inline.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(thread) = inline.as_mut() else { return false };
        while self.failure().is_none()
            && let Ok(task) = thread.tasks.try_recv()
            && thread.work.perform(task, self).is_continue()
        {}
        true
    }

    /// Has the next segment made, after `log_bytes` of log, unless there is one.
    pub(crate) fn prepare_next(&self, log_bytes: u64) {
        let mut state = self.lock();
        if matches!(state.next, Next::None) {
            state.next = Next::Asked;
            let wanted = Wanted::ahead(log_bytes, self.segment_size_bytes);
            self.send(Task::Make { wanted, state: SegmentState::Spare, instead_of: None });
        }
    }

    /// Has the spare listed as active: the writer will need it soon.
    pub(crate) fn prepare_to_go_on(&self) {
        let mut state = self.lock();
        if matches!(&state.next, Next::Ready(spare) if !spare.is_active) {
            let Next::Ready(spare) = std::mem::replace(&mut state.next, Next::Asked) else { unreachable!() };
            self.send(Task::Activate(spare));
        }
    }

    /// The segment after `log_bytes` of log, with room for a frame of that length. Waits until it is made and listed
    /// as active.
    pub(crate) fn take_next(&self, log_bytes: u64, frame_len: usize) -> Result<Spare, NotReady> {
        let wanted = Wanted::after(log_bytes, frame_len, self.segment_size_bytes);
        let mut state = self.lock();
        let mut was_asked = false;
        loop {
            let spare = match std::mem::take(&mut state.next) {
                Next::Ready(spare) if spare.is_active && spare.size_bytes >= wanted.least_bytes => {
                    return Ok(spare);
                }
                Next::Ready(spare) => Some(spare),
                Next::None => None,
                Next::Failed(error, spare) if was_asked => {
                    state.next = spare.map_or(Next::None, Next::Ready);
                    return Err(error);
                }
                // An attempt ahead of time failed: a smaller segment may fit, or there is room by now.
                Next::Failed(_, spare) => spare,
                Next::Asked => {
                    state.next = Next::Asked;
                    if let Some(failure) = &state.failure {
                        let what = "the next segment could not be made".to_owned();
                        return Err(NotReady { what, source: io::Error::other(failure.clone()) });
                    }
                    state = self.wait(state);
                    continue;
                }
            };
            state.next = Next::Asked;
            was_asked = true;
            self.send(match spare {
                Some(spare) if spare.size_bytes >= wanted.least_bytes => Task::Activate(spare),
                instead_of => Task::Make { wanted, state: SegmentState::Active, instead_of },
            });
        }
    }

    fn wait<'a>(&'a self, state: MutexGuard<'a, State>) -> MutexGuard<'a, State> {
        #[cfg(feature = "sim")]
        let state = {
            drop(state);
            let performed = self.perform_waiting();
            let state = self.lock();
            if performed || !matches!(state.next, Next::Asked) || state.failure.is_some() {
                return state;
            }
            state
        };
        self.changed.wait(state).unwrap_or_else(PoisonError::into_inner)
    }

    /// Removes a segment that the writer has taken and written nothing to.
    pub(crate) fn discard(&self, active: &ActiveSegment) {
        if active.is_there() {
            let (segment, size_bytes) = (Arc::clone(&active.segment), active.size_bytes);
            self.send(Task::Discard(Spare { segment, size_bytes, generation: 0, is_active: true }));
        }
    }

    pub(crate) fn seal(&self, task: SealTask) {
        self.send(Task::Seal(Box::new(task)));
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

    /// Why the segment manager has stopped; `None` if it works.
    pub(crate) fn failure(&self) -> Option<String> {
        self.lock().failure.clone()
    }

    /// True if the segment manager has stopped after a failure.
    pub(crate) fn has_failed(&self) -> bool {
        self.lock().failure.is_some()
    }

    /// Ends the segment manager's thread after its queued tasks.
    pub(crate) fn stop(&self) {
        self.send(Task::Stop);
    }

    /// Sets the state of the next segment, and wakes the callers that wait for it.
    fn tell(&self, next: Next) {
        self.lock().next = next;
        self.changed.notify_all();
    }

    fn send(&self, task: Task) {
        // If the segment manager is gone, `failure` holds the reason, and all callers look at it.
        let _ = self.tasks.lock().unwrap_or_else(PoisonError::into_inner).send(task);
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl SegmentManagerThread {
    /// Works until it is stopped.
    pub(crate) fn run(mut self, segment_manager: &Arc<SegmentManager>) {
        let _fails = FailOnPanic(Arc::clone(segment_manager));
        while let Ok(task) = self.tasks.recv()
            && self.work.perform(task, segment_manager).is_continue()
        {}
    }
}

impl Work {
    /// Does one task, and wakes the callers that wait for it. Breaks if no task can follow.
    fn perform(&mut self, task: Task, segment_manager: &SegmentManager) -> ControlFlow<()> {
        match task {
            Task::Stop => {
                let next = std::mem::take(&mut segment_manager.lock().next);
                self.give_back(next);
                return ControlFlow::Break(());
            }
            Task::Make { wanted, state, instead_of } => {
                let made = self.discard(instead_of).and_then(|()| self.make_next(wanted, state));
                segment_manager.tell(made.map_or_else(|error| Next::Failed(error, None), Next::Ready));
            }
            Task::Activate(spare) => segment_manager.tell(self.activate(spare)),
            Task::Discard(spare) => {
                if let Err(error) = self.discard(Some(spare)) {
                    tracing::warn!(%error, "an unused segment could not be removed");
                }
            }
            Task::Seal(task) => {
                if let Err(error) = self.seal(&task) {
                    let path = segment_path(&self.root, task.segment.id);
                    let reason = format!("sealing `{}` failed ({error})", path.display());
                    segment_manager.lock().failure = Some(reason);
                    segment_manager.changed.notify_all();
                    return ControlFlow::Break(());
                }
            }
        }
        ControlFlow::Continue(())
    }

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
                self.manifest.lock().manifest.segments.push(entry);
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
        let entry = entries.find(|entry| entry.header.id == spare.segment.id);
        entry.expect("a spare is listed").state = state;
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
        write_end(&task.segment, &task.seal, &task.end)?;
        let mut owner = self.manifest.lock();
        for entry in &mut owner.manifest.segments {
            if entry.header.id == task.segment.id {
                entry.state = SegmentState::Sealed(task.sealed);
            } else if entry.header.id == task.successor {
                entry.state = SegmentState::Active;
            }
        }
        // The START of the next segment also shows where this one ends, so a later replacement of the manifest is
        // enough.
        if let Err(error) = owner.replace() {
            tracing::warn!(%error, segment = task.segment.id, "the manifest could not be replaced; the next change replaces it");
        }
        Ok(())
    }
}

/// If a panic ends the segment manager, records the failure and wakes waiting callers.
struct FailOnPanic(Arc<SegmentManager>);

impl Drop for FailOnPanic {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.lock().failure = Some("the segment manager panicked: open the log again".to_owned());
            self.0.changed.notify_all();
        }
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
