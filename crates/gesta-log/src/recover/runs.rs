//! The runs of a log during open: the usable ones, and those that the load writes.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use super::Listed;
use super::load::{Loaded, Tables, load};
use super::settled::Settled;
use crate::damage::Damage;
use crate::env::Env;
use crate::error::{OpenError, io_error};
use crate::folder::Folder;
use crate::format::{Manifest, RunEntry};
use crate::index::{
    BlockCache, IndexSnapshot, LookupError, Run, RunFiles, State, TableLimits, remove_unlisted_runs,
};
use crate::limits::INDEX_RUN_BYTES_DEFAULT;
use crate::segment::{LogPoint, MissingFile, SegmentFile};

/// Where runs are stored, and when a table becomes a run.
pub(crate) struct RunPolicy<'a> {
    pub(crate) files: &'a RunFiles,
    pub(crate) limits: TableLimits,
}

impl Folder<'_> {
    /// Loads the part of the log that no run covers. Full tables become runs during the load, unless the log is
    /// read-only. Stops early with an error once `stop` is set.
    pub(crate) fn load(
        &self,
        manifest: &mut Manifest,
        settled: &Settled,
        policy: &RunPolicy<'_>,
        stop: Option<&AtomicBool>,
    ) -> Result<Loaded, OpenError> {
        let Settled { listed, survey, runs, known: from, is_read_only } = settled;
        let (known, is_read_only) = (runs.len(), *is_read_only);
        let snapshot = IndexSnapshot { runs: runs.clone(), ..IndexSnapshot::default() };
        let writes = (!is_read_only).then_some(self.env);
        let next_id = manifest.next_run_id();
        let mut tables = RunWriter { env: writes, policy, runs: Vec::new(), next_id };
        let loaded = load(manifest, listed, survey, snapshot, from, &mut tables, stop);
        let mut loaded = loaded.map_err(self.recover_error())?;
        loaded.snapshot.runs.append(&mut tables.runs);
        let found = loaded.snapshot.runs.iter().map(|run| RunEntry::of(run)).collect::<Vec<_>>();
        // If events are lost, the entries of unusable runs are evidence of the loss, and stay.
        let last = |runs: &[RunEntry]| runs.last().map_or(0, |entry| entry.last);
        let is_loss = loaded.damage.iter().any(Damage::loses_events);
        let is_read_only = is_read_only || (is_loss && last(&found) < last(&manifest.runs));
        if !is_read_only && manifest.runs != found {
            tracing::info!(runs = found.len(), kept = known, "a part of the index was rebuilt");
            manifest.runs = found;
            assert!(manifest.has_adjacent_runs(), "index files cover adjacent ranges");
            manifest.replace(self.env, self.root).map_err(io_error("replacing the manifest"))?;
        }
        if !is_read_only {
            // A file that cannot be removed does no harm. The next open tries again.
            if let Err(error) = remove_unlisted_runs(self.env, self.root, &manifest.runs) {
                tracing::warn!(%error, "unused index files could not be removed");
            }
        }
        Ok(loaded)
    }

    /// Opens the runs that the manifest lists, up to the first unusable one; those after it are rebuilt. Also returns
    /// where the last usable one ends.
    pub(crate) fn open_runs(
        &self,
        manifest: &Manifest,
        listed: &[Listed],
        files: &RunFiles,
    ) -> Result<(Vec<Arc<Run>>, LogPoint), OpenError> {
        let mut runs = Vec::<Arc<Run>>::new();
        let segment = |id: u64| {
            let own = listed.iter().find(|own| own.entry.header.id == id)?;
            Some(own.segment.clone().unwrap_or_else(|| {
                let salt = own.entry.header.salt;
                Arc::new(SegmentFile { id, salt, file: Arc::new(MissingFile) })
            }))
        };
        for entry in &manifest.runs {
            let next = runs.last().map_or(1, |run| run.footer.last + 1);
            let run = match files.open(self.env, entry, segment) {
                Ok(run) => run.filter(|run| run.footer.first == next),
                Err(LookupError::Log { segment, source, .. }) => {
                    return Err(OpenError::Io { what: format!("reading segment {segment}"), source });
                }
                Err(error) => {
                    tracing::warn!(%error, "an index file cannot be read");
                    None
                }
            };
            let Some(run) = run else {
                tracing::warn!(
                    run = entry.id,
                    "an index file is unusable: it and all later ones are rebuilt"
                );
                break;
            };
            runs.push(Arc::new(run));
        }
        let end = runs.last().map_or(LogPoint::START, |run| run.footer.end);
        Ok((runs, end))
    }
}

/// Writes tables as runs while a log is loaded.
pub(crate) struct RunWriter<'a> {
    /// `None` after a failed write: then tables stay in memory.
    pub(crate) env: Option<&'a dyn Env>,
    pub(crate) policy: &'a RunPolicy<'a>,
    pub(crate) runs: Vec<Arc<Run>>,
    pub(crate) next_id: u64,
}

impl Tables for RunWriter<'_> {
    fn is_full(&self, bytes: usize, log_bytes: u64, _position: u64) -> bool {
        self.env.is_some() && self.policy.limits.is_full(bytes, log_bytes)
    }

    fn take(&mut self, table: State, end: &LogPoint) -> Option<State> {
        let Some(env) = self.env else { return Some(table) };
        match self.policy.files.write(env, self.next_id, &table, *end) {
            Ok(run) => {
                self.next_id += 1;
                self.runs.push(Arc::new(run));
                None
            }
            Err(error) => {
                tracing::warn!(%error, "the index of loaded events cannot be written, and stays in memory");
                // The partial file takes space on a full disk. If the removal fails too, the next open tries again.
                let _ = env.remove(&self.policy.files.path(self.next_id));
                self.env = None;
                Some(table)
            }
        }
    }
}

/// Drops full tables: the load only looks for damage.
pub(crate) struct ForgetTables;

impl Tables for ForgetTables {
    fn is_full(&self, bytes: usize, _log_bytes: u64, _position: u64) -> bool {
        bytes as u64 >= INDEX_RUN_BYTES_DEFAULT
    }

    fn take(&mut self, _table: State, _end: &LogPoint) -> Option<State> {
        None
    }
}

/// The settings that all runs of a log share.
pub(crate) fn run_files(root: &Path, manifest: &Manifest, cache_bytes: u64) -> RunFiles {
    RunFiles {
        root: root.to_owned(),
        store: manifest.store,
        secret: u64::from_le_bytes(*manifest.key_secret.first_chunk().expect("it has 16 bytes")),
        cache: Arc::new(BlockCache::new(cache_bytes)),
    }
}
