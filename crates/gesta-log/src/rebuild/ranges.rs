//! Ranges of segments that become runs, several at a time on several threads.
//!
//! *Invariants*
//! - A thread holds one table, so the number of threads bounds the memory.
//! - Runs are listed in order: a range only after all ranges before it, and only if it continues them.
//! - The load of the log takes over from the first range with an error.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, mpsc};

use super::frames_len;
use crate::error::{OpenError, io_error};
use crate::folder::Folder;
use crate::format::{FrameHeader, Manifest, RunEntry};
use crate::index::{MergeError, Run, RunFiles, State, TableLimits, remove_unlisted_runs};
use crate::recover::{Settled, Tables, load_range};
use crate::segment::{ChainPosition, LogPoint};
use crate::shared::Building;

/// A log whose ranges become runs.
pub(super) struct Ranges<'a> {
    pub(super) folder: &'a Folder<'a>,
    pub(super) files: &'a RunFiles,
    pub(super) limits: TableLimits,
    pub(super) building: &'a Building,
    pub(super) manifest: &'a mut Manifest,
    /// Receives the runs, and how far they reach.
    pub(super) settled: &'a mut Settled,
}

/// The result for a range.
enum Built {
    Whole {
        first: Option<FrameHeader>,
        end: ChainPosition,
        runs: Vec<Arc<Run>>,
    },
    /// The range has an error.
    Odd,
    Failed(OpenError),
}

/// What the threads share.
struct Work<'a> {
    folder: &'a Folder<'a>,
    files: &'a RunFiles,
    limits: TableLimits,
    building: &'a Building,
    settled: &'a Settled,
    ranges: &'a [Range<usize>],
    next_range: AtomicUsize,
    next_id: AtomicU64,
    /// Whether to stop: a range failed, or the rest is not needed.
    is_over: AtomicBool,
}

/// Joins the ranges in order.
struct Joiner<'a> {
    folder: &'a Folder<'a>,
    manifest: &'a mut Manifest,
    waiting: BTreeMap<usize, Built>,
    next: usize,
    /// The place that the next range must continue.
    chain: ChainPosition,
    runs: Vec<Arc<Run>>,
}

impl Ranges<'_> {
    /// Builds as many ranges as possible. After an error, try again: the ranges before it are listed.
    pub(super) fn build(self, threads: usize) -> Result<(), OpenError> {
        let Self { folder, files, limits, building, manifest, settled } = self;
        let ranges = cut(settled, limits.log_bytes);
        list(folder, manifest, &settled.runs)?;
        // Unusable runs may hold disk space that is needed. A file that cannot be removed does no harm.
        let _ = remove_unlisted_runs(folder.env, folder.root, &manifest.runs);
        let work = Work {
            folder,
            files,
            limits,
            building,
            settled,
            ranges: &ranges,
            next_range: AtomicUsize::new(0),
            next_id: AtomicU64::new(manifest.next_run_id()),
            is_over: AtomicBool::new(false),
        };
        let mut joiner = Joiner {
            folder,
            manifest,
            waiting: BTreeMap::new(),
            next: 0,
            chain: settled.known.chain,
            runs: settled.runs.clone(),
        };
        let joined = match threads.min(ranges.len()) {
            0 | 1 => work.build_here(&mut joiner),
            threads => work.build_by(threads, &mut joiner),
        };
        settled.runs = joiner.runs;
        settled.known = settled.runs.last().map_or(LogPoint::START, |run| run.footer.end);
        joined
    }
}

/// Cuts the segments that no run covers, except the last one in use, into ranges of whole segments of at least
/// `bytes_min`.
fn cut(settled: &Settled, bytes_min: u64) -> Vec<Range<usize>> {
    let listed = &settled.listed;
    let begin = listed.iter().position(|own| own.entry.header.id == settled.known.segment).unwrap_or(0);
    let last = settled.survey.at.unwrap_or(0);
    let (mut ranges, mut from, mut bytes) = (Vec::new(), begin, 0_u64);
    for (at, own) in listed.iter().enumerate().take(last).skip(begin) {
        bytes = bytes.saturating_add(frames_len(own));
        if bytes >= bytes_min || at + 1 == last {
            ranges.push(from..at + 1);
            (from, bytes) = (at + 1, 0);
        }
    }
    ranges
}

/// Lists exactly these runs, durably.
fn list(folder: &Folder<'_>, manifest: &mut Manifest, runs: &[Arc<Run>]) -> Result<(), OpenError> {
    let listed = runs.iter().map(|run| RunEntry::of(run)).collect::<Vec<_>>();
    if manifest.runs == listed {
        return Ok(());
    }
    let before = std::mem::replace(&mut manifest.runs, listed);
    assert!(manifest.has_adjacent_runs(), "index files cover adjacent ranges");
    manifest.replace(folder.env, folder.root).map_err(|error| {
        manifest.runs = before;
        io_error("replacing the manifest")(error)
    })
}

