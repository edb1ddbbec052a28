//! Batches that wait for the writer, in the order of their first polls.
//!
//! A batch whose conditions are still searched is passed over, so that one long search does not stop all writers. Batches behind
//! it that share a stream with it wait too: they may build on its events.

use std::collections::{HashSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use gesta_core::{AppendError, StreamName};
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};

use super::ticket::Ticket;
use crate::limits::{GROUP_BATCHES_MAX, GROUP_BYTES_MAX, QUEUE_BYTES_MAX};

/// Batches that wait for the writer.
pub(crate) struct Queue {
    /// `None` once there is no writer.
    waiting: Mutex<Option<VecDeque<Ticket>>>,
    room: Arc<Semaphore>,
    changed: Notify,
}

impl Queue {
    pub(crate) fn new() -> Self {
        let room = Arc::new(Semaphore::new(QUEUE_BYTES_MAX));
        Self { waiting: Mutex::new(Some(VecDeque::new())), room, changed: Notify::new() }
    }

    /// Takes room for a batch, until its ticket is dropped.
    ///
    /// # Errors
    /// [`AppendError::Overloaded`].
    pub(crate) fn take_room(&self, bytes: usize) -> Result<OwnedSemaphorePermit, AppendError> {
        let bytes = u32::try_from(bytes).unwrap_or(u32::MAX);
        Arc::clone(&self.room).try_acquire_many_owned(bytes).map_err(|_| AppendError::Overloaded)
    }

    /// Adds a batch. Without a writer it is dropped, which its caller notices.
    pub(crate) fn push(&self, ticket: Ticket) {
        if let Some(waiting) = &mut *self.lock() {
            waiting.push_back(ticket);
        }
        self.look_again();
    }

    /// Drops all batches, now and from now on: there is no writer any more.
    pub(super) fn close(&self) {
        let waiting = self.lock().take();
        // Not under the lock: their callers are woken.
        drop(waiting);
    }

    /// Tells the writer that a search has ended.
    pub(crate) fn look_again(&self) {
        self.changed.notify_one();
    }

    /// Waits for the next group.
    pub(crate) async fn next(&self) -> Vec<Ticket> {
        loop {
            let group = self.lock().as_mut().map(gather).unwrap_or_default();
            if !group.is_empty() {
                return group;
            }
            self.changed.notified().await;
        }
    }

    fn lock(&self) -> MutexGuard<'_, Option<VecDeque<Ticket>>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Takes the next group out of the line. Batches whose callers are gone are dropped.
fn gather(waiting: &mut VecDeque<Ticket>) -> Vec<Ticket> {
    waiting.retain(|ticket| !ticket.reply.is_closed());
    let chosen = choose(waiting);
    let mut group = Vec::with_capacity(chosen.iter().filter(|is_chosen| **is_chosen).count());
    let mut left = VecDeque::with_capacity(waiting.len());
    let rest = waiting.split_off(chosen.len());
    for (ticket, is_chosen) in waiting.drain(..).zip(chosen) {
        if is_chosen { group.push(ticket) } else { left.push_back(ticket) }
    }
    left.extend(rest);
    *waiting = left;
    group
}

/// For each batch from the front: does it belong to the next group?
fn choose(waiting: &VecDeque<Ticket>) -> Vec<bool> {
    let (mut held, mut count, mut bytes) = (HashSet::<&StreamName>::new(), 0, 0);
    let mut chosen = Vec::new();
    for ticket in waiting {
        let is_free =
            ticket.is_ready() && (held.is_empty() || !ticket.streams().any(|own| held.contains(own)));
        if !is_free {
            held.extend(ticket.streams());
        } else if count == GROUP_BATCHES_MAX || (count > 0 && bytes + ticket.bytes > GROUP_BYTES_MAX) {
            break;
        } else {
            (count, bytes) = (count + 1, bytes + ticket.bytes);
        }
        chosen.push(is_free);
    }
    chosen
}

#[cfg(test)]
mod tests {
    use gesta_core::{Batch, EventId, Expected, NewEvent, Query, Timestamp};
    use tokio::sync::oneshot;

    use super::super::search::{Searched, Searching};
    use super::super::ticket::{Answer, Search};
    use super::*;
    use crate::runtime::Thread;

    /// A batch with an event in a stream and an expectation of another; `search` is there for one with a condition.
    fn ticket(
        queue: &Queue,
        streams: [&str; 2],
        bytes: usize,
        search: Option<Search>,
    ) -> (Ticket, oneshot::Receiver<Answer>) {
        let event = NewEvent::json(
            EventId::from_u128(1),
            streams[0].parse().unwrap(),
            "a".parse().unwrap(),
            Timestamp::from_nanos(0),
            "{}",
        );
        let batch = Batch::new([event]).expect(streams[1].parse().unwrap(), Expected::Any);
        let batch = if search.is_some() { batch.fail_if(Query::All, None) } else { batch };
        let room = queue.take_room(bytes).unwrap();
        let (mut ticket, answer) = Ticket::new(batch, Vec::new(), bytes, room);
        ticket.search = search;
        (ticket, answer)
    }

