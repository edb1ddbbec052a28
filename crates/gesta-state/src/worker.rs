//! The store's thread: it takes the waiting requests, answers the reads, and makes the writes in one transaction.
//!
//! *Invariants.* A read sees committed transactions only. A write is answered after its transaction was synced; a
//! refusal too, since it may speak of a write of the same transaction.

use std::path::{Path, PathBuf};

use gesta_core::{KeyValueError, Revision};

use crate::database::{Database, WriteError};
use crate::error::StateError;
use crate::queue::{Batch, Queue, Read, Reply, Write};

/// The thread's part of the store.
pub(crate) struct Worker {
    path: PathBuf,
    /// The open file. `None` if it does not exist yet, or has to be opened again after a failed commit.
    database: Option<Database>,
    /// Transactions so far that were synced.
    pub(crate) transactions: u64,
}

/// The outcome of a write that waits for the commit, with the place for its answer.
enum Waiting {
    Put(Result<Revision, KeyValueError>, Reply<Revision>),
    Delete(Result<(), KeyValueError>, Reply<()>),
}

impl Worker {
    /// Opens the file if it exists. It is made by the first write.
    pub(crate) fn open(path: &Path) -> Result<Self, StateError> {
        let mut worker = Self { path: path.to_owned(), database: None, transactions: 0 };
        worker.existing()?;
        Ok(worker)
    }

    /// Answers requests until the queue is closed and empty.
    pub(crate) fn run(mut self, queue: &Queue) {
        let _abandoned = Abandons(queue);
        while let Some(batch) = queue.take() {
            self.answer(batch);
        }
    }

    pub(crate) fn answer(&mut self, Batch { reads, writes }: Batch) {
        for read in reads {
            self.read(read);
        }
        if !writes.is_empty() {
            self.write(writes);
        }
    }

    fn read(&mut self, read: Read) {
        match read {
            Read::Get(key, reply) => {
                answer(reply, self.ask(None, |database| database.get(&key)).map_err(|error| (&error).into()));
            }
            Read::List(prefix, after, limit, reply) => {
                let page = self.ask(Vec::new(), |database| database.list(&prefix, after.as_ref(), limit));
                answer(reply, page.map_err(|error| (&error).into()));
            }
            Read::Copy(to, reply) => {
                answer(reply, self.ask(false, |database| database.copy_to(&to).map(|()| true)));
            }
        }
    }

    /// Asks the file, or answers for one that does not exist.
    fn ask<T>(
        &mut self,
        missing: T,
        ask: impl FnOnce(&Database) -> Result<T, StateError>,
    ) -> Result<T, StateError> {
        self.existing()?.map_or(Ok(missing), |database| ask(database))
    }

    fn write(&mut self, writes: Vec<Write>) {
        let mut waiting = Vec::with_capacity(writes.len());
        let done = match self.opened() {
            Ok(database) => transact(database, writes, &mut waiting),
            Err(error) => {
                let error = KeyValueError::from(&error);
                waiting.extend(writes.into_iter().map(|write| failed(write, &error)));
                Err(error)
            }
        };
        match done {
            Ok(is_synced) => self.transactions += u64::from(is_synced),
            Err(error) => self.fail(&error, &mut waiting),
        }
        for outcome in waiting {
            match outcome {
                Waiting::Put(result, reply) => answer(reply, result),
                Waiting::Delete(result, reply) => answer(reply, result),
            }
        }
    }

    /// Gives every write of a lost transaction its error, and closes a connection that cannot go on.
    fn fail(&mut self, error: &KeyValueError, waiting: &mut [Waiting]) {
        for outcome in waiting {
            match outcome {
                Waiting::Put(result, _) => *result = Err(error.clone()),
                Waiting::Delete(result, _) => *result = Err(error.clone()),
            }
        }
        let is_in_doubt = matches!(error, KeyValueError::InDoubt { .. });
        let is_usable = self.database.as_mut().is_some_and(Database::roll_back);
        if is_in_doubt || !is_usable {
            // The next request opens the file again. That decides about the transaction and makes the decision
            // durable.
            self.database = None;
        }
    }

