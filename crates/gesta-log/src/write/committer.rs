//! Assigns the work of an append. The caller that queues a batch decides it, while the writer syncs the previous
//! group. A lock holds the single writer. Its own thread takes the lock, or a blocking caller that finds it free:
//! that caller commits its batch itself, without a hop between threads.
//!
//! *Invariants*
//! - Batches are decided in the order in which they were queued.
//! - A caller that queues a batch either commits it or makes sure that the writer's thread is awake, so no batch is
//!   forgotten. The thread looks at the queue and at the open group before it sleeps.

use std::sync::{Arc, Mutex, MutexGuard, TryLockError};
use std::time::Instant;

use gesta_core::AppendError;

use super::group_builder::{GroupBuilder, OpenGroup};
use super::indexer::Indexer;
use super::manifest::SharedManifest;
use super::queue::{Answer, Queue, Request, Wake};
use super::segment_manager::SegmentManager;
use super::writer::Writer;
use crate::limits::LOOK_EVERY;
use crate::shared::Shared;

/// The writer behind its lock, with all that decides and commits batches.
pub(crate) struct Committer {
    writer: Mutex<Writer>,
    open_group: Arc<OpenGroup>,
    queue: Arc<Queue>,
    segment_manager: Arc<SegmentManager>,
    indexer: Arc<Indexer>,
    shared: Arc<Shared>,
}

impl Committer {
    pub(crate) fn new(
        builder: GroupBuilder,
        shared: Arc<Shared>,
        segment_manager: Arc<SegmentManager>,
        indexer: Arc<Indexer>,
    ) -> Self {
        let queue = Arc::new(Queue::new(Arc::clone(&shared)));
        let open_group = Arc::new(OpenGroup::new(builder));
        let writer = Writer::new(Arc::clone(&shared), Arc::clone(&queue), Arc::clone(&open_group));
        Self { writer: Mutex::new(writer), open_group, queue, segment_manager, indexer, shared }
    }

    /// Stops the segment manager and the indexer.
    fn stop_helpers(&self) {
        self.segment_manager.stop();
        self.indexer.stop();
    }

    /// Queues a request. Decides it, unless another thread is about to; the writer's thread commits it.
    pub(crate) fn submit(&self, request: impl Into<Request>) -> Result<(), AppendError> {
        self.queue.push(request)?;
        self.gather_and_wake();
        Ok(())
    }

    /// Decides the queued batches, unless another thread is about to; the writer's thread commits them.
    pub(crate) fn gather_and_wake(&self) {
        // A panic here does not affect the group that is being written.
        let gathered = self.guard(GroupBuilder::taken_to, || self.open_group.gather(&self.queue));
        self.queue.wake(gathered);
    }

    /// Queues a request and waits for its answer. If the writer is free, commits this request and all that were queued
    /// earlier.
    pub(crate) fn submit_and_wait(
        &self,
        request: impl Into<Request>,
        answer: oneshot::Receiver<Answer>,
    ) -> Result<Answer, AppendError> {
        self.queue.push(request)?;
        self.commit_if_free(Writer::commit_waiting);
        Ok(answer.recv().unwrap_or_else(|_| Err(super::in_doubt())))
    }

    /// Commits the queued batches, unless another thread does.
    pub(crate) fn commit_all(&self) {
        // A full group leaves batches in the queue.
        self.commit_if_free(|writer| {
            while writer.commit_waiting() || !self.queue.is_empty() {}
            false
        });
    }

    fn commit_if_free(&self, commit: impl FnOnce(&mut Writer) -> bool) {
        match self.writer.try_lock() {
            Ok(writer) => {
                let is_left = self.hold(writer, commit);
                self.queue.wake(is_left);
            }
            // Another thread commits, or a panic has poisoned the log and abandoned the queue.
            Err(TryLockError::WouldBlock | TryLockError::Poisoned(_)) => self.gather_and_wake(),
        }
    }

