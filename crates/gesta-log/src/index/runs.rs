//! Run files: their names, writing one from a table, and opening those of a log.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::fault::Fault;
use super::run::{BlockCache, Builder, Covered, Extent, FrameName, MergeError, Run};
use super::table::State;
use crate::bugs::{Bug, planted};
use crate::env::{Env, File, Mode, read_exact_at};
use crate::format::{FRAME_HEADER_BYTES, FrameHeader};
use crate::manifest::RunEntry;
use crate::point::LogPoint;
use crate::segment::SegmentFile;

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
        let file = env.open(&path, Mode::CreateNew)?;
        Ok(Builder::new(file, env.entropy()?, self.secret, Arc::clone(&self.cache)))
    }

    /// Makes the name of a finished run durable, and loads its filters, which every append needs.
    pub(crate) fn settle(&self, env: &dyn Env, run: &Run) -> Result<(), Fault> {
        let io = |source| Fault::Io { run: run.facts.id, source };
        env.sync_dir(&folder(&self.root)).map_err(io)?;
        run.warm()
    }

    /// Opens a run that the manifest lists, and checks it against the log. `None` if the file is missing, or belongs
    /// to another log or another history.
    pub(crate) fn open(
        &self,
        env: &dyn Env,
        entry: &RunEntry,
        segment: impl Fn(u64) -> Option<Arc<SegmentFile>>,
    ) -> Result<Option<Run>, Fault> {
        let file = match env.open(&self.path(entry.id), Mode::Read) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(source) => return Err(Fault::Io { run: entry.id, source }),
        };
        let opened = Run::open(file, entry.id, self.secret, Arc::clone(&self.cache), &segment);
        let run = match opened {
            Ok(run) => run,
            Err(Fault::Damaged { .. }) => None,
            Err(fault) => return Err(fault),
        };
        let run = run.filter(|run| run.facts.store == self.store && RunEntry::of(run) == *entry);
        match run {
            Some(run) if planted(Bug::ForeignRunBelieved) || stands_in_log(&run, &segment)? => Ok(Some(run)),
            _ => Ok(None),
        }
    }
}

/// Whether the log holds the first and the last frame of a run.
fn stands_in_log(run: &Run, segment: impl Fn(u64) -> Option<Arc<SegmentFile>>) -> Result<bool, Fault> {
    let facts = &run.facts;
    let end = FrameName { number: facts.end.follow.number, checksum: facts.end.follow.checksum };
    let Some(last) = segment(facts.end.segment) else { return Ok(false) };
    let mut offsets = run.offsets(super::fault::Reach::Disk);
    let first_record = u64::from(offsets.get(0)? & !super::run::FIRST_OF_FRAME);
    let first_frame = first_record.saturating_sub(FRAME_HEADER_BYTES as u64);
    Ok(is_frame(&run.segments[0], first_frame, facts.first_frame)?
        && is_frame(&last, facts.end.last_frame, end)?)
}

fn is_frame(segment: &SegmentFile, offset: u64, name: FrameName) -> Result<bool, Fault> {
    let mut bytes = [0; FRAME_HEADER_BYTES];
    match read_exact_at(&*segment.file, &mut bytes, offset) {
        Ok(()) => {}
        Err(error) if is_gone(&error) => return Ok(false),
        Err(source) => return Err(Fault::Log { segment: segment.id, offset, source }),
    }
    let header = FrameHeader::read(&segment.salt, offset, &bytes);
    Ok(header.is_ok_and(|header| (header.number, header.checksum) == (name.number, name.checksum)))
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

/// Whether the read failed because the file is missing.
fn is_gone(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::UnexpectedEof | io::ErrorKind::NotFound)
}

/// Writes a table as a run. The table is durable and never changes again.
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

/// Where runs are kept.
pub(crate) fn folder(root: &Path) -> PathBuf {
    root.join("index")
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

/// A missing file: every read fails with `NotFound`.
pub(crate) struct MissingFile;

impl File for MissingFile {
    fn len(&self) -> io::Result<u64> {
        Err(io::ErrorKind::NotFound.into())
    }

    fn read_at(&self, _buffer: &mut [u8], _offset: u64) -> io::Result<usize> {
        Err(io::ErrorKind::NotFound.into())
    }
}
