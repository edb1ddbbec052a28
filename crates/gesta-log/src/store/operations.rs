//! Operations on an open log: backup and scrub.

use std::path::Path;

use super::LogStore;
use crate::error::OpenError;
use crate::operations::{Backup, BackupError, BackupOptions, ScrubOptions, ScrubReport, ScrubStatus, take};
use crate::read_only::ReadOnly;

impl LogStore {
    /// Takes a backup up to the last durable event, while the log is in use; appends and reads go on. If the folder
    /// holds an older backup of the same log, only what is new is written. Blocks its thread.
    ///
    /// The backup is durable once this returns. Until then, and if it fails, the folder holds the older backup.
    ///
    /// # Errors
    /// [`BackupError`]. Damage is refused: every segment is verified when it is copied or linked. A log that was
    /// opened read-only is refused too.
    pub fn backup(&self, to: impl AsRef<Path>, options: &BackupOptions) -> Result<Backup, BackupError> {
        if let Some(ReadOnly { reason, .. }) = &self.recovery().read_only {
            return Err(BackupError::Unsettled { reason: reason.clone() });
        }
        // The position first, the manifest second: a segment is listed before anything is written to it.
        let position = self.durable_position();
        let folder = self.folder();
        take(&folder, &folder.existing_manifest()?, position, to.as_ref(), options)
    }
}

impl LogStore {
    /// Verifies the sealed segments while the log is in use. Appends and reads share the disk with it, nothing else.
    /// Blocks its thread: call it from a separate one, and end it with [`ScrubOptions::cancel`].
    ///
    /// # Errors
    /// [`OpenError`] if the manifest cannot be read. Damage and read errors are in the report.
    pub fn scrub(&self, options: &ScrubOptions) -> Result<ScrubReport, OpenError> {
        let folder = self.folder();
        folder.scrub(&folder.existing_manifest()?, options)
    }

    /// The results of background scrubs ([`Options::scrub`](crate::options::Options::scrub)), also from before the log was
    /// opened. Reads the manifest.
    ///
    /// # Errors
    /// [`OpenError`] if the manifest cannot be read.
    pub fn scrub_status(&self) -> Result<ScrubStatus, OpenError> {
        Ok(self.background().status(&self.folder().existing_manifest()?))
    }
}
