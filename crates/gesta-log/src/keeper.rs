//! The keeper: owns the manifest, makes segments ahead of time, and seals those that are full, so that the writer waits for
//! neither.
//!
//! *Invariants*
//! - A segment is listed durably before the writer gets it.
//! - A segment is sealed only after its last group was synced, and the manifest is told after its file was.

use std::io;
use std::ops::ControlFlow;
use std::path::PathBuf;
use std::sync::mpsc;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use crate::bugs::{Bug, planted};
use crate::env::Env;
use crate::format::{
    EndBody, FrameKind, Seal, SegmentHeader, SegmentKind, SegmentRole, StartBody, write_mark,
};
use crate::limits::{MARKS_RESERVE_BYTES, SEGMENT_GROWTH, START_BYTES};
use crate::manifest::{Manifest, Sealed, SegmentEntry, SegmentState, segment_path};
use crate::segment::SegmentFile;
use crate::shared::Shared;

/// The handle that the writer holds.
pub(crate) struct Keeper {
    tasks: Mutex<mpsc::Sender<Task>>,
    state: Mutex<State>,
    changed: Condvar,
    /// The keeper's work, where no thread does it.
    #[cfg(feature = "sim")]
    inline: Mutex<Option<KeeperThread>>,
    segment_size_bytes: u64,
    store: [u8; 16],
    boot_epoch: u64,
}

#[derive(Default)]
struct State {
    spare: Option<io::Result<Spare>>,
    spare_asked_for: bool,
    failure: Option<String>,
}

/// A segment that is ready to be written to.
pub(crate) struct Spare {
    pub(crate) segment: Arc<SegmentFile>,
    pub(crate) size_bytes: u64,
    /// The manifest that lists it.
    pub(crate) generation: u64,
}

/// A full segment, all of it synced, to be ended.
pub(crate) struct SealTask {
    pub(crate) segment: Arc<SegmentFile>,
    /// The segment that the log goes on in.
    pub(crate) successor: u64,
    pub(crate) end: EndBody,
    pub(crate) sealed: Sealed,
    pub(crate) seal: Seal,
}

enum Task {
    MakeSpare { size_bytes: u64 },
    Seal(Box<SealTask>),
    Stop,
}

/// The manifest of an open log. Whoever holds it owns it; the writer never does.
pub(crate) struct SharedManifest(Mutex<ManifestOwner>);

/// The manifest, and where it is kept.
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
        // What a panic left undone is done with the next change, or by the next open.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ManifestOwner {
    /// Replaces the manifest durably. It records the newest frame that was synced.
    pub(crate) fn replace(&mut self) -> io::Result<()> {
        self.manifest.durable.raise(self.shared.synced.newest());
        self.manifest.replace(&*self.env, &self.root)
    }

    /// Records the newest frame that was synced, if the manifest does not name it yet: the log is closed, and nothing else would
    /// prove later that the log once went so far. A log that a failed write has made read-only is left as it is.
    pub(crate) fn record_synced(&mut self) {
        let is_poisoned = self.shared.poison.read().unwrap_or_else(PoisonError::into_inner).is_some();
        if is_poisoned || self.shared.synced.newest().number <= self.manifest.durable.number {
            return;
        }
        // The log is whole without the mark. A shorter end would go unnoticed, though.
        if let Err(error) = self.replace() {
            tracing::warn!(%error, "the manifest could not be replaced when the log was closed");
        }
    }
}

/// The keeper's own state.
struct Work {
    env: Arc<dyn Env>,
    root: PathBuf,
    manifest: Arc<SharedManifest>,
    /// A segment that is made, and that the manifest on disk may not list yet.
    made: Option<Spare>,
}

/// The keeper's work, and where it takes it from. Lives on its thread.
pub(crate) struct KeeperThread {
    work: Work,
    tasks: mpsc::Receiver<Task>,
}

impl Keeper {
    /// A keeper of that manifest; a spare that is listed already is handed over first.
    pub(crate) fn new(
        env: Arc<dyn Env>,
        root: PathBuf,
        manifest: Arc<SharedManifest>,
        segment_size_bytes: u64,
        spare: Option<Spare>,
    ) -> (Arc<Self>, KeeperThread) {
        let (sender, tasks) = mpsc::channel();
        let (store, boot_epoch) = {
            let owner = manifest.lock();
            (owner.manifest.store, owner.manifest.boot_epoch)
        };
        let keeper = Arc::new(Self {
            tasks: Mutex::new(sender),
            state: Mutex::new(State {
                spare_asked_for: spare.is_some(),
                spare: spare.map(Ok),
                failure: None,
            }),
            changed: Condvar::new(),
            #[cfg(feature = "sim")]
            inline: Mutex::new(None),
            segment_size_bytes,
            store,
            boot_epoch,
        });
        let work = Work { env, root, manifest, made: None };
        (keeper, KeeperThread { work, tasks })
    }

