//! The runtime of a store: one thread, on which all its connections live. Callers need no runtime.

use std::io;
use std::pin::Pin;
use std::sync::mpsc;
use std::task::{Context, Poll};

use tokio::runtime::{Builder, Runtime};
use tokio::task::JoinHandle;

/// One thread. Dropped, it ends, and all its tasks with it.
pub(crate) struct Thread(Option<Runtime>);

impl Thread {
    pub(crate) fn start() -> io::Result<Self> {
        let mut builder = Builder::new_multi_thread();
        builder.worker_threads(1).thread_name("gesta-postgres").enable_io().enable_time();
        Ok(Self(Some(builder.build()?)))
    }

    /// Runs a task until it ends or its value is dropped.
    pub(crate) fn spawn<T: Send + 'static>(&self, task: impl Future<Output = T> + Send + 'static) -> Task<T> {
        Task(self.runtime().spawn(task))
    }

    /// Runs a task, and blocks until it ends. `None` if it panicked.
    pub(crate) fn block_on<T: Send + 'static>(
        &self,
        task: impl Future<Output = T> + Send + 'static,
    ) -> Option<T> {
        let (done, ended) = mpsc::channel();
        let running = self.spawn(async move { done.send(task.await) });
        let value = ended.recv().ok();
        drop(running);
        value
    }

    fn runtime(&self) -> &Runtime {
        self.0.as_ref().expect("it is there until it is dropped")
    }
}

impl Drop for Thread {
    fn drop(&mut self) {
        // Not waiting: a look-up of a name by the system may take long, and the caller may be a task of another runtime.
        self.0.take().expect("it is dropped once").shutdown_background();
    }
}

/// A task. Its caller takes it along: dropped, it ends.
pub(crate) struct Task<T>(JoinHandle<T>);

impl<T> Future for Task<T> {
    /// `None` if the task panicked.
    type Output = Option<T>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<T>> {
        Pin::new(&mut self.0).poll(context).map(Result::ok)
    }
}

impl<T> Drop for Task<T> {
    fn drop(&mut self) {
        self.0.abort();
    }
}
