//! The caller's part of an append: a batch is looked up and prepared before it is queued.

use gesta_core::{AppendError, Appended, Batch, CommandKey, RefusedBatch, Repeat, repeat_of};

use super::LogStore;
use crate::format::Prepared;
use crate::index::{LookupError, ReadMode};
use crate::read;
use crate::shared::Shared;
use crate::write::{
    Answer, Committer, DecisionContext, DurablePart, Lookup, RecordedPlace, Scope, Ticket, in_doubt,
    unavailable,
};

impl LogStore {
    /// Prepares a checked and looked-up batch, on the caller's thread.
    /// `recorded` is its place if another store has recorded it. A replica takes no other batches.
    pub(crate) fn prepare(
        &self,
        batch: Batch,
        lookup: Lookup,
        recorded: Option<RecordedPlace>,
    ) -> Prepare<'_> {
        let is_taken = recorded.is_some() || self.replica.is_none();
        let is_decided = is_taken && !self.shared.poison.has_panicked();
        let Some(commit) = self.late.commit.get().filter(|_| is_decided) else {
            return Prepare::Answered(self.answer_read_only(&batch, &lookup));
        };
        let prepared = Prepared::new(&batch);
        let (reply, answer) = oneshot::channel();
        Prepare::Ready(&commit.role, Ticket { batch, lookup, prepared, reply, recorded }, answer)
    }

    /// Lets the writer do something, if the log takes writes.
    pub(crate) fn with_role(&self, work: impl FnOnce(&Committer)) {
        if let Some(commit) = self.late.commit.get() {
            work(&commit.role);
        }
    }

    /// Answers a batch to a log that takes no writes. Repeats still get their answer while the log is open. After a
    /// panic of the writer, its last group may still become durable: until then, answers that are based on it are in
    /// doubt.
    pub(crate) fn answer_read_only(&self, batch: &Batch, lookup: &Lookup) -> Answer {
        if self.shared.published.is_closed() {
            return Err(AppendError::Closed);
        }
        let durable = self.shared.published.position();
        let scope = Scope { partition: 0, durable };
        let tables = lookup.snapshot.growing();
        match repeat_of(&DecisionContext::new(lookup, &tables, scope), batch) {
            Ok(Some(Repeat { end, .. })) | Err(RefusedBatch { speaks_of: end, .. }) if end > durable => {
                Err(in_doubt())
            }
            Ok(Some(repeat)) => Ok(self.appended(repeat)),
            Ok(None) => {
                let reason = self.read_only().map(|own| own.reason).unwrap_or_default();
                Err(AppendError::ReadOnly { reason })
            }
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
    look_up_in(shared, &durable_part(shared, 0)?, batch, mode)
}

/// Everything up to the durable position, of a log that holds a partition.
pub(crate) fn durable_part(shared: &Shared, partition: u16) -> Result<DurablePart, LookupError> {
    // The position first, the snapshot second: the snapshot then holds everything up to the position.
    let durable = shared.published.position();
    Ok(DurablePart { snapshot: shared.snapshot()?, durable, partition })
}

/// Looks up a batch in the durable part of the log.
pub(crate) fn look_up_in(
    shared: &Shared,
    part: &DurablePart,
    batch: &Batch,
    mode: ReadMode,
) -> Result<Lookup, LookupError> {
    let mut lookup = Lookup::of(part.clone(), batch, mode)?;
    lookup.check_places(batch, part.durable, |sequence| read::mark_at(shared, sequence, mode))?;
    Ok(lookup)
}

/// The error for an append whose look-up failed. A log that was closed before its index was complete is closed.
pub(crate) fn refused(shared: &Shared, fault: &LookupError) -> AppendError {
    match fault {
        LookupError::Building { .. } if shared.published.is_closed() => AppendError::Closed,
        fault => unavailable(fault),
    }
}
