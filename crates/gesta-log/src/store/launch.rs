//! From a recovered log to one that takes writes: at once, or after its index was built beside the open log.

use std::error::Error;
use std::path::PathBuf;
use std::sync::{Arc, OnceLock};
use std::thread::JoinHandle;

use super::threads::{Commit, cores, spawn, spawning};
use crate::env::Env;
use crate::error::OpenError;
use crate::format::{DurableMark, Manifest};
use crate::index::{FullTable, RunFiles};
use crate::limits::REBUILD_THREADS_MAX;
use crate::options::Options;
use crate::read::mark_in;
use crate::rebuild::Rebuild;
use crate::recover::{Ready, Recovery, Writable};
use crate::segment::Tail;
use crate::shared::{Building, Head, Shared};
use crate::write::{Committer, Drive, GroupBuilder, Indexer, SegmentManager, SharedManifest};

/// What exists only once the index is complete.
#[derive(Default)]
pub(super) struct Late {
    /// Stays empty if the log is read-only.
    pub(super) commit: OnceLock<Commit>,
    pub(super) recovery: OnceLock<Recovery>,
}

/// All that a loaded log needs to go on.
pub(super) struct Launch {
    pub(super) shared: Arc<Shared>,
    pub(super) late: Arc<Late>,
    pub(super) env: Arc<dyn Env>,
    pub(super) root: PathBuf,
    pub(super) runs: RunFiles,
    pub(super) options: Options,
    pub(super) drive: Drive,
}

/// Who builds the index beside the open log.
#[derive(Default)]
pub(super) enum Rebuilding {
    /// It is complete, or was when the log was opened.
    #[default]
    Nobody,
    Thread(JoinHandle<()>),
    #[cfg_attr(not(feature = "sim"), expect(dead_code, reason = "only the simulation is such a caller"))]
    Caller(Launch, Box<Rebuild>),
}

impl Launch {
    /// Starts a loaded log. Its index answers only from here on, so every look-up that succeeds finds the writer in
    /// place.
    pub(super) fn go(&self, ready: Ready) -> Result<(), OpenError> {
        let Ready { manifest, snapshot, damage, ended, tail, recovery, writable } = ready;
        let shared = &self.shared;
        warn_of_clock(tail.chain.recorded_at, shared.now().as_nanos());
        shared.index.fill(snapshot, damage, self.options.heads_bytes());
        let position = tail.chain.position.max(shared.published.position());
        let mark = mark_in(&shared.index.snapshot(), position);
        shared.published.publish(Head { position, mark });
        if let Some(cause) = &recovery.read_only {
            shared.poison.set_at_open(cause.clone());
        }
        if let Some(writable) = writable {
            let commit = self.commit(manifest, writable, tail, ended)?;
            assert!(self.late.commit.set(commit).is_ok(), "a log has one writer");
        }
        assert!(self.late.recovery.set(recovery).is_ok(), "a log is loaded once");
        if let Some(building) = &shared.building {
            building.finish();
        }
        Ok(())
    }

    /// The writer, the segment manager and the indexer.
    fn commit(
        &self,
        manifest: Manifest,
        writable: Writable,
        tail: Tail,
        ended: Vec<FullTable>,
    ) -> Result<Commit, OpenError> {
        let Self { shared, env, root, drive, .. } = self;
        let size = self.options.segment_size_bytes;
        // Recovery has synced everything up to here.
        shared.synced.note(DurableMark::of(&tail.chain));
        let manifest = SharedManifest::new(manifest, Arc::clone(env), root.clone(), Arc::clone(shared));
        let manifest = Arc::new(manifest);
        let segment_manager = SegmentManager::start(
            Arc::clone(env),
            root.clone(),
            Arc::clone(&manifest),
            size,
            writable.spare,
            *drive,
        );
        let segment_manager = segment_manager.map_err(spawning)?;
        let indexer = Indexer::start(
            Arc::clone(env),
            self.runs.clone(),
            Arc::clone(shared),
            Arc::clone(&manifest),
            self.options.table_limits(),
            *drive,
        );
        let indexer = indexer.map_err(spawning)?;
        ended.into_iter().for_each(|ended| indexer.write_run(ended));
        let builder = GroupBuilder::new(
            Arc::clone(shared),
            Arc::clone(&segment_manager),
            Arc::clone(&indexer),
            tail,
            (writable.active, writable.start, writable.bytes_before),
        );
        let role = Committer::new(builder, Arc::clone(shared), segment_manager, indexer);
        Commit::start(role, manifest, *drive).map_err(spawning)
    }

    /// Builds the index beside the open log: on separate threads, or when the caller does it.
    pub(super) fn rebuild_beside(self, work: Box<Rebuild>) -> Result<Rebuilding, OpenError> {
        match self.drive {
            Drive::Threads => {
                let thread = spawn("gesta-rebuild", move || self.rebuild(*work)).map_err(spawning)?;
                Ok(Rebuilding::Thread(thread))
            }
            Drive::Inline => Ok(Rebuilding::Caller(self, work)),
        }
    }

    /// Tries until the index is complete or the log is closed.
    fn rebuild(&self, mut work: Rebuild) {
        let building = Arc::clone(work.building());
        let _ends = EndOnDrop(Arc::clone(&building));
        let threads = cores().min(REBUILD_THREADS_MAX);
        for failures in 1.. {
            let attempted = work.attempt(threads);
            let error = match attempted {
                _ if building.is_stopped() => return,
                Ok(ready) => match self.go(ready) {
                    Ok(()) => return,
                    // A log can be started only once.
                    Err(error) => return building.fail(told(&error)),
                },
                Err(error) => error,
            };
            building.fail(told(&error));
            // A newer format stays unreadable, so another attempt would not help.
            if matches!(error, OpenError::NewerFormat { .. }) || building.pause(failures).is_break() {
                return;
            }
        }
    }
}

/// Tells waiting callers that the build of the index has ended, and the reason if it panicked.
struct EndOnDrop(Arc<Building>);

impl Drop for EndOnDrop {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.fail("building the index panicked: open the log again".to_owned());
        }
        self.0.end();
    }
}

/// An error and its causes in one line.
fn told(error: &OpenError) -> String {
    let mut told = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        told = format!("{told}: {cause}");
        source = cause.source();
    }
    told
}

/// Warns if the clock is behind the newest event. Recorded times never go back, so all events get that event's time
/// until the clock has caught up.
fn warn_of_clock(recorded_at: i64, now: i64) {
    let seconds = recorded_at.saturating_sub(now) / 1_000_000_000;
    if seconds > 0 {
        tracing::warn!(
            seconds,
            "the clock is behind the newest event of the log: new events are recorded at that event's time until the clock has caught up"
        );
    }
}
