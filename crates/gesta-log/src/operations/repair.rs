//! Repair: changes that recovery must not decide alone. A repair runs only on request and always writes a report.
//! Nothing is thrown away: removed bytes are kept in `quarantine/`.

mod manifest;
mod report;
mod tail;
#[cfg(test)]
#[cfg(feature = "sim")]
mod tests;

use std::path::{Path, PathBuf};

use gesta_core::Retry;

use crate::env::{Env, Mode, OsEnv};
use crate::error::{OpenError, io_error};
use crate::folder::Folder;
use crate::format::{Manifest, ManifestError};
use crate::recover::RecoverError;
use manifest::Rebuilt;
use tail::DroppedTail;

/// A kind of repair.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Repair {
    /// Rebuilds a missing, damaged or stale manifest from the headers and START frames of the segments.
    Manifest,
    /// Moves bytes at the end of the log to `quarantine/` that are neither a torn write nor known to be acknowledged,
    /// and makes the log writable again.
    DropTail,
}

/// The faults of a log that a repair can mend, and the steps it would take.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RepairPlan {
    /// The repair; `None` if there is nothing to repair.
    pub repair: Option<Repair>,
    /// What was found. Without a repair: why the log takes no writes, or what is lost of it; empty if nothing is
    /// wrong.
    pub found: Vec<String>,
    /// What the repair would do.
    pub steps: Vec<String>,
}

/// What a repair did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Repaired {
    /// What was found.
    pub found: Vec<String>,
    /// What was done.
    pub steps: Vec<String>,
    /// The report file, beside the log.
    pub report: PathBuf,
}

/// Why nothing was repaired. Nothing was changed.
#[derive(Debug, thiserror::Error)]
pub enum RepairError {
    /// The log cannot be read.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// This repair has nothing to do.
    #[error("this repair has nothing to do: {reason}")]
    NothingToDo {
        /// What was checked.
        reason: String,
    },
    /// The damaged bytes were acknowledged: a repair must not drop them.
    #[error(
        "acknowledged bytes are damaged ({what}): restore the log from a backup with `gesta restore`, or save the valid events with `gesta export`"
    )]
    Acknowledged {
        /// What is damaged.
        what: String,
    },
    /// The segments do not hold enough information.
    #[error("the manifest cannot be rebuilt: {reason}: restore the log from a backup with `gesta restore`")]
    NotEnough {
        /// What is missing.
        reason: String,
    },
}

impl RepairError {
    /// Whether, and when, it helps to repair again.
    #[must_use]
    pub fn retry(&self) -> Retry {
        match self {
            Self::Open(error) => error.retry(),
            Self::NothingToDo { .. } | Self::Acknowledged { .. } | Self::NotEnough { .. } => Retry::Never,
        }
    }
}

/// Finds the faults of a log that a repair can mend. No process may have the log open. Changes nothing.
///
/// # Errors
/// [`RepairError`] if the log cannot be read, or if no repair can mend its faults.
pub fn plan_repair(root: impl AsRef<Path>) -> Result<RepairPlan, RepairError> {
    plan_repair_in(&OsEnv, root.as_ref())
}

/// Repairs a log that no process has open, and writes a report with the findings and the steps.
///
/// # Errors
/// [`RepairError`]: nothing was changed, unless a system call failed midway. Running the repair again continues it.
pub fn repair(root: impl AsRef<Path>, repair: Repair) -> Result<Repaired, RepairError> {
    repair_in(&OsEnv, root.as_ref(), repair)
}

pub(crate) fn plan_repair_in(env: &dyn Env, root: &Path) -> Result<RepairPlan, RepairError> {
    let folder = Folder { env, root };
    let _lock = folder.lock_existing()?;
    if let Some(rebuilt) = Rebuilt::of(&folder)? {
        let Rebuilt { found, steps, .. } = rebuilt;
        return Ok(RepairPlan { repair: Some(Repair::Manifest), found, steps });
    }
    match DroppedTail::of(&folder, Mode::Read)? {
        Some(tail) => {
            let (found, steps) = (tail.found(), tail.steps());
            Ok(RepairPlan { repair: Some(Repair::DropTail), found, steps })
        }
        None => Ok(RepairPlan { repair: None, found: beyond_repair(&folder)?, steps: Vec::new() }),
    }
}

/// The faults of a log that no repair can mend.
fn beyond_repair(folder: &Folder<'_>) -> Result<Vec<String>, OpenError> {
    let recovery = folder.examine(&folder.existing_manifest()?)?;
    match (recovery.damage.is_empty(), recovery.read_only) {
        (false, _) => Ok(recovery.damage.iter().map(ToString::to_string).collect()),
        (true, cause) => Ok(cause.into_iter().map(|own| own.reason).collect()),
    }
}

pub(crate) fn repair_in(env: &dyn Env, root: &Path, repair: Repair) -> Result<Repaired, RepairError> {
    let folder = Folder { env, root };
    let _lock = folder.lock_existing()?;
    // The names just read may be only in memory. They are synced before anything is done because of them.
    for own in [root, &root.join("segments")] {
        env.sync_dir(own).map_err(io_error("syncing the folder"))?;
    }
    env.create_dir(&root.join("quarantine")).map_err(io_error("making the folder `quarantine`"))?;
    match repair {
        Repair::Manifest => {
            let nothing = || RepairError::NothingToDo {
                reason: "the manifest is valid and lists every segment".to_owned(),
            };
            Rebuilt::of(&folder)?.ok_or_else(nothing)?.write(&folder)
        }
        Repair::DropTail => {
            let nothing = || RepairError::NothingToDo {
                reason: "recovery settles the end of this log without a repair".to_owned(),
            };
            DroppedTail::of(&folder, Mode::Write)?.ok_or_else(nothing)?.drop(&folder)
        }
    }
}

/// What stands in the place of the manifest.
enum Current {
    Sound(Manifest),
    Damaged,
    Missing,
}

impl Current {
    fn of(folder: &Folder<'_>) -> Result<Self, OpenError> {
        let path = folder.root.to_owned();
        match Manifest::load(folder.env, folder.root) {
            Ok(Some(manifest)) => Ok(Self::Sound(manifest)),
            Err(ManifestError::Damaged) => Ok(Self::Damaged),
            Err(ManifestError::Io(source)) => Err(io_error("reading the manifest")(source)),
            Err(newer) => Err(OpenError::NewerFormat { path, what: newer.to_string() }),
            Ok(None) => match folder.existing_manifest() {
                Err(OpenError::ManifestMissing { .. }) => Ok(Self::Missing),
                Err(error) => Err(error),
                Ok(manifest) => Ok(Self::Sound(manifest)),
            },
        }
    }
}

fn recover_error(folder: &Folder<'_>) -> impl FnOnce(RecoverError) -> RepairError + use<> {
    let to_open = folder.recover_error();
    move |error| RepairError::Open(to_open(error))
}
