//! Writes a run: the offsets first, then the keys in order, each leaf after the chunks that it points to.

use std::io;
use std::sync::Arc;

use super::blocks::{BlockCache, Blocks, CHECKSUM_BYTES, Pointer, checksum};
use super::codec::put_varint;
use super::filter::{self, FILTER_KEYS_MAX};
use super::footer::{Extent, MAGIC, RunFooter};
use super::keys::KeyBlock;
use super::list::ListBuilder;
use super::{Fence, OFFSETS_PER_BLOCK, Run};
use crate::bugs::{Bug, planted};
use crate::env::File;
use crate::format::{FrameName, Salt};
use crate::index::key::{hash_of, shared_len};
use crate::limits::BACKGROUND_BYTES_IN_FLIGHT;
use crate::segment::{LogPoint, SegmentFile};

/// A leaf or branch of this size is written.
const LEAF_BYTES: usize = 4 << 10;
const BRANCH_BYTES: usize = 16 << 10;
/// Bytes of one write.
const WRITE_BYTES: usize = 1 << 20;

/// A run that is being written.
pub(crate) struct Builder {
    output: Output,
    secret: u64,
    cache: Arc<BlockCache>,
    offsets: Vec<u8>,
    list: ListBuilder,
    key: Vec<u8>,
    leaf: KeyBlock,
    /// The lowest key of the leaf, shortened.
    leaf_first: Vec<u8>,
    branch: KeyBlock,
    branch_first: Vec<u8>,
    hashes: Vec<u64>,
    fence: Vec<Fence>,
    /// The last key of the leaf before.
    before: Vec<u8>,
    keys: u64,
    postings: u64,
    ids: Option<([u8; 16], [u8; 16])>,
}

/// The part of the log that a run covers.
pub(crate) struct Covered {
    pub(crate) id: u64,
    /// How often the covered range was merged.
    pub(crate) tier: u8,
    pub(crate) store: [u8; 16],
    pub(crate) first: u64,
    pub(crate) last: u64,
    pub(crate) first_frame: FrameName,
    pub(crate) end: LogPoint,
    pub(crate) extents: Vec<Extent>,
    /// The segment of each extent.
    pub(crate) segments: Vec<Arc<SegmentFile>>,
}

/// A file that is written from front to back.
struct Output {
    file: Arc<dyn File>,
    salt: Salt,
    written: u64,
    synced: u64,
    buffer: Vec<u8>,
}

impl Output {
    const fn at(&self) -> u64 {
        self.written + self.buffer.len() as u64
    }

    fn block(&mut self, block: &[u8]) -> io::Result<Pointer> {
        let at = Pointer { offset: self.at(), len: block.len() };
        self.buffer.extend_from_slice(block);
        self.buffer.extend_from_slice(&checksum(&self.salt, at.offset, block).to_le_bytes());
        if self.buffer.len() >= WRITE_BYTES {
            self.flush()?;
        }
        Ok(at)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.write_at(&[&self.buffer], self.written)?;
        self.written += self.buffer.len() as u64;
        self.buffer.clear();
        // Synced in pieces, so that a sync of the log never waits for a large one.
        if self.written - self.synced >= BACKGROUND_BYTES_IN_FLIGHT as u64 {
            self.file.sync_data()?;
            self.synced = self.written;
        }
        Ok(())
    }
}

impl Builder {
    /// Begins a run in a new file. The salt is drawn at random.
    pub(crate) fn new(file: Arc<dyn File>, salt: Salt, secret: u64, cache: Arc<BlockCache>) -> Self {
        Self {
            output: Output { file, salt, written: 0, synced: 0, buffer: MAGIC.to_vec() },
            secret,
            cache,
            offsets: Vec::with_capacity(4 * OFFSETS_PER_BLOCK),
            list: ListBuilder::new(),
            key: Vec::new(),
            leaf: KeyBlock::default(),
            leaf_first: Vec::new(),
            branch: KeyBlock::default(),
            branch_first: Vec::new(),
            hashes: Vec::new(),
            fence: Vec::new(),
            before: Vec::new(),
            keys: 0,
            postings: 0,
            ids: None,
        }
    }

    /// Adds where the next record begins. All offsets come before the first key.
    pub(crate) fn offset(&mut self, offset: u32) -> io::Result<()> {
        self.offsets.extend_from_slice(&offset.to_le_bytes());
        if self.offsets.len() == 4 * OFFSETS_PER_BLOCK { self.end_offsets() } else { Ok(()) }
    }

