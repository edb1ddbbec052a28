//! Repair: what recovery must not decide on its own. Never done unless asked for, always written down, and nothing is thrown away:
//! what is cut is kept in `quarantine/`.

mod manifest;
mod report;
mod tail;
#[cfg(test)]
#[cfg(feature = "sim")]
mod tests;

use std::path::{Path, PathBuf};

use gesta_core::Retry;

use crate::env::{Env, OsEnv};
use crate::error::{OpenError, io_error};
use crate::folder::{Folder, Manifest, ManifestError};
use crate::recover::RecoverError;
use manifest::Rebuilt;
use tail::DroppedTail;

/// A repair that can be asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Repair {
    /// Makes a missing, damaged or stale manifest anew, from the headers and START frames of the segments.
    Manifest,
    /// Moves bytes at the end of the log to `quarantine/` that are neither a torn write nor proven to be acknowledged, and makes the log
    /// writable again.
    DropTail,
}

/// What is wrong with a log that a repair can put right, and what that would do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RepairPlan {
    /// The repair; `None` if there is nothing for one to do.
    pub repair: Option<Repair>,
    /// What was found. Without a repair, it is why the log takes no writes, or what of it is lost; empty if nothing is wrong.
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
    /// The file that says so, beside the log.
    pub report: PathBuf,
}

/// Why nothing was repaired. Nothing was changed.
#[derive(Debug, thiserror::Error)]
pub enum RepairError {
    /// The log cannot be read.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// There is nothing to repair in that way.
    #[error("there is nothing to repair in that way: {reason}")]
    NothingToDo {
        /// What was looked at.
        reason: String,
    },
    /// What is damaged was acknowledged: it is not for a repair to drop.
    #[error(
        "acknowledged bytes are damaged ({what}): restore the log from a backup with `gesta restore`, or save what is whole with `gesta export`"
    )]
    Acknowledged {
        /// What is damaged.
        what: String,
    },
    /// What the segments say is not enough.
    #[error("the manifest cannot be made anew: {reason}: restore the log from a backup with `gesta restore`")]
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

/// Says what is wrong with a log that a repair can put right, in a folder that nobody has open. Changes nothing.
///
/// # Errors
/// [`RepairError`] where the log cannot be read, or where what is wrong is not for a repair.
pub fn plan_repair(root: impl AsRef<Path>) -> Result<RepairPlan, RepairError> {
    plan_repair_in(&OsEnv, root.as_ref())
}

/// Repairs a log in a folder that nobody has open, and writes down what was found and done.
///
/// # Errors
/// [`RepairError`]: then nothing was changed, unless the system refused something midway; done again, a repair goes on.
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
    match DroppedTail::of(&folder)? {
        Some(tail) => {
            let (found, steps) = (tail.found(), tail.steps());
            Ok(RepairPlan { repair: Some(Repair::DropTail), found, steps })
        }
        None => Ok(RepairPlan { repair: None, found: beyond_repair(&folder)?, steps: Vec::new() }),
    }
}

/// What is wrong with a log that no repair helps.
fn beyond_repair(folder: &Folder<'_>) -> Result<Vec<String>, OpenError> {
    let recovery = folder.examine(&folder.existing_manifest()?)?;
    match (recovery.damage.is_empty(), recovery.read_only) {
        (false, _) => Ok(recovery.damage.iter().map(ToString::to_string).collect()),
        (true, reason) => Ok(reason.into_iter().collect()),
    }
}

pub(crate) fn repair_in(env: &dyn Env, root: &Path, repair: Repair) -> Result<Repaired, RepairError> {
    let folder = Folder { env, root };
    let _lock = folder.lock_existing()?;
    // The names that are read may be in memory alone: nothing is done on their word before they are durable.
    for own in [root, &root.join("segments")] {
        env.sync_dir(own).map_err(io_error("syncing the folder"))?;
    }
    env.create_dir(&root.join("quarantine")).map_err(io_error("making the folder for what is kept aside"))?;
    match repair {
        Repair::Manifest => {
            let nothing = || RepairError::NothingToDo {
                reason: "the manifest proves itself and lists every segment".to_owned(),
            };
            Rebuilt::of(&folder)?.ok_or_else(nothing)?.write(&folder)
        }
        Repair::DropTail => {
            let nothing = || RepairError::NothingToDo {
                reason: "the log ends in nothing but what recovery settles by itself".to_owned(),
            };
            DroppedTail::of(&folder)?.ok_or_else(nothing)?.drop(&folder)
        }
    }
}

/// What stands where the manifest belongs.
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
