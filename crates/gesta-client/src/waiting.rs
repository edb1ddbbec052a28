//! Waiting for the next event: all waiters of a client share one long poll, from the newest head that the client knows.
//!
//! A pure structure, which the waiters and the poll change under one lock. A waiter *sits* if it waits at exactly the
//! known head. Any other waiter asks the server alone, so that its answer or its error is its own.
//!
//! *Invariants:*
//! - A waiter that sits is answered once the server's head is past its place: the poll starts at the known head, and
//!   every change of the known head is compared with the places of those who sit.
//! - An error that concerns the place of the poll is never given to a waiter: it asks about its own place.

#[cfg(test)]
mod simulation;

use gesta_core::{Checkpoint, ReadError};

/// What the waiters and the poll share.
#[derive(Debug, Default)]
pub(crate) struct Waiting {
    /// The newest head that the server reported; `None` if none is known, or the known one was refused.
    head: Option<Checkpoint>,
    /// The number of changes of `head`.
    changes: u64,
    /// The number of polls that failed.
    failures: u64,
    /// The error of the newest failure. `None` if it concerned the place of the poll.
    failure: Option<ReadError>,
    /// The number of waiters that sit.
    sitting: usize,
}

/// When a request was sent, in changes of the known head.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Moment(u64);

/// A waiter that sits. It counts as one until [`Waiting::rise`].
#[derive(Debug)]
pub(crate) struct Seat {
    /// The number of failures when the waiter sat down.
    failures: u64,
}

/// The answer to a waiter that sits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Answer {
    /// The head, which is past the waiter's place.
    Past(Checkpoint),
    /// The poll failed, for reasons that concern all waiters.
    Failed(ReadError),
    /// The place of the poll was refused, or the store lost its newest events: ask about the waiter's own place.
    Ask,
}

impl Waiting {
    /// The moment at which a request is sent. Pass it to [`Self::report`] with the answer.
    pub(crate) const fn moment(&self) -> Moment {
        Moment(self.changes)
    }

    /// Records a head that the server reported to a request of a waiter or of the poll, which was sent at `asked`.
    ///
    /// A lower head than the known one means that the store lost its newest events, unless the report is late.
    pub(crate) fn report(&mut self, head: &Checkpoint, asked: Moment) {
        if asked == self.moment() || self.is_news(head) {
            self.set(Some(head.clone()));
        }
    }

    /// Raises the head to that of a page. Returns true if it is news.
    pub(crate) fn raise(&mut self, head: &Checkpoint) -> bool {
        let is_news = self.is_news(head);
        if is_news {
            self.set(Some(head.clone()));
        }
        is_news
    }

    /// True if the head covers all that the known one does, and more. After a loss, a late report may cover more in one
    /// partition and less in another.
    fn is_news(&self, head: &Checkpoint) -> bool {
        self.head.as_ref().is_none_or(|known| head.at_least(known) && head != known)
    }

    fn set(&mut self, head: Option<Checkpoint>) {
        self.head = head;
        self.changes += 1;
    }

    /// Records that the poll failed.
    pub(crate) fn fail(&mut self, error: ReadError) {
        self.failures += 1;
        self.failure = match error {
            ReadError::CheckpointAhead { .. }
            | ReadError::Diverged { .. }
            | ReadError::ForeignCheckpoint { .. }
            | ReadError::Invalid { .. } => {
                self.set(None);
                None
            }
            error => Some(error),
        };
    }

    /// Seats a waiter, if its place is the known head.
    pub(crate) fn sit(&mut self, after: &Checkpoint) -> Option<Seat> {
        let is_there = self.head.as_ref().is_some_and(|head| is_same_place(head, after));
        is_there.then(|| {
            self.sitting += 1;
            Seat { failures: self.failures }
        })
    }

    /// Returns the answer to a waiter that sits, once there is one.
    pub(crate) fn look(&self, seat: &Seat, after: &Checkpoint) -> Option<Answer> {
        if self.failures > seat.failures {
            return Some(self.failure.clone().map_or(Answer::Ask, Answer::Failed));
        }
        let head = self.head.as_ref()?;
        if is_past(head, after) {
            return Some(Answer::Past(head.clone()));
        }
        // After a loss, the waiter's place may lie beyond the head or in the lost history.
        (!is_same_place(head, after)).then_some(Answer::Ask)
    }

    /// Ends the wait of a waiter that sits.
    pub(crate) fn rise(&mut self) {
        self.sitting -= 1;
    }

    /// Returns the place to poll from, if a waiter sits.
    pub(crate) fn poll_from(&self) -> Option<&Checkpoint> {
        self.head.as_ref().filter(|_| self.sitting > 0)
    }
}

/// True if `head` covers an event that `after` does not.
pub(crate) fn is_past(head: &Checkpoint, after: &Checkpoint) -> bool {
    head.is_comparable(after) && !after.at_least(head)
}

/// True if `after` is the place of `head`, in the same history as far as its marks show.
fn is_same_place(head: &Checkpoint, after: &Checkpoint) -> bool {
    head == after && after.marks().all(|(at, mark)| head.mark(at.partition) == Some(mark))
}
