//! The caller's part of an append: a batch is looked up and prepared before it is queued.

use gesta_core::{AppendError, Appended, Batch, CommandKey, RefusedBatch, Repeat, repeat_of};

use super::LogStore;
use crate::format::Prepared;
use crate::index::{LookupError, ReadMode};
use crate::read;
use crate::shared::Shared;
use crate::write::{Answer, Committer, DecisionContext, Lookup, Scope, Ticket, in_doubt, unavailable};

impl LogStore {
    /// Prepares a checked and looked-up batch, on the caller's thread.
    pub(crate) fn prepare(&self, batch: Batch, lookup: Lookup) -> Prepare<'_> {
        let is_decided = !self.shared.poison.has_panicked();
        let Some(commit) = self.late.commit.get().filter(|_| is_decided) else {
            return Prepare::Answered(self.answer_read_only(&batch, &lookup));
        };
        let prepared = Prepared::new(&batch);
        let (reply, answer) = oneshot::channel();
        Prepare::Ready(&commit.role, Ticket { batch, lookup, prepared, reply, recorded: None }, answer)
    }

    /// Answers a batch to a log that takes no writes. Repeats still get their answer while the log is open. After a
    /// panic of the writer, its last group may still become durable: until then, answers that are based on it are in
    /// doubt.
    pub(crate) fn answer_read_only(&self, batch: &Batch, lookup: &Lookup) -> Answer {
        if self.shared.published.is_closed() {
            return Err(AppendError::Closed);
        }
        let durable = self.shared.published.position();
        let scope = Scope { store: self.shared.id, partition: 0, durable };
        let tables = lookup.snapshot.growing();
        match repeat_of(&DecisionContext::new(lookup, &tables, scope), batch) {
            Ok(Some(Repeat { end, .. })) | Err(RefusedBatch { speaks_of: end, .. }) if end > durable => {
                Err(in_doubt())
            }
            Ok(Some(repeat)) => Ok(self.appended(repeat)),
            Ok(None) => Err(self.shared.read_only()),
            Err(RefusedBatch { error, .. }) => Err(error),
        }
    }

    pub(crate) fn appended(&self, repeat: Repeat) -> Appended {
        Appended { places: repeat.places, checkpoint: self.shared.checkpoint(repeat.end), repeated: true }
    }

    pub(crate) fn command_in_tables(
        &self,
        command: &CommandKey,
    ) -> Result<Option<Result<Repeat, RefusedBatch>>, AppendError> {
        let snapshot = self.shared.snapshot().map_err(|fault| refused(&self.shared, &fault))?;
        Ok(snapshot.newest().iter().rev().find_map(|table| {
            let table = table.read();
            table.command(&command.key).map(|entry| entry.record().answer(command, 0))
        }))
    }
}

/// The next step for a batch.
#[expect(clippy::large_enum_variant, reason = "it is taken apart at once")]
pub(crate) enum Prepare<'a> {
    Answered(Answer),
    Ready(&'a Committer, Ticket, oneshot::Receiver<Answer>),
}

/// Looks up a batch, up to the durable position.
pub(crate) fn look_up(shared: &Shared, batch: &Batch, mode: ReadMode) -> Result<Lookup, LookupError> {
    // The position first, the snapshot second: the snapshot then holds everything up to the position.
    let durable = shared.published.position();
    let mut lookup = Lookup::of(shared.snapshot()?, durable, batch, mode)?;
    lookup.check_places(batch, durable, |sequence| read::mark_at(shared, sequence, mode))?;
    Ok(lookup)
}

/// The error for an append whose look-up failed. A log that was closed before its index was complete is closed.
pub(crate) fn refused(shared: &Shared, fault: &LookupError) -> AppendError {
    match fault {
        LookupError::Building { .. } if shared.published.is_closed() => AppendError::Closed,
        fault => unavailable(fault),
    }
}
