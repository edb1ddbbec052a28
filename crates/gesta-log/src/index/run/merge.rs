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

use std::io;
use std::sync::Arc;

use bytes::Bytes;

use super::blocks::Pointer;
use super::build::{Builder, Covered};
use super::codec::{CHUNK, Reader};
use super::facts::Extent;
use super::keys::{Keys, read_over, split};
use super::list::{Positions, RunList};
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
    /// The next key of each run, and its list.
    entries: Vec<Entries>,
    /// The runs that have a key left, the one with the lowest last; of those with the same key, the oldest. Mostly the next key is of
    /// the run that the one before was of, or near it.
    order: Vec<usize>,
    /// Whether the builder's key is still to be ended.
    is_begun: bool,
    /// What is left of a list that is copied a chunk at a time, and whose run's it is.
    long: Option<(usize, Positions)>,
    buffer: Vec<u32>,
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
            order: Vec::with_capacity(runs.len()),
            copied: (0, 0),
            runs,
            builder,
            is_begun: false,
            long: None,
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
            if self.long.is_some() {
                self.copy_chunk()?;
                done += CHUNK_KEYS;
            } else if let Some(at) = self.order.pop() {
                self.copy_list(at)?;
                done += 1;
            } else {
                self.end_key()?;
                return Ok(true);
            }
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

    /// Copies what a run has of its next key, the lowest that is left: of the builder's key, or of one that begins with it. A long list is
    /// only begun.
    fn copy_list(&mut self, at: usize) -> Result<(), MergeError> {
        if !self.is_begun || self.builder.key() != self.entries[at].key() {
            self.end_key()?;
            let entries = &self.entries[at];
            self.builder.begin_key(entries.key(), entries.list().base)?;
            self.is_begun = true;
        }
        let (entries, shift) = (&self.entries[at], self.shift(at));
        match entries.few()? {
            Some(positions) => self.builder.positions(positions.iter().map(|position| position + shift))?,
            None => {
                self.long = Some((at, Positions::new(entries.list().clone())));
                return Ok(());
            }
        }
        self.advance(at)
    }

    /// Copies the next chunk of the long list.
    fn copy_chunk(&mut self) -> Result<(), MergeError> {
        let Some((at, mut positions)) = self.long.take() else { return Ok(()) };
        positions.next(&self.runs[at], &mut self.buffer)?;
        let shift = self.shift(at);
        self.builder.positions(self.buffer.iter().map(|position| position + shift))?;
        if positions.is_done() {
            return self.advance(at);
        }
        self.long = Some((at, positions));
        Ok(())
    }

    /// What positions of a run are in the merged one.
    fn shift(&self, at: usize) -> u32 {
        u32::try_from(self.runs[at].facts.first - self.runs[0].facts.first).expect("a run is below 4 G")
    }

    fn end_key(&mut self) -> io::Result<()> {
        if std::mem::take(&mut self.is_begun) { self.builder.end_key() } else { Ok(()) }
    }

    /// Goes on to the next key of a run, and puts the run in its place among the others.
    fn advance(&mut self, at: usize) -> Result<(), MergeError> {
        if !self.entries[at].next()? {
            return Ok(());
        }
        let key = self.entries[at].key();
        let is_lower = |own: &usize| (self.entries[*own].key(), *own) < (key, at);
        let lower = self.order.iter().rev().take_while(|own| is_lower(own)).count();
        self.order.insert(self.order.len() - lower, at);
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
    /// The leaf that is read, and what of its entries is left.
    leaf: Pointer,
    block: Bytes,
    left: std::ops::Range<usize>,
    key: Vec<u8>,
    list: RunList,
}

impl Entries {
    pub(super) fn new(run: Arc<Run>) -> Self {
        let leaf = run.facts.fence;
        Self {
            run,
            fence: 0,
            leaves: Vec::new().into_iter(),
            leaf,
            block: Bytes::new(),
            left: 0..0,
            key: Vec::new(),
            list: RunList::inline(0, &[0]),
        }
    }

    /// The key that was read last.
    pub(crate) fn key(&self) -> &[u8] {
        &self.key
    }

    /// The list of that key.
    pub(crate) const fn list(&self) -> &RunList {
        &self.list
    }

    /// The positions of that key, if they stand beside it.
    fn few(&self) -> Result<Option<&[u32]>, Fault> {
        let is_within = (self.list.last as usize) < self.run.len();
        let few = self.list.few().map(|few| is_within.then_some(few));
        few.map(|few| few.ok_or_else(|| self.run.blocks.damaged(self.leaf))).transpose()
    }

    /// Reads the next key. `false` if none is left.
    pub(crate) fn next(&mut self) -> Result<bool, Fault> {
        while self.left.is_empty() {
            if !self.next_leaf()? {
                return Ok(false);
            }
        }
        self.next_in_leaf().map(|()| true).ok_or_else(|| self.run.blocks.damaged(self.leaf))
    }

    /// `None` where the leaf does not hold what it should.
    fn next_in_leaf(&mut self) -> Option<()> {
        let mut reader = Reader::new(&self.block[self.left.clone()]);
        // Keys have at least a byte, so that the first one is above none.
        let grows = read_over(&mut reader, &mut self.key)?;
        self.list = RunList::read(&mut reader)?;
        self.left.start = self.left.end - reader.len();
        grows.then_some(())
    }

    fn next_leaf(&mut self) -> Result<bool, Fault> {
        loop {
            if let Some(at) = self.leaves.next() {
                self.leaf = at;
                self.block = self.run.blocks.read(at)?;
                let (entries, _) = split(&self.block).ok_or_else(|| self.run.blocks.damaged(at))?;
                self.left = 0..entries.len();
                return Ok(true);
            }
            let Some(fence) = self.run.fence.get(self.fence) else { return Ok(false) };
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
