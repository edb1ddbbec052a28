//! Runs: index files over adjacent ranges of positions. Immutable, derived, deletable.
//!
//! A run holds where each record begins, and the positions of each key. Whole keys stand sorted in leaves of about 4
//! KiB. Branches point to leaves; the fence, in memory, points to branches. Each branch has a filter that excludes
//! most absent keys.
//!
//! *Choice: whole keys, no hashes* (`docs/decisions/0005`). Two names never collide, so no look-up has to read a
//! record to make sure.

mod blocks;
mod build;
mod codec;
mod filter;
mod footer;
#[cfg(feature = "fuzzing")]
pub(crate) mod fuzzing;
mod keys;
mod list;
mod merge;
mod sought;

use std::cmp::Ordering;
use std::io;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::atomic::{AtomicBool, AtomicU8};
use std::sync::{Arc, OnceLock};

use bytes::Bytes;

use super::key::{Key, id_number, leading};
use super::lookup_error::{LookupError, ReadMode};
use crate::env::{File, read_exact_at};
use crate::format::u32_at;
use crate::segment::SegmentFile;
pub(crate) use blocks::BlockCache;
use blocks::{Blocks, CHECKSUM_BYTES, Pointer, Resident};
pub(crate) use build::{Builder, Covered};
use codec::Reader;
pub(crate) use footer::{Extent, RunFooter};
use footer::{MAGIC, TRAILER_BYTES};
#[cfg(feature = "fuzzing")]
pub use fuzzing::{blocks, file, patched};
use keys::Keys;
pub(crate) use list::{RunCursor, RunList};
use merge::Entries;
pub(crate) use merge::{Merge, MergeError};
pub(crate) use sought::SoughtId;

/// Positions whose offsets share a block.
const OFFSETS_PER_BLOCK: usize = 1024;
/// Marks the offset of the first record of a frame.
pub(crate) const FIRST_OF_FRAME: u32 = 1 << 31;
/// Look-ups of a filter before it may stay in memory.
const FILTER_TOUCHES: u8 = 2;

/// An open run.
pub(crate) struct Run {
    pub(crate) footer: RunFooter,
    blocks: Blocks,
    /// The segment of each extent.
    pub(crate) segments: Vec<Arc<SegmentFile>>,
    fence: Vec<Fence>,
    /// The first bytes of the fence's keys. They mostly decide, and lie close together in memory.
    prefixes: Vec<u64>,
    /// The lowest and the highest event id.
    ids: (u128, u128),
    pub(super) secret: u64,
    pub(crate) size_bytes: u64,
}

/// One branch, and the lowest key that it may hold.
struct Fence {
    key: Box<[u8]>,
    branch: Pointer,
    filter: Pointer,
    /// The filter, if there is room for it to stay.
    resident: OnceLock<Resident>,
    /// Look-ups that missed the filter in memory.
    touches: AtomicU8,
    /// Whether the filter was read once without room for it.
    is_read: AtomicBool,
}

impl Fence {
    fn new(key: Box<[u8]>, branch: Pointer, filter: Pointer) -> Self {
        let (resident, touches, is_read) = <(OnceLock<_>, AtomicU8, AtomicBool)>::default();
        Self { key, branch, filter, resident, touches, is_read }
    }
}

impl Run {
    /// Opens a run file. Verifies its facts now, everything else at its first use. `None` if it names a segment that
    /// the log does not list.
    pub(crate) fn open(
        file: Arc<dyn File>,
        run: u64,
        secret: u64,
        cache: Arc<BlockCache>,
        segment: impl Fn(u64) -> Option<Arc<SegmentFile>>,
    ) -> Result<Option<Self>, LookupError> {
        let size_bytes = file.len().map_err(|source| LookupError::Io { run, source })?;
        let footer = read_facts(&*file, run, size_bytes)?;
        let segments =
            footer.extents.iter().map(|extent| segment(extent.segment)).collect::<Option<Vec<_>>>();
        let Some(segments) = segments else { return Ok(None) };
        let blocks = Blocks::new(file, run, footer.salt, cache);
        let fence = read_fence(&blocks, footer.fence)?;
        Ok(Some(Self::of(footer, blocks, segments, fence, secret, size_bytes)))
    }

    fn of(
        footer: RunFooter,
        blocks: Blocks,
        segments: Vec<Arc<SegmentFile>>,
        fence: Vec<Fence>,
        secret: u64,
        size_bytes: u64,
    ) -> Self {
        let (lowest, highest) = &footer.ids;
        let ids = (id_number(lowest), id_number(highest));
        let prefixes = fence.iter().map(|fence| leading(&fence.key)).collect();
        Self { footer, blocks, segments, fence, prefixes, ids, secret, size_bytes }
    }

