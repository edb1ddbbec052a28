//! A log without threads: its caller does the work of the writer, the segment manager and the indexer, when it
//! chooses to.

use std::path::Path;
use std::sync::Arc;

use gesta_core::{AppendError, Appended, Batch, Timestamp, check_batch};

use super::LogStore;
use super::append::{Prepare, look_up, refused};
use super::launch::Rebuilding;
use super::open::{Purpose, open};
use crate::env::Env;
use crate::error::OpenError;
use crate::index::ReadMode;
use crate::locks;
use crate::options::Options;
use crate::write::{Closing, Committer, Drive, Lookup, in_doubt};

/// A queued append. It has an answer once [`LogStore::commit_inline`] has returned.
pub struct Pending(Waiting);

/// A batch that was looked up and is not queued yet. The log may change in the meantime.
pub struct LookedUp(Result<(Batch, Lookup), AppendError>);

enum Waiting {
    Answered(Box<Result<Appended, AppendError>>),
    InLine(oneshot::Receiver<Result<Appended, AppendError>>),
}

impl Pending {
    /// The answer; in doubt if there is none.
    ///
    /// # Errors
    /// As [`append`](gesta_core::EventStore::append).
    pub fn answer(self) -> Result<Appended, AppendError> {
        match self.0 {
            Waiting::Answered(answer) => *answer,
            Waiting::InLine(answer) => answer.try_recv().unwrap_or_else(|_| Err(in_doubt())),
        }
    }
}

impl LogStore {
    /// Opens a log without threads.
    pub(crate) fn open_inline(env: Arc<dyn Env>, root: &Path, options: &Options) -> Result<Self, OpenError> {
        let log = Self::open_inline_unindexed(env, root, options)?;
        log.index_inline()?;
        Ok(log)
    }

    /// The same, before the index is complete, if it is to be built beside the open log.
    pub(crate) fn open_inline_unindexed(
        env: Arc<dyn Env>,
        root: &Path,
        options: &Options,
    ) -> Result<Self, OpenError> {
        Self::start(open(env, root, options, Purpose::Store)?, options, Drive::Inline)
    }

    /// Builds the index, if it is not complete. After a failure, it can be tried again.
    ///
    /// # Errors
    /// As [`LogStore::open`].
    #[doc(hidden)]
    pub fn index_inline(&self) -> Result<(), OpenError> {
        let mut rebuild = locks::lock(&self.rebuild);
        let Rebuilding::Caller(launch, work) = &mut *rebuild else { return Ok(()) };
        let ready = work.attempt(1)?;
        let launched = launch.go(ready);
        *rebuild = Rebuilding::Nobody;
        launched
    }

    /// Queues a batch and commits nothing.
    #[doc(hidden)]
    pub fn enqueue_inline(&self, batch: Batch) -> Pending {
        let looked_up = self.look_up_inline(batch);
        self.enqueue_looked_up(looked_up)
    }

    /// Looks up a batch, as its caller does before it queues the batch.
    #[doc(hidden)]
    pub fn look_up_inline(&self, batch: Batch) -> LookedUp {
        if let Err(error) = check_batch(&batch, self.shared.id, &self.shared.capabilities) {
            return LookedUp(Err(error));
        }
        let looked_up = look_up(&self.shared, &batch, ReadMode::Disk);
        LookedUp(looked_up.map(|lookup| (batch, lookup)).map_err(|fault| refused(&self.shared, &fault)))
    }

    /// Queues a batch that was looked up earlier, and commits nothing.
    #[doc(hidden)]
    pub fn enqueue_looked_up(&self, looked_up: LookedUp) -> Pending {
        let answered = |answer| Pending(Waiting::Answered(Box::new(answer)));
        let (batch, lookup) = match looked_up.0 {
            Ok(looked_up) => looked_up,
            Err(error) => return answered(Err(error)),
        };
        match self.prepare(batch, lookup, None) {
            Prepare::Answered(answer) => answered(answer),
            Prepare::Ready(role, ticket, reply) => match role.enqueue(ticket) {
                Ok(()) => Pending(Waiting::InLine(reply)),
                Err(error) => answered(Err(error)),
            },
        }
    }

