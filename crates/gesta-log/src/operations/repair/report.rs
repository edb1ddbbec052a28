//! The report file of a repair: what it found, and what it did.

use std::path::PathBuf;

use super::{Repair, RepairError, Repaired};
use crate::env::write_whole;
use crate::error::io_error;
use crate::folder::Folder;

/// Writes the report of a repair durably, under the repair's boot epoch.
pub(crate) fn write_report(
    folder: &Folder<'_>,
    repair: Repair,
    boot_epoch: u64,
    found: Vec<String>,
    steps: Vec<String>,
) -> Result<Repaired, RepairError> {
    let path = folder.root.join(format!("repair-{boot_epoch}.txt"));
    let text = text(repair, folder.env.now().as_nanos(), &found, &steps);
    let write = || {
        write_whole(folder.env, &path, text.as_bytes())?.sync_all()?;
        folder.env.sync_dir(folder.root)
    };
    write().map_err(io_error("writing the report of the repair"))?;
    Ok(Repaired { found, steps, report: PathBuf::from(&path) })
}

fn text(repair: Repair, now: i64, found: &[String], steps: &[String]) -> String {
    let name = match repair {
        Repair::Manifest => "--manifest",
        Repair::DropTail => "--drop-tail",
    };
    let mut text = format!("gesta repair {name}, {now} ns after 1970-01-01T00:00:00Z\n\nfound:\n");
    found.iter().for_each(|line| text.push_str(&format!("- {line}\n")));
    text.push_str("\ndone:\n");
    steps.iter().for_each(|line| text.push_str(&format!("- {line}\n")));
    text
}
