//! One answer to one caller, which may go away at any moment.
//!
//! *Choice: not a channel.* The end that gives an answer has to know whether the caller gets it: deliveries that do not arrive are
//! dealt to others. Here the answer is taken and the caller is gone under one lock, so there is no moment in between.

use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

/// The end that gives the answer.
pub(super) struct Reply<T>(Arc<Mutex<Slot<T>>>);

/// The end that waits for the answer. Dropped, it is gone.
pub(super) struct Answer<T>(Arc<Mutex<Slot<T>>>);

enum Slot<T> {
    Waiting(Option<Waker>),
    Given(T),
    /// Nothing will come: the other end is gone, or the answer was taken.
    Closed,
}

/// No answer will come: the thread that would give it has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct NoAnswer;

/// Creates the two ends.
pub(super) fn reply<T>() -> (Reply<T>, Answer<T>) {
    let slot = Arc::new(Mutex::new(Slot::Waiting(None)));
    (Reply(Arc::clone(&slot)), Answer(slot))
}

impl<T> Reply<T> {
    /// Gives the answer. Returns it if the caller is gone.
    pub(super) fn give(self, answer: T) -> Result<(), T> {
        let mut slot = lock(&self.0);
        match &mut *slot {
            Slot::Waiting(waker) => {
                let waker = waker.take();
                *slot = Slot::Given(answer);
                drop(slot);
                waker.into_iter().for_each(Waker::wake);
                Ok(())
            }
            Slot::Given(_) | Slot::Closed => Err(answer),
        }
    }
}

impl<T> Drop for Reply<T> {
    fn drop(&mut self) {
        let mut slot = lock(&self.0);
        if let Slot::Waiting(waker) = &mut *slot {
            let waker = waker.take();
            *slot = Slot::Closed;
            drop(slot);
            waker.into_iter().for_each(Waker::wake);
        }
    }
}

impl<T> Answer<T> {
    /// Goes away. Returns an answer that was given and not taken.
    pub(super) fn leave(&self) -> Option<T> {
        match std::mem::replace(&mut *lock(&self.0), Slot::Closed) {
            Slot::Given(answer) => Some(answer),
            Slot::Waiting(_) | Slot::Closed => None,
        }
    }
}

impl<T> Future for Answer<T> {
    type Output = Result<T, NoAnswer>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let mut slot = lock(&self.0);
        match &mut *slot {
            Slot::Waiting(waker) => {
                *waker = Some(context.waker().clone());
                Poll::Pending
            }
            _ => match std::mem::replace(&mut *slot, Slot::Closed) {
                Slot::Given(answer) => Poll::Ready(Ok(answer)),
                Slot::Waiting(_) | Slot::Closed => Poll::Ready(Err(NoAnswer)),
            },
        }
    }
}

impl<T> Drop for Answer<T> {
    fn drop(&mut self) {
        let left = self.leave();
        // The answer may run code of its own when it goes, so it goes after the lock.
        drop(left);
    }
}

fn lock<T>(slot: &Mutex<Slot<T>>) -> MutexGuard<'_, Slot<T>> {
    slot.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_arrives_or_comes_back() {
        let (reply_end, answer) = reply();
        assert_eq!(reply_end.give(1), Ok(()));
        assert_eq!(pollster::block_on(answer), Ok(1));
        let (reply_end, answer) = reply();
        drop(answer);
        assert_eq!(reply_end.give(2), Err(2));
        let (reply_end, answer) = reply();
        assert_eq!(reply_end.give(3), Ok(()));
        assert_eq!(answer.leave(), Some(3));
        let (reply_end, answer) = reply::<u8>();
        drop(reply_end);
        assert_eq!(pollster::block_on(answer), Err(NoAnswer));
    }

    #[test]
    fn an_answer_wakes_the_thread_that_waits_for_it() {
        for _ in 0..100 {
            let (reply_end, answer) = reply();
            let thread = std::thread::spawn(move || pollster::block_on(answer));
            reply_end.give(7).unwrap();
            assert_eq!(thread.join().unwrap(), Ok(7));
        }
    }
}
