//! A stream that gives a limited number of bytes.
//!
//! One value of an answer can have a gigabyte, and the client library holds a whole value in memory before anybody sees its
//! size. So the limit is here, below the library. Beyond it, the connection ends.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};

use gesta_postgres_connect::{Stream, Wrap};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// How many bytes a stream may still give. Clones count together.
#[derive(Debug, Clone)]
pub(crate) struct Budget(Arc<AtomicU64>);

impl Budget {
    pub(crate) fn new(bytes: u64) -> Self {
        Self(Arc::new(AtomicU64::new(bytes)))
    }

    pub(crate) fn set(&self, bytes: u64) {
        self.0.store(bytes, Ordering::SeqCst);
    }

    pub(crate) fn is_spent(&self) -> bool {
        self.0.load(Ordering::SeqCst) == 0
    }

    fn take(&self, bytes: u64) {
        let left = self.0.load(Ordering::SeqCst);
        self.0.store(left.saturating_sub(bytes), Ordering::SeqCst);
    }
}

impl Wrap for Budget {
    type Stream = Metered<Box<dyn Stream>>;

    fn wrap(&self, inner: Box<dyn Stream>) -> Self::Stream {
        Metered { inner, budget: self.clone() }
    }
}

/// A stream with a budget.
pub(crate) struct Metered<S> {
    inner: S,
    budget: Budget,
}

impl<S: AsyncRead + Unpin> AsyncRead for Metered<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.budget.is_spent() {
            return Poll::Ready(Err(io::Error::other("the answer is too large")));
        }
        let before = buffer.filled().len();
        let read = Pin::new(&mut self.inner).poll_read(context, buffer);
        self.budget.take((buffer.filled().len() - before) as u64);
        read
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Metered<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(context)
    }
}
