//! The indexer: writes full tables as runs, and merges runs, so that the writer waits for neither.
//!
//! *Invariants*
//! - A run holds durable events only, from tables that no longer change.
//! - A run is listed durably before a reader sees it. A merged run is removed only after the manifest without it is
//!   durable.
//! - Only runs of adjacent ranges are merged.

use std::io;
use std::ops::ControlFlow;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, mpsc};

use super::segment_manager::SharedManifest;
use crate::bugs::{Bug, planted};
use crate::env::Env;
use crate::folder::{RunEntry, run_folder};
use crate::index::{FullTable, Merge, MergeError, Run, RunFiles, TableLimits};
use crate::limits::retry_pause;
use crate::shared::Shared;

/// Full tables that may wait for the disk. With more, the active table grows on.
const BACKLOG_MAX: usize = 2;
/// Runs of one tier that are merged into one of the next.
const FAN_OUT: usize = 8;
/// The most events of a merged run.
const RUN_EVENTS_MAX: u64 = 128 << 20;

/// The writer's handle of the indexer.
pub(crate) struct Indexer {
    limits: TableLimits,
    tasks: Mutex<mpsc::Sender<Task>>,
    state: Mutex<State>,
    changed: Condvar,
    /// The indexer's work, if no thread does it.
    #[cfg(feature = "sim")]
    inline: Mutex<Option<IndexerThread>>,
}

#[derive(Default)]
struct State {
    /// Full tables that are not on the disk yet.
    backlog: usize,
    /// Why the last write failed, and how many attempts have failed so far.
    failure: Option<String>,
    failures: u64,
    stopped: bool,
}

enum Task {
    Write(FullTable),
    /// Another attempt, because a caller waits.
    Retry,
    /// A run is damaged.
    Distrust(u64),
    Stop,
}

/// The state of the indexer.
struct Work {
    env: Arc<dyn Env>,
    files: RunFiles,
    shared: Arc<Shared>,
    manifest: Arc<SharedManifest>,
    /// The oldest first.
    ended: std::collections::VecDeque<FullTable>,
    /// Failed attempts in a row to write the oldest table.
    failures: u32,
    merge: Option<Merging>,
    next_id: u64,
    /// Whether a merge failed. Its runs stay as they are.
    merging_failed: bool,
    /// Whether a run was found damaged. Runs after it wait for the next open.
    is_distrusted: bool,
}

struct Merging {
    id: u64,
    tier: u8,
    runs: Vec<Arc<Run>>,
    merge: Merge,
}

/// The indexer's state and its queue of tasks. Lives on its thread.
pub(crate) struct IndexerThread {
    work: Work,
    tasks: mpsc::Receiver<Task>,
}

impl Indexer {
    pub(crate) fn new(
        env: Arc<dyn Env>,
        files: RunFiles,
        shared: Arc<Shared>,
        manifest: Arc<SharedManifest>,
        limits: TableLimits,
    ) -> (Arc<Self>, IndexerThread) {
        let (sender, tasks) = mpsc::channel();
        let damaged = Mutex::new(sender.clone());
        let indexer = Arc::new(Self {
            limits,
            tasks: Mutex::new(sender),
            state: Mutex::new(State::default()),
            changed: Condvar::new(),
            #[cfg(feature = "sim")]
            inline: Mutex::new(None),
        });
        files.cache.tell_of_damage(move |run| {
            // If the indexer is gone, the next open meets the damage again.
            let _ = damaged.lock().unwrap_or_else(PoisonError::into_inner).send(Task::Distrust(run));
        });
        let next_id = manifest.lock().manifest.next_run_id();
        let ended = std::collections::VecDeque::new();
        let work = Work {
            env,
            files,
            shared,
            manifest,
            ended,
            failures: 0,
            merge: None,
            next_id,
            merging_failed: false,
            is_distrusted: false,
        };
        (indexer, IndexerThread { work, tasks })
    }

    pub(crate) const fn limits(&self) -> TableLimits {
        self.limits
    }

    /// Whether another table may end.
    pub(crate) fn has_room(&self) -> bool {
        self.lock().backlog < BACKLOG_MAX
    }

    /// Queues a full table. The oldest is written first.
    pub(crate) fn write_run(&self, ended: FullTable) {
        self.lock().backlog += 1;
        self.send(Task::Write(ended));
    }

