//! Merges runs of adjacent ranges into one: their offsets follow one another, and so do the positions of each key.
//!
//! *Invariants*
//! - Memory holds one chunk of an input list, one chunk of the output list and its directory, however long the list
//!   is: 16 bytes for 1,024 positions, 2 MiB for the longest list of a run.
//! - A step is short, however long a list is: a merge can stop in the middle of a list.
//!
//! *Choice: chunks are unpacked and packed again, not copied.* Positions count from the first of the run, and all
//! chunks of a list except the last are full, so only the chunks of the first run would fit unchanged. Each chunk has
//! to be checked anyway, because a checksum does not show that positions grow. The visible cost: packing one eighth
//! of the merged bytes.

use std::io;
use std::sync::Arc;

use bytes::Bytes;

use super::blocks::Pointer;
use super::build::{Builder, Covered};
use super::codec::{CHUNK, Reader};
use super::footer::Extent;
use super::keys::{Keys, read_over, split};
use super::list::{Positions, RunList};
use super::{OFFSETS_PER_BLOCK, Run};
use crate::format::u32_at;
use crate::index::lookup_error::LookupError;
use crate::segment::SegmentFile;

/// A merge in progress. It runs in steps, so that its thread can do other work between two of them.
pub(crate) struct Merge {
    runs: Vec<Arc<Run>>,
    builder: Builder,
    /// The run and the block of offsets that are copied next.
    copied: (usize, usize),
    /// The next key of each run, and its list.
    entries: Vec<Entries>,
    /// The runs that have a key left, the one with the lowest key last; among equal keys the oldest last. The next
    /// key mostly belongs to the same run as the one before, or to a neighbour.
    order: Vec<usize>,
    /// Whether the builder's current key is still open.
    is_begun: bool,
    /// A long list that is copied a chunk at a time: the run, and the rest of the list.
    long: Option<(usize, Positions)>,
    buffer: Vec<u32>,
}

/// Blocks of offsets that are copied in one step.
const STEP_BLOCKS: usize = 64;
/// Keys that are merged in one step: some milliseconds.
const STEP_KEYS: usize = 4_096;
/// The cost of a chunk of positions, in keys.
const CHUNK_KEYS: usize = 16;

/// Why a merge stopped.
#[derive(Debug, thiserror::Error)]
pub(crate) enum MergeError {
    #[error(transparent)]
    Read(#[from] LookupError),
    #[error("writing an index file failed: {0}")]
    Write(#[from] io::Error),
}

impl Merge {
    /// Begins a merge of runs that follow one another without a gap.
    pub(crate) fn new(runs: Vec<Arc<Run>>, builder: Builder) -> Result<Self, MergeError> {
        let adjacent = runs.windows(2).all(|pair| pair[0].footer.last + 1 == pair[1].footer.first);
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

    /// Merges one step. `true` once the merge is complete.
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

    /// Copies the list of a run's next key, the lowest that is left, into the builder's current key or a new one. Of
    /// a long list it copies the beginning only.
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

    /// The difference between a position in the merged run and in an input run.
    fn shift(&self, at: usize) -> u32 {
        u32::try_from(self.runs[at].footer.first - self.runs[0].footer.first).expect("a run is below 4 G")
    }

    fn end_key(&mut self) -> io::Result<()> {
        if std::mem::take(&mut self.is_begun) { self.builder.end_key() } else { Ok(()) }
    }

    /// Advances a run to its next key, and sorts the run among the others.
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

    /// Writes the rest, and makes the run durable.
    pub(crate) fn finish(self, id: u64, tier: u8) -> io::Result<Run> {
        let (first, last) = (&self.runs[0].footer, &self.runs[self.runs.len() - 1].footer);
        let (mut extents, mut segments) = (Vec::<Extent>::new(), Vec::<Arc<SegmentFile>>::new());
        let pieces = self.runs.iter().flat_map(|run| run.footer.extents.iter().zip(&run.segments));
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
    /// The current leaf, and the rest of its entries.
    leaf: Pointer,
    block: Bytes,
    left: std::ops::Range<usize>,
    key: Vec<u8>,
    list: RunList,
}

impl Entries {
    pub(super) fn new(run: Arc<Run>) -> Self {
        let leaf = run.footer.fence;
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

    /// The current key.
    pub(crate) fn key(&self) -> &[u8] {
        &self.key
    }

    /// The list of that key.
    pub(crate) const fn list(&self) -> &RunList {
        &self.list
    }

    /// The positions of that key, if they are stored beside it.
    fn few(&self) -> Result<Option<&[u32]>, LookupError> {
        let is_within = (self.list.last as usize) < self.run.len();
        let few = self.list.few().map(|few| is_within.then_some(few));
        few.map(|few| few.ok_or_else(|| self.run.blocks.damaged(self.leaf))).transpose()
    }

    /// Reads the next key. `false` at the end.
    pub(crate) fn next(&mut self) -> Result<bool, LookupError> {
        while self.left.is_empty() {
            if !self.next_leaf()? {
                return Ok(false);
            }
        }
        self.next_in_leaf().map(|()| true).ok_or_else(|| self.run.blocks.damaged(self.leaf))
    }

    /// `None` if the leaf is invalid.
    fn next_in_leaf(&mut self) -> Option<()> {
        let mut reader = Reader::new(&self.block[self.left.clone()]);
        // Keys have at least one byte, so the first key is above the empty one before it.
        let grows = read_over(&mut reader, &mut self.key)?;
        self.list = RunList::read(&mut reader)?;
        self.left.start = self.left.end - reader.len();
        grows.then_some(())
    }

    fn next_leaf(&mut self) -> Result<bool, LookupError> {
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
