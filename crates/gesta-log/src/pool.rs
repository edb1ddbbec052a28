//! Threads for reads that may touch the disk, so that no caller's thread does: an async executor's least of all.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

use crate::limits::READS_WAITING_MAX;

type Job = Box<dyn FnOnce() + Send>;

/// A few threads and a bounded line of jobs. Dropped, it finishes what waits.
pub(crate) struct Pool {
    line: Idle,
    threads: Vec<JoinHandle<()>>,
}

/// The threads of a pool, as far as they have nothing to do.
#[derive(Clone)]
pub(crate) struct Idle(Arc<Line>);

struct Line {
    state: Mutex<State>,
    arrived: Condvar,
    /// Whoever is busy with work that another thread may help with, and how many there can be at once.
    busy: AtomicUsize,
    cores: usize,
}

#[derive(Default)]
struct State {
    jobs: VecDeque<Job>,
    /// Threads that wait for a job.
    waiting: usize,
    closing: bool,
}

/// Too many jobs wait already.
#[derive(Debug)]
pub(crate) struct PoolFull;

impl Pool {
    /// A pool of so many threads, on a machine of so many cores.
    pub(crate) fn new(threads: usize, cores: usize) -> std::io::Result<Self> {
        let (state, arrived, busy) = (Mutex::default(), Condvar::new(), AtomicUsize::new(0));
        let line = Idle(Arc::new(Line { state, arrived, busy, cores }));
        let spawn = |number| {
            let line = Arc::clone(&line.0);
            std::thread::Builder::new().name(format!("gesta-read-{number}")).spawn(move || line.work())
        };
        let threads = (0..threads).map(spawn).collect::<Result<_, _>>()?;
        Ok(Self { line, threads })
    }

    /// Runs a job on one of the threads.
    pub(crate) fn run(&self, job: impl FnOnce() + Send + 'static) -> Result<(), PoolFull> {
        if self.threads.is_empty() {
            // A log without threads: its caller does all of the work.
            job();
            return Ok(());
        }
        let mut state = self.line.0.lock();
        if state.jobs.len() >= READS_WAITING_MAX {
            return Err(PoolFull);
        }
        state.jobs.push_back(Box::new(job));
        drop(state);
        self.line.0.arrived.notify_one();
        Ok(())
    }

    /// Those of its threads that have nothing to do.
    pub(crate) const fn idle(&self) -> &Idle {
        &self.line
    }
}

impl Idle {
    /// Waits until a thread has nothing to do.
    #[cfg(test)]
    pub(crate) fn wait_for_one(&self) {
        while self.0.lock().waiting == 0 {
            std::thread::yield_now();
        }
    }

    /// Says that its caller is busy, until what this gives is dropped.
    pub(crate) fn busy(&self) -> Busy<'_> {
        self.0.busy.fetch_add(1, Ordering::Relaxed);
        Busy(&self.0.busy)
    }

    /// Runs a job, if there is a thread that has nothing to do, and a core that nobody needs who is busy; drops it otherwise.
    pub(crate) fn offer(&self, job: impl FnOnce() + Send + 'static) {
        if self.0.busy.load(Ordering::Relaxed) >= self.0.cores {
            return;
        }
        let mut state = self.0.lock();
        if state.waiting > state.jobs.len() {
            state.jobs.push_back(Box::new(job));
            drop(state);
            self.0.arrived.notify_one();
        }
    }
}

/// Somebody who is busy.
pub(crate) struct Busy<'a>(&'a AtomicUsize);

impl Drop for Busy<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Line {
    fn work(&self) {
        while let Some(job) = self.next() {
            // A panic in a read is a bug of ours; its caller is told by the dropped answer, the other reads go on.
            let _ = std::panic::catch_unwind(std::panic::AssertUnwindSafe(job));
        }
    }

    fn next(&self) -> Option<Job> {
        let mut state = self.lock();
        loop {
            if let Some(job) = state.jobs.pop_front() {
                return Some(job);
            }
            if state.closing {
                return None;
            }
            state.waiting += 1;
            state = self.arrived.wait(state).unwrap_or_else(PoisonError::into_inner);
            state.waiting -= 1;
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        self.line.0.lock().closing = true;
        self.line.0.arrived.notify_all();
        for thread in self.threads.drain(..) {
            // Jobs catch their panics, so the thread cannot have failed.
            let _ = thread.join();
        }
    }
}
