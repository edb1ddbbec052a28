//! Power cuts of a real file system: it stops at once, loses what was not synced, and replays its journal.
//!
//! The file system shuts down without writing its journal. Everything that it had sent to the device is there in
//! order: unlike a real disk, this device reorders and tears nothing. The recorded disk does both, and so does the
//! simulated one.

use std::path::Path;

use super::driver::Driver;
use super::image::{Backing, FileSystem, Image};
use super::said::Said;
use super::table::{Row, Table};
use super::witness::Witness;
use crate::model::Wrong;
use crate::random::Random;
use crate::workload::CLIENTS;

/// The smallest size that XFS accepts.
const IMAGE_MIB: u64 = 320;
/// Power cuts after which a new file system is made.
const CUTS_PER_IMAGE: u64 = 20;
const LINES_MAX: u64 = 80;

/// Cuts the power of each file system `cuts` times while clients append.
///
/// # Errors
/// If the disk cannot be made. The outcomes on the disk are in the table.
pub fn power_cuts(driver: &Driver, folder: &Path, cuts: u64) -> Result<Table, Wrong> {
    let mut table = Table { title: "power cuts".to_owned(), rows: Vec::new() };
    for file_system in [FileSystem::Ext4, FileSystem::Xfs] {
        let mut random = Random::new(cuts);
        let mut row = Row::new(format!("{} shut down while clients append", file_system.name()));
        for first in (0..cuts).step_by(usize::try_from(CUTS_PER_IMAGE).expect("few")) {
            let folder = folder.join(format!("power-{}-{first}", file_system.name()));
            let mut image = Image::new(&folder, file_system, IMAGE_MIB, Backing::Whole)?;
            let mut witness = Witness::new(CLIENTS);
            for cut in first..cuts.min(first + CUTS_PER_IMAGE) {
                let outcome = cut_power(driver, &mut image, &mut witness, random.below(LINES_MAX));
                let failed = outcome.is_err();
                row.note(&format!("cut {cut}"), outcome);
                if failed {
                    break;
                }
            }
        }
        table.rows.push(row);
    }
    Ok(table)
}

fn cut_power(driver: &Driver, image: &mut Image, witness: &mut Witness, lines: u64) -> Result<String, Wrong> {
    let log = image.root().join("log");
    let mut process = driver.start("endless", &log, &witness.next())?;
    for _ in 0..=lines {
        let said = process.hear()?.ok_or("the process ended by itself")?;
        witness.hear(&[said])?;
    }
    image.cut_power()?;
    let ended = process.end()?;
    if !ended.status.success() {
        return Err(format!("the process ended with {}", ended.status));
    }
    witness.hear(&ended.said)?;
    image.mount_again()?;
    let checked = witness.check(&log)?;
    let left = match (checked.rescued_frames, checked.quarantined_bytes) {
        (0, 0) => "nothing in doubt",
        (0, _) => "torn bytes kept aside",
        _ => "frames rescued",
    };
    let in_doubt = ended.said.iter().any(Said::is_in_doubt);
    Ok(format!("{left}, {}", if in_doubt { "a batch in doubt" } else { "no batch in doubt" }))
}
