//! Blocks: the pieces of a run file, each with its own checksum, read through a cache with one byte budget.

use std::io;
use std::ops::Deref;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock};

use bytes::Bytes;
use quick_cache::sync::Cache;

use super::codec::{Reader, put_varint};
use crate::bugs::{Bug, planted};
use crate::env::{File, read_exact_at};
use crate::format::{Crc, Salt, u32_at};
use crate::index::lookup_error::{LookupError, ReadMode};
use crate::locks;

/// Bytes of the checksum behind every block.
pub(super) const CHECKSUM_BYTES: usize = 4;
/// The largest block. A longer length is damage and must not allocate memory.
pub(super) const BLOCK_BYTES_MAX: usize = 64 << 20;
/// The memory of a cached block besides its bytes.
const ENTRY_BYTES: u64 = 96;
/// The share of the budget that resident blocks may take: three quarters.
const RESIDENT_SHARE: (u64, u64) = (3, 4);

/// Where a block lies. Its length excludes the checksum.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Pointer {
    pub(super) offset: u64,
    pub(super) len: usize,
}

impl Pointer {
    pub(super) fn put(self, bytes: &mut Vec<u8>) {
        put_varint(bytes, self.offset);
        put_varint(bytes, self.len as u64);
    }

    pub(super) fn read(reader: &mut Reader<'_>) -> Option<Self> {
        Some(Self { offset: reader.number()?, len: reader.count(BLOCK_BYTES_MAX)? })
    }

    /// Where the next block begins.
    pub(super) const fn end(self) -> u64 {
        self.offset + (self.len + CHECKSUM_BYTES) as u64
    }
}

/// The checksum of a block. It covers the run's salt and the offset, so a block from another run or place never
/// passes.
pub(super) fn checksum(salt: &Salt, offset: u64, block: &[u8]) -> u32 {
    let mut crc = Crc::salted(salt);
    crc.update(&offset.to_le_bytes());
    crc.update(block);
    crc.value()
}

/// The blocks of all runs of a log in memory: resident ones, and ones that newer blocks may evict.
pub(crate) struct BlockCache {
    /// The memory for both.
    budget_bytes: u64,
    /// The memory that resident blocks take.
    resident_bytes: AtomicU64,
    /// Held while the capacity of the cache is computed, so that the last computation has seen every change.
    resizing: Mutex<()>,
    /// By handle number and offset. Handles are numbered because a run that was never listed may share its id with a
    /// later one.
    blocks: Cache<(u64, u64), Bytes, Weight>,
    handles: AtomicU64,
    /// Called with the id of a run that turns out to be damaged.
    on_damage: OnceLock<OnDamage>,
}

type OnDamage = Box<dyn Fn(u64) + Send + Sync>;

#[derive(Clone)]
struct Weight;

impl quick_cache::Weighter<(u64, u64), Bytes> for Weight {
    fn weight(&self, _key: &(u64, u64), block: &Bytes) -> u64 {
        block.len() as u64 + ENTRY_BYTES
    }
}

impl BlockCache {
    /// A cache of at most `bytes` bytes.
    pub(crate) fn new(bytes: u64) -> Self {
        let blocks = usize::try_from(bytes / (4 << 10)).unwrap_or(usize::MAX).max(16);
        let blocks = Cache::with_weighter(blocks, bytes, Weight);
        Self {
            budget_bytes: bytes,
            resident_bytes: AtomicU64::new(0),
            resizing: Mutex::new(()),
            blocks,
            handles: AtomicU64::new(0),
            on_damage: OnceLock::new(),
        }
    }

    /// Reserves room for a resident block, if there is any.
    fn reserve(self: &Arc<Self>, block_bytes: usize) -> Option<Room> {
        let bytes = block_bytes as u64 + ENTRY_BYTES;
        let room = self.budget_bytes / RESIDENT_SHARE.1 * RESIDENT_SHARE.0;
        let grown = |resident| Some(resident + bytes).filter(|resident| *resident <= room);
        self.resident_bytes.fetch_update(Ordering::Relaxed, Ordering::Relaxed, grown).ok()?;
        self.resize();
        Some(Room { bytes, cache: Arc::clone(self) })
    }

    /// Gives the cache the part of the budget that resident blocks do not take.
    fn resize(&self) {
        let _last_has_seen_all = locks::lock(&self.resizing);
        let resident = self.resident_bytes.load(Ordering::Relaxed);
        self.blocks.set_capacity(self.budget_bytes - resident);
    }