    /// The loop of the writer's thread. Returns after the log is closed. From time to time it looks after the folder of the
    /// manifest.
    pub(crate) fn run(&self, manifest: &SharedManifest) {
        let mut look_at = Instant::now() + LOOK_EVERY;
        loop {
            let wake = self.queue.wait(look_at);
            if Instant::now() >= look_at {
                manifest.look();
                look_at = Instant::now() + LOOK_EVERY;
            }
            // A panic has poisoned the log: nothing more is written.
            let Ok(writer) = self.writer.lock() else { return self.stop_helpers() };
            match wake {
                Wake::Arrived => {
                    let is_left = self.hold(writer, Writer::commit_waiting);
                    self.queue.wake(is_left);
                }
                Wake::Idle => self.hold(writer, Writer::rest),
                Wake::Look => self.hold(writer, |writer| writer.heed_displacement()),
                Wake::Closed => {
                    // A caller that queued a batch before the close may be gathering it right now.
                    self.hold(writer, |writer| {
                        while writer.commit_waiting() {}
                        writer.rest();
                    });
                    return self.stop_helpers();
                }
            }
        }
    }

    /// Queues a request for [`Self::commit_all`].
    pub(crate) fn enqueue(&self, request: impl Into<Request>) -> Result<(), AppendError> {
        self.queue.push(request)
    }

    /// Commits the queued batches. While a group is written, `meanwhile` queues more, and they are decided then.
    #[cfg(feature = "sim")]
    pub(crate) fn commit_waiting_while(&self, mut meanwhile: impl FnMut()) {
        let mut meanwhile = || {
            meanwhile();
            self.open_group.gather(&self.queue);
        };
        if let Ok(writer) = self.writer.lock() {
            self.hold(writer, |writer| while writer.commit_waiting_while(&mut meanwhile) {});
        }
    }

    /// Commits the queued batches, in a log without threads.
    pub(crate) fn commit_waiting(&self) {
        if let Ok(writer) = self.writer.lock() {
            self.hold(writer, |writer| while writer.commit_waiting() {});
        }
    }

    /// Writes a missing durable watermark, in a log without threads.
    pub(crate) fn rest(&self) {
        if let Ok(writer) = self.writer.lock() {
            self.hold(writer, Writer::rest);
        }
    }

    /// Does the queued work of the segment manager and the indexer. `false` if threads do it.
    pub(crate) fn keep(&self) -> bool {
        self.segment_manager.perform_waiting() && self.indexer.perform_waiting()
    }

    /// Does what the threads of a log do before they end, if there are none.
    pub(crate) fn finish_inline(&self) {
        if self.keep() {
            self.commit_waiting();
            self.rest();
            self.keep();
            self.segment_manager.stop();
            self.segment_manager.perform_waiting();
        }
    }

    /// Refuses new batches. Queued ones are still committed.
    pub(crate) fn close(&self) {
        self.queue.close();
    }

    /// Waits for the threads of the segment manager and the indexer.
    pub(crate) fn join_helpers(&self) {
        self.segment_manager.join();
        self.indexer.join();
    }

    /// Runs `work` with the writer; a panic poisons the log.
    fn hold<T>(&self, mut writer: MutexGuard<'_, Writer>, work: impl FnOnce(&mut Writer) -> T) -> T {
        // After a panic, nothing publishes the group that was being written.
        self.guard(|_| self.shared.published.position(), || work(&mut writer))
    }

    /// Runs `work`. A panic in it poisons the log: nothing more is written, and waiting callers get an answer. `last`
    /// then gives the last event that may still become durable.
    fn guard<T>(&self, last: impl FnOnce(&GroupBuilder) -> u64, work: impl FnOnce() -> T) -> T {
        let mut unless_done = Unless { undone: Some(|| self.give_up(last)) };
        let done = work();
        unless_done.undone = None;
        done
    }

    fn give_up(&self, last: impl FnOnce(&GroupBuilder) -> u64) {
        self.open_group.give_up(last);
        self.queue.abandon();
        self.stop_helpers();
    }
}

/// Runs a closure on drop, unless it was taken out before.
struct Unless<F: FnOnce()> {
    undone: Option<F>,
}

impl<F: FnOnce()> Drop for Unless<F> {
    fn drop(&mut self) {
        if let Some(undone) = self.undone.take() {
            undone();
        }
    }
}