    /// The file, if it exists.
    fn existing(&mut self) -> Result<Option<&mut Database>, StateError> {
        let exists =
            || self.path.try_exists().map_err(|error| StateError::io("look for", &self.path, &error));
        if self.database.is_none() && !exists()? {
            return Ok(None);
        }
        self.opened().map(Some)
    }

    /// The file, made if it does not exist.
    pub(crate) fn opened(&mut self) -> Result<&mut Database, StateError> {
        let database = match self.database.take() {
            Some(database) => database,
            None => Database::open(&self.path)?,
        };
        Ok(self.database.insert(database))
    }
}

/// Makes writes in one transaction. Returns true if something was written and synced.
fn transact(
    database: &mut Database,
    writes: Vec<Write>,
    waiting: &mut Vec<Waiting>,
) -> Result<bool, KeyValueError> {
    let begun = database.begin();
    let (mut lost, mut wrote) = (begun.err().map(|error| KeyValueError::from(&error)), false);
    for write in writes {
        if let Some(error) = &lost {
            waiting.push(failed(write, error));
            continue;
        }
        let (outcome, error) = one(database, write);
        wrote |= matches!(&outcome, Waiting::Put(Ok(_), _) | Waiting::Delete(Ok(()), _));
        waiting.push(outcome);
        lost = error;
    }
    match lost {
        Some(error) => Err(error),
        None => database.commit().map(|()| wrote),
    }
}

/// Makes one write of a transaction. Returns its outcome, and the error if the transaction is lost.
fn one(database: &mut Database, write: Write) -> (Waiting, Option<KeyValueError>) {
    fn split<T>(result: Result<T, WriteError>) -> (Result<T, KeyValueError>, Option<KeyValueError>) {
        match result {
            Ok(done) => (Ok(done), None),
            Err(WriteError::Changed(actual)) => (Err(KeyValueError::Changed { actual }), None),
            Err(WriteError::Failed(error)) => {
                let error = KeyValueError::from(&error);
                (Err(error.clone()), Some(error))
            }
        }
    }
    match write {
        Write::Put(key, value, expect, reply) => {
            let (result, lost) = split(database.put(&key, &value, expect));
            (Waiting::Put(result, reply), lost)
        }
        Write::Delete(key, expect, reply) => {
            let (result, lost) = split(database.delete(&key, expect));
            (Waiting::Delete(result, reply), lost)
        }
    }
}

fn failed(write: Write, error: &KeyValueError) -> Waiting {
    match write {
        Write::Put(.., reply) => Waiting::Put(Err(error.clone()), reply),
        Write::Delete(.., reply) => Waiting::Delete(Err(error.clone()), reply),
    }
}

/// Sends an answer. A caller that is gone does not need it.
fn answer<T, E>(reply: Reply<T, E>, answer: Result<T, E>) {
    let _ = reply.send(answer);
}

/// Drops waiting requests when the thread ends, so that no caller waits for ever.
struct Abandons<'a>(&'a Queue);