    /// Queues the closing of a time, and commits nothing.
    #[doc(hidden)]
    pub fn enqueue_closing(&self, time: Timestamp) -> Pending {
        let (reply, answer) = oneshot::channel();
        let closing = Closing { time: time.as_nanos(), reply };
        let queued =
            self.late.commit.get().ok_or(AppendError::Closed).and_then(|own| own.role.enqueue(closing));
        Pending(match queued {
            Ok(()) => Waiting::InLine(answer),
            Err(error) => Waiting::Answered(Box::new(Err(error))),
        })
    }

    /// The last position in visible runs.
    #[doc(hidden)]
    #[must_use]
    pub fn indexed_to_inline(&self) -> u64 {
        self.shared.index.snapshot().runs.last().map_or(0, |run| run.footer.last)
    }

    /// Commits the queued batches, as one group if they fit one segment.
    #[doc(hidden)]
    pub fn commit_inline(&self) {
        self.with_role(Committer::commit_waiting);
    }

    /// Commits the queued batches. While a group is written, `meanwhile` may queue more, which are decided before the
    /// group is durable.
    #[doc(hidden)]
    pub fn commit_inline_while(&self, meanwhile: impl FnMut()) {
        self.with_role(|role| role.commit_waiting_while(meanwhile));
    }

    /// Does what the writer does when the log is idle.
    #[doc(hidden)]
    pub fn rest_inline(&self) {
        self.with_role(Committer::rest);
    }

    /// Does the queued work of the segment manager and the indexer.
    #[doc(hidden)]
    pub fn keep_inline(&self) {
        self.with_role(|role| {
            role.keep();
        });
    }
}

#[cfg(test)]
mod tests {
    use gesta_conformance::sample::{self, Sample as _};
    use gesta_core::Checkpoint;
    use gesta_core::CommandKey;

    use gesta_core::Query;

    use super::*;
    use crate::env::{Machine, OsEnv};
    use crate::index::IndexSnapshot;
    use crate::write::DurablePart;

    fn batch(number: u128) -> Batch {
        batch_of(&format!("a-{number}"), number)
    }

    fn batch_of(stream: &str, number: u128) -> Batch {
        Batch::new([sample::event(stream, number).with_data(vec![b'1'; 500])])
    }

    #[test]
    fn a_condition_sees_events_that_moved_to_runs_during_its_look_up() {
        let folder = tempfile::tempdir().unwrap();
        let options = Options { index_run_bytes: 1 << 10, ..Options::default() };
        let log = LogStore::open_inline(Arc::new(OsEnv), folder.path(), &options).unwrap();
        log.append_blocking(batch(1)).unwrap();
        // An append reads the position, and then takes the snapshot. In between, this happens:
        let durable = log.shared.published.position();
        for number in 2..10 {
            log.append_blocking(batch(number)).unwrap();
            log.keep_inline();
        }
        let snapshot = log.shared.index.snapshot();
        assert!(snapshot.runs.last().unwrap().footer.last > durable + 1, "the events in between are in runs");

        let (own, after) = (Query::stream("a-2".parse().unwrap()), Checkpoint::new(log.id(), [durable]));
        let late = batch(10).fail_if(own, Some(after));
        let answer = append_looked_up_in(&log, snapshot, durable, late);
        let Err(AppendError::ConditionFailed { at, .. }) = answer else { panic!("{answer:?}") };
        assert_eq!(at.sequence, durable + 1);
    }

    #[test]
    fn a_version_is_found_in_a_table_whose_heads_were_evicted_before_its_run_was_visible() {
        let folder = tempfile::tempdir().unwrap();
        let options = Options { index_run_bytes: 1 << 10, index_cache_bytes: 0, ..Options::default() };
        let log = LogStore::open_inline(Arc::new(OsEnv), folder.path(), &options).unwrap();
        let mut number = 1;
        while log.shared.index.snapshot().ended().is_empty() {
            log.append_blocking(batch(number)).unwrap();
            number += 1;
        }
        let (durable, snapshot) = (log.shared.published.position(), log.shared.index.snapshot());
        assert!(snapshot.ended()[0].read().head("a-1").is_some() && snapshot.runs.is_empty());
        // In this snapshot it is still a table. Meanwhile it becomes a run, and the head map has no memory for its
        // streams.
        log.keep_inline();
        assert_eq!(log.shared.index.snapshot().runs.len(), 1);

        let answer = append_looked_up_in(&log, snapshot, durable, batch_of("a-1", number));
        assert_eq!(answer.unwrap().places[0].version.get(), 1);
    }

