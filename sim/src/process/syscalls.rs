//! Every system call of a small run, one at a time: the process is killed at it, or it fails.

use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::driver::Driver;
use super::judge::{Judge, Ran};
use super::strace::{CALLS, Call, Strace};
use super::table::{Row, Table};
use super::witness::Witness;
use crate::model::Wrong;

/// Batches of the small run: enough to fill two segments, and begin a third.
const BATCHES: u64 = 60;
/// Less than any write: what is lost of one that is lost in part.
const LOST_BYTES: u64 = 32;

/// What one run is made to meet.
struct Run<'a> {
    /// The row that it belongs to.
    row: usize,
    /// What it is called within the row.
    name: String,
    mode: &'a str,
    fault: String,
    judge: Judge,
}

/// Kills the process at every call of every kind. Without threads the n-th call is always the same one; with threads, it is the
/// n-th of whichever thread comes to it first.
///
/// # Errors
/// If the runs cannot be made; what they find is in the table.
pub fn killed_calls(driver: &Driver, folder: &Path) -> Result<Table, Wrong> {
    let mut table =
        Table { title: "killed at the n-th system call, for every n".to_owned(), rows: Vec::new() };
    let mut runs = Vec::new();
    for (mode, drive) in [("inline", "alone"), ("script", "threads")] {
        let calls = trace(driver, folder, mode)?;
        for call in CALLS {
            table.rows.push(Row::new(format!("{call}, {drive}")));
            let row = table.rows.len() - 1;
            runs.extend((1..=count(&calls, call)).map(|n| {
                let fault = format!("{call}:signal=KILL:when={n}");
                Run { row, name: format!("n={n}"), mode, fault, judge: Judge::Killed }
            }));
        }
    }
    Ok(perform(driver, folder, runs, table))
}

/// The faults of [`failed_calls`]: a call, and what becomes of it.
const FAULTS: &[(&str, &str)] = &[
    ("fdatasync", "error=EIO"),
    ("fdatasync", "error=ENOSPC"),
    ("fdatasync", "error=EROFS"),
    ("fsync", "error=EIO"),
    ("fsync", "error=ENOSPC"),
    ("pwritev", "error=ENOSPC"),
    ("pwritev", "error=EIO"),
    ("pwritev", "error=EINTR"),
    ("pwritev", "retval=0"),
    ("fallocate", "error=ENOSPC"),
    ("fallocate", "error=EOPNOTSUPP"),
    ("ftruncate", "error=EIO"),
    ("rename", "error=EIO"),
    ("rename", "error=ENOSPC"),
    ("unlink", "error=EIO"),
    ("openat", "error=EMFILE"),
    ("openat", "error=EIO"),
    ("mkdir", "error=ENOSPC"),
    ("flock", "error=EIO"),
];

/// Makes every call of every kind fail: once, and from then on; without threads, and with.
///
/// # Errors
/// If the runs cannot be made; what they find is in the table.
pub fn failed_calls(driver: &Driver, folder: &Path) -> Result<Table, Wrong> {
    failing(driver, folder, FAULTS, 1, &[("inline", "alone"), ("script", "threads")])
}

/// A part of [`failed_calls`] that takes seconds.
///
/// # Errors
/// As there.
pub fn failed_calls_sample(driver: &Driver, folder: &Path) -> Result<Table, Wrong> {
    failing(driver, folder, FAULTS, 23, &[("inline", "alone")])
}

