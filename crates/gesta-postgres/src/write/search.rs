//! Conditions are searched before the lock, up to the head that is known then. Under the lock only newer events are looked at.
//! Otherwise one rare combination of two frequent tags would stop all writers for the time of a scan.
//!
//! A search goes on until few events are newer than its end, and the look under the lock has a limit. A batch whose search ends before
//! the events of that look is searched again, without the lock.

use std::sync::Arc;

use futures_util::{StreamExt, stream};
use gesta_core::{AppendError, Condition, ReadError};
use tokio::time::Instant;

use super::queue::Queue;
use super::ticket::{Search, Ticket};
use crate::limits::{RETRY_PAUSE, SEARCH_GAP_MAX, SEARCH_ROUNDS_MAX, SEARCHES_MAX};
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

impl Searched {
    /// The result for conditions that were not searched yet.
    fn nothing(era: u64, conditions: usize) -> Self {
        Self { era, checked_to: 0, matches: vec![None; conditions] }
    }

    /// True if no event up to a position of an era is missing from it.
    pub(super) const fn reaches(&self, era: u64, position: u64) -> bool {
        self.era == era && self.checked_to >= position
    }
}

/// A search that is under way, for the caller of an append. Dropped, it ends.
pub(crate) struct Searching {
    queue: Arc<Queue>,
    result: Search,
    _task: Task<()>,
}

impl Searching {
    /// Starts a search. The writer looks at the queue again when it has ended.
    pub(crate) fn start(
        thread: &Thread,
        queue: Arc<Queue>,
        search: impl Future<Output = Result<Searched, AppendError>> + Send + 'static,
    ) -> Self {
        let result = Search::default();
        let end = End { result: Arc::clone(&result), queue: Arc::clone(&queue) };
        let task = thread.spawn(async move {
            let found = search.await;
            // It is set once.
            let _ = end.result.set(found);
        });
        Self { queue, result, _task: task }
    }

    /// Where its result will be.
    pub(crate) fn result(&self) -> Search {
        Arc::clone(&self.result)
    }
}

impl Drop for Searching {
    fn drop(&mut self) {
        // Batches behind that of the caller, who is gone, need not wait for it any more.
        self.queue.look_again();
    }
}

/// Dropped at the end of a search, also by a panic.
struct End {
    result: Search,
    queue: Arc<Queue>,
}

impl Drop for End {
    fn drop(&mut self) {
        let reason = "the search of conditions has panicked: look at the log of the program".to_owned();
        // Unless it has a result.
        let _ = self.result.set(Err(AppendError::Unavailable { reason }));
        self.queue.look_again();
    }
}

/// Searches conditions, from the end of an earlier search on if it was in the same era.
pub(crate) async fn search(
    shared: &Shared,
    pool: &Pool,
    conditions: &[Condition],
    earlier: Option<Searched>,
) -> Result<Searched, AppendError> {
    let mut searched = earlier.unwrap_or_else(|| Searched::nothing(shared.known().era, conditions.len()));
    for _ in 0..SEARCH_ROUNDS_MAX {
        let known = shared.known();
        if known.era != searched.era {
            searched = Searched::nothing(known.era, conditions.len());
        }
        let head = known.head.sequence(0);
        for (condition, newest) in conditions.iter().zip(&mut searched.matches) {
            let found = newest_in(shared, pool, condition, (searched.checked_to, head)).await?;
            *newest = found.or(*newest);
        }
        searched.checked_to = head;
        // The looks have shown how far the log goes by now.
        if shared.known().head.sequence(0).saturating_sub(head) <= SEARCH_GAP_MAX {
            break;
        }
    }
    Ok(searched)
}

/// The newest match of a condition after its place, in a part of the log.
async fn newest_in(
    shared: &Shared,
    pool: &Pool,
    condition: &Condition,
    (low, high): (u64, u64),
) -> Result<Option<u64>, AppendError> {
    let low = condition.after.as_ref().map_or(low, |after| after.sequence(0).max(low));
    if low >= high {
        return Ok(None);
    }
    let look = |session: Arc<Session>| async move {
        let found = newest_match(&session, &condition.fail_if_any, low, high).await?;
        // A server that was deposed meanwhile may lack the newest events.
        shared.observe(&session.state().await?)?;
        Ok::<_, Unread>(found)
    };
    let unavailable = |error: ReadError| AppendError::Unavailable { reason: error.to_string() };
    pool.run(look).await.map_err(unavailable)
}

