//! The indexer: writes full tables as runs, and merges runs, so that the writer waits for neither.
//!
//! *Invariants*
//! - A run holds durable events only, from tables that no longer change.
//! - A run is listed durably before a reader sees it. A merged run is removed only after the manifest without it is
//!   durable.
//! - Only runs of adjacent ranges are merged.

use std::collections::VecDeque;
use std::io;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Duration;

use super::manifest::SharedManifest;
use super::worker::{Drive, End, Status, Work, Worker};
use crate::bugs::{Bug, planted};
use crate::env::Env;
use crate::folder::run_folder;
use crate::format::RunEntry;
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
    worker: Worker<Indexing>,
}

/// What callers of the indexer see and wait for.
#[derive(Default)]
struct Backlog {
    /// Full tables that are not on the disk yet.
    tables: usize,
    /// Why the last write failed, and how many attempts have failed so far.
    failure: Option<String>,
    failures: u64,
}

enum Task {
    Write(FullTable),
    /// Another attempt, because a caller waits.
    Retry,
    /// A run is damaged.
    Distrust(u64),
}

/// The work of the indexer.
struct Indexing {
    env: Arc<dyn Env>,
    files: RunFiles,
    shared: Arc<Shared>,
    manifest: Arc<SharedManifest>,
    /// The oldest first.
    ended: VecDeque<FullTable>,
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

impl Indexer {
    pub(crate) fn start(
        env: Arc<dyn Env>,
        files: RunFiles,
        shared: Arc<Shared>,
        manifest: Arc<SharedManifest>,
        limits: TableLimits,
        drive: Drive,
    ) -> io::Result<Arc<Self>> {
        let cache = Arc::clone(&files.cache);
        let next_id = manifest.lock().manifest.next_run_id();
        let work = Indexing {
            env,
            files,
            shared,
            manifest,
            ended: VecDeque::new(),
            failures: 0,
            merge: None,
            next_id,
            merging_failed: false,
            is_distrusted: false,
        };
        let worker = Worker::start(work, Backlog::default(), drive)?;
        // If the indexer is gone, the next open meets the damage again.
        let send = worker.sender();
        cache.tell_of_damage(move |run| send(Task::Distrust(run)));
        Ok(Arc::new(Self { limits, worker }))
    }

    pub(crate) const fn limits(&self) -> TableLimits {
        self.limits
    }

    /// Whether another table may end.
    pub(crate) fn has_room(&self) -> bool {
        self.worker.lock().state.tables < BACKLOG_MAX
    }

    /// Queues a full table. The oldest is written first.
    pub(crate) fn write_run(&self, ended: FullTable) {
        self.worker.lock().state.tables += 1;
        self.worker.send(Task::Write(ended));
    }

    /// Waits until another table may end. The error says why tables cannot be written.
    pub(crate) fn wait_for_room(&self) -> Result<(), String> {
        let mut shown = self.worker.lock();
        let failures = shown.state.failures;
        if shown.state.failure.is_some() {
            self.worker.send(Task::Retry);
        }
        while shown.state.tables >= BACKLOG_MAX {
            let end = shown.end.as_ref().map(End::reason);
            if end.is_some() || shown.state.failures > failures {
                let reason = shown.state.failure.as_deref().or(end).unwrap_or_default();
                return Err(format!("the index of new events cannot be written: {reason}"));
            }
            shown = self.worker.wait(shown);
        }
        Ok(())
    }

    /// Ends the indexer after its queued tasks. The next open does the rest of its work.
    pub(crate) fn stop(&self) {
        self.worker.stop();
    }

    /// Waits for the end of its thread.
    pub(crate) fn join(&self) {
        self.worker.join();
    }

    /// Does the queued work, if no thread does it. `false` if a thread does.
    pub(crate) fn perform_waiting(&self) -> bool {
        self.worker.perform_waiting()
    }
}

impl Work for Indexing {
    type Task = Task;
    type State = Backlog;
    const THREAD: &'static str = "gesta-index";
    const NAME: &'static str = "the indexer";

    fn begin(&mut self) {
        self.begin_merge();
    }

    fn perform(&mut self, task: Task, status: &Status<Backlog>) -> ControlFlow<String> {
        match task {
            Task::Write(ended) => {
                // Before its run is visible, so that no reader finds an older head than runs hold.
                self.shared.index.snapshot().heads.learn(ended.contents());
                self.ended.push_back(ended);
            }
            Task::Retry => {}
            Task::Distrust(run) => self.distrust(run),
        }
        self.write_ended(status);
        ControlFlow::Continue(())
    }

    /// Between the steps of a merge, tasks come first. Without a merge, the next attempt to write a table follows
    /// after a pause.
    fn pause(&self) -> Option<Duration> {
        match (&self.merge, self.ended.is_empty()) {
            (Some(_), _) => Some(Duration::ZERO),
            (None, false) => Some(retry_pause(self.failures)),
            (None, true) => None,
        }
    }

    fn go_on(&mut self, status: &Status<Backlog>) {
        match self.merge.take() {
            Some(merging) => self.step(merging, status),
            None => self.write_ended(status),
        }
    }

    fn finish(&mut self, _status: &Status<Backlog>) {
        self.abandon_merge();
    }
}

impl Indexing {
    /// Writes the full tables, the oldest first, until one fails.
    fn write_ended(&mut self, status: &Status<Backlog>) {
        while !self.ended.is_empty() {
            match self.write() {
                Ok(run) => {
                    self.ended.pop_front();
                    self.failures = 0;
                    self.publish(Arc::new(run));
                    status.change(|own| (own.tables, own.failure) = (own.tables - 1, None));
                    // The disk takes writes again, so a merge may be tried again.
                    self.merging_failed = self.is_distrusted;
                    self.begin_merge();
                }
                Err(error) => {
                    tracing::warn!(%error, "a run could not be written; it will be tried again");
                    self.failures += 1;
                    return status.change(|own| {
                        own.failure = Some(error.to_string());
                        own.failures += 1;
                    });
                }
            }
        }
    }

    fn write(&mut self) -> Result<Run, MergeError> {
        let id = self.draw_id();
        let ended = self.ended.front().expect("a full table waits");
        let run = self
            .files
            .write(&*self.env, id, ended.contents(), ended.end)
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

    /// Removes the file of a run that readers may still use. If it cannot be held open for them, the next open removes
    /// it.
    fn discard_read(&self, run: &Run) {
        match run.hold() {
            Ok(()) => self.discard(run.footer.id),
            Err(error) => {
                tracing::warn!(%error, run = run.footer.id, "a merged index file stays until the next open")
            }
        }
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

    /// Does one step of a merge.
    fn step(&mut self, mut merging: Merging, status: &Status<Backlog>) {
        match merging.merge.step() {
            Ok(false) => {
                self.merge = Some(merging);
                return;
            }
            Ok(true) => {}
            Err(error) => return self.fail_merge(merging.id, &error),
        }
        let Merging { id, tier, runs, merge } = merging;
        let finished = merge.finish(id, tier).map_err(MergeError::from);
        match finished.and_then(|run| Ok(self.files.settle(&*self.env, &run).map(|()| run)?)) {
            Ok(run) => self.take_over(run, &runs),
            Err(error) => self.fail_merge(id, &error),
        }
        self.write_ended(status);
        self.begin_merge();
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
        merged.iter().for_each(|run| self.discard_read(run));
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
