//! A connection that gives up on a client that takes no bytes for too long.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep, sleep_until};

/// What the server knows of one connection. Every request on it carries a clone as an extension.
#[derive(Debug, Clone, Default)]
pub(crate) struct Connection(Arc<State>);

#[derive(Debug, Default)]
struct State {
    follows: AtomicBool,
    stops: AtomicBool,
}

impl Connection {
    /// Marks the connection as one with a subscription.
    pub(crate) fn follows(&self) {
        self.0.follows.store(true, Ordering::Release);
    }

    /// Marks that the server stops. A subscription is then not waited for: its client can resume where it was.
    pub(crate) fn stops(&self) {
        self.0.stops.store(true, Ordering::Release);
    }

    fn waits_for_client(&self) -> bool {
        let State { follows, stops } = &*self.0;
        !(follows.load(Ordering::Acquire) && stops.load(Ordering::Acquire))
    }
}

/// A stream whose writes fail if the other side has taken nothing for a while, which frees what the connection holds.
pub(crate) struct Stall<S> {
    stream: S,
    connection: Connection,
    patience: Duration,
    /// Runs while a write waits.
    deadline: Option<Pin<Box<Sleep>>>,
}

impl<S> Stall<S> {
    pub(crate) const fn new(stream: S, connection: Connection, patience: Duration) -> Self {
        Self { stream, connection, patience, deadline: None }
    }

    fn guard<T>(&mut self, written: Poll<io::Result<T>>, context: &mut Context<'_>) -> Poll<io::Result<T>> {
        if written.is_ready() {
            self.deadline = None;
            return written;
        }
        if self.connection.waits_for_client() {
            let patience = self.patience;
            let deadline =
                self.deadline.get_or_insert_with(|| Box::pin(sleep_until(Instant::now() + patience)));
            ready!(deadline.as_mut().poll(context));
        }
        Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, "the client takes no bytes")))
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Stall<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Stall<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.guard(written, context)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(context, slices);
        self.guard(written, context)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