fn failing(
    driver: &Driver,
    folder: &Path,
    faults: &[(&str, &str)],
    step: usize,
    modes: &[(&'static str, &str)],
) -> Result<Table, Wrong> {
    let mut table = Table { title: "a system call that fails".to_owned(), rows: Vec::new() };
    let mut runs = Vec::new();
    for (mode, drive) in modes {
        let calls = trace(driver, folder, mode)?;
        for (call, fault) in faults {
            let count = count(&calls, call);
            for (when, name) in [("", "once"), ("+", "from n on")] {
                // A write that the kernel always interrupts is one that never ends.
                if *fault == "error=EINTR" && when == "+" {
                    continue;
                }
                table.rows.push(Row::new(format!("{call} {fault} {name}, {drive}")));
                let row = table.rows.len() - 1;
                runs.extend((1..=count).step_by(step).map(|n| Run {
                    row,
                    name: format!("n={n}"),
                    mode,
                    fault: format!("{call}:{fault}:when={n}{when}"),
                    judge: Judge::Failed,
                }));
            }
        }
    }
    let calls = trace(driver, folder, "inline")?;
    let writes = calls.iter().filter(|call| call.name == "pwritev").collect::<Vec<_>>();
    lie(&mut runs, &mut table, &writes, step);
    Ok(perform(driver, folder, runs, table))
}

/// Adds the writes that are lost, all of them or their first bytes, and said to be written. Without threads it is known how long
/// the n-th write is.
fn lie(runs: &mut Vec<Run<'_>>, table: &mut Table, writes: &[&Call], step: usize) {
    for (name, bytes) in [("its first bytes", LOST_BYTES), ("all of it", u64::MAX)] {
        table.rows.push(Row::new(format!("a write that is lost, {name}, and said to be written")));
        let row = table.rows.len() - 1;
        runs.extend(writes.iter().zip(1..).step_by(step).map(|(write, n)| {
            let (_, length) = write.written().expect("a write");
            let fault = format!("pwritev:retval={}:when={n}", bytes.min(length));
            Run { row, name: format!("n={n}"), mode: "inline", fault, judge: Judge::Lied }
        }));
    }
}

/// The calls of the run without a fault.
fn trace(driver: &Driver, folder: &Path, mode: &str) -> Result<Vec<Call>, Wrong> {
    let root = folder.join("trace");
    let strace = Strace::new(folder.join("trace.strace"));
    let ended = driver.start_under(&strace.words(None), mode, &root, &[0, BATCHES])?.end()?;
    let mut witness = Witness::new(1);
    witness.hear(&ended.said)?;
    if witness.batches() != BATCHES {
        return Err(format!("a run without a fault ended early: {:?}", ended.said.last()));
    }
    std::fs::remove_dir_all(&root).map_err(|error| format!("removing `{}`: {error}", root.display()))?;
    strace.calls()
}

/// How many of the calls have that name.
fn count(calls: &[Call], name: &str) -> usize {
    calls.iter().filter(|call| call.name == name).count()
}

/// Makes the runs, as many at once as there are cores, and notes what came of them.
fn perform(driver: &Driver, folder: &Path, runs: Vec<Run<'_>>, mut table: Table) -> Table {
    let next = AtomicUsize::new(0);
    let outcomes = Mutex::new(Vec::new());
    let threads = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                while let at = next.fetch_add(1, Ordering::Relaxed)
                    && let Some(run) = runs.get(at)
                {
                    let root = folder.join(format!("run-{at}"));
                    let outcome = run.perform(driver, &root);
                    if outcome.is_ok() {
                        let _ = std::fs::remove_dir_all(&root);
                    }
                    outcomes.lock().expect("nobody panics under it").push((at, outcome));
                }
            });
        }
    });
    let mut outcomes = outcomes.into_inner().expect("nobody panicked under it");
    outcomes.sort_by_key(|(at, _)| *at);
    for (at, outcome) in outcomes {
        table.rows[runs[at].row].note(&runs[at].name, outcome);
    }
    table
}

impl Run<'_> {
    fn perform(&self, driver: &Driver, root: &Path) -> Result<String, Wrong> {
        let strace = Strace::new(root.with_extension("strace"));
        let words = strace.words(Some(&self.fault));
        let ended = driver.start_under(&words, self.mode, root, &[0, BATCHES])?.end()?;
        let mut witness = Witness::new(1);
        let ran = Ran { ended: &ended, root };
        let outcome = match self.judge {
            Judge::Killed => ran.judge_killed(&mut witness),
            Judge::Failed => ran.judge_failed(&strace.calls()?, &mut witness),
            Judge::Lied => ran.judge_lied(&mut witness),
        };
        let outcome = outcome.map_err(|wrong| format!("{wrong} ({}, {})", self.fault, root.display()));
        if outcome.is_ok() {
            let _ = std::fs::remove_file(root.with_extension("strace"));
        }
        outcome
    }
}