    /// Waits until another table may end. The error says why tables cannot be written.
    pub(crate) fn wait_for_room(&self) -> Result<(), String> {
        let mut state = self.lock();
        let failures = state.failures;
        if state.failure.is_some() {
            self.send(Task::Retry);
        }
        while state.backlog >= BACKLOG_MAX {
            if state.stopped || state.failures > failures {
                let reason = state.failure.as_deref().unwrap_or("the log is closing");
                return Err(format!("the index of new events cannot be written: {reason}"));
            }
            state = self.wait(state);
        }
        Ok(())
    }

    fn wait<'a>(&'a self, state: MutexGuard<'a, State>) -> MutexGuard<'a, State> {
        #[cfg(feature = "sim")]
        let state = {
            drop(state);
            if self.perform_waiting() {
                return self.lock();
            }
            let state = self.lock();
            if state.backlog < BACKLOG_MAX {
                return state;
            }
            state
        };
        self.changed.wait(state).unwrap_or_else(PoisonError::into_inner)
    }

    /// Ends the indexer's thread. The next open does the rest of its work.
    pub(crate) fn stop(&self) {
        self.lock().stopped = true;
        self.send(Task::Stop);
    }

    /// Keeps the work in the handle, for a log without threads.
    #[cfg(feature = "sim")]
    pub(crate) fn keep_inline(&self, thread: IndexerThread) {
        *self.inline.lock().unwrap_or_else(PoisonError::into_inner) = Some(thread);
    }

    /// Does the queued work, if no thread does it. `false` if a thread does.
    #[cfg(feature = "sim")]
    pub(crate) fn perform_waiting(&self) -> bool {
        let mut inline = self.inline.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(thread) = inline.as_mut() else { return false };
        let mut is_told = false;
        while let Ok(task) = thread.tasks.try_recv() {
            is_told = true;
            if thread.work.take(task, self).is_break() {
                return true;
            }
        }
        if !is_told && !std::thread::panicking() {
            // Nothing is new: the caller signals that time has passed. Skipped if this attempt panicked and the log
            // is being dropped: a second panic would end the process.
            thread.work.write_ended(self);
        }
        while thread.work.step(self) {}
        true
    }

