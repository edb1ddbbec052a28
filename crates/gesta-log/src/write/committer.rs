//! Who decides and who writes. Whoever puts a batch in line decides it, while the writer syncs the group before. The role of the single
//! writer is held under a lock: by its own thread, or by a blocking caller that finds it free and commits its batch itself, without a hop
//! between threads.
//!
//! *Invariants*
//! - Batches are decided in the order in which they were put in line.
//! - Whoever puts a batch in line either commits it or sees to it that the thread is awake, so no batch is forgotten. The thread looks at
//!   the line and at what is gathered before it sleeps.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, TryLockError};

use gesta_core::AppendError;

use super::group_builder::{GroupBuilder, OpenGroup};
use super::indexer::Indexer;
use super::queue::{Answer, Queue, Ticket, Wake};
use super::segment_manager::SegmentManager;
use super::writer::Writer;
use crate::shared::Shared;

/// The writer, for whoever gets hold of it.
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
        let (queue, open_group) = (Arc::new(Queue::default()), Arc::new(OpenGroup::new(builder)));
        let writer = Writer::new(Arc::clone(&shared), Arc::clone(&queue), Arc::clone(&open_group));
        Self { writer: Mutex::new(writer), open_group, queue, segment_manager, indexer, shared }
    }

    /// Ends the threads that work for the writer.
    fn stop_helpers(&self) {
        self.segment_manager.stop();
        self.indexer.stop();
    }

    /// Puts a batch in line, and decides it, unless somebody else is about to; the writer's thread commits it.
    pub(crate) fn submit(&self, ticket: Ticket) -> Result<(), AppendError> {
        self.queue.push(ticket)?;
        self.gather_and_wake();
        Ok(())
    }

    fn gather_and_wake(&self) {
        // The group that is being written is not concerned by a panic here.
        let gathered = self.guard(GroupBuilder::taken_to, || self.open_group.gather(&self.queue));
        self.queue.wake(gathered);
    }

    /// Puts a batch in line and waits for its answer; commits it, and what waits before it, where nobody else does.
    pub(crate) fn submit_and_wait(
        &self,
        ticket: Ticket,
        answer: oneshot::Receiver<Answer>,
    ) -> Result<Answer, AppendError> {
        self.queue.push(ticket)?;
        match self.writer.try_lock() {
            Ok(writer) => {
                let is_left = self.hold(writer, Writer::commit_waiting);
                self.queue.wake(is_left);
            }
            // Somebody else commits; or a panic has poisoned the log, and abandoned the line.
            Err(TryLockError::WouldBlock | TryLockError::Poisoned(_)) => self.gather_and_wake(),
        }
        Ok(answer.recv().unwrap_or_else(|_| Err(super::in_doubt())))
    }

    /// What the writer's thread does, until the log is closed.
    pub(crate) fn run(&self) {
        loop {
            let wake = self.queue.wait();
            // A panic has poisoned the log: nothing is written any more.
            let Ok(writer) = self.writer.lock() else { return self.stop_helpers() };
            match wake {
                Wake::Arrived => {
                    let is_left = self.hold(writer, Writer::commit_waiting);
                    self.queue.wake(is_left);
                }
                Wake::Idle => self.hold(writer, Writer::rest),
                Wake::Closed => {
                    // Whoever put something in line before the log was closed may be gathering it just now.
                    self.hold(writer, |writer| {
                        while writer.commit_waiting() {}
                        writer.rest();
                    });
                    return self.stop_helpers();
                }
            }
        }
    }

    /// Puts a batch in line, for [`Self::commit_waiting`].
    #[cfg(feature = "sim")]
    pub(crate) fn enqueue(&self, ticket: Ticket) -> Result<(), AppendError> {
        self.queue.push(ticket)
    }

    /// Commits what is in line.
    #[cfg(feature = "sim")]
    pub(crate) fn commit_waiting(&self) {
        if let Ok(writer) = self.writer.lock() {
            self.hold(writer, |writer| while writer.commit_waiting() {});
        }
    }

    /// Commits what is in line. While a group is written, `meanwhile` puts more in line, and that is decided then.
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

    /// Covers what is uncovered.
    #[cfg(feature = "sim")]
    pub(crate) fn rest(&self) {
        if let Ok(writer) = self.writer.lock() {
            self.hold(writer, Writer::rest);
        }
    }

    /// Does what waits for the keeper. `false` if a thread does.
    #[cfg(feature = "sim")]
    pub(crate) fn keep(&self) -> bool {
        self.segment_manager.perform_waiting() && self.indexer.perform_waiting()
    }

    /// Ends the keeper, where no thread does its work.
    #[cfg(feature = "sim")]
    pub(crate) fn end_keeping(&self) {
        self.segment_manager.stop();
        self.segment_manager.perform_waiting();
    }

    /// Whether a panic has ended all writing, and what it left behind is forgotten: nobody decides any more either.
    pub(crate) fn is_gone(&self) -> bool {
        let is_poisoned = || self.shared.poison.read().unwrap_or_else(PoisonError::into_inner).is_some();
        self.queue.is_abandoned() && is_poisoned()
    }

    /// Lets nothing more in. What waits is still committed.
    pub(crate) fn close(&self) {
        self.queue.close();
    }

    /// Works as the writer.
    fn hold<T>(&self, mut writer: MutexGuard<'_, Writer>, work: impl FnOnce(&mut Writer) -> T) -> T {
        // What it was writing never becomes durable by a writer that is gone.
        self.guard(|_| self.shared.published.position(), || work(&mut writer))
    }

    /// Does something of which a panic is a poison: nothing is written any more, and nobody waits for an answer that never comes. Then
    /// `last` is the last event that may be durable.
    fn guard<T>(&self, last: impl FnOnce(&GroupBuilder) -> u64, work: impl FnOnce() -> T) -> T {
        let mut unless_done = Unless { undone: Some(|| self.give_up(last)) };
        let done = work();
        unless_done.undone = None;
        done
    }

    fn give_up(&self, last: impl FnOnce(&GroupBuilder) -> u64) {
        self.queue.abandon();
        self.open_group.give_up(last);
        self.stop_helpers();
    }
}

/// Does something when it is dropped, unless that was taken back.
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
