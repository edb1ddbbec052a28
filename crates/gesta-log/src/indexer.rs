//! The indexer: writes tables that have ended as runs, and merges runs, so that the writer waits for neither.
//!
//! *Invariants*
//! - A run holds nothing that is not durable, and nothing that a table still adds to.
//! - A run is listed durably before anybody looks into it, and a merged one is removed only after the manifest without it is durable.
//! - Only runs of adjacent ranges are merged.

use std::io;
use std::ops::ControlFlow;
use std::sync::mpsc;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use crate::bugs::{Bug, planted};
use crate::env::Env;
use crate::index::{Merge, MergeError, Run, RunFiles, run_folder};
use crate::keeper::SharedManifest;
use crate::limits::retry_pause;
use crate::manifest::RunEntry;
use crate::recover::Ended;
use crate::shared::Shared;

/// Tables that have ended and are not on the disk yet: with more, the table that grows goes on growing.
const BACKLOG_MAX: usize = 2;
/// How far beyond its size a table may grow while it cannot end.
const OVERFULL: usize = 4;
/// Runs of one tier that are merged into one of the next.
const FAN_OUT: usize = 8;
/// Runs are not merged beyond so many events.
const RUN_EVENTS_MAX: u64 = 128 << 20;

/// When a table is full.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct TableLimits {
    /// Bytes of memory.
    pub(crate) bytes: usize,
    /// Bytes of the log that it knows.
    pub(crate) log_bytes: u64,
}

impl TableLimits {
    pub(crate) const fn is_full(self, bytes: usize, log_bytes: u64) -> bool {
        bytes >= self.bytes || log_bytes >= self.log_bytes
    }

    /// Whether a table is so much too large that appends have to wait.
    pub(crate) const fn is_overfull(self, bytes: usize) -> bool {
        bytes >= OVERFULL * self.bytes
    }
}

/// The handle that the writer holds.
pub(crate) struct Indexer {
    limits: TableLimits,
    tasks: Mutex<mpsc::Sender<Task>>,
    state: Mutex<State>,
    changed: Condvar,
    /// The indexer's work, where no thread does it.
    #[cfg(feature = "sim")]
    inline: Mutex<Option<IndexerThread>>,
}

#[derive(Default)]
struct State {
    /// Tables that have ended and are not on the disk yet.
    backlog: usize,
    /// Why the last attempt to write one failed; attempts so far that did.
    failure: Option<String>,
    failures: u64,
    stopped: bool,
}

enum Task {
    Write(Ended),
    /// Another attempt, for somebody who waits.
    Retry,
    /// A run turned out to be damaged.
    Distrust(u64),
    Stop,
}

/// The indexer's own state.
struct Work {
    env: Arc<dyn Env>,
    files: RunFiles,
    shared: Arc<Shared>,
    manifest: Arc<SharedManifest>,
    /// From old to new.
    ended: std::collections::VecDeque<Ended>,
    /// Attempts in a row to write the oldest that failed.
    failures: u32,
    merge: Option<Merging>,
    next_id: u64,
    /// Runs whose files could not be merged: left as they are.
    merging_failed: bool,
    /// A run was found damaged: those behind it wait for the next open.
    is_distrusted: bool,
}

struct Merging {
    id: u64,
    tier: u8,
    runs: Vec<Arc<Run>>,
    merge: Merge,
}

