//! A disk that is really full: a small file system, filled by the log and by another file.

use std::fs::File;
use std::io::Write as _;
use std::path::Path;

use gesta_log::LogStore;

use super::driver::{Driver, Process};
use super::image::{Backing, FileSystem, Image};
use super::said::{Answer, Said};
use super::table::{Row, Table};
use super::witness::Witness;
use crate::model::Wrong;
use crate::workload::options;

const IMAGE_MIB: u64 = 16;
/// Bytes of the disk that other files take, and bytes that are deleted to make space: a little more in each round.
const TAKEN_BYTES: usize = 6 << 20;
const FREED_BYTES: usize = 300 << 10;
/// Times that a log fills the disk and its process is killed.
const ROUNDS: usize = 12;

/// Fills a disk, frees some space, fills it again, kills the process and opens the log, in many rounds.
///
/// # Errors
/// If the disk cannot be made. The outcomes on the disk are in the table.
pub fn full_disk(driver: &Driver, folder: &Path) -> Result<Table, Wrong> {
    let mut table = Table { title: "a real full disk".to_owned(), rows: Vec::new() };
    let image = Image::new(&folder.join("full"), FileSystem::Ext4, IMAGE_MIB, Backing::Whole)?;
    let mut rows = [
        "full: refused, not in doubt; reads continue",
        "space freed: appends continue without a restart",
        "killed while full, opened while full: every event is there",
        "space freed: opens, takes writes",
    ]
    .map(Row::new);
    for round in 1..=ROUNDS {
        let name = format!("round {round}");
        match fill_up(driver, &image.root(), round) {
            Ok(steps) => rows.iter_mut().zip(steps).for_each(|(row, step)| row.note(&name, step)),
            Err(wrong) => rows[0].note(&name, Err(wrong)),
        }
    }
    table.rows.extend(rows);
    Ok(table)
}

type Step = Result<String, Wrong>;

fn fill_up(driver: &Driver, disk: &Path, round: usize) -> Result<[Step; 4], Wrong> {
    let log = disk.join("log");
    let [taken, freed, rest, rest_again] =
        ["taken", "freed", "rest", "rest-again"].map(|name| disk.join(name));
    take(&taken, TAKEN_BYTES + round * 4096)?;
    take(&freed, FREED_BYTES * round)?;
    let mut witness = Witness::new(1);
    let mut process = driver.start("fill", &log, &[0, u64::MAX])?;
    let full = until_full(&mut process, &mut witness);
    // The last blocks are taken too, so no space is left.
    take(&rest, usize::MAX)?;
    let before = witness.batches();
    remove(&freed)?;
    process.go_on()?;
    let went_on =
        until_full(&mut process, &mut witness).and_then(|happened| match witness.batches() - before {
            0 => Err("nothing was taken".to_owned()),
            _ => Ok(happened),
        });
    take(&rest_again, usize::MAX)?;
    witness.hear(&process.kill()?.said)?;
    let opened = open_while_full(&log, &witness);
    [&taken, &rest, &rest_again].into_iter().try_for_each(|path| remove(path))?;
    let again = witness.check(&log).map(|_| "sound".to_owned());
    if [&full, &went_on, &opened, &again].into_iter().all(Result::is_ok) {
        std::fs::remove_dir_all(&log).map_err(|error| format!("removing `{}`: {error}", log.display()))?;
    }
    Ok([full, went_on, opened, again])
}

/// Reads the output until an append is refused and the process has read all events.
fn until_full(process: &mut Process, witness: &mut Witness) -> Step {
    let mut refused = None;
    loop {
        let said = process.hear()?.ok_or("the process ended by itself")?;
        witness.hear(std::slice::from_ref(&said))?;
        match said {
            Said::NotAcknowledged { answer: Answer::StorageFull, .. } => refused = Some(Answer::StorageFull),
            Said::Read(events) if refused.is_some() && events == witness.events() => {
                return Ok("storage-full, all is read".to_owned());
            }
            Said::Opened { read_only: None } | Said::Acknowledged(_) if refused.is_none() => {}
            other => return Err(format!("on a full disk: `{other}`")),
        }
    }
}

fn open_while_full(folder: &Path, witness: &Witness) -> Step {
    let log =
        LogStore::open(folder, &options()).map_err(|error| format!("the log does not open: {error:?}"))?;
    witness.check_shown(&log)?;
    Ok(match log.read_only() {
        None => "takes writes".to_owned(),
        Some(own) => format!("read-only ({})", own.reason.split(':').next().unwrap_or_default()),
    })
}

/// Takes `bytes` of the disk, or all that is left.
fn take(path: &Path, bytes: usize) -> Result<(), Wrong> {
    let failed = |error: std::io::Error| format!("filling `{}`: {error}", path.display());
    let mut file = File::create(path).map_err(failed)?;
    let block = [1; 4096];
    for _ in 0..bytes / block.len() {
        match file.write_all(&block) {
            Err(error) if error.kind() == std::io::ErrorKind::StorageFull => break,
            written => written.map_err(failed)?,
        }
    }
    file.sync_all().map_err(failed)
}

fn remove(path: &Path) -> Result<(), Wrong> {
    let removed = std::fs::remove_file(path).and_then(|()| File::open(path.with_file_name("."))?.sync_all());
    removed.map_err(|error| format!("removing `{}`: {error}", path.display()))
}
