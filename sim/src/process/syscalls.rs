//! Every system call of a small run, one at a time: the process is killed at it, or the call fails.

use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::driver::Driver;
use super::judge::{Judge, Ran};
use super::strace::{CALLS, Call, Strace};
use super::table::{Row, Table};
use super::witness::Witness;
use crate::model::Wrong;

/// Batches of the small run: enough to fill two segments and start a third.
const BATCHES: u64 = 60;
/// Bytes that a partly lost write loses; less than any write.
const LOST_BYTES: u64 = 32;

/// The fault of one run.
struct Run<'a> {
    /// The row of the table.
    row: usize,
    /// The name of the run within the row.
    name: String,
    mode: &'a str,
    fault: String,
    judge: Judge,
}

/// Kills the process at every call of every kind. Without threads the n-th call is always the same. With threads it
/// is the n-th call of the first thread that makes that number of calls.
///
/// # Errors
/// If the runs cannot be made. Their findings are in the table.
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

/// The faults of [`failed_calls`]: a call and its result.
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

/// Makes every call of every kind fail: once, and from then on; without threads and with them.
///
/// # Errors
/// If the runs cannot be made. Their findings are in the table.
pub fn failed_calls(driver: &Driver, folder: &Path) -> Result<Table, Wrong> {
    failing(driver, folder, FAULTS, 1, &[("inline", "alone"), ("script", "threads")])
}

/// A part of [`failed_calls`] that takes seconds.
///
/// # Errors
/// As [`failed_calls`].
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
                // A write that is always interrupted never ends.
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

/// Adds writes that report success and lose all or their first bytes. Without threads the length of the n-th write is
/// known.
fn lie(runs: &mut Vec<Run<'_>>, table: &mut Table, writes: &[&Call], step: usize) {
    for (name, bytes) in [("its first bytes", LOST_BYTES), ("all of it", u64::MAX)] {
        table.rows.push(Row::new(format!("a write that is lost, {name}, and reported as written")));
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

/// The number of calls with that name.
fn count(calls: &[Call], name: &str) -> usize {
    calls.iter().filter(|call| call.name == name).count()
}

/// Makes the runs, as many at the same time as there are cores, and notes their outcomes.
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
                    outcomes.lock().expect("no panic under the lock").push((at, outcome));
                }
            });
        }
    });
    let mut outcomes = outcomes.into_inner().expect("no panic under the lock");
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
