//! The log on a simulated machine, without threads: the same calls with the same seed give the same bytes.
//!
//! For Gesta's own simulation. Not part of the public promise.

use std::path::Path;
use std::sync::Arc;

use gesta_core::StoreId;

#[cfg(feature = "planted-bugs")]
pub use crate::bugs::{Bug, plant};
pub use crate::env::{Betrayal, Counts, Failure, Faults, Hook, Machine, Operation, PlannedFault};
use crate::env::{OsEnv, SimEnv};
use crate::error::OpenError;
pub use crate::index::IndexFault;
use crate::operations::{
    Backup, BackupError, BackupOptions, Report, RestoreError, Restored, backup_in, restore_in, verify_in,
};
use crate::options::Options;
use crate::store::{LogStore, Replica};
pub use crate::store::{LookedUp, Pending};
use crate::write::Drive;

/// The folder of the log on its machine.
pub const ROOT: &str = "/log";

/// Opens the log on a machine.
///
/// # Errors
/// As [`LogStore::open`].
pub fn open(machine: &Machine, options: &Options) -> Result<LogStore, OpenError> {
    LogStore::open_inline(Arc::new(SimEnv::new(machine)), Path::new(ROOT), options)
}

/// Opens the log on a machine. Returns before the index is complete if a rebuild is needed;
/// [`LogStore::index_inline`] does the rebuild.
///
/// # Errors
/// As [`LogStore::open`].
pub fn open_unindexed(machine: &Machine, options: &Options) -> Result<LogStore, OpenError> {
    LogStore::open_inline_unindexed(Arc::new(SimEnv::new(machine)), Path::new(ROOT), options)
}

/// Opens a replica of a partition on a machine.
///
/// # Errors
/// As [`Replica::open`].
pub fn open_replica(
    machine: &Machine,
    of: StoreId,
    partition: u16,
    options: &Options,
) -> Result<Replica, OpenError> {
    let env = Arc::new(SimEnv::new(machine));
    Replica::open_in(env, Path::new(ROOT), of, partition, (options, Drive::Inline))
}

/// Opens the log in a folder of the real machine, without threads, so that the order of system calls repeats exactly.
///
/// # Errors
/// As [`LogStore::open`].
pub fn open_inline(folder: &Path, options: &Options) -> Result<LogStore, OpenError> {
    LogStore::open_inline(Arc::new(OsEnv), folder, options)
}

/// Reads and verifies every byte of the log on a machine, as [`verify`](crate::operations::verify) does.
///
/// # Errors
/// As [`verify`](crate::operations::verify).
pub fn verify(machine: &Machine) -> Result<Report, OpenError> {
    verify_in(&SimEnv::new(machine), Path::new(ROOT))
}

/// Takes a backup of the log on a machine while no process has it open, as [`backup`](crate::operations::backup())
/// does.
///
/// # Errors
/// As [`backup`](crate::operations::backup()).
pub fn backup(machine: &Machine, to: &Path) -> Result<Backup, BackupError> {
    backup_in(&SimEnv::new(machine), Path::new(ROOT), to, &BackupOptions::default())
}

/// Makes a log from a backup on a machine, as [`restore`](crate::operations::restore) does.
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