/// The indexer's work, and where it takes it from. Lives on its thread.
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
            // An indexer that is gone leaves it to the next open, which meets the damage again.
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

    /// Has a table written that has ended. The oldest comes first.
    pub(crate) fn write_run(&self, ended: Ended) {
        self.lock().backlog += 1;
        self.send(Task::Write(ended));
    }

    /// Waits until another table may end; says why none may, where writing them fails.
    pub(crate) fn wait_for_room(&self) -> Result<(), String> {
        let mut state = self.lock();
        let failures = state.failures;
        if state.failure.is_some() {
            self.send(Task::Retry);
        }
        while state.backlog >= BACKLOG_MAX {
            if state.stopped || state.failures > failures {
                let reason = state.failure.as_deref().unwrap_or("the log is closing");
                return Err(format!("the index of what is new cannot be written: {reason}"));
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

    /// Ends the indexer's thread. What it has not done is done after the next open.
    pub(crate) fn stop(&self) {
        self.lock().stopped = true;
        self.send(Task::Stop);
    }

    /// Keeps the work itself, for a log without threads.
    #[cfg(feature = "sim")]
    pub(crate) fn keep_inline(&self, thread: IndexerThread) {
        *self.inline.lock().unwrap_or_else(PoisonError::into_inner) = Some(thread);
    }

    /// Does what waits, where no thread does it. `false` if a thread does.
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
            // Nothing is new: whoever drives the log says with it that time has passed. Not where a log is dropped because this very
            // attempt panicked: a second panic would end the process.
            thread.work.write_ended(self);
        }
        while thread.work.step(self) {}
        true
    }

    fn send(&self, task: Task) {
        // An indexer that is gone has said so in its state, which whoever waits looks at.
        let _ = self.tasks.lock().unwrap_or_else(PoisonError::into_inner).send(task);
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl IndexerThread {
    /// Works until told to stop.
    pub(crate) fn run(mut self, indexer: &Arc<Indexer>) {
        let _stops = StopOnEnd(Arc::clone(indexer));
        self.work.begin_merge();
        loop {
            // Between the steps of a merge, what is new comes first.
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

/// Tells whoever waits for the indexer that it is gone.
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
                // Before its run is shown: so nobody finds a stream older than the runs have it.
                self.shared.index.view().heads.learn(&ended.table.read());
                self.ended.push_back(ended);
            }
            Task::Retry => {}
            Task::Distrust(run) => self.distrust(run),
            Task::Stop => return ControlFlow::Break(()),
        }
        self.write_ended(indexer);
        ControlFlow::Continue(())
    }

    /// Waits for a task, and not longer than until a table is to be written again.
    fn wait(&self, tasks: &mpsc::Receiver<Task>) -> Result<Task, mpsc::RecvTimeoutError> {
        if self.ended.is_empty() {
            return tasks.recv().map_err(|_| mpsc::RecvTimeoutError::Disconnected);
        }
        tasks.recv_timeout(retry_pause(self.failures))
    }

    const fn has_work(&self) -> bool {
        self.merge.is_some()
    }

    /// Writes the tables that have ended, the oldest first, as long as that works.
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
                    // The disk takes writes: another attempt at a merge is worth it.
                    self.merging_failed = self.is_distrusted;
                    indexer.changed.notify_all();
                    self.begin_merge();
                }
                Err(error) => {
                    tracing::warn!(%error, "a run could not be written; it is tried again");
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
        let ended = self.ended.front().expect("somebody looked");
        let run = self
            .files
            .write(&*self.env, id, &ended.table.read(), ended.end)
            .inspect_err(|_| self.discard(id))?;
        if planted(Bug::TableDroppedEarly) {
            self.shared.index.change(|view| drop(view.tables.remove(0)));
        }
        self.list(&run, &[])?;
        Ok(run)
    }

    /// Removes what is left of a run that was never listed. Where that fails too, the next open does it.
    fn discard(&self, id: u64) {
        let _ = self.env.remove(&self.files.path(id));
    }

    fn draw_id(&mut self) -> u64 {
        self.next_id += 1;
        self.next_id - 1
    }

    /// Has a damaged run built anew by the next open, and those behind it, by listing them no more.
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
            tracing::warn!(%error, "the manifest could not be replaced; it is with the next change");
        }
    }

    /// Lists a run durably, in the place of others or behind all.
    fn list(&self, run: &Run, merged: &[Arc<Run>]) -> io::Result<()> {
        let mut owner = self.manifest.lock();
        let before = owner.manifest.runs.clone();
        // Behind a run that is trusted no more, nothing is listed: the next open builds it all anew.
        let next = before.last().map_or(1, |last| last.last + 1);
        if self.is_distrusted && run.facts.first > next {
            return Ok(());
        }
        let is_merged = |entry: &RunEntry| merged.iter().any(|run| run.facts.id == entry.id);
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

    /// Shows a run that is listed, in the place of the table that it was written of.
    fn publish(&self, run: Arc<Run>) {
        self.shared.index.change(|view| {
            if !planted(Bug::TableDroppedEarly) {
                let table = view.tables.remove(0);
                assert!(table.first == run.facts.first, "the oldest table is written first");
            }
            view.runs.push(run);
        });
    }

    /// Begins to merge the runs of a tier, if there are enough of them.
    fn begin_merge(&mut self) {
        if self.merge.is_some() || self.merging_failed {
            return;
        }
        let view = self.shared.index.view();
        let Some((from, tier)) = to_merge(&view.runs) else { return };
        let mut runs = view.runs[from..from + FAN_OUT].to_vec();
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

    /// Does a little of what can wait. `false` if nothing is left.
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
        let Merging { id, tier, runs, merge } = self.merge.take().expect("it is under way");
        let finished = merge.finish(id, tier).map_err(MergeError::from);
        match finished.and_then(|run| Ok(self.files.settle(&*self.env, &run).map(|()| run)?)) {
            Ok(run) => self.take_over(run, &runs),
            Err(error) => self.fail_merge(id, &error),
        }
        self.write_ended(indexer);
        self.begin_merge();
        self.merge.is_some()
    }

    /// Lists and shows a merged run in the place of those that it was made of.
    fn take_over(&mut self, run: Run, merged: &[Arc<Run>]) {
        if planted(Bug::MergedRemovedEarly) {
            merged.iter().for_each(|run| self.discard(run.facts.id));
        }
        if let Err(error) = self.list(&run, merged) {
            // The manifest on the disk may list it or not: its file stays.
            tracing::warn!(%error, "a merged run could not be listed");
            self.merging_failed = true;
            return;
        }
        let run = Arc::new(run);
        self.shared.index.change(|view| {
            let is_merged = |own: &Arc<Run>| merged.iter().any(|run| run.facts.id == own.facts.id);
            let at = view.runs.iter().position(is_merged).expect("merged runs are shown");
            view.runs.retain(|own| !is_merged(own));
            view.runs.insert(at, run);
        });
        // Whoever looks into them still has them open.
        merged.iter().for_each(|run| self.discard(run.facts.id));
        // Names that come back after a power cut are in nobody's way.
        let _ = self.env.sync_dir(&run_folder(&self.files.root));
    }

    /// Leaves the runs as they are: they serve as well, and the next open tries again.
    fn fail_merge(&mut self, id: u64, error: &MergeError) {
        tracing::warn!(%error, "runs of the index could not be merged; they are left as they are");
        self.merging_failed = true;
        self.discard(id);
    }

    fn abandon_merge(&mut self) {
        if let Some(merging) = self.merge.take() {
            self.discard(merging.id);
        }
    }
}

/// The first of the runs to merge, and their tier.
fn to_merge(runs: &[Arc<Run>]) -> Option<(usize, u8)> {
    let windows = runs.windows(FAN_OUT).enumerate().rev();
    let mut fitting = windows.filter(|(_, window)| {
        let tier = window[0].facts.tier;
        let events = window[FAN_OUT - 1].facts.last - window[0].facts.first + 1;
        window.iter().all(|run| run.facts.tier == tier) && events <= RUN_EVENTS_MAX
    });
    // The newest are the smallest, and of one tier the oldest come first.
    let (newest, window) = fitting.next()?;
    let tier = window[0].facts.tier;
    let same = runs[..newest].iter().rev().take_while(|run| run.facts.tier == tier).count();
    let from = newest - same;
    let events = runs[from + FAN_OUT - 1].facts.last - runs[from].facts.first + 1;
    Some((if events <= RUN_EVENTS_MAX { from } else { newest }, tier))
}
