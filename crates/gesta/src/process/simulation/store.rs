//! A store in memory whose answers take a step, so that the schedule can run others, or kill the caller, before they arrive.
//! Now and then an answer is lost.

use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};

use crate::random::Random;
use gesta_core::{
    AppendError, Appended, Batch, BoxFuture, Capabilities, Checkpoint, CommandKey, EventStore, Listing,
    MemoryStore, Page, Read, ReadError, StreamInfo, StreamName, StreamPage, When,
};

pub(super) struct SteppedStore {
    pub(super) inner: Arc<MemoryStore>,
    /// Faults stop when the world calms down.
    faults: Mutex<Option<Random>>,
}

/// An answer that is ready, and arrives with the next poll.
struct Later<T>(Option<T>, bool);

impl<T: Unpin> Future for Later<T> {
    type Output = T;

    fn poll(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<T> {
        if std::mem::replace(&mut self.1, false) {
            return Poll::Pending;
        }
        Poll::Ready(self.0.take().expect("polled after its end"))
    }
}

fn later<'a, T: Send + Unpin + 'a>(answer: T) -> BoxFuture<'a, T> {
    Box::pin(Later(Some(answer), true))
}

/// The answer of a future that is ready at once, such as those of the store in memory.
pub(super) fn now<T>(future: impl Future<Output = T>) -> T {
    match std::pin::pin!(future).poll(&mut Context::from_waker(std::task::Waker::noop())) {
        Poll::Ready(answer) => answer,
        Poll::Pending => panic!("the store in memory answers at once"),
    }
}

impl SteppedStore {
    pub(super) fn new(inner: Arc<MemoryStore>, seed: u64) -> Self {
        Self { inner, faults: Mutex::new(Some(Random::new(seed))) }
    }

    pub(super) fn calm_down(&self) {
        *self.faults.lock().unwrap() = None;
    }

    fn fault(&self, percent: usize) -> bool {
        self.faults.lock().unwrap().as_mut().is_some_and(|random| random.chance(percent))
    }
}

impl EventStore for SteppedStore {
    fn capabilities(&self) -> &Capabilities {
        self.inner.capabilities()
    }

    fn append(&self, batch: Batch) -> BoxFuture<'_, Result<Appended, AppendError>> {
        let lost = || Err(AppendError::InDoubt { reason: "the answer was lost".to_owned() });
        if self.fault(3) {
            return later(lost());
        }
        let answer = self.inner.append_now(batch);
        later(if self.fault(3) { lost() } else { answer })
    }

    fn repeat_of(
        &self,
        command: CommandKey,
        near: StreamName,
    ) -> BoxFuture<'_, Result<Option<Appended>, AppendError>> {
        if self.fault(2) {
            return later(Err(AppendError::Unavailable { reason: "it restarts".to_owned() }));
        }
        later(now(self.inner.repeat_of(command, near)))
    }

    fn read(&self, read: Read) -> BoxFuture<'_, Result<Page, ReadError>> {
        if self.fault(2) {
            return later(Err(ReadError::Unavailable { reason: "it restarts".to_owned() }));
        }
        later(self.inner.read_now(&read))
    }

    fn stream(&self, name: StreamName) -> BoxFuture<'_, Result<Option<StreamInfo>, ReadError>> {
        later(now(self.inner.stream(name)))
    }

    fn streams(&self, listing: Listing) -> BoxFuture<'_, Result<StreamPage, ReadError>> {
        later(now(self.inner.streams(listing)))
    }

    fn locate(&self, at: When) -> BoxFuture<'_, Result<Checkpoint, ReadError>> {
        later(now(self.inner.locate(at)))
    }

    fn wait_past(&self, after: Checkpoint) -> BoxFuture<'_, Result<Checkpoint, ReadError>> {
        self.inner.wait_past(after)
    }
}