impl Drop for Abandons<'_> {
    fn drop(&mut self) {
        self.0.abandon();
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use gesta_core::{Entry, KeyName};

    use super::*;

    struct World {
        worker: Worker,
        folder: tempfile::TempDir,
    }

    fn world() -> World {
        let folder = tempfile::tempdir().unwrap();
        World { worker: Worker::open(&folder.path().join("state.db")).unwrap(), folder }
    }

    fn key(text: &str) -> KeyName {
        KeyName::new(text).unwrap()
    }

    impl World {
        /// Makes puts in one batch and returns their answers.
        fn put(&mut self, puts: &[(&str, usize, Option<Revision>)]) -> Vec<Result<Revision, KeyValueError>> {
            let mut answers = Vec::new();
            let mut writes = Vec::new();
            for (name, bytes, expect) in puts {
                let (reply, answer) = oneshot::channel();
                writes.push(Write::Put(key(name), Bytes::from(vec![b'x'; *bytes]), *expect, reply));
                answers.push(answer);
            }
            self.worker.answer(Batch { reads: Vec::new(), writes });
            answers.into_iter().map(|answer| answer.recv().unwrap()).collect()
        }

        fn get(&mut self, name: &str) -> Option<Entry> {
            let (reply, answer) = oneshot::channel();
            self.worker.answer(Batch { reads: vec![Read::Get(key(name), reply)], writes: Vec::new() });
            answer.recv().unwrap().unwrap()
        }

        /// Lets the file grow by some pages only.
        fn limit(&mut self, pages: u32) {
            self.worker.opened().unwrap().limit_pages(pages);
        }
    }

    #[test]
    fn the_file_is_made_by_the_first_write() {
        let mut world = world();
        let file = world.folder.path().join("state.db");
        assert_eq!(world.get("a"), None);
        assert!(!file.exists());
        world.put(&[("a", 1, None)])[0].as_ref().unwrap();
        assert!(file.exists());
    }

    #[test]
    fn writes_that_wait_together_share_one_transaction_and_have_one_winner() {
        let mut world = world();
        let answers = world.put(&[("a", 1, None), ("b", 2, None), ("a", 3, None), ("c", 4, None)]);
        let first = answers[0].clone().unwrap();
        assert_eq!(answers[2], Err(KeyValueError::Changed { actual: Some(first) }));
        assert!(answers[1].is_ok() && answers[3].is_ok());
        assert_eq!(world.worker.transactions, 1);
        assert_eq!(world.get("a").unwrap().revision, first);
        // Refusals alone need no sync.
        world.put(&[("a", 1, None)])[0].as_ref().unwrap_err();
        assert_eq!(world.worker.transactions, 1);
    }

    #[test]
    fn a_full_disk_is_named_and_nothing_of_the_transaction_is_written() {
        let mut world = world();
        let first = world.put(&[("a", 10, None)])[0].clone().unwrap();
        world.limit(4);
        let answers = world.put(&[("b", 10, None), ("a", 100_000, Some(first)), ("c", 10, None)]);
        for answer in answers {
            let Err(KeyValueError::StorageFull { reason }) = answer else { panic!("{answer:?}") };
            assert!(reason.contains("state.db"), "{reason}");
        }
        assert_eq!((world.get("b"), world.get("c")), (None, None));
        assert_eq!(world.get("a").unwrap().revision, first);
        // A write that fits is taken, and so is the same write once there is space.
        world.put(&[("b", 10, None)])[0].as_ref().unwrap();
        world.limit(1_000);
        let second = world.put(&[("a", 100_000, Some(first))])[0].clone().unwrap();
        assert!(second > first);
    }

    #[test]
    fn a_failed_commit_is_in_doubt_until_the_file_is_opened_again() {
        let mut world = world();
        let first = world.put(&[("a", 1, None)])[0].clone().unwrap();
        world.worker.opened().unwrap().fails_next_commit = true;
        let answers = world.put(&[("a", 2, Some(first)), ("b", 2, None), ("a", 3, None)]);
        for answer in answers {
            assert!(matches!(answer, Err(KeyValueError::InDoubt { .. })), "{answer:?}");
        }
        assert!(world.worker.database.is_none(), "the connection is closed");
        // The planted failure came before the commit, so nothing was written.
        assert_eq!(world.get("a").unwrap().revision, first);
        assert_eq!(world.get("b"), None);
        world.put(&[("a", 2, Some(first))])[0].as_ref().unwrap();
    }

    #[test]
    fn a_file_that_cannot_be_made_is_named() {
        let mut world = world();
        world.worker.path = world.folder.path().join("missing/state.db");
        let answer = world.put(&[("a", 1, None)]).remove(0);
        let Err(KeyValueError::Unavailable { reason }) = answer else { panic!("{answer:?}") };
        assert!(reason.contains("missing/state.db"), "{reason}");
    }
}
