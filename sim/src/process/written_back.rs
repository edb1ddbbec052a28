//! A disk that accepts writes and then fails to keep them: the kernel notices it at writeback, drops the bytes, and
//! reports it once, at the next sync.
//!
//! A file system is on a tmpfs with less space than it expects. The error comes from the kernel; it is not injected.

use std::fs::File;
use std::io::Write as _;
use std::path::Path;

use super::driver::{Driver, Ended};
use super::image::{Backing, FileSystem, Image};
use super::said::{Answer, Said};
use super::table::{Row, Table};
use super::witness::Witness;
use crate::model::Wrong;

/// The space that a file system needs for itself, and a little more.
const ROOM_MIB: &[(FileSystem, u64)] = &[(FileSystem::Ext4, 24), (FileSystem::Xfs, 130)];
const BELIEVED_MIB: u64 = 400;
/// Numbers of batches that are acknowledged before writes are lost: with each, the frames end at another offset of a
/// page.
const BATCHES_BEFORE: std::ops::Range<u64> = 2..14;

/// Loses writes to a new segment and to the active segment.
///
/// # Errors
/// If the disk cannot be made. The outcomes on the disk are in the table.
pub fn written_back_in_vain(driver: &Driver, folder: &Path) -> Result<Table, Wrong> {
    let mut table =
        Table { title: "writes that the kernel accepts and then fails to keep".to_owned(), rows: Vec::new() };
    for (file_system, mib) in ROOM_MIB {
        let name = file_system.name();
        let disk = |own: &str| {
            let folder = folder.join(format!("{name}-{own}"));
            Image::new(&folder, *file_system, BELIEVED_MIB, Backing::TooSmall { mib: *mib })
        };
        let mut made = Row::new(format!("{name}, a segment that is made"));
        made.note("once", lose_new_segments(driver, disk("made")?));
        let mut written = Row::new(format!("{name}, the segment that is written to"));
        for batches in BATCHES_BEFORE {
            let run = format!("after {batches} batches");
            written.note(&run, lose_appends(driver, disk(&format!("written-{batches}"))?, batches));
        }
        table.rows.extend([made, written]);
    }
    Ok(table)
}

type Step = Result<String, Wrong>;

fn lose_new_segments(driver: &Driver, mut image: Image) -> Step {
    let log = image.root().join("log");
    let ended = driver.start("fill", &log, &[0, u64::MAX])?.end()?;
    let mut witness = Witness::new(1);
    let answers = judge(&ended, &mut witness)?;
    let [Answer::StorageFull] = answers[..] else { return Err(format!("the answers are {answers:?}")) };
    make_whole(&mut image)?;
    witness.check(&log)?;
    Ok(format!("storage-full after {} batches, sound once mounted again", witness.batches()))
}

fn lose_appends(driver: &Driver, mut image: Image, before: u64) -> Step {
    let log = image.root().join("log");
    let mut process = driver.start("fill", &log, &[0, before])?;
    let mut heard = Vec::new();
    while heard.len() as u64 <= before {
        heard.push(process.hear()?.ok_or("the process ended by itself")?);
    }
    // The zeros after the log's end stay zeros, but there is no space to write other bytes there.
    image.make_sparse(&log.join("segments/000000000001.seg"))?;
    fill(&image.backing_folder().join("filler"))?;
    process.go_on()?;
    let mut ended = process.end()?;
    heard.append(&mut ended.said);
    ended.said = heard;
    let mut witness = Witness::new(1);
    let answers = judge(&ended, &mut witness)?;
    let [Answer::InDoubt] = answers[..] else { return Err(format!("the answers are {answers:?}")) };
    make_whole(&mut image)?;
    witness.check(&log)?;
    Ok("in doubt, then read-only; sound once mounted again".to_owned())
}

/// The answers of the process besides acknowledgements. It must end by itself and show every acknowledged event.
fn judge(ended: &Ended, witness: &mut Witness) -> Result<Vec<Answer>, Wrong> {
    witness.hear(&ended.said)?;
    if !ended.status.success() {
        return Err(format!("the process ended with {}", ended.status));
    }
    if ended.said.last() != Some(&Said::Read(witness.events())) {
        return Err(format!("{} events were acknowledged: {:?}", witness.events(), ended.said.last()));
    }
    let answer = |said: &Said| match said {
        Said::NotAcknowledged { answer, .. } => Some(*answer),
        _ => None,
    };
    Ok(ended.said.iter().filter_map(answer).collect())
}

/// Gives the disk the space that the file system expects. Lost writes stay lost.
fn make_whole(image: &mut Image) -> Result<(), Wrong> {
    image.grow_backing(2 * BELIEVED_MIB)?;
    image.mount_again()
}

fn fill(path: &Path) -> Result<(), Wrong> {
    let failed = |error: std::io::Error| format!("filling `{}`: {error}", path.display());
    let mut file = File::create(path).map_err(failed)?;
    loop {
        match file.write_all(&[1; 4096]) {
            Err(error) if error.kind() == std::io::ErrorKind::StorageFull => return Ok(()),
            written => written.map_err(failed)?,
        }
    }
}
