//! Conditions are searched before the lock, up to the head that is known then. Under the lock only newer events are looked at.
//! Otherwise one rare combination of two frequent tags would stop all writers for the time of a scan.

use std::sync::Arc;

use gesta_core::{AppendError, Condition};

use super::queue::Queue;
use crate::pool::{Pool, Unread};
use crate::read::newest_match;
use crate::runtime::{Task, Thread};
use crate::session::Session;
use crate::shared::Shared;

/// What the search of a batch's conditions found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Searched {
    /// The era of the history in which it was searched.
    pub(crate) era: u64,
    /// The last position that was searched.
    pub(crate) checked_to: u64,
    /// The newest match of each condition after its own place, up to [`Self::checked_to`].
    pub(crate) matches: Vec<Option<u64>>,
}

/// A search that is under way, for the caller of an append. Dropped, it ends.
pub(crate) struct Searching {
    queue: Arc<Queue>,
    _task: Task<()>,
}

impl Searching {
    /// Starts a search. The writer looks at the queue again when it has ended.
    pub(crate) fn start(
        thread: &Thread,
        queue: Arc<Queue>,
        search: impl Future<Output = ()> + Send + 'static,
    ) -> Self {
        let done = Arc::clone(&queue);
        let task = thread.spawn(async move {
            search.await;
            done.look_again();
        });
        Self { queue, _task: task }
    }
}

impl Drop for Searching {
    fn drop(&mut self) {
        // Batches behind that of the caller, who is gone, need not wait for it any more.
        self.queue.look_again();
    }
}

/// Searches conditions.
pub(crate) async fn search(
    shared: &Shared,
    pool: &Pool,
    conditions: &[Condition],
) -> Result<Searched, AppendError> {
    let known = shared.known();
    let checked_to = known.head.sequence(0);
    let mut matches = Vec::with_capacity(conditions.len());
    for condition in conditions {
        let after = condition.after.as_ref().map_or(0, |after| after.sequence(0));
        let query = &condition.fail_if_any;
        let found = match after < checked_to {
            true => {
                let look = |session: Arc<Session>| async move {
                    let found = newest_match(&session, query, after, checked_to).await?;
                    // A server that was deposed meanwhile may lack the newest events.
                    shared.observe(&session.state().await?)?;
                    Ok::<_, Unread>(found)
                };
                pool.run(look).await
            }
            false => Ok(None),
        };
        let unavailable =
            |error: gesta_core::ReadError| AppendError::Unavailable { reason: error.to_string() };
        matches.push(found.map_err(unavailable)?);
    }
    Ok(Searched { era: known.era, checked_to, matches })
}