    /// The positions of a key.
    pub(crate) fn find(&self, key: &Key, mode: ReadMode) -> Result<Option<RunList>, LookupError> {
        if key.as_id().is_some_and(|id| !self.may_hold_id(id)) {
            return Ok(None);
        }
        let (hash, key) = (key.hash(self.secret), key.as_bytes());
        let Some(fence) = self.fence_of(key) else { return Ok(None) };
        if !self.may_hold(fence, hash, mode) {
            return Ok(None);
        }
        let branch = self.blocks.get(fence.branch, mode)?;
        let damaged = || self.blocks.damaged(fence.branch);
        let Some(leaf_at) = find_leaf(&branch, key).ok_or_else(damaged)? else { return Ok(None) };
        let leaf = self.blocks.get(leaf_at, mode)?;
        find_list(&leaf, key).ok_or_else(|| self.blocks.damaged(leaf_at))
    }

    /// Whether an id lies between the lowest and the highest id of the run. For a newer id this is the whole cost.
    pub(super) const fn may_hold_id(&self, id: u128) -> bool {
        let (lowest, highest) = self.ids;
        lowest <= id && id <= highest
    }

    /// The branch that would hold a key.
    fn fence_of(&self, key: &[u8]) -> Option<&Fence> {
        let prefix = leading(key);
        let from = self.prefixes.partition_point(|own| *own < prefix);
        let alike = self.prefixes[from..].partition_point(|own| *own == prefix);
        let at = from + self.fence[from..from + alike].partition_point(|fence| *fence.key <= *key);
        at.checked_sub(1).map(|at| &self.fence[at])
    }

    /// Whether a branch may hold a key. `true` if its filter is not in memory.
    fn may_hold(&self, fence: &Fence, hash: u64, mode: ReadMode) -> bool {
        self.filter(fence, mode).is_none_or(|filter| filter::may_hold(filter, hash))
    }

    /// The filter of a branch. Loads it if it is asked for often enough and there is room. Otherwise, and if it is
    /// damaged, look-ups do without: reading a whole filter for one look-up costs more than the block that it would
    /// save.
    fn filter<'f>(&self, fence: &'f Fence, mode: ReadMode) -> Option<&'f Resident> {
        let resident = fence.resident.get();
        if resident.is_some() || mode == ReadMode::Memory {
            return resident;
        }
        if fence.touches.fetch_add(1, Relaxed) + 1 < FILTER_TOUCHES {
            return None;
        }
        fence.touches.store(0, Relaxed);
        self.retain_filter(fence).ok()?;
        let resident = fence.resident.get();
        if resident.is_none() && !fence.is_read.swap(true, Relaxed) {
            // Read once without room, so that use of an index finds damage in every part of it: `read` reports
            // damage.
            let _ = self.blocks.read(fence.filter);
        }
        resident
    }

    fn retain_filter(&self, fence: &Fence) -> Result<(), LookupError> {
        if let Some(filter) = self.blocks.retain(fence.filter)? {
            // Another thread may have been faster. Then this filter gives its room back.
            let _ = fence.resident.set(filter);
        }
        Ok(())
    }

    /// Loads the filters as far as there is room: every append asks them.
    pub(crate) fn warm(&self) -> Result<(), LookupError> {
        self.fence.iter().try_for_each(|fence| self.retain_filter(fence))
    }

    /// Keeps its file readable although its name is about to be removed.
    pub(crate) fn hold(&self) -> io::Result<()> {
        self.blocks.hold()
    }

    /// Verifies every filter.
    pub(crate) fn prove_filters(&self) -> Result<(), LookupError> {
        self.fence.iter().try_for_each(|fence| self.blocks.read(fence.filter).map(drop))
    }

    /// A cursor over the list of a key.
    pub(crate) const fn cursor(&self, list: RunList, mode: ReadMode) -> RunCursor<'_> {
        RunCursor::new(self, list, mode)
    }

    /// Every key with its list, in order.
    pub(crate) fn entries(self: &Arc<Self>) -> Entries {
        Entries::new(Arc::clone(self))
    }

    /// Where records begin.
    pub(crate) const fn offsets(&self, mode: ReadMode) -> Offsets<'_> {
        Offsets { run: self, mode, block: None, has_waited: false, ahead: None }
    }

    fn offsets_pointer(&self, block: usize) -> Pointer {
        let count = self.len() - block * OFFSETS_PER_BLOCK;
        let stride = OFFSETS_PER_BLOCK * 4 + CHECKSUM_BYTES;
        let offset = (MAGIC.len() + block * stride) as u64;
        Pointer { offset, len: 4 * count.min(OFFSETS_PER_BLOCK) }
    }

    /// The number of positions that it covers.
    pub(crate) fn len(&self) -> usize {
        usize::try_from(self.footer.last - self.footer.first + 1).expect("a run is below 4 G")
    }
}