    /// Keeps the work itself, for a log without threads: what waits is done when it is needed, or by
    /// [`Self::perform_waiting`].
    #[cfg(feature = "sim")]
    pub(crate) fn keep_inline(&self, thread: KeeperThread) {
        *self.inline.lock().unwrap_or_else(PoisonError::into_inner) = Some(thread);
    }

    /// Does what waits, where no thread does it. `false` if a thread does.
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

    /// Has the segment after one of that size made, unless it is being made.
    pub(crate) fn prepare_spare(&self, size_bytes: u64) {
        self.ask_for_spare(&mut self.lock(), size_bytes, 0);
    }

    fn ask_for_spare(&self, state: &mut State, size_bytes: u64, frame_len: usize) {
        if !state.spare_asked_for {
            state.spare_asked_for = true;
            let grown = size_bytes.saturating_mul(SEGMENT_GROWTH).min(self.segment_size_bytes);
            self.send(Task::MakeSpare { size_bytes: grown.max(size_for(frame_len)) });
        }
    }

    /// The next segment, after one of that size, with room for a frame of that length. Waits until it is made. One that was
    /// made ahead and is too small, or could not be made then, is made now.
    pub(crate) fn take_spare(&self, size_bytes: u64, frame_len: usize) -> io::Result<Spare> {
        let mut state = self.lock();
        let is_of_use =
            |spare: &io::Result<Spare>| spare.as_ref().is_ok_and(|own| own.size_bytes >= size_for(frame_len));
        if state.spare.as_ref().is_some_and(|spare| !is_of_use(spare)) {
            (state.spare, state.spare_asked_for) = (None, false);
        }
        self.ask_for_spare(&mut state, size_bytes, frame_len);
        loop {
            if let Some(spare) = state.spare.take() {
                state.spare_asked_for = false;
                // One that was being made when this was asked for may be too small: then the next one is asked for.
                if spare.is_err() || is_of_use(&spare) {
                    return spare;
                }
                self.ask_for_spare(&mut state, size_bytes, frame_len);
            }
            if let Some(failure) = &state.failure {
                return Err(io::Error::other(failure.clone()));
            }
            state = self.wait(state);
        }
    }