    /// Registers the callback for damaged runs.
    pub(crate) fn tell_of_damage(&self, on_damage: impl Fn(u64) + Send + Sync + 'static) {
        // The first callback stays: a log has one indexer.
        let _ = self.on_damage.set(Box::new(on_damage));
    }
}

/// Room in memory. Dropping it gives the room back.
struct Room {
    bytes: u64,
    cache: Arc<BlockCache>,
}

impl Drop for Room {
    fn drop(&mut self) {
        self.cache.resident_bytes.fetch_sub(self.bytes, Ordering::Relaxed);
        self.cache.resize();
    }
}

/// A block that stays in memory until it is dropped.
pub(super) struct Resident {
    block: Bytes,
    _room: Room,
}

impl Deref for Resident {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.block
    }
}

/// The blocks of one run file.
pub(super) struct Blocks {
    file: Arc<dyn File>,
    pub(super) run: u64,
    salt: Salt,
    cache: Arc<BlockCache>,
    handle: u64,
}

impl Blocks {
    pub(super) fn new(file: Arc<dyn File>, run: u64, salt: Salt, cache: Arc<BlockCache>) -> Self {
        let handle = cache.handles.fetch_add(1, Ordering::Relaxed);
        Self { file, run, salt, cache, handle }
    }

    /// Keeps the file readable although its name is about to be removed.
    pub(super) fn hold(&self) -> io::Result<()> {
        self.file.hold()
    }

    /// A block from memory or, if the caller may wait, from the disk.
    pub(super) fn get(&self, at: Pointer, mode: ReadMode) -> Result<Bytes, LookupError> {
        if let Some(block) = self.peek(at) {
            return Ok(block);
        }
        if mode == ReadMode::Memory {
            return Err(LookupError::NotInMemory);
        }
        let block = self.read(at)?;
        self.keep(at, block.clone());
        Ok(block)
    }

    /// Announces a look-up, so that the disk can start reading.
    pub(super) fn will_read(&self, at: Pointer) {
        if self.peek(at).is_none() {
            self.file.will_read(at.offset, (at.len + CHECKSUM_BYTES) as u64);
        }
    }

    /// A block, if it is in memory.
    pub(super) fn peek(&self, at: Pointer) -> Option<Bytes> {
        self.cache.blocks.get(&(self.handle, at.offset))
    }

    fn keep(&self, at: Pointer, block: Bytes) {
        self.cache.blocks.insert((self.handle, at.offset), block);
    }

    /// Reads a block into memory to stay there, if there is room.
    pub(super) fn retain(&self, at: Pointer) -> Result<Option<Resident>, LookupError> {
        let Some(room) = self.cache.reserve(at.len) else { return Ok(None) };
        Ok(Some(Resident { block: self.read(at)?, _room: room }))
    }

    /// Reads a block past the cache: a block that is read once must not evict a block in use.
    pub(super) fn read(&self, at: Pointer) -> Result<Bytes, LookupError> {
        let mut bytes = vec![0; at.len + CHECKSUM_BYTES];
        read_exact_at(&*self.file, &mut bytes, at.offset).map_err(|source| match source.kind() {
            io::ErrorKind::UnexpectedEof => self.damaged(at),
            _ => LookupError::Io { run: self.run, source },
        })?;
        let proven = u32_at(&bytes, at.len) == checksum(&self.salt, at.offset, &bytes[..at.len]);
        bytes.truncate(at.len);
        if proven || planted(Bug::NoBlockChecksum) { Ok(bytes.into()) } else { Err(self.damaged(at)) }
    }

    /// The error for a block with a wrong checksum or invalid content.
    pub(super) fn damaged(&self, at: Pointer) -> LookupError {
        tracing::error!(
            run = self.run,
            offset = at.offset,
            "an index file is damaged: the next open rebuilds it"
        );
        if let Some(on_damage) = self.cache.on_damage.get() {
            on_damage(self.run);
        }
        LookupError::Damaged { run: self.run, offset: at.offset }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn resident_blocks_take_their_share_and_give_it_back() {
        const COST: u64 = 100 + ENTRY_BYTES;
        let cache = Arc::new(BlockCache::new(4 * COST));
        let reserve = || cache.reserve(100);
        let taken = [reserve(), reserve(), reserve()];
        assert!(
            taken.iter().all(Option::is_some) && reserve().is_none(),
            "resident blocks may take three quarters"
        );
        assert!(cache.blocks.capacity() <= COST, "the cache has the rest");
        drop(taken);
        assert!(reserve().is_some(), "there is room again");
        assert_eq!(cache.resident_bytes.load(Ordering::Relaxed), 0);
        assert!(cache.blocks.capacity() > 3 * COST);
    }
}