    #[test]
    fn versions_and_commands_in_runs_alone_are_found() {
        let folder = tempfile::tempdir().unwrap();
        let options = Options { index_run_bytes: 1 << 10, index_cache_bytes: 0, ..Options::default() };
        let log = LogStore::open_inline(Arc::new(OsEnv), folder.path(), &options).unwrap();
        let command = || CommandKey { key: b"key-1"[..].into(), request: [1; 32] };
        let first = log.append_blocking(batch(1).with_command(command())).unwrap();
        for number in 2..10 {
            log.append_blocking(batch(number)).unwrap();
            log.keep_inline();
        }
        assert!(log.indexed_to_inline() > 2);
        let again = log.append_blocking(batch(100).with_command(command())).unwrap();
        assert_eq!((again.places, again.repeated), (first.places, true));
        let next = log.append_blocking(batch_of("a-2", 101)).unwrap();
        assert_eq!(next.places[0].version.get(), 1);
    }

    #[test]
    fn a_reader_of_merged_index_files_goes_on_after_their_names_are_gone() {
        let machine = Machine::new(1);
        // With a limit, files that are opened on use are closed between two uses.
        machine.set_open_files_max(Some(64));
        let options = Options { index_run_bytes: 1 << 10, index_cache_bytes: 0, ..Options::default() };
        let log = crate::sim::open(&machine, &options).unwrap();
        let mut number = 1;
        while log.shared.index.snapshot().runs.len() < 7 {
            log.append_blocking(batch(number)).unwrap();
            log.keep_inline();
            number += 1;
        }
        let before = log.shared.index.snapshot();
        while log.shared.index.snapshot().runs.len() >= 7 {
            log.append_blocking(batch(number)).unwrap();
            log.keep_inline();
            number += 1;
        }
        let file_of = |run: &crate::index::Run| format!("{:012}.run", run.footer.id);
        let names = machine.paths();
        let is_gone = |run| !names.iter().any(|path| path.ends_with(file_of(run)));
        assert!(before.runs.iter().all(|run| is_gone(run)), "they were merged");
        let head = |stream| before.head(stream, u64::MAX, ReadMode::Disk).unwrap();
        assert_eq!((head("a-1"), head("b-1")), (Some((0, 1)), None));
    }

    /// Appends a batch that was looked up earlier, in that snapshot.
    fn append_looked_up_in(
        log: &LogStore,
        snapshot: Arc<IndexSnapshot>,
        durable: u64,
        batch: Batch,
    ) -> Result<Appended, AppendError> {
        let lookup =
            Lookup::of(DurablePart { snapshot, durable, partition: 0 }, &batch, ReadMode::Disk).unwrap();
        let Prepare::Ready(role, ticket, reply) = log.prepare(batch, lookup, None) else {
            panic!("the log takes writes")
        };
        role.enqueue(ticket).unwrap();
        log.commit_inline();
        reply.try_recv().unwrap()
    }

    #[test]
    fn a_condition_ahead_of_the_log_at_its_look_up_is_checked_from_its_place() {
        let folder = tempfile::tempdir().unwrap();
        let log = LogStore::open_inline(Arc::new(OsEnv), folder.path(), &Options::default()).unwrap();
        log.append_blocking(batch(1)).unwrap();
        let looked_up = [1, 2, 3].map(|after| {
            let (own, after) = (Query::stream("a-2".parse().unwrap()), Checkpoint::new(log.id(), [after]));
            log.look_up_inline(batch(10 + u128::from(after.sequence(0))).fail_if(own, Some(after)))
        });
        for number in 2..5 {
            log.append_blocking(batch(number)).unwrap();
        }
        let pending = looked_up.map(|looked_up| log.enqueue_looked_up(looked_up));
        log.commit_inline();
        let answers = pending.map(|pending| pending.answer().is_ok());
        assert_eq!(answers, [false, true, true], "the only match is at position 2");
    }
}
