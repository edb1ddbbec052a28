//! Reads the batches of a log that nobody has open, for tests on an excerpt.

use std::path::Path;
use std::sync::Arc;

use gesta_core::{ReadError, RecordedBatch};

use super::open::open_unlocked;
use super::{Drive, LogStore};
use crate::env::OsEnv;
use crate::error::OpenError;
use crate::options::{Options, Scrub};
use crate::read;

/// Why the batches of a log cannot be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BatchesError {
    /// The folder cannot be opened.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// Events cannot be read.
    #[error("reading the events failed")]
    Read(#[from] ReadError),
    /// Events are missing, or were not known to be on the disk when the log was last written.
    #[error("the log is not whole: {reason}")]
    Incomplete {
        /// What is missing, and what helps.
        reason: String,
    },
}

/// Reads all batches of a log, into memory. Takes no lock and changes nothing: several tests can read one folder, and the folder can be
/// under version control. No process may write to it meanwhile.
///
/// # Errors
/// [`BatchesError`].
pub fn batches_in(folder: impl AsRef<Path>) -> Result<Vec<RecordedBatch>, BatchesError> {
    let options = Options { scrub: Scrub::Off, read_threads: 1, ..Options::default() };
    let opened = open_unlocked(Arc::new(OsEnv), folder.as_ref(), &options)?;
    let log = LogStore::start(opened, &options, Drive::Threads)?;
    let recovery = log.recovery();
    if recovery.may_miss_events || !recovery.damage.is_empty() {
        let reason = log.read_only().map(|own| own.reason).unwrap_or_default();
        return Err(BatchesError::Incomplete { reason });
    }
    let (mut batches, head) = (Vec::<RecordedBatch>::new(), log.durable_position());
    loop {
        let after = batches.last().map_or(0, |batch| batch.last().position().sequence);
        let next = read::batches(&log.shared, after, head)?;
        if next.is_empty() {
            return Ok(batches);
        }
        batches.extend(next);
    }
}