    fn send(&self, task: Task) {
        // If the indexer is gone, its state says so, and waiting callers look at that.
        let _ = self.tasks.lock().unwrap_or_else(PoisonError::into_inner).send(task);
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl IndexerThread {
    /// Works until it is stopped.
    pub(crate) fn run(mut self, indexer: &Arc<Indexer>) {
        let _stops = StopOnEnd(Arc::clone(indexer));
        self.work.begin_merge();
        loop {
            // Between the steps of a merge, new tasks come first.
            let task = if self.work.has_work() {
                match self.tasks.try_recv() {
                    Ok(task) => Some(task),
                    Err(mpsc::TryRecvError::Empty) => None,
                    Err(mpsc::TryRecvError::Disconnected) => return,
                }
            } else {
                match self.work.wait(&self.tasks) {
                    Ok(task) => Some(task),
                    Err(mpsc::RecvTimeoutError::Timeout) => {
                        self.work.write_ended(indexer);
                        continue;
                    }
                    Err(mpsc::RecvTimeoutError::Disconnected) => return,
                }
            };
            let Some(task) = task else {
                self.work.step(indexer);
                continue;
            };
            if self.work.take(task, indexer).is_break() {
                return self.work.abandon_merge();
            }
        }
    }
}

/// Tells waiting callers that the indexer is gone.
struct StopOnEnd(Arc<Indexer>);

impl Drop for StopOnEnd {
    fn drop(&mut self) {
        self.0.lock().stopped = true;
        self.0.changed.notify_all();
    }
}

impl Work {
    fn take(&mut self, task: Task, indexer: &Indexer) -> ControlFlow<()> {
        match task {
            Task::Write(ended) => {
                // Before its run is visible, so that no reader finds an older head than runs hold.
                self.shared.index.snapshot().heads.learn(&ended.table.read());
                self.ended.push_back(ended);
            }
            Task::Retry => {}
            Task::Distrust(run) => self.distrust(run),
            Task::Stop => return ControlFlow::Break(()),
        }
        self.write_ended(indexer);
        ControlFlow::Continue(())
    }

    /// Waits for a task, until the next attempt to write a table is due.
    fn wait(&self, tasks: &mpsc::Receiver<Task>) -> Result<Task, mpsc::RecvTimeoutError> {
        if self.ended.is_empty() {
            return tasks.recv().map_err(|_| mpsc::RecvTimeoutError::Disconnected);
        }
        tasks.recv_timeout(retry_pause(self.failures))
    }

    const fn has_work(&self) -> bool {
        self.merge.is_some()
    }

    /// Writes the full tables, the oldest first, until one fails.
    fn write_ended(&mut self, indexer: &Indexer) {
        while !self.ended.is_empty() {
            let written = self.write();
            let mut state = indexer.lock();
            match written {
                Ok(run) => {
                    self.ended.pop_front();
                    self.failures = 0;
                    (state.backlog, state.failure) = (state.backlog - 1, None);
                    drop(state);
                    self.publish(Arc::new(run));
                    // The disk takes writes again, so a merge may be tried again.
                    self.merging_failed = self.is_distrusted;
                    indexer.changed.notify_all();
                    self.begin_merge();
                }
                Err(error) => {
                    tracing::warn!(%error, "a run could not be written; it will be tried again");
                    self.failures += 1;
                    state.failure = Some(error.to_string());
                    state.failures += 1;
                    drop(state);
                    return indexer.changed.notify_all();
                }
            }
        }
    }

    fn write(&mut self) -> Result<Run, MergeError> {
        let id = self.draw_id();
        let ended = self.ended.front().expect("a full table waits");
        let run = self
            .files
            .write(&*self.env, id, &ended.table.read(), ended.end)
            .inspect_err(|_| self.discard(id))?;
        if planted(Bug::TableDroppedEarly) {
            self.shared.index.change(|snapshot| drop(snapshot.tables.remove(0)));
        }
        self.list(&run, &[])?;
        Ok(run)
    }

    /// Removes the file of a run that was never listed. If that fails, the next open removes it.
    fn discard(&self, id: u64) {
        let _ = self.env.remove(&self.files.path(id));
    }

    fn draw_id(&mut self) -> u64 {
        self.next_id += 1;
        self.next_id - 1
    }

    /// Stops listing a damaged run and those after it, so that the next open rebuilds them.
    fn distrust(&mut self, run: u64) {
        if planted(Bug::DamagedRunKept) {
            return;
        }
        self.abandon_merge();
        (self.merging_failed, self.is_distrusted) = (true, true);
        let mut owner = self.manifest.lock();
        let Some(at) = owner.manifest.runs.iter().position(|entry| entry.id == run) else { return };
        owner.manifest.runs.truncate(at);
        if let Err(error) = owner.replace() {
            tracing::warn!(%error, "the manifest could not be replaced; the next change replaces it");
        }
    }

    /// Lists a run durably, in place of merged runs or after all others.
    fn list(&self, run: &Run, merged: &[Arc<Run>]) -> io::Result<()> {
        let mut owner = self.manifest.lock();
        let before = owner.manifest.runs.clone();
        // Nothing is listed after a damaged run: the next open rebuilds everything from there.
        let next = before.last().map_or(1, |last| last.last + 1);
        if self.is_distrusted && run.footer.first > next {
            return Ok(());
        }
        let is_merged = |entry: &RunEntry| merged.iter().any(|run| run.footer.id == entry.id);
        let runs = &mut owner.manifest.runs;
        let at = runs.iter().position(is_merged).unwrap_or(runs.len());
        runs.retain(|entry| !is_merged(entry));
        runs.insert(at, RunEntry::of(run));
        let replaced = if planted(Bug::RunNotListed) { Ok(()) } else { owner.replace() };
        if replaced.is_err() {
            owner.manifest.runs = before;
        }
        replaced
    }

    /// Makes a listed run visible, in place of its table.
    fn publish(&self, run: Arc<Run>) {
        self.shared.index.change(|snapshot| {
            if !planted(Bug::TableDroppedEarly) {
                let table = snapshot.tables.remove(0);
                assert!(table.first == run.footer.first, "the oldest table is written first");
            }
            snapshot.runs.push(run);
        });
    }

    /// Begins to merge the runs of a tier, if there are enough.
    fn begin_merge(&mut self) {
        if self.merge.is_some() || self.merging_failed {
            return;
        }
        let snapshot = self.shared.index.snapshot();
        let Some((from, tier)) = to_merge(&snapshot.runs) else { return };
        let mut runs = snapshot.runs[from..from + FAN_OUT].to_vec();
        if planted(Bug::RunsApartMerged) {
            runs.remove(1);
        }
        let id = self.draw_id();
        let begun = self.files.begin(&*self.env, id).map_err(MergeError::from);
        match begun.and_then(|builder| Merge::new(runs.clone(), builder)) {
            Ok(merge) => self.merge = Some(Merging { id, tier: tier + 1, runs, merge }),
            Err(error) => self.fail_merge(id, &error),
        }
    }

    /// Does one step of the work that can wait. `false` if none is left.
    fn step(&mut self, indexer: &Indexer) -> bool {
        let Some(merging) = &mut self.merge else { return false };
        let id = merging.id;
        match merging.merge.step() {
            Ok(false) => return true,
            Ok(true) => {}
            Err(error) => {
                self.merge = None;
                self.fail_merge(id, &error);
                return false;
            }
        }
        let Merging { id, tier, runs, merge } = self.merge.take().expect("a merge is running");
        let finished = merge.finish(id, tier).map_err(MergeError::from);
        match finished.and_then(|run| Ok(self.files.settle(&*self.env, &run).map(|()| run)?)) {
            Ok(run) => self.take_over(run, &runs),
            Err(error) => self.fail_merge(id, &error),
        }
        self.write_ended(indexer);
        self.begin_merge();
        self.merge.is_some()
    }

    /// Lists a merged run and makes it visible, in place of its inputs.
    fn take_over(&mut self, run: Run, merged: &[Arc<Run>]) {
        if planted(Bug::MergedRemovedEarly) {
            merged.iter().for_each(|run| self.discard(run.footer.id));
        }
        if let Err(error) = self.list(&run, merged) {
            // The manifest on the disk may list the run, so its file stays.
            tracing::warn!(%error, "a merged run could not be listed");
            self.merging_failed = true;
            return;
        }
        let run = Arc::new(run);
        self.shared.index.change(|snapshot| {
            let is_merged = |own: &Arc<Run>| merged.iter().any(|run| run.footer.id == own.footer.id);
            let at = snapshot.runs.iter().position(is_merged).expect("merged runs are shown");
            snapshot.runs.retain(|own| !is_merged(own));
            snapshot.runs.insert(at, run);
        });
        // Readers that still use them hold them open.
        merged.iter().for_each(|run| self.discard(run.footer.id));
        // A name that returns after a power cut does no harm.
        let _ = self.env.sync_dir(&run_folder(&self.files.root));
    }

    /// Leaves the runs as they are: they still serve, and the next open tries again.
    fn fail_merge(&mut self, id: u64, error: &MergeError) {
        tracing::warn!(%error, "runs of the index could not be merged; they stay in use");
        self.merging_failed = true;
        self.discard(id);
    }

    fn abandon_merge(&mut self) {
        if let Some(merging) = self.merge.take() {
            self.discard(merging.id);
        }
    }
}

/// The index of the first run to merge, and the tier.
fn to_merge(runs: &[Arc<Run>]) -> Option<(usize, u8)> {
    let windows = runs.windows(FAN_OUT).enumerate().rev();
    let mut fitting = windows.filter(|(_, window)| {
        let tier = window[0].footer.tier;
        let events = window[FAN_OUT - 1].footer.last - window[0].footer.first + 1;
        window.iter().all(|run| run.footer.tier == tier) && events <= RUN_EVENTS_MAX
    });
    // The newest runs are the smallest; within a tier the oldest come first.
    let (newest, window) = fitting.next()?;
    let tier = window[0].footer.tier;
    let same = runs[..newest].iter().rev().take_while(|run| run.footer.tier == tier).count();
    let from = newest - same;
    let events = runs[from + FAN_OUT - 1].footer.last - runs[from].footer.first + 1;
    Some((if events <= RUN_EVENTS_MAX { from } else { newest }, tier))
}
