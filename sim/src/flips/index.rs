//! Flips every bit of the index files of a small log, one at a time. A verification reports the flip and the next
//! open repairs the index, or the flip has no effect.

use std::path::Path;
use std::sync::Arc;

use gesta_log::sim;

use super::Flips;
use crate::exercise::exercise_index;
use crate::harm::index_files;
use crate::model::Wrong;
use crate::outcome::guarded;
use crate::scripts::{Do, Run};

/// Batches in the runs: eight in a merged run, and two more.
const BATCHES: usize = 10;
/// Opens until the index is sound: one finds the flip, one rebuilds, and one finds nothing wrong.
const OPENS_MAX: usize = 3;

/// Flips bits of the index files of a small log and checks the effect of each flip. Does one share of `shares`; all
/// shares together cover every bit.
///
/// # Errors
/// The first flip that led to a wrong answer, a missing event, a panic or an index that is not repaired.
pub fn flip_index_bits(share: usize, shares: usize) -> Result<Flips, String> {
    let mut script = vec![Do::Open];
    (0..BATCHES).for_each(|_| script.extend([Do::Append(1, 900), Do::Keep]));
    script.push(Do::Close);
    let run = Run::prepared(&script, 1 << 10)?;
    let mut flips = Flips::default();
    for (path, bytes) in index_files(&run.machine) {
        let bits = 8 * bytes.len();
        flips.bits += bits as u64;
        for bit in (share..bits).step_by(shares) {
            let mut flipped = bytes.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            let is_detected = guarded(|| meet(&run, &path, flipped));
            let is_detected = is_detected.map_err(|wrong| {
                format!("{wrong}; bit {} of byte {} of {}", bit % 8, bit / 8, path.display())
            })?;
            flips.flips += 1;
            *(if is_detected { &mut flips.detected } else { &mut flips.harmless }) += 1;
        }
    }
    Ok(flips)
}

/// Verifies and opens the log with the flipped file. Returns `true` if the verification reported it.
fn meet(run: &Run, path: &Path, flipped: Vec<u8>) -> Result<bool, Wrong> {
    let run = run.fork();
    run.machine.put(path, flipped);
    let is_told = check(&run, path)?;
    for _ in 0..OPENS_MAX {
        if look_everything_up(&run)? {
            return match check(&run, path)? {
                true => Err("every query is answered, and the flip is still there".to_owned()),
                false => Ok(is_told),
            };
        }
    }
    Err("the index is not repaired".to_owned())
}

/// True if a verification finds damage to the index. Damage to anything else is an error.
fn check(run: &Run, path: &Path) -> Result<bool, Wrong> {
    let report =
        sim::verify(&run.machine).map_err(|error| format!("the log cannot be verified: {error:?}"))?;
    let is_told = !report.index_errors.is_empty();
    if report.events != run.model.log.len() as u64 || !report.recovery.damage.is_empty() {
        return Err(format!("events are reported as lost with {}: {report:?}", path.display()));
    }
    Ok(is_told)
}

/// Opens the log and looks up everything. Returns `false` if a query was not answered.
fn look_everything_up(run: &Run) -> Result<bool, Wrong> {
    let log = sim::open(&run.machine, &run.options());
    let log = Arc::new(log.map_err(|error| format!("the log does not open: {error:?}"))?);
    if log.read_only().is_some() {
        return Err(format!("damage to the index counts as damage to the log: {:?}", log.recovery()));
    }
    let is_whole = exercise_index(&log, &run.model)?;
    log.close();
    Ok(is_whole)
}
