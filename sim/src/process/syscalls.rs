//! Every system call of a small run, one at a time: the process is killed at it, or it fails.

use std::collections::BTreeSet;
use std::os::unix::process::ExitStatusExt as _;
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use gesta_log::{LogStore, OpenError};

use super::driver::{Driver, Ended};
use super::said::{Answer, Said};
use super::strace::{CALLS, Call, Strace};
use super::table::{Row, Table};
use super::witness::Witness;
use crate::model::Wrong;
use crate::workload::options;

/// Batches of the small run: enough to fill two segments, and begin a third.
const BATCHES: u64 = 60;
/// Batches before a limit is set on a process.
const BATCHES_BEFORE: u64 = 3;
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

/// How a run is judged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Judge {
    /// It was killed: only the log counts.
    Killed,
    /// A call failed: what the process answered counts too.
    Failed,
    /// A write was lost, and nobody was told: the log has to find out.
    Lied,
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
    perform(driver, folder, runs, &mut table)
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
    perform(driver, folder, runs, &mut table)
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

/// Limits that the system puts on a process: open files, and the length of one. The latter makes writes short before it makes
/// them fail.
///
/// # Errors
/// If the runs cannot be made; what they find is in the table.
pub fn limits(driver: &Driver, folder: &Path) -> Result<Table, Wrong> {
    let mut table = Table { title: "a limit of the process".to_owned(), rows: Vec::new() };
    let cells = [
        ("open files (EMFILE)", "--nofile", (3..40).collect::<Vec<u64>>(), 0),
        ("length of a file (EFBIG), new log", "--fsize", (0..=66_000).step_by(6_000).collect(), 0),
        (
            "length of a file (EFBIG), cut between sectors",
            "--fsize",
            (0..=66_048).step_by(1_536).collect(),
            BATCHES_BEFORE,
        ),
        (
            "length of a file (EFBIG), cut within a sector",
            "--fsize",
            (0..=66_000).step_by(1_500).collect(),
            BATCHES_BEFORE,
        ),
    ];
    for (name, option, limits, before) in cells {
        let mut row = Row::new(name);
        for limit in limits {
            let root = folder.join(format!("limit{option}-{limit}-{before}"));
            let outcome = limited(driver, &root, &format!("{option}={limit}"), before);
            row.note(&format!("{limit}"), outcome.map_err(|wrong| format!("{wrong} ({})", root.display())));
            let _ = std::fs::remove_dir_all(&root);
        }
        table.rows.push(row);
    }
    Ok(table)
}

fn limited(driver: &Driver, root: &Path, limit: &str, before: u64) -> Result<String, Wrong> {
    let mut witness = Witness::new(1);
    if before > 0 {
        let ended = driver.start("script", root, &[0, before])?.end()?;
        witness.hear(&ended.said)?;
    }
    // The signal would kill the process; ignored, the call fails, as it does in a service that ignores it.
    let shell = ["sh", "-c", "trap '' XFSZ; exec prlimit \"$@\"", "sh", limit, "--"].map(str::to_owned);
    let ended = driver.start_under(&shell, "script", root, &[before, before + BATCHES])?.end()?;
    let happened = judge_answers(&ended, &mut witness)?;
    if let Some(reason) = left_to_an_operator(root, &witness)? {
        return Ok(format!("{happened}, then {reason}"));
    }
    witness.check(root)?;
    Ok(happened)
}

/// A write that was cut within a sector does not look like a torn one (`docs/format.md`, "Reading after a crash", 4): all that was
/// acknowledged is there, and the log takes no writes until somebody has looked.
fn left_to_an_operator(root: &Path, witness: &Witness) -> Result<Option<&'static str>, Wrong> {
    let Ok(log) = LogStore::open(root, &options()) else { return Ok(None) };
    match log.read_only() {
        Some(reason) if reason.contains("neither a torn write nor proven") => {
            witness.check_shown(&log).map(|()| Some("left to an operator"))
        }
        _ => Ok(None),
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
fn perform(driver: &Driver, folder: &Path, runs: Vec<Run<'_>>, table: &mut Table) -> Result<Table, Wrong> {
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
    // A kind of call that the run never makes is no cell.
    table.rows.retain({
        let mut used = runs.iter().map(|run| run.row).collect::<BTreeSet<_>>();
        let mut row = 0;
        move |_| {
            row += 1;
            used.remove(&(row - 1))
        }
    });
    Ok(table.clone())
}

impl Run<'_> {
    fn perform(&self, driver: &Driver, root: &Path) -> Result<String, Wrong> {
        let strace = Strace::new(root.with_extension("strace"));
        let words = strace.words(Some(&self.fault));
        let ended = driver.start_under(&words, self.mode, root, &[0, BATCHES])?.end()?;
        let mut witness = Witness::new(1);
        let outcome = match self.judge {
            Judge::Killed => judge_killed(&ended, root, &mut witness),
            Judge::Failed => judge_failed(&ended, &strace.calls()?, root, &mut witness),
            Judge::Lied => judge_lied(&ended, root, &mut witness),
        };
        let outcome = outcome.map_err(|wrong| format!("{wrong} ({}, {})", self.fault, root.display()));
        if outcome.is_ok() {
            let _ = std::fs::remove_file(root.with_extension("strace"));
        }
        outcome
    }
}

fn judge_killed(ended: &Ended, root: &Path, witness: &mut Witness) -> Result<String, Wrong> {
    witness.hear(&ended.said)?;
    let checked = witness.check(root)?;
    if ended.status.signal() != Some(9) {
        return Ok("ended before".to_owned());
    }
    Ok(match (checked.settled_in_doubt, checked.rescued_frames) {
        (0, 0) => "as acknowledged",
        (0, _) => "rescued",
        _ => "with the batch in doubt",
    }
    .to_owned())
}

