//! Kills during recovery: at every system call of an open that has to recover.

use std::path::Path;

use super::driver::Driver;
use super::strace::{CALLS, Strace, copy_folder};
use super::table::{Row, Table};
use super::witness::Witness;
use crate::model::Wrong;

/// States of a log that need recovery, each with the fault that causes it.
const STATES: &[(&str, &str, bool)] = &[
    ("a mark that was not synced", "fdatasync:signal=KILL:when=20", false),
    ("a batch that was not synced", "fdatasync:signal=KILL:when=22", false),
    ("a torn batch", "fdatasync:signal=KILL:when=22", true),
    ("a segment that is full and not sealed", "ftruncate:signal=KILL:when=2", false),
    ("a segment that is sealed and not listed as sealed", "rename:signal=KILL:when=9", false),
    ("a segment that is not listed", "fallocate:signal=KILL:when=2", false),
];
/// Batches that the process would append without the kill.
const BATCHES: u64 = 60;
const SECTOR_BYTES: u64 = 512;

/// Kills recoveries at each of their system calls, from several states.
///
/// # Errors
/// If the runs cannot be made. Their findings are in the table.
pub fn killed_recoveries(driver: &Driver, folder: &Path) -> Result<Table, Wrong> {
    let title = "recovery, killed at its n-th system call, for every n".to_owned();
    let mut table = Table { title, rows: Vec::new() };
    for (name, fault, torn) in STATES {
        let base = folder.join("base");
        let mut row = Row::new(*name);
        let witness = leave(driver, &base, fault, *torn)?;
        let counts = count(driver, &base, &folder.join("count"), &witness)?;
        for call in CALLS {
            for n in 1..=counts.get(*call).copied().unwrap_or(0) {
                let root = folder.join("again");
                let outcome = kill(driver, &base, &root, &format!("{call}:signal=KILL:when={n}"), &witness);
                row.note(&format!("{call} n={n}"), outcome);
                let _ = std::fs::remove_dir_all(&root);
            }
        }
        table.rows.push(row);
        std::fs::remove_dir_all(&base).map_err(|error| format!("removing `{}`: {error}", base.display()))?;
    }
    Ok(table)
}

/// Makes a log in that state.
fn leave(driver: &Driver, base: &Path, fault: &str, torn: bool) -> Result<Witness, Wrong> {
    let strace = Strace::new(base.with_extension("strace"));
    let ended = driver.start_under(&strace.words(Some(fault)), "inline", base, &[0, BATCHES])?.end()?;
    let mut witness = Witness::new(1);
    witness.hear(&ended.said)?;
    if witness.batches() == BATCHES {
        return Err(format!("the fault `{fault}` did not happen"));
    }
    if torn {
        tear_last_write(&strace)?;
    }
    Ok(witness)
}

/// Zeros the second half of the last write, which was not synced, as a power cut may do.
fn tear_last_write(strace: &Strace) -> Result<(), Wrong> {
    use std::os::unix::fs::FileExt as _;
    let calls = strace.calls()?;
    let last = calls.iter().rfind(|call| call.name == "pwritev").ok_or("nothing was written")?;
    let (offset, length) = last.written().ok_or_else(|| format!("no write: {}", last.line))?;
    let from = (offset + length / 2).next_multiple_of(SECTOR_BYTES);
    let zeros = usize::try_from((offset + length).saturating_sub(from)).expect("a frame");
    let path = last.path.as_ref().filter(|path| path.ends_with(".seg") && zeros as u64 >= SECTOR_BYTES);
    let path = path.ok_or_else(|| format!("nothing to tear: {}", last.line))?;
    let file = std::fs::OpenOptions::new().write(true).open(path);
    let torn = file.and_then(|file| file.write_all_at(&vec![0; zeros], from));
    torn.map_err(|error| format!("tearing `{path}`: {error}"))
}

/// The number of calls of each kind in an open. The process opens, reads everything and closes.
fn count(
    driver: &Driver,
    base: &Path,
    root: &Path,
    witness: &Witness,
) -> Result<std::collections::BTreeMap<String, u64>, Wrong> {
    copy_folder(base, root)?;
    let strace = Strace::new(root.with_extension("strace"));
    let next = witness.next()[0];
    driver.start_under(&strace.words(None), "inline", root, &[next, next])?.end()?;
    witness.clone().check(root).map_err(|wrong| format!("without a kill: {wrong}"))?;
    std::fs::remove_dir_all(root).map_err(|error| format!("removing `{}`: {error}", root.display()))?;
    strace.counts()
}

fn kill(driver: &Driver, base: &Path, root: &Path, fault: &str, witness: &Witness) -> Result<String, Wrong> {
    copy_folder(base, root)?;
    let strace = Strace::new(root.with_extension("strace"));
    let next = witness.next()[0];
    driver.start_under(&strace.words(Some(fault)), "inline", root, &[next, next])?.end()?;
    let checked = witness.clone().check(root)?;
    Ok(match (checked.rescued_frames, checked.quarantined_bytes) {
        (0, 0) => "recovered",
        (0, _) => "recovered, torn bytes kept",
        _ => "recovered, frames copied",
    }
    .to_owned())
}