    fn wait<'a>(&'a self, state: MutexGuard<'a, State>) -> MutexGuard<'a, State> {
        #[cfg(feature = "sim")]
        let state = {
            drop(state);
            let performed = self.perform_waiting();
            let state = self.lock();
            if performed || state.spare.is_some() || state.failure.is_some() {
                return state;
            }
            state
        };
        self.changed.wait(state).unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn seal(&self, task: SealTask) {
        self.send(Task::Seal(Box::new(task)));
    }

    /// What the START of a segment says, listed by that manifest, after one that ends so.
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

    /// Why the keeper cannot go on, if it cannot.
    pub(crate) fn failure(&self) -> Option<String> {
        self.lock().failure.clone()
    }

    /// Whether the keeper cannot go on.
    pub(crate) fn has_failed(&self) -> bool {
        self.lock().failure.is_some()
    }

    /// Ends the keeper's thread after what it was given.
    pub(crate) fn stop(&self) {
        self.send(Task::Stop);
    }

    fn send(&self, task: Task) {
        // A keeper that is gone has said why in `failure`, which everybody looks at.
        let _ = self.tasks.lock().unwrap_or_else(PoisonError::into_inner).send(task);
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl KeeperThread {
    /// Works until told to stop.
    pub(crate) fn run(mut self, keeper: &Arc<Keeper>) {
        let _fails = FailOnPanic(Arc::clone(keeper));
        while let Ok(task) = self.tasks.recv()
            && self.work.perform(task, keeper).is_continue()
        {}
    }
}

impl Work {
    /// Does one task, and says so to whoever waits for it. Breaks where nothing can follow.
    fn perform(&mut self, task: Task, keeper: &Keeper) -> ControlFlow<()> {
        match task {
            Task::Stop => return ControlFlow::Break(()),
            Task::MakeSpare { size_bytes } => {
                let spare = self.make_spare(size_bytes);
                keeper.lock().spare = Some(spare);
                keeper.changed.notify_all();
            }
            Task::Seal(task) => {
                if let Err(error) = self.seal(&task) {
                    let reason = format!("sealing segment {} failed ({error})", task.segment.id);
                    keeper.lock().failure = Some(reason);
                    keeper.changed.notify_all();
                    return ControlFlow::Break(());
                }
            }
        }
        ControlFlow::Continue(())
    }

    /// A segment is handed over once the manifest lists it durably. One that is made and not listed yet, because the manifest
    /// could not be replaced, is listed by the next attempt.
    fn make_spare(&mut self, size_bytes: u64) -> io::Result<Spare> {
        if self.made.as_ref().is_none_or(|made| made.size_bytes < size_bytes) {
            let header = new_header(&*self.env, &self.manifest.lock().manifest, SegmentRole::Spare)?;
            // Filling it takes a while: the manifest is free meanwhile.
            let (entry, segment) =
                make_file(&*self.env, &self.root, header, size_bytes, SegmentState::Spare)?;
            self.manifest.lock().manifest.segments.push(entry);
            self.made = Some(Spare { segment, size_bytes, generation: 0 });
        }
        let mut owner = self.manifest.lock();
        if !planted(Bug::SpareBeforeListed) {
            owner.replace()?;
        }
        let made = self.made.take().expect("it is made");
        Ok(Spare { generation: owner.manifest.generation, ..made })
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
        // The START of the next segment proves the end of this one as well, so the manifest may be told later.
        if let Err(error) = owner.replace() {
            tracing::warn!(%error, segment = task.segment.id, "the manifest could not be replaced; it is with the next change");
        }
        Ok(())
    }
}

/// Tells whoever waits for the keeper that it is gone, if a panic ends it.
struct FailOnPanic(Arc<Keeper>);

impl Drop for FailOnPanic {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.lock().failure = Some("the keeper of the log panicked".to_owned());
            self.0.changed.notify_all();
        }
    }
}

/// The size of a segment that a frame of that length takes at most half of.
const fn size_for(frame_len: usize) -> u64 {
    2 * (frame_len + START_BYTES + MARKS_RESERVE_BYTES) as u64 + SegmentFile::first_frame_offset()
}

/// Makes a segment and lists it durably.
pub(crate) fn make_segment(
    env: &dyn Env,
    root: &std::path::Path,
    manifest: &mut Manifest,
    size_bytes: u64,
    state: SegmentState,
) -> io::Result<Spare> {
    let role = if state == SegmentState::Spare { SegmentRole::Spare } else { SegmentRole::Normal };
    let header = new_header(env, manifest, role)?;
    let (entry, segment) = make_file(env, root, header, size_bytes, state)?;
    manifest.segments.push(entry);
    manifest.replace(env, root)?;
    Ok(Spare { segment, size_bytes, generation: manifest.generation })
}

/// Makes the file of a segment, durably; the manifest still has to list it. What is left of a failed attempt is removed.
fn make_file(
    env: &dyn Env,
    root: &std::path::Path,
    mut header: SegmentHeader,
    size_bytes: u64,
    state: SegmentState,
) -> io::Result<(SegmentEntry, Arc<SegmentFile>)> {
    let segment = loop {
        match SegmentFile::create(env, root, &header, size_bytes) {
            Ok(segment) => break segment,
            // Left by an attempt that was never listed; the next open removes it.
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => header.id += 1,
            Err(error) => {
                let _ = env.remove(&segment_path(root, header.id));
                return Err(error);
            }
        }
    };
    if !planted(Bug::NoFolderSync)
        && let Err(error) = env.sync_dir(&root.join("segments"))
    {
        let _ = env.remove(&segment_path(root, header.id));
        return Err(error);
    }
    Ok((SegmentEntry { header, size_bytes, state }, segment))
}

/// The header of a segment that is about to be made.
pub(crate) fn new_header(env: &dyn Env, manifest: &Manifest, role: SegmentRole) -> io::Result<SegmentHeader> {
    Ok(SegmentHeader {
        id: manifest.next_segment_id(),
        kind: SegmentKind::Primary,
        role,
        partition: manifest.partition,
        origin: manifest.store,
        salt: env.entropy()?,
    })
}

/// Ends a segment: END, the file cut behind it, all of it durable. Done twice, it is the same.
pub(crate) fn write_end(segment: &SegmentFile, seal: &Seal, end: &EndBody) -> io::Result<()> {
    let mut frame = Vec::new();
    write_mark(&mut frame, FrameKind::End, seal, &end.encode());
    segment.file.write_at(&[&frame], seal.offset)?;
    segment.file.set_len(seal.offset + frame.len() as u64)?;
    segment.file.sync_all()
}
