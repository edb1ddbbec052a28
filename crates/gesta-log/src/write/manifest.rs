//! The manifest of an open log. The segment manager and the indexer change it, the writer never does.

use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard};

use crate::bugs::{Bug, planted};
use crate::env::Env;
use crate::format::{DurableMark, Manifest};
use crate::locks;
use crate::shared::Shared;

/// The manifest of an open log, behind a lock that the writer never takes.
pub(crate) struct SharedManifest(Mutex<ManifestOwner>);

/// The manifest, and the folder that holds it.
pub(crate) struct ManifestOwner {
    pub(crate) manifest: Manifest,
    /// The mark of the manifest that was written last.
    durable: DurableMark,
    env: Arc<dyn Env>,
    root: PathBuf,
    shared: Arc<Shared>,
}

impl SharedManifest {
    pub(crate) fn new(manifest: Manifest, env: Arc<dyn Env>, root: PathBuf, shared: Arc<Shared>) -> Self {
        let durable = manifest.durable;
        Self(Mutex::new(ManifestOwner { manifest, durable, env, root, shared }))
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, ManifestOwner> {
        // If a panic left a change unwritten, the next change or the next open writes it.
        locks::lock(&self.0)
    }
}

impl ManifestOwner {
    /// Replaces the manifest durably. It records the newest synced frame.
    pub(crate) fn replace(&mut self) -> io::Result<()> {
        let mut newest = self.shared.synced.newest();
        newest.number += u64::from(planted(Bug::MarkBeyondDurable));
        self.manifest.durable.raise(newest);
        let mark = self.manifest.durable;
        assert!(mark.number >= self.durable.number, "the durable frame never goes back");
        assert!(mark.position >= self.durable.position, "the durable position never goes back");
        assert!(self.manifest.has_adjacent_runs(), "index files cover adjacent ranges");
        self.durable = mark;
        self.manifest.replace(&*self.env, &self.root)
    }

    /// Records the newest synced frame when the log is closed, if the manifest does not name it yet. Nothing else
    /// would later show that the log once reached that frame. A log that a failed write has made read-only is left as
    /// it is.
    pub(crate) fn record_synced(&mut self) {
        let is_recorded = self.shared.synced.newest().number <= self.manifest.durable.number;
        if self.shared.poison.is_set() || is_recorded || planted(Bug::SyncedNotRecorded) {
            return;
        }
        // The log is complete without the mark, but a later loss of its end would go unnoticed.
        if let Err(error) = self.replace() {
            tracing::warn!(%error, "the manifest could not be replaced when the log was closed");
        }
    }
}
