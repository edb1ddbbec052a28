//! A member's call to local groups, which may be dropped at any moment.

use std::pin::Pin;
use std::task::{Context, Poll};

use super::queue::{Message, Queue};
use super::reply::Answer;
use crate::group::error::TakeError;
use crate::group::name::GroupName;
use crate::group::take::Taken;

/// A member's call that waits for its answer.
pub(super) struct Call<'a> {
    pub(super) queue: &'a Queue,
    pub(super) group: GroupName,
    pub(super) number: u64,
    pub(super) answer: Option<Answer<Result<Taken, TakeError>>>,
}

impl Future for Call<'_> {
    type Output = Result<Taken, TakeError>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let Some(answer) = &mut self.answer else { return Poll::Ready(Err(TakeError::Closed)) };
        let polled = Pin::new(answer).poll(context);
        polled.map(|answered| {
            self.answer = None;
            answered.unwrap_or(Err(TakeError::Closed))
        })
    }
}

impl Drop for Call<'_> {
    /// A caller that goes away gives back what it was given, or ends its call.
    fn drop(&mut self) {
        let Some(answer) = self.answer.take() else { return };
        let (group, number) = (self.group.clone(), self.number);
        let message = match answer.leave() {
            Some(Ok(taken)) => {
                let ids = taken.deliveries.iter().map(|delivery| delivery.id).collect();
                Message::Unwritten { group, ids }
            }
            Some(Err(_)) => return,
            None => Message::Cancel { group, number },
        };
        // If groups are closed, nothing is in flight any more.
        let _ = self.queue.push(message);
    }
}
