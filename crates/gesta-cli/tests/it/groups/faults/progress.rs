//! Waits for the work of processes by the lines that they print.

use std::io::{BufRead, BufReader};
use std::process::ChildStdout;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// More time than anything takes on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// The number of lines that processes have printed.
#[derive(Default)]
pub(super) struct Progress {
    lines: Mutex<u64>,
    more: Condvar,
}

impl Progress {
    /// Counts the lines of a process until it ends.
    pub(super) fn follow(self: &Arc<Self>, output: ChildStdout) {
        let progress = Arc::clone(self);
        std::thread::spawn(move || {
            // A killed process may leave half a line.
            for _ in BufReader::new(output).split(b'\n') {
                *progress.lines.lock().unwrap_or_else(PoisonError::into_inner) += 1;
                progress.more.notify_all();
            }
        });
    }

    /// Waits until something is so. It is looked at after every line.
    #[track_caller]
    pub(super) fn wait(&self, what: &str, is_so: impl FnMut() -> bool) {
        assert!(self.wait_at_most(PATIENCE, is_so), "not within {PATIENCE:?}: {what}");
    }

    /// Waits until something is so, or the time is over. Returns true if it is so.
    pub(super) fn wait_at_most(&self, time: Duration, mut is_so: impl FnMut() -> bool) -> bool {
        let end = Instant::now() + time;
        loop {
            let before = *self.lines.lock().unwrap_or_else(PoisonError::into_inner);
            if is_so() {
                return true;
            }
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return false;
            }
            let lines = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
            drop(self.more.wait_timeout_while(lines, left, |lines| *lines == before));
        }
    }
}