impl Work<'_> {
    fn build_here(&self, joiner: &mut Joiner<'_>) -> Result<(), OpenError> {
        while let Some((at, built)) = self.build_next() {
            if !joiner.take(at, built)? {
                break;
            }
        }
        Ok(())
    }

    fn build_by(&self, threads: usize, joiner: &mut Joiner<'_>) -> Result<(), OpenError> {
        let (sender, built) = mpsc::channel();
        std::thread::scope(|scope| {
            for _ in 0..threads {
                let sender = sender.clone();
                scope.spawn(move || {
                    while let Some(own) = self.build_next() {
                        // The receiver is gone only if the range is not needed.
                        let _ = sender.send(own);
                    }
                });
            }
            drop(sender);
            let mut joined = Ok(());
            for (at, built) in built {
                if self.is_over.load(Ordering::Relaxed) {
                    continue;
                }
                match joiner.take(at, built) {
                    Ok(true) => {}
                    Ok(false) => self.is_over.store(true, Ordering::Relaxed),
                    Err(error) => {
                        self.is_over.store(true, Ordering::Relaxed);
                        joined = Err(error);
                    }
                }
            }
            joined
        })
    }

    fn build_next(&self) -> Option<(usize, Built)> {
        if self.is_over.load(Ordering::Relaxed) || self.building.is_stopped() {
            return None;
        }
        let at = self.next_range.fetch_add(1, Ordering::Relaxed);
        let range = self.ranges.get(at)?;
        Some((at, self.build(range.clone())))
    }

    fn build(&self, range: Range<usize>) -> Built {
        let known = &self.settled.known;
        let listed = &self.settled.listed;
        let from = (listed[range.start].entry.header.id == known.segment).then_some(known);
        let mut writer = RangeWriter { work: self, runs: Vec::new(), failure: None };
        let loaded = load_range(listed, range, from, &mut writer, &self.building.stop);
        let RangeWriter { runs, failure, .. } = writer;
        match (loaded, failure) {
            (_, Some(error)) => Built::Failed(OpenError::Io {
                what: "writing an index file".to_owned(),
                source: std::io::Error::other(error.to_string()),
            }),
            (Err(error), None) => Built::Failed(self.folder.recover_error()(error)),
            (Ok(None), None) => Built::Odd,
            (Ok(Some(loaded)), None) => Built::Whole { first: loaded.first, end: loaded.end, runs },
        }
    }
}

impl Joiner<'_> {
    /// Takes a range, and lists all whole ranges so far. `false` if the load of the log takes over.
    fn take(&mut self, at: usize, built: Built) -> Result<bool, OpenError> {
        self.waiting.insert(at, built);
        let before = self.runs.len();
        let mut goes_on = Ok(true);
        while let Some(built) = self.waiting.remove(&self.next) {
            self.next += 1;
            match built {
                Built::Whole { first, end, runs } if first.is_none_or(|first| self.chain.accepts(&first)) => {
                    self.chain = end;
                    self.runs.extend(runs);
                }
                Built::Whole { .. } | Built::Odd => goes_on = Ok(false),
                Built::Failed(error) => goes_on = Err(error),
            }
            if !matches!(goes_on, Ok(true)) {
                break;
            }
        }
        if self.runs.len() > before
            && let Err(error) = list(self.folder, self.manifest, &self.runs)
        {
            self.runs.truncate(before);
            return Err(error);
        }
        goes_on
    }
}

/// Writes the tables of a range as runs.
struct RangeWriter<'a> {
    work: &'a Work<'a>,
    runs: Vec<Arc<Run>>,
    failure: Option<MergeError>,
}

impl Tables for RangeWriter<'_> {
    fn is_full(&self, bytes: usize, log_bytes: u64, _position: u64) -> bool {
        self.work.limits.is_full(bytes, log_bytes)
    }

    fn take(&mut self, table: State, end: &LogPoint) -> Option<State> {
        let Work { folder, files, building, next_id, .. } = self.work;
        if self.failure.is_none() {
            let id = next_id.fetch_add(1, Ordering::Relaxed);
            match files.write(folder.env, id, &table, *end) {
                Ok(run) => {
                    building.note_built(u64::from(table.len()));
                    self.runs.push(Arc::new(run));
                }
                Err(error) => {
                    // The partial file may hold space that a full disk needs.
                    let _ = folder.env.remove(&files.path(id));
                    self.failure = Some(error);
                }
            }
        }
        // A table that could not be written is dropped as well: its range is built again.
        None
    }
}
