//! Resource limits of a process.

use std::path::Path;

use gesta_log::{LogStore, ReadOnlyCause};

use super::driver::Driver;
use super::judge::Ran;
use super::table::{Row, Table};
use super::witness::Witness;
use crate::model::Wrong;
use crate::workload::options;

/// Batches before the limit is set, and batches under it.
const BATCHES_BEFORE: u64 = 3;
const BATCHES: u64 = 60;

/// Limits of a process for open files and for the length of a file. The second makes writes short before it makes
/// them fail.
///
/// # Errors
/// If the runs cannot be made. Their findings are in the table.
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
    // The signal would kill the process. If it is ignored, as in most services, the call fails instead.
    let shell = ["sh", "-c", "trap '' XFSZ; exec prlimit \"$@\"", "sh", limit, "--"].map(str::to_owned);
    let ended = driver.start_under(&shell, "script", root, &[before, before + BATCHES])?.end()?;
    let ran = Ran { ended: &ended, root };
    let happened = ran.judge_answers(&mut witness)?;
    if let Some(reason) = left_to_an_operator(root, &witness)? {
        return Ok(format!("{happened}, then {reason}"));
    }
    ran.check(&mut witness)?;
    Ok(happened)
}

/// A write that was cut within a sector does not look like a torn one (`docs/format.md`, "Reading after a crash", 4):
/// every acknowledged event is there, and the log takes no writes until an operator decides.
fn left_to_an_operator(root: &Path, witness: &Witness) -> Result<Option<&'static str>, Wrong> {
    let Ok(log) = LogStore::open(root, &options()) else { return Ok(None) };
    match log.read_only() {
        Some(own) if own.cause == ReadOnlyCause::UnprovenTail => {
            witness.check_shown(&log).map(|()| Some("left to an operator"))
        }
        _ => Ok(None),
    }
}
