//! A store in memory whose answers take one step, so that a run can crash between any two.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use gesta_core::{
    AppendError, Appended, Batch, BoxFuture, Capabilities, Checkpoint, CommandKey, EventStore, Listing,
    MemoryStore, Page, Read, ReadError, StreamInfo, StreamName, StreamPage, When,
};

pub(super) struct SteppedStore(pub(super) Arc<MemoryStore>);

/// A future that takes one step more, after it did its work.
struct OneMore<'a, T> {
    work: BoxFuture<'a, T>,
    done: Option<T>,
}

impl<T: Unpin> Future for OneMore<'_, T> {
    type Output = T;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<T> {
        if let Some(answer) = self.done.take() {
            return Poll::Ready(answer);
        }
        if let Poll::Ready(answer) = self.work.as_mut().poll(context) {
            self.done = Some(answer);
            context.waker().wake_by_ref();
        }
        Poll::Pending
    }
}

fn one_more<'a, T: Send + Unpin + 'a>(work: BoxFuture<'a, T>) -> BoxFuture<'a, T> {
    Box::pin(OneMore { work, done: None })
}

impl EventStore for SteppedStore {
    fn capabilities(&self) -> &Capabilities {
        self.0.capabilities()
    }

    fn append(&self, batch: Batch) -> BoxFuture<'_, Result<Appended, AppendError>> {
        one_more(self.0.append(batch))
    }

    fn repeat_of(
        &self,
        command: CommandKey,
        near: StreamName,
    ) -> BoxFuture<'_, Result<Option<Appended>, AppendError>> {
        one_more(self.0.repeat_of(command, near))
    }

    fn read(&self, read: Read) -> BoxFuture<'_, Result<Page, ReadError>> {
        one_more(self.0.read(read))
    }

    fn stream(&self, name: StreamName) -> BoxFuture<'_, Result<Option<StreamInfo>, ReadError>> {
        one_more(self.0.stream(name))
    }

    fn streams(&self, listing: Listing) -> BoxFuture<'_, Result<StreamPage, ReadError>> {
        one_more(self.0.streams(listing))
    }

    fn locate(&self, at: When) -> BoxFuture<'_, Result<Checkpoint, ReadError>> {
        one_more(self.0.locate(at))
    }

    fn wait_past(&self, after: Checkpoint) -> BoxFuture<'_, Result<Checkpoint, ReadError>> {
        self.0.wait_past(after)
    }
}
