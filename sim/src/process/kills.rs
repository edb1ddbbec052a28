//! `kill -9` at random moments while clients append and segments fill, many times.

use std::fmt;
use std::path::Path;
use std::time::Duration;

use super::driver::Driver;
use super::witness::Witness;
use crate::model::Wrong;
use crate::random::Random;
use crate::workload::CLIENTS;

/// Kills after which a new log is started: the time to check a log grows with its length.
const KILLS_PER_LOG: u64 = 20;
/// A process is killed before it has printed this number of lines.
const LINES_MAX: u64 = 48;

/// Counts of kills and their effects.
#[derive(Debug, Clone, Default)]
pub struct Torture {
    /// Killed processes.
    pub kills: u64,
    /// Batches that were acknowledged before the kills.
    pub batches: u64,
    /// Events of these batches.
    pub events: u64,
    /// Batches that were not acknowledged and were found in the log.
    pub settled_in_doubt: u64,
    /// Frames that recovery copied.
    pub rescued_frames: u64,
    /// Bytes that recovery quarantined.
    pub quarantined_bytes: u64,
    /// The duration of each open.
    pub openings: Vec<Duration>,
}

/// Kills `kills` processes at moments that the seed selects, in logs below the folder.
///
/// # Errors
/// The first promise that was broken, with the folder of the log.
pub fn torture(driver: &Driver, folder: &Path, seed: u64, kills: u64) -> Result<Torture, Wrong> {
    let mut random = Random::new(seed);
    let mut torture = Torture::default();
    while torture.kills < kills {
        let root = folder.join(format!("seed-{seed}-kill-{}", torture.kills));
        let here = KILLS_PER_LOG.min(kills - torture.kills);
        torture.torture_log(driver, &root, &mut random, here).map_err(|wrong| {
            format!("{wrong}\nafter kill {} with seed {seed}, in {}", torture.kills, root.display())
        })?;
        std::fs::remove_dir_all(&root).map_err(|error| format!("removing `{}`: {error}", root.display()))?;
    }
    Ok(torture)
}

impl Torture {
    fn torture_log(
        &mut self,
        driver: &Driver,
        root: &Path,
        random: &mut Random,
        kills: u64,
    ) -> Result<(), Wrong> {
        let mut witness = Witness::new(CLIENTS);
        for kill in 1..=kills {
            let mut process = driver.start("endless", root, &witness.next())?;
            let mut said = Vec::new();
            for _ in 0..random.below(LINES_MAX) {
                said.push(process.hear()?.ok_or("the process ended by itself")?);
            }
            said.extend(process.kill()?.said);
            witness.hear(&said)?;
            self.kills += 1;
            // Sometimes the next process opens the log without a check in between.
            if random.below(4) > 0 || kill == kills {
                let checked = witness.check(root)?;
                self.openings.push(checked.opening);
                self.settled_in_doubt += checked.settled_in_doubt;
                self.rescued_frames += checked.rescued_frames;
                self.quarantined_bytes += checked.quarantined_bytes;
            }
        }
        self.batches += witness.batches();
        self.events += witness.events();
        Ok(())
    }

    /// Adds the counts of another run.
    pub fn add(&mut self, other: &Self) {
        self.kills += other.kills;
        self.batches += other.batches;
        self.events += other.events;
        self.settled_in_doubt += other.settled_in_doubt;
        self.rescued_frames += other.rescued_frames;
        self.quarantined_bytes += other.quarantined_bytes;
        self.openings.extend(&other.openings);
    }
}

impl fmt::Display for Torture {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { kills, batches, events, settled_in_doubt, rescued_frames, quarantined_bytes, openings } =
            self;
        writeln!(f, "{kills} kills, {batches} batches of {events} events acknowledged, 0 lost")?;
        writeln!(
            f,
            "{settled_in_doubt} batches in doubt were there, {rescued_frames} frames rescued, {quarantined_bytes} torn bytes"
        )?;
        let mut openings = openings.clone();
        openings.sort_unstable();
        let at = |percent: usize| {
            openings.get((openings.len() * percent / 100).min(openings.len().saturating_sub(1)))
        };
        let at = |percent| at(percent).copied().unwrap_or_default();
        write!(f, "{} openings checked: p50 {:.1?}, p99 {:.1?}", openings.len(), at(50), at(99))
    }
}
