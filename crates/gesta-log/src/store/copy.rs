//! Copies: the log as a source of recorded batches, and a log that is filled with those of another store.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use gesta_core::{
    BoxFuture, Checkpoint, CopyError, CopySource, CopyTarget, EventStore, ReadError, RecordedBatch,
    RecordedBatches, StoreId,
};

use super::open::{Opened, Purpose, open};
use super::recorded::{InLine, append_error, check_places};
use super::{Drive, LogStore};
use crate::env::{Env, OsEnv};
use crate::error::OpenError;
use crate::folder::COPYING;
use crate::options::Options;
use crate::read;
use crate::write::Committer;

impl CopySource for LogStore {
    fn batches(&self, partition: u16, after: u64, until: u64) -> Box<dyn RecordedBatches + '_> {
        assert_eq!(partition, 0, "a log has one partition");
        Box::new(LogBatches { log: self, after, until })
    }
}

/// The batches of a range of a log.
struct LogBatches<'a> {
    log: &'a LogStore,
    after: u64,
    until: u64,
}

impl RecordedBatches for LogBatches<'_> {
    fn next(&mut self) -> BoxFuture<'_, Result<Vec<RecordedBatch>, ReadError>> {
        Box::pin(async move {
            let (shared, after, until) = (Arc::clone(&self.log.shared), self.after, self.until);
            let batches = self.log.pooled(move || read::batches(&shared, after, until)).await??;
            if let Some(last) = batches.last() {
                self.after = last.last().position().sequence;
            }
            Ok(batches)
        })
    }
}

/// An unfinished copy of another store in a folder. [`CopyTarget::finish`] makes it a log; until then no program opens it as one.
pub struct LogCopy {
    log: LogStore,
    is_unfinished: AtomicBool,
}

impl LogCopy {
    /// Begins a copy of a store in a folder that is empty or does not exist, or opens the one that is there. Blocks until its
    /// index is complete.
    ///
    /// # Errors
    /// [`OpenError`]; [`OpenError::OtherStore`] if the folder holds another store.
    pub fn open(root: impl AsRef<Path>, of: StoreId, options: &Options) -> Result<Self, OpenError> {
        Self::open_in(Arc::new(OsEnv), root.as_ref(), of, options)
    }

    fn open_in(env: Arc<dyn Env>, root: &Path, of: StoreId, options: &Options) -> Result<Self, OpenError> {
        let opened: Opened = open(env, root, options, Purpose::Copy(*of.as_bytes()))?;
        let log = LogStore::start(opened, options, Drive::Threads)?;
        // A failure is reported by the calls that need the index.
        let _ = log.wait_for_index();
        let is_unfinished = AtomicBool::new(log.folder().holds_copy()?);
        Ok(Self { log, is_unfinished })
    }

    /// The log as far as it was copied.
    #[must_use]
    pub const fn log(&self) -> &LogStore {
        &self.log
    }

    /// Adds batches at their places, all on their way at once.
    async fn add(&self, batches: Vec<RecordedBatch>) -> Result<(), CopyError> {
        let mut waiting = Vec::with_capacity(batches.len());
        let mut queued = Ok(());
        for recorded in batches {
            match self.queue(&recorded).await {
                Ok(answer) => waiting.push((recorded, answer)),
                Err(error) => {
                    queued = Err(error);
                    break;
                }
            }
        }
        // Those before a refused one are in line, and are answered.
        for (recorded, answer) in waiting {
            check_places(&recorded, answer.wait().await)?;
        }
        queued
    }

    async fn queue(&self, recorded: &RecordedBatch) -> Result<InLine, CopyError> {
        let log = &self.log;
        let batch = log.recorded_batch(recorded)?;
        let (batch, lookup) = log.look_up_pooled(batch).await.map_err(append_error(recorded))?;
        let answer = log.put_in_line(recorded, batch, lookup)?;
        log.with_role(Committer::gather_and_wake);
        Ok(answer)
    }

    fn mark(&self, is_unfinished: bool, state: &'static str) -> Result<(), CopyError> {
        let folder = self.log.folder();
        let marked = if is_unfinished { folder.mark_copy() } else { folder.unmark_copy() };
        marked.map_err(|error| CopyError::Mark { state, reason: format!("`{COPYING}`: {error}") })?;
        self.is_unfinished.store(is_unfinished, Ordering::Release);
        Ok(())
    }
}

impl CopyTarget for LogCopy {
    fn head(&self) -> BoxFuture<'_, Result<Checkpoint, ReadError>> {
        self.log.head_now()
    }

    fn batches(&self, partition: u16, after: u64, until: u64) -> Box<dyn RecordedBatches + '_> {
        self.log.batches(partition, after, until)
    }

    fn is_unfinished(&self) -> bool {
        self.is_unfinished.load(Ordering::Acquire)
    }

    fn reopen(&self) -> BoxFuture<'_, Result<(), CopyError>> {
        Box::pin(std::future::ready(self.mark(true, "unfinished")))
    }

    fn append(&self, batches: Vec<RecordedBatch>) -> BoxFuture<'_, Result<(), CopyError>> {
        Box::pin(self.add(batches))
    }

    /// Closes the log, too: open it as a [`LogStore`].
    fn finish(&self) -> BoxFuture<'_, Result<(), CopyError>> {
        self.log.close();
        Box::pin(std::future::ready(self.mark(false, "finished")))
    }
}
