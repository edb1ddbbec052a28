//! A publisher that runs: the workers of its group, on a runtime of its own.

use std::io;
use std::sync::Arc;
use std::thread;

use gesta_consumer::group::{GroupName, Groups};
use gesta_consumer::{Handle, Spawn, SystemClock, Workers, work};
use gesta_core::BoxFuture;
use tokio::runtime::{Builder, Handle as RuntimeHandle};

/// A publisher that runs. Dropping this asks it to stop, and does not wait.
pub struct Running {
    workers: Arc<Workers>,
    thread: Option<thread::JoinHandle<()>>,
}

impl Running {
    pub(crate) fn start(
        groups: Arc<dyn Groups>,
        group: GroupName,
        concurrency: usize,
        handler: Arc<dyn Handle>,
    ) -> io::Result<Self> {
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let thread = thread::Builder::new().name(group.to_string());
        let tasks = Tasks(runtime.handle().clone());
        let workers = work(groups, group, concurrency, handler, &tasks, Arc::new(SystemClock))?;
        let workers = Arc::new(workers);
        let running = Arc::clone(&workers);
        let thread = thread.spawn(move || {
            runtime.block_on(running.ended());
            // A look-up of a name may take half a minute, and nobody waits for it any more.
            runtime.shutdown_background();
        })?;
        Ok(Self { workers, thread: Some(thread) })
    }

    /// Asks the publisher to stop. It takes nothing new, gives back what was not begun, and has 5 s for the rest.
    pub fn request_stop(&self) {
        self.workers.request_stop();
    }

    /// Waits until the publisher has stopped: after [`Self::request_stop`], or because the groups were closed.
    pub fn join(mut self) {
        if let Some(thread) = self.thread.take() {
            // A panic of the thread was printed.
            let _ = thread.join();
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.request_stop();
    }
}

/// The tasks of a runtime.
struct Tasks(RuntimeHandle);

impl Spawn for Tasks {
    fn spawn(&self, _: &str, future: BoxFuture<'static, ()>) -> io::Result<()> {
        self.0.spawn(future);
        Ok(())
    }
}