    fn names(group: &[Ticket]) -> Vec<String> {
        group.iter().map(|ticket| ticket.batch.events[0].stream.to_string()).collect()
    }

    #[test]
    fn a_batch_under_search_is_passed_over_but_not_by_those_that_share_a_stream() {
        let queue = Queue::new();
        let search = Search::default();
        let (mut waiting, mut answers) = (VecDeque::new(), Vec::new());
        for (streams, search) in [
            (["a", "x"], None),
            (["b", "x"], Some(Arc::clone(&search))),
            (["c", "y"], None),
            (["d", "b"], None),
            (["e", "d"], None),
            (["f", "z"], None),
        ] {
            let (ticket, answer) = ticket(&queue, streams, 10, search);
            waiting.push_back(ticket);
            answers.push(answer);
        }
        assert_eq!(names(&gather(&mut waiting)), ["a", "c", "f"]);
        assert!(gather(&mut waiting).is_empty());
        assert!(search.set(Ok(Searched { era: 0, checked_to: 0, matches: Vec::new() })).is_ok());
        assert_eq!(names(&gather(&mut waiting)), ["b", "d", "e"]);
    }

    #[test]
    fn a_group_ends_at_its_bytes_but_takes_one_larger_batch() {
        let queue = Queue::new();
        let (mut waiting, mut answers) = (VecDeque::new(), Vec::new());
        for (stream, bytes) in [("a", GROUP_BYTES_MAX + 1), ("b", GROUP_BYTES_MAX), ("c", 1)] {
            let (ticket, answer) = ticket(&queue, [stream, stream], bytes, None);
            waiting.push_back(ticket);
            answers.push(answer);
        }
        for stream in ["a", "b", "c"] {
            assert_eq!(names(&gather(&mut waiting)), [stream]);
        }
    }

    #[test]
    fn a_batch_whose_caller_is_gone_is_dropped_and_gives_its_room_back() {
        let queue = Queue::new();
        let (gone, answer) = ticket(&queue, ["a", "a"], QUEUE_BYTES_MAX, None);
        assert_eq!(queue.take_room(1).unwrap_err(), AppendError::Overloaded);
        drop(answer);
        assert!(gather(&mut VecDeque::from([gone])).is_empty());
        assert!(queue.take_room(1).is_ok());
    }

    #[test]
    fn an_append_that_is_dropped_ends_its_search_and_lets_batches_behind_it_go() {
        let (thread, queue) = (Thread::start().unwrap(), Arc::new(Queue::new()));
        let (running, ended) = oneshot::channel::<()>();
        let searching = Searching::start(&thread, Arc::clone(&queue), async move {
            let _running = running;
            std::future::pending().await
        });
        let (held, answer) = ticket(&queue, ["a", "x"], 1, Some(searching.result()));
        let (behind, _answer) = ticket(&queue, ["b", "a"], 1, None);
        queue.push(held);
        queue.push(behind);
        let mut next = std::pin::pin!(queue.next());
        let mut context = std::task::Context::from_waker(std::task::Waker::noop());
        assert!(next.as_mut().poll(&mut context).is_pending(), "the batch behind waits");
        drop(answer);
        drop(searching);
        assert_eq!(names(&pollster::block_on(next)), ["b"]);
        assert!(pollster::block_on(ended).is_err(), "the search has ended");
    }

    #[test]
    fn batches_without_a_writer_are_dropped() {
        let queue = Queue::new();
        let (waiting, answer) = ticket(&queue, ["a", "a"], QUEUE_BYTES_MAX, None);
        queue.push(waiting);
        queue.close();
        assert!(pollster::block_on(answer).is_err(), "it was waiting");
        let (late, answer) = ticket(&queue, ["a", "a"], QUEUE_BYTES_MAX, None);
        queue.push(late);
        assert!(pollster::block_on(answer).is_err(), "it came later");
    }

    #[test]
    fn a_search_that_panics_fails_its_append_and_lets_batches_behind_it_go() {
        let (thread, queue) = (Thread::start().unwrap(), Arc::new(Queue::new()));
        let searching = Searching::start(&thread, Arc::clone(&queue), async { panic!("planted") });
        let (panicked, _answer) = ticket(&queue, ["a", "x"], 1, Some(searching.result()));
        let (behind, _answer) = ticket(&queue, ["b", "a"], 1, None);
        queue.push(panicked);
        queue.push(behind);
        let (mut names, mut failures) = (Vec::new(), 0);
        while names.len() < 2 {
            let group = pollster::block_on(queue.next());
            names.extend(self::names(&group));
            failures += group.iter().filter_map(Ticket::search_failure).count();
        }
        assert_eq!((names, failures), (vec!["a".to_owned(), "b".to_owned()], 1));
    }
}
