//! A disk that is really full, and one that takes writes which it then fails to keep.

use std::fs::File;
use std::io::Write as _;
use std::path::Path;

use gesta_log::LogStore;

use super::driver::{Driver, Process};
use super::image::{Backing, Image};
use super::said::{Answer, Said};
use super::table::{Row, Table};
use super::witness::Witness;
use crate::model::Wrong;
use crate::workload::options;

const IMAGE_MIB: u64 = 16;
/// What is deleted to make room.
const FILLER_BYTES: usize = 2 << 20;
/// How often a log is filled up and killed, each time with less space taken by others.
const ROUNDS: u64 = 8;
/// The room of the tmpfs below a file system that believes to have ten times as much.
const TOO_SMALL_MIB: u64 = 12;
const BELIEVED_MIB: u64 = 120;

/// Fills disks up.
///
/// # Errors
/// If it cannot be tried; what it finds is in the table.
pub fn full_disk(driver: &Driver, folder: &Path) -> Result<Table, Wrong> {
    let mut table = Table { title: "a real full disk".to_owned(), rows: Vec::new() };
    let image = Image::new(&folder.join("full"), IMAGE_MIB, Backing::Whole)?;
    let mut rows = [
        "full: refused, undecided; reads go on",
        "space freed: appends go on, without a restart",
        "killed while full, opened while full: all is there",
        "space freed: opens, takes writes",
    ]
    .map(Row::new);
    let mut witness = Witness::new(1);
    for round in 0..ROUNDS {
        let steps = fill_up(driver, &image.root(), &mut witness);
        let failed = steps.is_err();
        match steps {
            Ok(steps) => {
                rows.iter_mut().zip(steps).for_each(|(row, step)| row.note(&format!("round {round}"), step))
            }
            Err(wrong) => rows[0].note(&format!("round {round}"), Err(wrong)),
        }
        if failed {
            break;
        }
    }
    table.rows.extend(rows);
    drop(image);
    let mut row = Row::new("writes that the kernel takes and then fails to keep (EIO)");
    row.note("once", written_back_in_vain(driver, &folder.join("gate")));
    table.rows.push(row);
    Ok(table)
}

type Step = Result<String, Wrong>;

fn fill_up(driver: &Driver, disk: &Path, witness: &mut Witness) -> Result<[Step; 4], Wrong> {
    let log = disk.join("log");
    let fillers = ["filler-1", "filler-2"].map(|name| disk.join(name));
    for filler in &fillers {
        take(filler, FILLER_BYTES)?;
    }
    let mut process = driver.start("fill", &log, &witness.next())?;
    let full = until_full(&mut process, witness);
    // The last blocks are taken too: now there is nothing left at all.
    take(&disk.join("rest"), usize::MAX)?;
    remove(&fillers[0])?;
    process.go_on()?;
    let before = witness.batches();
    let freed = until_full(&mut process, witness).and_then(|happened| match witness.batches() - before {
        0 => Err("nothing was taken".to_owned()),
        _ => Ok(happened),
    });
    take(&disk.join("rest-2"), usize::MAX)?;
    witness.hear(&process.kill()?.said)?;
    let opened = open_while_full(&log, witness);
    for rest in [&fillers[1], &disk.join("rest"), &disk.join("rest-2")] {
        remove(rest)?;
    }
    let again = witness.check(&log).map(|_| "sound".to_owned());
    Ok([full, freed, opened, again])
}

/// Hears the process until an append is refused, and it has read everything.
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
    let log = LogStore::open(folder, &options()).map_err(|error| format!("it does not open: {error:?}"))?;
    witness.check_shown(&log)?;
    Ok(match log.read_only() {
        None => "takes writes".to_owned(),
        Some(reason) => format!("read-only ({})", reason.split(':').next().unwrap_or_default()),
    })
}

/// Takes that much of the disk, or all that is left.
fn take(path: &Path, bytes: usize) -> Result<(), Wrong> {
    let failed = |error: std::io::Error| format!("filling `{}`: {error}", path.display());
    let mut file = File::create(path).map_err(failed)?;
    let block = [1; 4096];
    for _ in 0..bytes / block.len() {
        match file.write_all(&block).and_then(|()| file.sync_data()) {
            Err(error) if error.kind() == std::io::ErrorKind::StorageFull => return Ok(()),
            written => written.map_err(failed)?,
        }
    }
    Ok(())
}

fn remove(path: &Path) -> Result<(), Wrong> {
    let removed = std::fs::remove_file(path).and_then(|()| File::open(path.with_file_name("."))?.sync_all());
    removed.map_err(|error| format!("removing `{}`: {error}", path.display()))
}

/// The kernel takes the write into its cache and fails to keep it: the sync says so, once.
fn written_back_in_vain(driver: &Driver, folder: &Path) -> Step {
    let mut image = Image::new(folder, BELIEVED_MIB, Backing::TooSmall { mib: TOO_SMALL_MIB })?;
    let log = image.root().join("log");
    let mut witness = Witness::new(1);
    let ended = driver.start("fill", &log, &[0])?.end()?;
    witness.hear(&ended.said)?;
    if !ended.status.success() {
        return Err(format!("the process ended with {}", ended.status));
    }
    let answers = ended.said.iter().filter_map(|said| match said {
        Said::NotAcknowledged { answer, why, .. } => Some(format!("{}: {why}", answer.name())),
        _ => None,
    });
    let answers = answers.collect::<Vec<_>>().join(", ");
    if ended.said.last() != Some(&Said::Read(witness.events())) {
        return Err(format!("{} events were acknowledged: {:?}", witness.events(), ended.said.last()));
    }
    image.grow_backing(2 * BELIEVED_MIB)?;
    image.mount_again()?;
    witness.check(&log)?;
    Ok(format!("{} batches, then {answers}; sound once mounted again", witness.batches()))
}
