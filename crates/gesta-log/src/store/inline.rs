//! A log without threads: its caller does the work of the writer and of the keeper, when it wants to.

use std::path::Path;
use std::sync::{Arc, Mutex};

use gesta_core::{AppendError, Appended, Batch};

use super::{Commit, Drive, LogStore, Prepare};
use crate::commit::{Role, in_doubt};
use crate::env::Env;
use crate::keeper::{Keeper, KeeperThread};
use crate::open::{Options, open};
use crate::open_error::OpenError;

/// An append that stands in line. Answered once [`LogStore::commit_inline`] has returned.
pub struct Pending(Waiting);

enum Waiting {
    Answered(Box<Result<Appended, AppendError>>),
    InLine(oneshot::Receiver<Result<Appended, AppendError>>),
}

impl Pending {
    /// The answer; in doubt, where nobody has given one.
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
        Self::start(open(env, root, options)?, options, Drive::Inline)
    }

    /// Puts a batch in line and commits nothing.
    #[doc(hidden)]
    pub fn enqueue_inline(&self, batch: Batch) -> Pending {
        Pending(match self.prepare(batch) {
            Err(error) => Waiting::Answered(Box::new(Err(error))),
            Ok(Prepare::Answered(answer)) => Waiting::Answered(Box::new(answer)),
            Ok(Prepare::Ready(role, ticket, reply)) => match role.enqueue(ticket) {
                Ok(()) => Waiting::InLine(reply),
                Err(error) => Waiting::Answered(Box::new(Err(error))),
            },
        })
    }

    /// Commits what is in line, as one group where it fits one segment.
    #[doc(hidden)]
    pub fn commit_inline(&self) {
        self.with_role(Role::commit_waiting);
    }

    /// Does what the writer does when nothing was appended for a while.
    #[doc(hidden)]
    pub fn rest_inline(&self) {
        self.with_role(Role::rest);
    }

    /// Does what waits for the keeper.
    #[doc(hidden)]
    pub fn keep_inline(&self) {
        self.with_role(|role| {
            role.keep();
        });
    }

    fn with_role(&self, work: impl FnOnce(&Role)) {
        if let Some(commit) = &self.commit {
            work(&commit.role);
        }
    }
}

impl Commit {
    pub(super) fn inline(role: Role, keeper: &Keeper, work: KeeperThread) -> Self {
        keeper.keep_inline(work);
        Self { role: Arc::new(role), threads: Mutex::new(Vec::new()) }
    }

    /// Does what the threads of a log do before they end, where it has none.
    pub(super) fn finish_inline(&self) {
        if self.role.keep() {
            self.role.commit_waiting();
            self.role.rest();
            self.role.keep();
        }
    }
}
