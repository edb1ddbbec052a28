//! Merging runs of adjacent ranges into one: offsets follow one another, and so do the positions of every key.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::io;
use std::sync::Arc;

use super::blocks::Pointer;
use super::build::{Builder, Covered};
use super::facts::Extent;
use super::keys::Keys;
use super::list::RunList;
use super::{OFFSETS_PER_BLOCK, Run};
use crate::format::u32_at;
use crate::index::fault::{Fault, Reach};
use crate::segment::SegmentFile;

/// A merge that is under way. It is done in steps, so that whoever does it can see to something else between two of them.
pub(crate) struct Merge {
    runs: Vec<Arc<Run>>,
    builder: Builder,
    /// The run, and its block, whose offsets are copied next.
    copied: (usize, usize),
    /// The next key of each run that has one left, the lowest first.
    heads: BinaryHeap<Reverse<(Vec<u8>, usize)>>,
    entries: Vec<Entries>,
    lists: Vec<Option<RunList>>,
}

/// Keys that are merged in one step, or blocks of offsets.
const STEP_KEYS: usize = 4_096;
const STEP_BLOCKS: usize = 64;

/// Why a merge stopped.
#[derive(Debug, thiserror::Error)]
pub(crate) enum MergeError {
    #[error(transparent)]
    Read(#[from] Fault),
    #[error("writing an index file failed: {0}")]
    Write(#[from] io::Error),
}

impl Merge {
    /// Begins to merge runs, which follow one another without a gap.
    pub(crate) fn new(runs: Vec<Arc<Run>>, builder: Builder) -> Result<Self, MergeError> {
        let adjacent = runs.windows(2).all(|pair| pair[0].facts.last + 1 == pair[1].facts.first);
        assert!(runs.len() > 1 && adjacent, "only adjacent runs are merged");
        let mut merge = Self {
            entries: runs.iter().map(|run| Entries::new(Arc::clone(run))).collect(),
            lists: runs.iter().map(|_| None).collect(),
            heads: BinaryHeap::with_capacity(runs.len()),
            copied: (0, 0),
            runs,
            builder,
        };
        for at in 0..merge.runs.len() {
            merge.advance(at)?;
        }
        Ok(merge)
    }

    /// Merges some more. `true` if all is done.
    pub(crate) fn step(&mut self) -> Result<bool, MergeError> {
        if self.copied.0 < self.runs.len() {
            for _ in 0..STEP_BLOCKS {
                self.copy_offsets()?;
            }
            return Ok(false);
        }
        for _ in 0..STEP_KEYS {
            let Some(Reverse((key, at))) = self.heads.pop() else { return Ok(true) };
            let list = self.lists[at].as_ref().expect("a head has a list");
            self.builder.begin_key(&key, list.base)?;
            self.copy(at)?;
            while let Some(Reverse((next, _))) = self.heads.peek()
                && *next == key
            {
                let Some(Reverse((_, at))) = self.heads.pop() else { break };
                self.copy(at)?;
            }
            self.builder.end_key()?;
        }
        Ok(self.heads.is_empty())
    }

    /// Copies one block of offsets.
    fn copy_offsets(&mut self) -> Result<(), MergeError> {
        let (at, number) = self.copied;
        let Some(run) = self.runs.get(at) else { return Ok(()) };
        let block = run.blocks.read(run.offsets_pointer(number))?;
        for offset in block.chunks_exact(4) {
            self.builder.offset(u32_at(offset, 0))?;
        }
        let is_last = (number + 1) * OFFSETS_PER_BLOCK >= run.len();
        self.copied = if is_last { (at + 1, 0) } else { (at, number + 1) };
        Ok(())
    }

    /// Appends the positions that one run has of the key, and moves on in that run.
    fn copy(&mut self, at: usize) -> Result<(), MergeError> {
        let list = self.lists[at].take().expect("a head has a list");
        let run = &self.runs[at];
        let shift = u32::try_from(run.facts.first - self.runs[0].facts.first).expect("a run is below 4 G");
        let builder = &mut self.builder;
        run.cursor(list, Reach::Disk)
            .for_each(|positions| builder.positions(positions.iter().map(|position| position + shift)))??;
        self.advance(at)
    }

    fn advance(&mut self, at: usize) -> Result<(), MergeError> {
        if let Some((key, list)) = self.entries[at].next()? {
            self.lists[at] = Some(list);
            self.heads.push(Reverse((key, at)));
        }
        Ok(())
    }

    /// Writes what is left, and makes the run durable.
    pub(crate) fn finish(self, id: u64, tier: u8) -> io::Result<Run> {
        let (first, last) = (&self.runs[0].facts, &self.runs[self.runs.len() - 1].facts);
        let (mut extents, mut segments) = (Vec::<Extent>::new(), Vec::<Arc<SegmentFile>>::new());
        let pieces = self.runs.iter().flat_map(|run| run.facts.extents.iter().zip(&run.segments));
        for (extent, segment) in pieces {
            match extents.last_mut() {
                Some(own) if own.segment == extent.segment => own.end = extent.end,
                _ => {
                    extents.push(*extent);
                    segments.push(Arc::clone(segment));
                }
            }
        }
        self.builder.finish(Covered {
            id,
            tier,
            store: first.store,
            first: first.first,
            last: last.last,
            first_frame: first.first_frame,
            end: last.end,
            extents,
            segments,
        })
    }
}

/// Every key of a run with its list, in order. Reads past the cache.
pub(crate) struct Entries {
    run: Arc<Run>,
    fence: usize,
    leaves: std::vec::IntoIter<Pointer>,
    entries: std::vec::IntoIter<(Vec<u8>, RunList)>,
    /// The leaf that they stand in, and the key before.
    leaf: Pointer,
    last: Vec<u8>,
}

impl Entries {
    pub(super) fn new(run: Arc<Run>) -> Self {
        let (leaf, last) = (run.facts.fence, Vec::new());
        Self { run, fence: 0, leaves: Vec::new().into_iter(), entries: Vec::new().into_iter(), leaf, last }
    }

    pub(crate) fn next(&mut self) -> Result<Option<(Vec<u8>, RunList)>, Fault> {
        loop {
            if let Some((key, list)) = self.entries.next() {
                // Keys have at least a byte, so that the first one is above none.
                if key <= self.last {
                    return Err(self.run.blocks.damaged(self.leaf));
                }
                self.last.clone_from(&key);
                return Ok(Some((key, list)));
            }
            if let Some(at) = self.leaves.next() {
                self.leaf = at;
                let leaf = self.run.blocks.read(at)?;
                let entries = all_lists(&leaf).ok_or_else(|| self.run.blocks.damaged(at))?;
                self.entries = entries.into_iter();
                continue;
            }
            let Some(fence) = self.run.fence.get(self.fence) else { return Ok(None) };
            self.fence += 1;
            let branch = self.run.blocks.read(fence.branch)?;
            let leaves = all_leaves(&branch).ok_or_else(|| self.run.blocks.damaged(fence.branch))?;
            self.leaves = leaves.into_iter();
        }
    }
}

pub(super) fn all_leaves(branch: &[u8]) -> Option<Vec<Pointer>> {
    let mut keys = Keys::new(branch)?;
    let mut leaves = Vec::new();
    while !keys.is_done() {
        keys.next()?;
        leaves.push(Pointer::read(&mut keys.reader)?);
    }
    Some(leaves)
}

pub(super) fn all_lists(leaf: &[u8]) -> Option<Vec<(Vec<u8>, RunList)>> {
    let mut keys = Keys::new(leaf)?;
    let mut lists = Vec::new();
    while !keys.is_done() {
        keys.next()?;
        lists.push((keys.key.clone(), RunList::read(&mut keys.reader)?));
    }
    Some(lists)
}
