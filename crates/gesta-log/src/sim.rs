//! The log on a simulated machine, without threads: the same calls on the same seed do the same, to the last byte.
//!
//! For the project's own simulation; no part of the promise to users.

use std::path::Path;
use std::sync::Arc;

#[cfg(feature = "planted-bugs")]
pub use crate::bugs::{Bug, plant};
pub use crate::env::{Betrayal, Counts, Failure, Faults, Hook, Machine, Operation, PlannedFault};
use crate::env::{OsEnv, SimEnv};
use crate::error::OpenError;
use crate::operations::{
    Backup, BackupError, BackupOptions, Report, RestoreError, Restored, backup_in, restore_in, verify_in,
};
use crate::options::Options;
use crate::store::LogStore;
pub use crate::store::{LookedUp, Pending};

/// The folder of the log on its machine.
pub const ROOT: &str = "/log";

/// Opens the log of a machine.
///
/// # Errors
/// As [`LogStore::open`].
pub fn open(machine: &Machine, options: &Options) -> Result<LogStore, OpenError> {
    LogStore::open_inline(Arc::new(SimEnv::new(machine)), Path::new(ROOT), options)
}

/// Opens the log of a machine, before its index is there, if that is to be built beside the open log: by [`LogStore::index_inline`].
///
/// # Errors
/// As [`LogStore::open`].
pub fn open_unindexed(machine: &Machine, options: &Options) -> Result<LogStore, OpenError> {
    LogStore::open_inline_unindexed(Arc::new(SimEnv::new(machine)), Path::new(ROOT), options)
}

/// Opens the log in a folder of the real machine, without threads: its n-th system call is the same one every time.
///
/// # Errors
/// As [`LogStore::open`].
pub fn open_inline(folder: &Path, options: &Options) -> Result<LogStore, OpenError> {
    LogStore::open_inline(Arc::new(OsEnv), folder, options)
}

/// Reads and proves every byte of the log of a machine, as [`verify`](crate::operations::verify) does.
///
/// # Errors
/// As [`verify`](crate::operations::verify).
pub fn verify(machine: &Machine) -> Result<Report, OpenError> {
    verify_in(&SimEnv::new(machine), Path::new(ROOT))
}

/// Takes a backup of the log of a machine while nobody has it open, as [`backup`](crate::operations::backup()) does.
///
/// # Errors
/// As [`backup`](crate::operations::backup()).
pub fn backup(machine: &Machine, to: &Path) -> Result<Backup, BackupError> {
    backup_in(&SimEnv::new(machine), Path::new(ROOT), to, &BackupOptions::default())
}

/// Makes a log from a backup of a machine, as [`restore`](crate::operations::restore) does.
///
/// # Errors
/// As [`restore`](crate::operations::restore).
pub fn restore(machine: &Machine, from: &Path, to: &Path) -> Result<Restored, RestoreError> {
    restore_in(&SimEnv::new(machine), from, to)
}

/// Opens the log in another folder of a machine.
///
/// # Errors
/// As [`LogStore::open`].
pub fn open_at(machine: &Machine, folder: &Path, options: &Options) -> Result<LogStore, OpenError> {
    LogStore::open_inline(Arc::new(SimEnv::new(machine)), folder, options)
}