fn judge_failed(ended: &Ended, calls: &[Call], root: &Path, witness: &mut Witness) -> Result<String, Wrong> {
    let injected = calls.iter().any(Call::is_injected);
    let happened = judge_answers(ended, witness)?;
    if !injected && happened != "unnoticed" {
        return Err(format!("no call failed, and yet: {happened}"));
    }
    judge_syncs(calls, &happened)?;
    let fell_short = calls
        .iter()
        .any(|call| call.is_injected() && call.name == "fallocate" && call.line.contains("ENOSPC"));
    let other =
        |said: &Said| matches!(said, Said::NotAcknowledged { answer, .. } if *answer != Answer::StorageFull);
    if fell_short && let Some(said) = ended.said.iter().find(|said| other(said)) {
        return Err(format!("a full disk is answered with `{said}`"));
    }
    witness.check(root)?;
    Ok(if injected { happened } else { "ended before".to_owned() })
}

/// After a failed sync nobody is told that anything is durable, whatever a later sync says: the file is given up.
fn judge_syncs(calls: &[Call], happened: &str) -> Result<(), Wrong> {
    let is_sync = |call: &Call| call.name == "fdatasync" || call.name == "fsync";
    for (at, failed) in calls.iter().enumerate() {
        let Some(path) = failed.path.as_ref().filter(|_| failed.is_injected() && is_sync(failed)) else {
            continue;
        };
        let later = calls[at + 1..].iter().filter(|call| call.path.as_ref() == Some(path));
        let mut until_removed = later.take_while(|call| call.name != "unlink" || call.is_injected());
        if path.ends_with(".seg") || path.contains("manifest") {
            let again = until_removed.find(|call| is_sync(call) || call.name == "pwritev");
            if let Some(again) = again {
                return Err(format!("after `{}` the file is used again: `{}`", failed.line, again.line));
            }
        }
        let removed =
            calls[at + 1..].iter().any(|call| call.name == "unlink" && call.path.as_ref() == Some(path));
        // After its last word the process closes the log: what was acknowledged is safe, and nobody is there to be told.
        let is_closing = !calls[at + 1..].iter().any(|call| call.name == "write");
        if path.ends_with(".seg") && !removed && !is_closing && happened == "unnoticed" {
            return Err(format!("nobody was told of `{}`", failed.line));
        }
    }
    Ok(())
}

/// What the process answered, in a word; wrong, if it may not answer so.
fn judge_answers(ended: &Ended, witness: &mut Witness) -> Result<String, Wrong> {
    witness.hear(&ended.said)?;
    // A limit may keep the program from starting at all.
    if ended.said.is_empty() && ended.status.code() == Some(127) {
        return Ok("not started".to_owned());
    }
    if !ended.status.success() {
        return Err(format!("the process ended with {} after {:?}", ended.status, ended.said.last()));
    }
    match ended.said.first() {
        Some(Said::Failed(_)) => return Ok("not opened".to_owned()),
        Some(Said::Opened { .. }) => {}
        other => return Err(format!("the process began with {other:?}")),
    }
    let mut answers = Vec::new();
    let mut taken_after = false;
    for said in &ended.said {
        match said {
            Said::NotAcknowledged { answer, .. } => {
                if answers.contains(&Answer::InDoubt) && *answer != Answer::ReadOnly {
                    return Err(format!("after a batch in doubt another is answered `{said}`"));
                }
                answers.push(*answer);
            }
            Said::Acknowledged(_) => {
                if answers.contains(&Answer::InDoubt) || answers.contains(&Answer::ReadOnly) {
                    return Err(format!("a log that takes no writes acknowledges: `{said}`"));
                }
                taken_after |= !answers.is_empty();
            }
            Said::Failed(why) => return Err(format!("after the fault: {why}")),
            _ => {}
        }
    }
    let shown = ended.said.iter().find_map(|said| match said {
        Said::Read(events) => Some(*events),
        _ => None,
    });
    if shown != Some(witness.events()) {
        return Err(format!("{shown:?} events are shown, {} were acknowledged", witness.events()));
    }
    answers.dedup();
    let names = answers.iter().map(|answer| answer.name());
    let names = names.chain(taken_after.then_some("taken again")).collect::<Vec<_>>();
    Ok(if names.is_empty() { "unnoticed".to_owned() } else { names.join(" then ") })
}

/// A log whose write was lost is whole for another reason, or says what is damaged, and serves nothing that is wrong.
fn judge_lied(ended: &Ended, root: &Path, witness: &mut Witness) -> Result<String, Wrong> {
    witness.hear(&ended.said)?;
    let log = match LogStore::open(root, &options()) {
        Ok(log) => log,
        Err(OpenError::ManifestDamaged { .. }) => return Ok("the manifest is found to be damaged".to_owned()),
        Err(error) => return Err(format!("the log does not open: {error:?}")),
    };
    let recovery = log.recovery();
    let is_found = log.read_only().is_some() || !recovery.damage.is_empty() || !recovery.flaws.is_empty();
    match witness.check_shown(&log) {
        Ok(()) if !is_found => {
            drop(log);
            witness.check(root).map(|_| "nothing was lost".to_owned())
        }
        Ok(()) => Ok("found, nothing was lost".to_owned()),
        Err(wrong) if is_found && wrong.contains("damaged") => Ok("the damage is found".to_owned()),
        Err(wrong) => Err(wrong),
    }
}