fn read_facts(file: &dyn File, run: u64, size_bytes: u64) -> Result<RunFooter, LookupError> {
    let failed = |source: io::Error| match source.kind() {
        io::ErrorKind::UnexpectedEof => LookupError::Damaged { run, offset: 0 },
        _ => LookupError::Io { run, source },
    };
    let damaged = || LookupError::Damaged { run, offset: size_bytes };
    let mut magic = [0; MAGIC.len()];
    read_exact_at(file, &mut magic, 0).map_err(failed)?;
    let trailer_at = size_bytes.checked_sub(TRAILER_BYTES as u64).filter(|_| magic == MAGIC);
    let trailer_at = trailer_at.ok_or_else(damaged)?;
    let mut trailer = [0; TRAILER_BYTES];
    read_exact_at(file, &mut trailer, trailer_at).map_err(failed)?;
    let len = RunFooter::len_of(&trailer).ok_or_else(damaged)?;
    let at = trailer_at.checked_sub(len as u64).ok_or_else(damaged)?;
    let mut bytes = vec![0; len];
    read_exact_at(file, &mut bytes, at).map_err(failed)?;
    RunFooter::decode(&bytes, &trailer).filter(|footer| footer.id == run).ok_or_else(damaged)
}

fn read_fence(blocks: &Blocks, at: Pointer) -> Result<Vec<Fence>, LookupError> {
    let bytes = blocks.read(at)?;
    let mut reader = Reader::new(&bytes);
    let mut fence = Vec::new();
    while !reader.is_empty() {
        let entry = read_fence_entry(&mut reader).ok_or_else(|| blocks.damaged(at))?;
        fence.push(entry);
    }
    Ok(fence)
}

fn read_fence_entry(reader: &mut Reader<'_>) -> Option<Fence> {
    let len = reader.count(u16::MAX.into())?;
    let key = reader.bytes(len)?.into();
    let (branch, filter) = (Pointer::read(reader)?, Pointer::read(reader)?);
    Some(Fence::new(key, branch, filter))
}

/// The leaf that would hold a key. The outer `None` means that the branch is damaged.
fn find_leaf(branch: &[u8], key: &[u8]) -> Option<Option<Pointer>> {
    let mut keys = Keys::near(branch, key)?;
    let mut leaf = None;
    while !keys.is_done() {
        keys.next()?;
        let pointer = Pointer::read(&mut keys.reader)?;
        if keys.compare(key) == Ordering::Greater {
            break;
        }
        leaf = Some(pointer);
    }
    Some(leaf)
}

/// The list of a key in its leaf. The outer `None` means that the leaf is damaged.
fn find_list(leaf: &[u8], key: &[u8]) -> Option<Option<RunList>> {
    let mut keys = Keys::near(leaf, key)?;
    while !keys.is_done() {
        keys.next()?;
        match keys.compare(key) {
            Ordering::Less => RunList::pass(&mut keys.reader)?,
            Ordering::Equal => return RunList::read(&mut keys.reader).map(Some),
            Ordering::Greater => break,
        }
    }
    Some(None)
}

/// Where records begin. Keeps the block of the last look-up.
pub(crate) struct Offsets<'a> {
    run: &'a Run,
    mode: ReadMode,
    block: Option<(usize, Bytes)>,
    /// Whether a block was not in memory.
    has_waited: bool,
    /// The last block that was announced to the disk.
    ahead: Option<usize>,
}

impl Offsets<'_> {
    /// Whether it read from the file.
    pub(crate) const fn has_waited(&self) -> bool {
        self.has_waited
    }

    /// Announces a look-up, so that the disk can start reading. Consecutive blocks are not announced: the kernel
    /// reads ahead by itself there, and in larger pieces.
    pub(crate) fn will_get(&mut self, position: u32) {
        let number = position as usize / OFFSETS_PER_BLOCK;
        let before = self.ahead.or(self.block.as_ref().map(|(own, _)| *own));
        self.ahead = Some(number);
        let is_told = before.is_some_and(|before| number == before || number == before + 1);
        if !is_told && (position as usize) < self.run.len() {
            self.run.blocks.will_read(self.run.offsets_pointer(number));
        }
    }

    /// The offset of a record, with the mark of a frame's first record. The position is relative to the run's first.
    pub(crate) fn get(&mut self, position: u32) -> Result<u32, LookupError> {
        if position as usize >= self.run.len() {
            // A list holds a position beyond the run.
            return Err(self.run.blocks.damaged(self.run.footer.fence));
        }
        let number = position as usize / OFFSETS_PER_BLOCK;
        if self.block.as_ref().is_none_or(|(own, _)| *own != number) {
            let at = self.run.offsets_pointer(number);
            let block = match self.run.blocks.peek(at) {
                Some(block) => block,
                None => {
                    self.has_waited = true;
                    self.run.blocks.get(at, self.mode)?
                }
            };
            self.block = Some((number, block));
        }
        let (_, block) = self.block.as_ref().expect("it was read");
        Ok(u32_at(block, position as usize % OFFSETS_PER_BLOCK * 4))
    }
}
