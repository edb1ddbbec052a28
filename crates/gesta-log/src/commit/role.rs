//! The role of the single writer, held under a lock: by its own thread, or by a blocking caller that finds it free and
//! commits its batch itself, without a hop between threads.
//!
//! *Invariants*
//! - Batches are decided in the order in which they were put in line: they leave the line only under the lock.
//! - Whoever puts a batch in line either commits it or wakes the thread, so no batch is forgotten.

use std::sync::{Arc, Mutex, MutexGuard, TryLockError};

use gesta_core::AppendError;

use super::queue::{Answer, Queue, Ticket, Wake};
use super::writer::Writer;
use crate::indexer::Indexer;
use crate::keeper::Keeper;
use crate::shared::Shared;

/// The writer, for whoever gets hold of it.
pub(crate) struct Role {
    writer: Mutex<Writer>,
    queue: Arc<Queue>,
    keeper: Arc<Keeper>,
    indexer: Arc<Indexer>,
    shared: Arc<Shared>,
}

impl Role {
    pub(crate) fn new(
        writer: Writer,
        shared: Arc<Shared>,
        queue: Arc<Queue>,
        keeper: Arc<Keeper>,
        indexer: Arc<Indexer>,
    ) -> Self {
        Self { writer: Mutex::new(writer), queue, keeper, indexer, shared }
    }

    /// Ends the threads that work for the writer.
    fn stop_helpers(&self) {
        self.keeper.stop();
        self.indexer.stop();
    }

    /// Puts a batch in line for the writer's thread.
    pub(crate) fn submit(&self, ticket: Ticket) -> Result<(), AppendError> {
        self.queue.push(ticket)?;
        self.queue.wake();
        Ok(())
    }

    /// Puts a batch in line and waits for its answer; commits it, and what waits before it, where nobody else does.
    pub(crate) fn submit_and_wait(
        &self,
        ticket: Ticket,
        answer: oneshot::Receiver<Answer>,
    ) -> Result<Answer, AppendError> {
        self.queue.push(ticket)?;
        match self.writer.try_lock() {
            Ok(writer) => self.hold(writer, Writer::commit_waiting),
            // Somebody else commits; or a panic has poisoned the log, and abandoned the line.
            Err(TryLockError::WouldBlock | TryLockError::Poisoned(_)) => {}
        }
        self.queue.wake();
        Ok(answer.recv().unwrap_or_else(|_| Err(super::in_doubt())))
    }

    /// What the writer's thread does, until the log is closed.
    pub(crate) fn run(&self) {
        loop {
            let wake = self.queue.wait();
            // A panic has poisoned the log: nothing is written any more.
            let Ok(writer) = self.writer.lock() else { return self.stop_helpers() };
            match wake {
                Wake::Arrived => self.hold(writer, Writer::commit_waiting),
                Wake::Idle => self.hold(writer, Writer::rest),
                Wake::Closed => {
                    self.hold(writer, Writer::rest);
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
            self.hold(writer, Writer::commit_waiting);
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
        self.keeper.perform_waiting() && self.indexer.perform_waiting()
    }

    /// Lets nothing more in. What waits is still committed.
    pub(crate) fn close(&self) {
        self.queue.close();
    }

    /// Works as the writer. A panic is a poison: nobody waits for an answer that never comes.
    fn hold(&self, mut writer: MutexGuard<'_, Writer>, work: impl FnOnce(&mut Writer)) {
        let _guard = PoisonOnPanic(self);
        work(&mut writer);
    }
}

struct PoisonOnPanic<'a>(&'a Role);

impl Drop for PoisonOnPanic<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.shared.poison("the writer panicked: open the log again".to_owned());
            self.0.queue.abandon();
            self.0.stop_helpers();
        }
    }
}
