//! The manifest of an open log. The segment manager and the indexer change it, the writer never does.

use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard};

use crate::bugs::{Bug, planted};
use crate::env::{Env, FileId};
use crate::format::{DurableMark, Manifest, ManifestError};
use crate::locks;
use crate::shared::Shared;

/// The manifest of an open log, behind a lock that the writer never takes.
pub(crate) struct SharedManifest(Mutex<ManifestOwner>);

/// The manifest, and the folder that holds it.
pub(crate) struct ManifestOwner {
    pub(crate) manifest: Manifest,
    /// The mark of the manifest that was written last.
    durable: DurableMark,
    /// The generation of that manifest. A failed replacement may have left a later one on the disk.
    written: u64,
    /// The file that was last seen to hold it.
    file: Option<FileId>,
    env: Arc<dyn Env>,
    root: PathBuf,
    shared: Arc<Shared>,
}

impl SharedManifest {
    pub(crate) fn new(manifest: Manifest, env: Arc<dyn Env>, root: PathBuf, shared: Arc<Shared>) -> Self {
        let (durable, written) = (manifest.durable, manifest.generation);
        Self(Mutex::new(ManifestOwner { manifest, durable, written, file: None, env, root, shared }))
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, ManifestOwner> {
        // If a panic left a change unwritten, the next change or the next open writes it.
        locks::lock(&self.0)
    }

    /// Looks whether the folder at the log's path is still the log's. While the manifest is being replaced, that is
    /// checked anyway.
    pub(crate) fn look(&self) {
        if let Ok(mut owner) = self.0.try_lock() {
            // The writer acts on what was noted.
            let _ = owner.check_place();
        }
    }
}

impl ManifestOwner {
    /// Replaces the manifest durably. It records the newest synced frame.
    pub(crate) fn replace(&mut self) -> io::Result<()> {
        self.check_place()?;
        let mut newest = self.shared.synced.newest();
        newest.number += u64::from(planted(Bug::MarkBeyondDurable));
        self.manifest.durable.raise(newest);
        let mark = self.manifest.durable;
        assert!(mark.number >= self.durable.number, "the durable frame never goes back");
        assert!(mark.position >= self.durable.position, "the durable position never goes back");
        assert!(self.manifest.has_adjacent_runs(), "index files cover adjacent ranges");
        self.durable = mark;
        self.manifest.replace(&*self.env, &self.root)?;
        self.written = self.manifest.generation;
        self.file = self.env.id_of(&self.root.join("manifest")).ok();
        Ok(())
    }

    /// Fails if the folder at the log's path is another one or gone, or holds another log's manifest. Notes it for the
    /// writer.
    fn check_place(&mut self) -> io::Result<()> {
        let Some(why) = self.env.displaced().or_else(|| self.foreign_manifest()) else { return Ok(()) };
        self.shared.poison.note_displaced(why.clone());
        Err(io::Error::other(why))
    }

    /// Why the manifest on the disk is not the one that was written last; `None` if it is. It is read only if the file is another one.
    fn foreign_manifest(&mut self) -> Option<String> {
        let path = self.root.join("manifest");
        let what = match self.env.id_of(&path) {
            Ok(file) if self.file == Some(file) => return None,
            Ok(file) => match Manifest::load(&*self.env, &self.root) {
                Ok(Some(found)) if self.is_own(&found) => {
                    self.file = Some(file);
                    return None;
                }
                Ok(Some(_)) | Err(ManifestError::NewerVersion { .. } | ManifestError::Unknown) => {
                    "belongs to another log, or to another time of this one"
                }
                Ok(None) => "was removed",
                // Rot, which the next manifest heals, or the disk does not answer now.
                Err(ManifestError::Damaged | ManifestError::Io(_)) => return None,
            },
            Err(error) if error.kind() == io::ErrorKind::NotFound => "was removed",
            Err(_) => return None,
        };
        let path = path.display();
        Some(format!(
            "`{path}` {what} while the log was open: close the log, put its folder back, open the log again"
        ))
    }

    fn is_own(&self, found: &Manifest) -> bool {
        let own = &self.manifest;
        found.store == own.store
            && found.boot_epoch <= own.boot_epoch
            && (self.written..=own.generation).contains(&found.generation)
    }

    /// Records the newest synced frame when the log is closed, if the manifest does not name it yet. Nothing else
    /// would later show that the log once reached that frame. A log that a failed write has made read-only is left as
    /// it is.
    pub(crate) fn record_synced(&mut self) {
        let is_recorded = self.shared.synced.newest().number <= self.manifest.durable.number;
        let poison = &self.shared.poison;
        if poison.is_set() || poison.displaced().is_some() || is_recorded || planted(Bug::SyncedNotRecorded) {
            return;
        }
        // The log is complete without the mark, but a later loss of its end would go unnoticed.
        if let Err(error) = self.replace() {
            tracing::warn!(%error, "the manifest could not be replaced when the log was closed");
        }
    }
}