/// Searches the conditions of batches again, several at once, until a deadline. A batch whose search fails, or is late, keeps the result
/// that it has.
pub(super) async fn search_again<F>(
    outdated: Vec<&mut Ticket>,
    deadline: Instant,
    search: impl Fn(&Ticket) -> F,
) where
    F: Future<Output = Result<Searched, AppendError>>,
{
    let search = &search;
    let searching = stream::iter(outdated).for_each_concurrent(SEARCHES_MAX, |ticket| async move {
        if ticket.reply.is_closed() {
            return;
        }
        match search(ticket).await {
            Ok(found) => {
                ticket.search = Some(Arc::new(Ok(found).into()));
                ticket.search_error = None;
            }
            Err(error) => {
                ticket.search_error = Some(error);
                // It is tried again with the group, not at once.
                tokio::time::sleep(RETRY_PAUSE).await;
            }
        }
    });
    // Those that are late have kept what they had.
    let _ = tokio::time::timeout_at(deadline, searching).await;
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::time::Duration;

    use gesta_core::{Batch, Query};
    use tokio::sync::Semaphore;

    use super::*;

    fn ticket() -> (Ticket, tokio::sync::oneshot::Receiver<super::super::ticket::Answer>) {
        let room = Arc::new(Semaphore::new(1)).try_acquire_owned().unwrap();
        let (mut ticket, answer) = Ticket::new(Batch::new([]).fail_if(Query::All, None), Vec::new(), 0, room);
        ticket.search = Some(Arc::new(Ok(Searched::nothing(0, 1)).into()));
        (ticket, answer)
    }

    /// Searches again for batches, all with the same result, and returns the number of searches.
    fn run(
        tickets: Vec<Ticket>,
        time: Duration,
        result: Option<Result<Searched, AppendError>>,
    ) -> (Vec<Ticket>, usize) {
        let searching = async move {
            let (mut tickets, searches) = (tickets, AtomicUsize::new(0));
            search_again(tickets.iter_mut().collect(), Instant::now() + time, |_| {
                searches.fetch_add(1, Ordering::SeqCst);
                let result = result.clone();
                async move {
                    match result {
                        Some(result) => result,
                        None => std::future::pending().await,
                    }
                }
            })
            .await;
            (tickets, searches.into_inner())
        };
        Thread::start().unwrap().block_on(searching).unwrap()
    }

    #[test]
    fn searches_that_do_not_end_are_left_at_the_deadline_and_few_are_under_way() {
        let (tickets, _answers): (Vec<_>, Vec<_>) = (0..3 * SEARCHES_MAX).map(|_| ticket()).unzip();
        let (tickets, searches) = run(tickets, Duration::from_millis(20), None);
        assert_eq!(searches, SEARCHES_MAX);
        assert!(tickets.iter().all(|ticket| *ticket.searched().unwrap() == Searched::nothing(0, 1)));
    }

    #[test]
    fn a_search_that_fails_leaves_the_earlier_result_and_its_reason() {
        let (ticket, _answer) = ticket();
        let failed = AppendError::Unavailable { reason: "no connection".to_owned() };
        let (mut tickets, _) = run(vec![ticket], Duration::from_secs(120), Some(Err(failed.clone())));
        assert_eq!(*tickets[0].searched().unwrap(), Searched::nothing(0, 1));
        assert_eq!(tickets[0].search_error.take(), Some(failed));
    }

    #[test]
    fn nothing_is_searched_for_a_caller_who_is_gone() {
        let (tickets, mut answers): (Vec<_>, Vec<_>) = (0..3).map(|_| ticket()).unzip();
        answers.remove(1);
        let found = Searched { era: 1, checked_to: 7, matches: vec![Some(3)] };
        let (tickets, searches) = run(tickets, Duration::from_secs(120), Some(Ok(found.clone())));
        assert_eq!(searches, 2);
        let again = tickets.iter().map(|ticket| *ticket.searched().unwrap() == found);
        assert_eq!(again.collect::<Vec<_>>(), [true, false, true]);
    }
}
