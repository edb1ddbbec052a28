//! The folder of a log: its lock, its manifest, and the steps of recovery in it.

mod layout;
mod manifest;

use std::io;
use std::path::Path;

use crate::bugs::{Bug, planted};
use crate::env::{Env, Lock};
use crate::error::{OpenError, io_error};
use crate::format::{Manifest, ManifestError};
pub(crate) use layout::{
    NAME, folder, folder as run_folder, folders, has_backup, is_segment_of_backup, segment_name, segment_path,
};
pub(crate) use manifest::write_synced;

/// A file beside the segments of a log during a restore, so that an interrupted restore is not mistaken for a log.
pub(crate) const RESTORING: &str = "restoring";

/// A file beside the segments of a log that another store is being copied into, so that the part is not mistaken for the whole.
pub(crate) const COPYING: &str = "copying";

/// The folder of a log, on a machine.
pub(crate) struct Folder<'a> {
    pub(crate) env: &'a dyn Env,
    pub(crate) root: &'a Path,
}

impl Folder<'_> {
    pub(crate) fn lock(&self) -> Result<Box<dyn Lock>, OpenError> {
        let path = self.root.join("LOCK");
        let locked = self.env.lock(&path).map_err(io_error(format!("locking `{}`", path.display())))?;
        if planted(Bug::LockIgnored) && locked.is_err() {
            return Ok(Box::new(NoLock));
        }
        let lock = locked
            .map_err(|holder| OpenError::Locked { path: self.root.to_owned(), holder: named(holder) })?;
        lock.describe(&format!("process {}", std::process::id()))
            .map_err(io_error(format!("writing `{}`", path.display())))?;
        Ok(lock)
    }

    /// Whether this process may write to the log, or create it.
    pub(crate) fn is_writable(&self) -> bool {
        let is_writable = |folder: &Path| {
            let is_there = self.env.list(folder).is_ok_and(|names| !names.is_empty());
            !is_there || self.env.is_writable(folder)
        };
        is_writable(self.root) && is_writable(&self.root.join("segments"))
    }

    pub(crate) fn manifest(&self) -> Result<Option<Manifest>, OpenError> {
        let path = self.root.to_owned();
        let manifest = Manifest::load(self.env, self.root).map_err(|error| match error {
            ManifestError::Damaged => OpenError::ManifestDamaged { path },
            newer @ (ManifestError::NewerVersion { .. } | ManifestError::Unknown) => {
                OpenError::NewerFormat { path, what: newer.to_string() }
            }
            ManifestError::Io(source) => OpenError::Io { what: "reading the manifest".to_owned(), source },
        })?;
        Ok(manifest)
    }

    /// Refuses a folder with a backup, also an unfinished one, before anything is created in it: a log there would block the next
    /// backup.
    pub(crate) fn check_is_no_backup(&self) -> Result<(), OpenError> {
        let names = self.env.list(self.root).map_err(io_error("listing the folder"))?;
        let of_log = ["manifest", "manifest.previous", RESTORING];
        let path = || self.root.to_owned();
        if names.iter().any(|name| name == "manifest") {
            return Ok(());
        }
        if has_backup(self.env, self.root) {
            return Err(OpenError::IsABackup { path: path() });
        }
        let segments = self.env.list(&self.root.join("segments")).map_err(io_error("listing the folder"))?;
        let is_of_log = names.iter().any(|name| of_log.contains(&name.as_str()));
        match !is_of_log && segments.iter().any(|name| is_segment_of_backup(name)) {
            true => Err(OpenError::BackupUnfinished { path: path() }),
            false => Ok(()),
        }
    }

    /// Refuses a log that another store is being copied into.
    pub(crate) fn check_is_no_copy(&self) -> Result<(), OpenError> {
        if self.holds_copy()? {
            return Err(OpenError::CopyUnfinished { path: self.root.to_owned() });
        }
        Ok(())
    }

    /// True if another store is being copied into the log.
    pub(crate) fn holds_copy(&self) -> Result<bool, OpenError> {
        let names = self.env.list(self.root).map_err(io_error("listing the folder"))?;
        Ok(names.iter().any(|name| name == COPYING))
    }

    /// Marks the log as one that another store is being copied into.
    pub(crate) fn mark_copy(&self) -> io::Result<()> {
        write_synced(self.env, &self.root.join(COPYING), b"A copy into this folder is not done.\n")?;
        self.env.sync_dir(self.root)
    }

    /// Removes the mark.
    pub(crate) fn unmark_copy(&self) -> io::Result<()> {
        self.env.remove(&self.root.join(COPYING))?;
        self.env.sync_dir(self.root)
    }

    /// Takes the lock of a folder that holds a log, whole or damaged. Inspecting a log never creates one. Refuses a backup, and a
    /// log that another store is being copied into.
    pub(crate) fn lock_existing(&self) -> Result<Box<dyn Lock>, OpenError> {
        self.check_is_no_backup()?;
        let list = |folder: &Path| self.env.list(folder).map_err(io_error("listing the folder"));
        let is_sign = |name: &String| ["manifest", "manifest.previous", RESTORING].contains(&name.as_str());
        let has_signs = list(self.root)?.iter().any(is_sign)
            || list(&self.root.join("segments"))?.iter().any(|name| name.ends_with(".seg"));
        if !has_signs {
            return Err(OpenError::NotALog { path: self.root.to_owned() });
        }
        let lock = self.lock()?;
        self.check_is_no_copy()?;
        Ok(lock)
    }

    /// The manifest of a log that must have one.
    pub(crate) fn existing_manifest(&self) -> Result<Manifest, OpenError> {
        if let Some(manifest) = self.manifest()? {
            return Ok(manifest);
        }
        let list = |folder: &Path| {
            self.env.list(folder).map_err(io_error(format!("listing `{}`", folder.display())))
        };
        let is_a_log = list(&self.root.join("segments"))?.iter().any(|name| name.ends_with(".seg"))
            || list(self.root)?.iter().any(|name| name == "manifest.previous");
        let path = self.root.to_owned();
        Err(if is_a_log { self.manifest_missing() } else { OpenError::NotALog { path } })
    }

    /// The error for segments without a manifest.
    pub(crate) fn manifest_missing(&self) -> OpenError {
        let path = self.root.to_owned();
        let is_restoring =
            self.env.list(self.root).is_ok_and(|names| names.iter().any(|name| name == RESTORING));
        if is_restoring { OpenError::RestoreUnfinished { path } } else { OpenError::ManifestMissing { path } }
    }
}

/// No lock: nothing is written.
pub(crate) struct NoLock;

impl Lock for NoLock {
    fn describe(&self, _holder: &str) -> std::io::Result<()> {
        Ok(())
    }
}

fn named(holder: String) -> String {
    if holder.trim().is_empty() { "another process".to_owned() } else { holder.trim().to_owned() }
}