    fn end_offsets(&mut self) -> io::Result<()> {
        if !self.offsets.is_empty() {
            self.output.block(&self.offsets)?;
            self.offsets.clear();
        }
        Ok(())
    }

    /// Begins the next key. Keys must grow.
    pub(crate) fn begin_key(&mut self, key: &[u8], base: u64) -> io::Result<()> {
        self.end_offsets()?;
        assert!(self.keys == 0 || *self.key < *key, "keys grow");
        self.key.clear();
        self.key.extend_from_slice(key);
        self.list.begin(base);
        Ok(())
    }

    /// The current key.
    pub(crate) fn key(&self) -> &[u8] {
        &self.key
    }

    /// Adds positions of the key, relative to the run's first. They must grow.
    pub(crate) fn positions(&mut self, positions: impl IntoIterator<Item = u32>) -> io::Result<()> {
        let output = &mut self.output;
        self.list.push(positions, |block| output.block(block))
    }

    /// Ends the key.
    pub(crate) fn end_key(&mut self) -> io::Result<()> {
        if self.leaf.is_empty() {
            self.leaf_first = separator(&self.before, &self.key);
        }
        let output = &mut self.output;
        let count = self.list.finish(self.leaf.push(&self.key), |block| output.block(block))?;
        self.note_id();
        self.keys += 1;
        self.postings += count as u64;
        self.hashes.push(hash_of(self.secret, &self.key));
        if self.leaf.len() >= LEAF_BYTES { self.end_leaf() } else { Ok(()) }
    }

    fn note_id(&mut self) {
        if self.key.first() == Some(&(crate::index::key::Kind::Id as u8))
            && let Ok(id) = <[u8; 16]>::try_from(&self.key[1..])
        {
            let (lowest, _) = self.ids.unwrap_or((id, id));
            self.ids = Some((lowest, id));
        }
    }

    fn end_leaf(&mut self) -> io::Result<()> {
        if self.leaf.is_empty() {
            return Ok(());
        }
        self.before.clear();
        self.before.extend_from_slice(self.leaf.last());
        let leaf = self.output.block(&self.leaf.take())?;
        if self.branch.is_empty() {
            self.branch_first.clone_from(&self.leaf_first);
        }
        leaf.put(self.branch.push(&self.leaf_first));
        let is_full = self.branch.len() >= BRANCH_BYTES || self.hashes.len() >= FILTER_KEYS_MAX;
        if is_full { self.end_branch() } else { Ok(()) }
    }

    fn end_branch(&mut self) -> io::Result<()> {
        if self.branch.is_empty() {
            return Ok(());
        }
        let branch = self.output.block(&self.branch.take())?;
        let filter = self.output.block(&filter::build(&self.hashes))?;
        self.fence.push(Fence::new(self.branch_first[..].into(), branch, filter));
        self.hashes.clear();
        Ok(())
    }

    /// Writes the rest and syncs the file. The caller still has to sync the folder.
    pub(crate) fn finish(mut self, covered: Covered) -> io::Result<Run> {
        self.end_offsets()?;
        self.end_leaf()?;
        self.end_branch()?;
        let fence = self.output.block(&encode_fence(&self.fence))?;
        let Covered { id, tier, store, first, last, first_frame, end, extents, segments } = covered;
        let footer = RunFooter {
            id,
            tier,
            store,
            salt: self.output.salt,
            first,
            last,
            first_frame,
            end,
            extents,
            ids: self.ids.expect("every event has an id"),
            keys: self.keys,
            postings: self.postings,
            fence,
        };
        self.output.buffer.extend_from_slice(&footer.encode());
        self.output.flush()?;
        if !planted(Bug::RunNotSynced) {
            self.output.file.sync_all()?;
        }
        let Output { file, salt, written, .. } = self.output;
        file.settle();
        let blocks = Blocks::new(file, id, salt, self.cache);
        Ok(Run::of(footer, blocks, segments, self.fence, self.secret, written))
    }
}

fn encode_fence(fence: &[Fence]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for Fence { key, branch, filter, .. } in fence {
        put_varint(&mut bytes, key.len() as u64);
        bytes.extend_from_slice(key);
        branch.put(&mut bytes);
        filter.put(&mut bytes);
    }
    bytes
}

/// The shortest bytes above one key and not above the next.
fn separator(before: &[u8], key: &[u8]) -> Vec<u8> {
    let shared = shared_len(before, key);
    key[..(shared + 1).min(key.len())].to_vec()
}

const _: () = assert!(CHECKSUM_BYTES == 4, "the trailer and the offsets count on it");
