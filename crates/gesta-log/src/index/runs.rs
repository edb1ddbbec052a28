//! Run files: their names, writing one from a table, and opening those of a log.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::lookup_error::LookupError;
use super::memtable::State;
use super::run::{BlockCache, Builder, Covered, Extent, MergeError, Run};
use crate::env::{Env, Mode, Turn};
use crate::folder::folder;
use crate::format::{FrameName, RunEntry};
use crate::segment::{LogPoint, SegmentFile};

/// What all runs of a log share.
#[derive(Clone)]
pub(crate) struct RunFiles {
    pub(crate) root: PathBuf,
    pub(crate) store: [u8; 16],
    /// Seeds the hashes of filters.
    pub(crate) secret: u64,
    pub(crate) cache: Arc<BlockCache>,
}

impl RunFiles {
    /// The path of a run, derived from its id alone.
    pub(crate) fn path(&self, id: u64) -> PathBuf {
        folder(&self.root).join(file_name(id))
    }

    /// Begins a run in an empty file. Overwrites the file of a stopped attempt.
    pub(crate) fn begin(&self, env: &dyn Env, id: u64) -> io::Result<Builder> {
        let path = self.path(id);
        match env.remove(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let file = env.open_on_demand(&path, Mode::CreateNew, Turn::Last)?;
        Ok(Builder::new(file, env.entropy()?, self.secret, Arc::clone(&self.cache)))
    }

    /// Makes the name of a finished run durable, and loads its filters, which every append needs.
    pub(crate) fn settle(&self, env: &dyn Env, run: &Run) -> Result<(), LookupError> {
        let io = |source| LookupError::Io { run: run.footer.id, source };
        env.sync_dir(&folder(&self.root)).map_err(io)?;
        run.warm()
    }

    /// Opens a run that the manifest lists. `None` if its file is missing or damaged, or is not the one that the manifest lists. It does
    /// not check that the log still holds the run's frames: a run whose frames are lost still knows what they held.
    pub(crate) fn open(
        &self,
        env: &dyn Env,
        entry: &RunEntry,
        segment: impl Fn(u64) -> Option<Arc<SegmentFile>>,
    ) -> Result<Option<Run>, LookupError> {
        let file = match env.open_on_demand(&self.path(entry.id), Mode::Read, Turn::Last) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(source) => return Err(LookupError::Io { run: entry.id, source }),
        };
        let opened = Run::open(file, entry.id, self.secret, Arc::clone(&self.cache), &segment);
        let run = match opened {
            Ok(run) => run,
            Err(LookupError::Damaged { .. }) => None,
            Err(fault) => return Err(fault),
        };
        Ok(run.filter(|run| run.footer.store == self.store && RunEntry::of(run) == *entry))
    }
}

impl RunFiles {
    /// Writes a table as a durable run. The manifest does not list it yet.
    pub(crate) fn write(
        &self,
        env: &dyn Env,
        id: u64,
        table: &State,
        end: LogPoint,
    ) -> Result<Run, MergeError> {
        let run = write_run(self.begin(env, id)?, id, self.store, table, end)?;
        self.settle(env, &run)?;
        Ok(run)
    }
}

/// Writes a table as a run. It holds nothing that is not durable, and never changes any more.
fn write_run(
    mut builder: Builder,
    id: u64,
    store: [u8; 16],
    table: &State,
    end: LogPoint,
) -> io::Result<Run> {
    table.offsets.iter().try_for_each(|offset| builder.offset(*offset))?;
    table.visit_sorted(|key, positions, base| {
        builder.begin_key(key, base)?;
        builder.positions(positions.iter().copied())?;
        builder.end_key()
    })?;
    let last = table.last();
    let known = table.extents.iter().filter(|extent| extent.first <= last);
    let (extents, segments) = known
        .map(|own| {
            let extent = Extent { first: own.first, segment: own.segment.id, end: own.end };
            (extent, Arc::clone(&own.segment))
        })
        .unzip();
    let first_frame = table.first_frame.expect("a table that ends has a frame");
    builder.finish(Covered {
        id,
        tier: 0,
        store,
        first: table.first,
        last,
        first_frame,
        end,
        extents,
        segments,
    })
}

/// The file name of a run.
pub(crate) fn file_name(id: u64) -> String {
    format!("{id:012}.run")
}

/// Removes run files that the manifest does not list: they are left over from interrupted attempts or from merged
/// runs.
pub(crate) fn remove_unlisted(env: &dyn Env, root: &Path, listed: &[RunEntry]) -> io::Result<()> {
    for name in env.list(&folder(root))? {
        let id = name.strip_suffix(".run").and_then(|id| id.parse().ok());
        // A file with any other name is not ours and stays.
        if let Some(id) = id.filter(|id| file_name(*id) == name)
            && !listed.iter().any(|entry| entry.id == id)
        {
            env.remove(&folder(root).join(name))?;
        }
    }
    Ok(())
}

impl RunEntry {
    /// What the manifest is to say of a run.
    pub(crate) const fn of(run: &Run) -> Self {
        let footer = &run.footer;
        let chain = &footer.end.chain;
        Self {
            id: footer.id,
            first: footer.first,
            last: footer.last,
            first_frame: footer.first_frame,
            last_frame: FrameName { number: chain.number, checksum: chain.checksum },
            size_bytes: run.size_bytes,
            tier: footer.tier,
        }
    }
}
