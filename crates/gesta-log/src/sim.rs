//! The log on a simulated machine, without threads: the same calls on the same seed do the same, to the last byte.
//!
//! For the project's own simulation; no part of the promise to users.

use std::path::Path;
use std::sync::Arc;

#[cfg(feature = "planted-bugs")]
pub use crate::bugs::{Bug, plant};
use crate::env::SimEnv;
pub use crate::env::{Betrayal, Counts, Failure, Faults, Hook, Machine, Operation, PlannedFault};
use crate::open::Options;
use crate::open_error::OpenError;
use crate::store::LogStore;
pub use crate::store::Pending;
use crate::verify::{Report, verify_in};

/// The folder of the log on its machine.
pub const ROOT: &str = "/log";

/// Opens the log of a machine.
///
/// # Errors
/// As [`LogStore::open`].
pub fn open(machine: &Machine, options: &Options) -> Result<LogStore, OpenError> {
    LogStore::open_inline(Arc::new(SimEnv::new(machine)), Path::new(ROOT), options)
}

/// Reads and proves every byte of the log of a machine, as [`verify`](crate::verify) does.
///
/// # Errors
/// As [`verify`](crate::verify).
pub fn verify(machine: &Machine) -> Result<Report, OpenError> {
    verify_in(&SimEnv::new(machine), Path::new(ROOT))
}
