//! Threads for reads that may wait for the disk, so that callers never do: least of all the threads of an async
//! executor.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::thread::JoinHandle;

use crate::limits::READS_WAITING_MAX;
use crate::locks;

type Job = Box<dyn FnOnce() + Send>;

/// A few threads and a bounded queue of jobs. Drop finishes the queued jobs.
pub(crate) struct Pool {
    line: Idle,
    threads: Vec<JoinHandle<()>>,
}

/// Gives jobs to idle threads of a pool.
#[derive(Clone)]
pub(crate) struct Idle(Arc<Line>);

struct Line {
    state: Mutex<State>,
    arrived: Condvar,
    /// Readers with work that an idle thread could share, and the number of cores.
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

/// The queue is full.
#[derive(Debug)]
pub(crate) struct PoolFull;

impl Pool {
    /// A pool of `threads` threads on a machine with `cores` cores.
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
            // Without threads, the caller runs the job.
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

    /// Its idle threads.
    pub(crate) const fn idle(&self) -> &Idle {
        &self.line
    }
}

impl Idle {
    /// Waits until a thread is idle.
    #[cfg(test)]
    pub(crate) fn wait_for_one(&self) {
        while self.0.lock().waiting == 0 {
            std::thread::yield_now();
        }
    }

    /// Counts its caller as busy until the guard is dropped.
    pub(crate) fn busy(&self) -> Busy<'_> {
        self.0.busy.fetch_add(1, Ordering::Relaxed);
        Busy(&self.0.busy)
    }

    /// Runs a job if a thread is idle and a core is not needed by a busy reader. Drops it otherwise.
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

/// Counts one busy reader.
pub(crate) struct Busy<'a>(&'a AtomicUsize);

impl Drop for Busy<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Line {
    fn work(&self) {
        while let Some(job) = self.next() {
            // A panic in a read is a bug of ours. Its caller notices the dropped answer; other reads continue.
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
            state = locks::wait(&self.arrived, state);
            state.waiting -= 1;
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        locks::lock(&self.state)
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
