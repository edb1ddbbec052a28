//! Merging runs of adjacent ranges into one: offsets follow one another, and so do the positions of every key.
//!
//! *Invariants*
//! - However long a list is, a chunk of it is in memory, and of what is written a chunk more and its directory: 16 bytes for 1,024 positions,
//!   2 MiB for the longest list that a run may have.
//! - A step is short, however long a list is: whoever merges can stop in the middle of one.
//!
//! *Choice: chunks are unpacked and packed again, not copied as they are.* Positions count from the first of the run, and all chunks of a list
//! but the last are full, so none but those of the first run fit as they are; and each has to be looked at all the same, since a checksum
//! does not say that positions grow. The visible cost is the packing of an eighth of what is merged.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::io;
use std::sync::Arc;

use super::blocks::Pointer;
use super::build::{Builder, Covered};
use super::codec::CHUNK;
use super::facts::Extent;
use super::keys::Keys;
use super::list::{INLINE_MAX, Positions, RunList};
use super::{OFFSETS_PER_BLOCK, Run};
use crate::format::u32_at;
use crate::index::fault::Fault;
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
    /// The key whose lists are copied.
    current: Option<Current>,
    buffer: Vec<u32>,
}

/// A key that is merged: what one run has of it is copied, a chunk at a time.
struct Current {
    key: Vec<u8>,
    /// The run, and what is left of its list.
    at: usize,
    positions: Positions,
}

/// Blocks of offsets that are copied in one step.
const STEP_BLOCKS: usize = 64;
/// What is merged in one step, where a key counts as one: some milliseconds.
const STEP_KEYS: usize = 4_096;
/// As how many keys a chunk of positions counts.
const CHUNK_KEYS: usize = 16;

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
            current: None,
            buffer: Vec::with_capacity(CHUNK),
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
        let mut done = 0;
        while done < STEP_KEYS {
            if self.current.is_none() && !self.begin_key()? {
                return Ok(true);
            }
            done += self.copy_chunk()?;
        }
        Ok(false)
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

    /// Begins the lowest key that is left. `false` if none is.
    fn begin_key(&mut self) -> Result<bool, MergeError> {
        let Some(Reverse((key, at))) = self.heads.pop() else { return Ok(false) };
        let list = self.lists[at].take().expect("a head has a list");
        self.builder.begin_key(&key, list.base)?;
        self.current = Some(Current { key, at, positions: Positions::new(list) });
        Ok(true)
    }

    /// Copies one chunk of the current key, and goes on to the run, or the key, that comes next behind the last one. Gives as how many keys
    /// that counts.
    fn copy_chunk(&mut self) -> Result<usize, MergeError> {
        let current = self.current.as_mut().expect("a key was begun");
        let (at, run) = (current.at, &self.runs[current.at]);
        current.positions.next(run, &mut self.buffer)?;
        let shift = u32::try_from(run.facts.first - self.runs[0].facts.first).expect("a run is below 4 G");
        self.builder.positions(self.buffer.iter().map(|position| position + shift))?;
        let work = if self.buffer.len() > INLINE_MAX { CHUNK_KEYS } else { 1 };
        if current.positions.is_done() {
            self.advance(at)?;
            self.end_list()?;
        }
        Ok(work)
    }

    /// Goes on with the list of the next run that has the key; ends the key, if none has.
    fn end_list(&mut self) -> Result<(), MergeError> {
        let Some(Current { key, .. }) = self.current.take() else { return Ok(()) };
        if self.heads.peek().is_none_or(|Reverse((next, _))| *next != key) {
            return Ok(self.builder.end_key()?);
        }
        if let Some(Reverse((key, at))) = self.heads.pop() {
            let list = self.lists[at].take().expect("a head has a list");
            self.current = Some(Current { key, at, positions: Positions::new(list) });
        }
        Ok(())
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
