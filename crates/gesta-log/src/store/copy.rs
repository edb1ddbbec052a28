//! Copies: the log as a source of recorded batches, and a log that is filled with those of another store.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use gesta_core::{
    BoxFuture, Checkpoint, CopyError, CopySource, CopyTarget, EventStore, ReadError, RecordedBatch,
    RecordedBatches, StoreId, check_batch,
};

use super::append::{Prepare, look_up};
use super::open::{Opened, Purpose, open};
use super::{Drive, LogStore};
use crate::env::{Env, OsEnv};
use crate::error::OpenError;
use crate::folder::COPYING;
use crate::index::{LookupError, ReadMode};
use crate::options::Options;
use crate::read;
use crate::write::{Answer, RecordedPlace, in_doubt};

impl CopySource for LogStore {
    fn batches(&self, after: u64, until: u64) -> Box<dyn RecordedBatches + '_> {
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
        for recorded in batches {
            let answer = self.send(&recorded).await?;
            waiting.push((recorded, answer));
        }
        for (recorded, answer) in waiting {
            let position = recorded.first();
            let answer = answer.await.unwrap_or_else(|_| Err(in_doubt()));
            let appended = answer.map_err(|source| CopyError::Append { position, source })?;
            let places = appended.places.iter().map(|place| (place.position, place.version));
            if !places.eq(recorded.events().iter().map(|event| (event.position(), event.version()))) {
                return Err(CopyError::Moved { position });
            }
        }
        Ok(())
    }

    /// Puts a batch in line. One after the other, so that their order is that of their positions.
    async fn send(&self, recorded: &RecordedBatch) -> Result<oneshot::Receiver<Answer>, CopyError> {
        let position = recorded.first();
        let refused = |source| CopyError::Append { position, source };
        let batch = recorded.to_batch().map_err(|source| CopyError::Name { position, source })?;
        let shared = &self.log.shared;
        check_batch(&batch, shared.id, &shared.capabilities).map_err(refused)?;
        let (batch, lookup) = match look_up(shared, &batch, ReadMode::Memory) {
            Ok(lookup) => (batch, lookup),
            Err(LookupError::NotInMemory) => self.log.look_up_pooled(batch).await.map_err(refused)?,
            Err(fault) => return Err(refused(super::append::refused(shared, &fault))),
        };
        match self.log.prepare(batch, lookup) {
            Prepare::Answered(answer) => {
                let (reply, answered) = oneshot::channel();
                // The receiver is there.
                let _ = reply.send(answer);
                Ok(answered)
            }
            Prepare::Ready(role, mut ticket, answer) => {
                let place = RecordedPlace {
                    first: position.sequence,
                    recorded_at: recorded.recorded_at().as_nanos(),
                };
                ticket.recorded = Some(place);
                role.submit(ticket).map_err(refused)?;
                Ok(answer)
            }
        }
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

    fn batches(&self, after: u64, until: u64) -> Box<dyn RecordedBatches + '_> {
        self.log.batches(after, until)
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
