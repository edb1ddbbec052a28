//! The positions of one key in a run: a few are stored beside the key, more in packed chunks with a directory.

mod positions;

use super::Run;
use super::blocks::{CHECKSUM_BYTES, Pointer};
use super::codec::{CHUNK, Chunk, Reader, pack, put_varint};
use crate::format::{NUMBER_MAX, u16_at, u32_at, u64_at};
use crate::index::lookup_error::{LookupError, ReadMode};
pub(crate) use positions::Positions;

/// The most positions that are stored beside their key.
pub(super) const INLINE_MAX: usize = 16;
/// A chunk's entry in the directory: its first position (u32), its length (u16), 0 (u16), its offset (u64).
pub(super) const ENTRY_BYTES: usize = 16;
/// Chunks in one block of a directory.
pub(super) const DIRECTORY_ENTRIES: usize = 256;

/// The positions of one key, relative to the first of the run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct RunList {
    pub(crate) count: usize,
    /// For a stream, the version of its first event in the run.
    pub(crate) base: u64,
    /// The last position.
    pub(crate) last: u32,
    shape: Shape,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Shape {
    /// The first `count` are valid.
    Inline([u32; INLINE_MAX]),
    Chunk(Pointer),
    /// Where the directory begins: blocks of [`DIRECTORY_ENTRIES`] entries and, if there are several, one block with
    /// the first position of each.
    Chunks {
        directory: u64,
    },
}

impl RunList {
    pub(super) fn inline(base: u64, positions: &[u32]) -> Self {
        let last = *positions.last().expect("a key has a position");
        let mut own = [0; INLINE_MAX];
        own[..positions.len()].copy_from_slice(positions);
        Self { count: positions.len(), base, last, shape: Shape::Inline(own) }
    }

    pub(super) const fn chunk(base: u64, count: usize, last: u32, chunk: Pointer) -> Self {
        Self { count, base, last, shape: Shape::Chunk(chunk) }
    }

    pub(super) const fn chunks(base: u64, count: usize, last: u32, directory: u64) -> Self {
        Self { count, base, last, shape: Shape::Chunks { directory } }
    }

    /// All positions, if they are stored beside the key.
    pub(super) fn few(&self) -> Option<&[u32]> {
        match &self.shape {
            Shape::Inline(positions) => Some(&positions[..self.count]),
            _ => None,
        }
    }

    pub(super) fn put(&self, bytes: &mut Vec<u8>) {
        match &self.shape {
            Shape::Inline(positions) => put_few(bytes, self.base, &positions[..self.count]),
            Shape::Chunk(chunk) => {
                self.put_ends(bytes);
                chunk.put(bytes);
            }
            Shape::Chunks { directory } => {
                self.put_ends(bytes);
                put_varint(bytes, *directory);
            }
        }
    }

    fn put_ends(&self, bytes: &mut Vec<u8>) {
        put_varint(bytes, self.count as u64);
        put_varint(bytes, self.base);
        put_varint(bytes, u64::from(self.last));
    }

    pub(super) fn read(reader: &mut Reader<'_>) -> Option<Self> {
        let count = reader.count(u32::MAX as usize).filter(|count| *count > 0)?;
        let base = reader.number()?;
        if count > INLINE_MAX {
            let last = reader.position()?;
            return Some(if count <= CHUNK {
                Self::chunk(base, count, last, Pointer::read(reader)?)
            } else {
                Self::chunks(base, count, last, reader.number()?)
            });
        }
        let mut positions = [0; INLINE_MAX];
        let mut position = 0_u32;
        for (index, own) in positions[..count].iter_mut().enumerate() {
            let step = reader.position()?;
            position = position.checked_add(step).filter(|_| index == 0 || step > 0)?;
            *own = position;
        }
        Some(Self { count, base, last: position, shape: Shape::Inline(positions) })
    }

    /// Skips a list.
    pub(super) fn pass(reader: &mut Reader<'_>) -> Option<()> {
        let count = reader.count(u32::MAX as usize).filter(|count| *count > 0)?;
        reader.varint()?;
        let numbers = if count <= INLINE_MAX {
            count
        } else if count <= CHUNK {
            3
        } else {
            2
        };
        (0..numbers).try_for_each(|_| reader.varint().map(|_| ()))
    }

    const fn chunk_count(&self) -> usize {
        self.count.div_ceil(CHUNK)
    }

    /// Where block `number` of a directory lies.
    fn directory_pointer(&self, directory: u64, number: usize) -> Pointer {
        let entries = (self.chunk_count() - number * DIRECTORY_ENTRIES).min(DIRECTORY_ENTRIES);
        let full = DIRECTORY_ENTRIES * ENTRY_BYTES + CHECKSUM_BYTES;
        Pointer { offset: directory + (number * full) as u64, len: entries * ENTRY_BYTES }
    }
}

/// Appends a list that is stored beside its key.
fn put_few(bytes: &mut Vec<u8>, base: u64, positions: &[u32]) {
    put_varint(bytes, positions.len() as u64);
    put_varint(bytes, base);
    let mut before = 0;
    for position in positions {
        put_varint(bytes, u64::from(position - before));
        before = *position;
    }
}

/// Where a chunk lies, according to its directory entry. `None` if the entry is invalid.
fn chunk_pointer(block: &[u8], entry: usize) -> Option<Pointer> {
    let entry = entry * ENTRY_BYTES;
    let (len, offset) = (u16_at(block, entry + 4), u64_at(block, entry + 8));
    (offset <= NUMBER_MAX).then_some(Pointer { offset, len: usize::from(len) })
}

/// A cursor over the list of a run. Keeps the chunk of the last look-up.
pub(crate) struct RunCursor<'a> {
    run: &'a Run,
    mode: ReadMode,
    pub(crate) list: RunList,
    /// The number of the chunk, where it lies, and its content.
    chunk: Option<(usize, Pointer, Chunk)>,
}

impl<'a> RunCursor<'a> {
    pub(crate) const fn new(run: &'a Run, list: RunList, mode: ReadMode) -> Self {
        Self { run, mode, list, chunk: None }
    }

    /// The position at an index below the count.
    pub(crate) fn at(&mut self, index: usize) -> Result<u32, LookupError> {
        if let Some(positions) = self.list.few() {
            return Ok(positions[index]);
        }
        self.load(index / CHUNK)?;
        let (_, at, chunk) = self.chunk.as_mut().expect("it was loaded");
        chunk.at(index % CHUNK).ok_or_else(|| self.run.blocks.damaged(*at))
    }

    /// The index of the first position that is at least `target`; the count if there is none.
    pub(crate) fn lower_bound(&mut self, target: u32) -> Result<usize, LookupError> {
        if target > self.list.last {
            return Ok(self.list.count);
        }
        if let Some(positions) = self.list.few() {
            return Ok(positions.partition_point(|position| *position < target));
        }
        let number = self.chunk_of(target)?;
        self.load(number)?;
        let (_, at, chunk) = self.chunk.as_mut().expect("it was loaded");
        let index = chunk.lower_bound(target).ok_or_else(|| self.run.blocks.damaged(*at))?;
        Ok((number * CHUNK + index).min(self.list.count))
    }

    /// Where the blocks of the list lie.
    #[cfg(feature = "fuzzing")]
    pub(super) fn pointers(&self) -> Result<Vec<Pointer>, LookupError> {
        let mut pointers = match self.list.shape {
            Shape::Inline(_) => return Ok(Vec::new()),
            Shape::Chunk(_) => Vec::new(),
            Shape::Chunks { directory } => {
                let blocks = self.list.chunk_count().div_ceil(DIRECTORY_ENTRIES);
                let own = (0..blocks).map(|number| self.list.directory_pointer(directory, number));
                own.collect::<Vec<_>>()
            }
        };
        if let [_, .., last] = pointers[..] {
            pointers.push(Pointer { offset: last.end(), len: 4 * pointers.len() });
        }
        for number in 0..self.list.chunk_count() {
            pointers.push(self.pointer_of(number)?);
        }
        Ok(pointers)
    }

    fn load(&mut self, number: usize) -> Result<(), LookupError> {
        if self.chunk.as_ref().is_some_and(|(own, ..)| *own == number) {
            return Ok(());
        }
        let at = self.pointer_of(number)?;
        let expected = (self.list.count - number * CHUNK).min(CHUNK);
        let chunk = Chunk::new(self.run.blocks.get(at, self.mode)?);
        let chunk = chunk.filter(|chunk| chunk.len() == expected);
        self.chunk = Some((number, at, chunk.ok_or_else(|| self.run.blocks.damaged(at))?));
        Ok(())
    }

    fn pointer_of(&self, number: usize) -> Result<Pointer, LookupError> {
        match self.list.shape {
            Shape::Inline(_) => unreachable!("a list beside its key has no chunk"),
            Shape::Chunk(chunk) => Ok(chunk),
            Shape::Chunks { directory } => {
                let block = self.directory_block(directory, number / DIRECTORY_ENTRIES)?;
                let damaged = || Pointer { offset: directory, len: block.len() };
                chunk_pointer(&block, number % DIRECTORY_ENTRIES)
                    .ok_or_else(|| self.run.blocks.damaged(damaged()))
            }
        }
    }

    /// The number of the chunk that holds the first position of at least `target`, or that ends directly before it.
    fn chunk_of(&self, target: u32) -> Result<usize, LookupError> {
        let Shape::Chunks { directory } = self.list.shape else { return Ok(0) };
        let blocks = self.list.chunk_count().div_ceil(DIRECTORY_ENTRIES);
        let mut number = 0;
        if blocks > 1 {
            let last = self.list.directory_pointer(directory, blocks - 1);
            let top = Pointer { offset: last.end(), len: 4 * blocks };
            let top = self.run.blocks.get(top, self.mode)?;
            number = first_beyond(blocks, |at| u32_at(&top, 4 * at) <= target).saturating_sub(1);
        }
        let block = self.directory_block(directory, number)?;
        let entries = block.len() / ENTRY_BYTES;
        let within = first_beyond(entries, |at| u32_at(&block, at * ENTRY_BYTES) <= target);
        let chunk = number * DIRECTORY_ENTRIES + within.saturating_sub(1);
        // The target may lie between the last position of that chunk and the first of the next.
        Ok(chunk)
    }

    fn directory_block(&self, directory: u64, number: usize) -> Result<bytes::Bytes, LookupError> {
        self.run.blocks.get(self.list.directory_pointer(directory, number), self.mode)
    }
}

/// The number of leading entries for which `holds` is true. It must hold for a prefix only.
fn first_beyond(count: usize, mut holds: impl FnMut(usize) -> bool) -> usize {
    let (mut low, mut high) = (0, count);
    while low < high {
        let middle = usize::midpoint(low, high);
        if holds(middle) { low = middle + 1 } else { high = middle }
    }
    low
}

/// Writes the positions of one key as they come, and returns the list.
pub(super) struct ListBuilder {
    base: u64,
    count: usize,
    last: u32,
    pending: Vec<u32>,
    directory: Vec<u8>,
}

impl ListBuilder {
    pub(super) fn new() -> Self {
        Self { base: 0, count: 0, last: 0, pending: Vec::with_capacity(2 * CHUNK), directory: Vec::new() }
    }

    pub(super) fn begin(&mut self, base: u64) {
        (self.base, self.count, self.last) = (base, 0, 0);
        self.pending.clear();
        self.directory.clear();
    }

    /// Appends positions. Writes full chunks.
    pub(super) fn push(
        &mut self,
        positions: impl IntoIterator<Item = u32>,
        mut write: impl FnMut(&[u8]) -> std::io::Result<Pointer>,
    ) -> std::io::Result<()> {
        for position in positions {
            assert!(self.count == 0 || position > self.last, "positions grow");
            self.pending.push(position);
            (self.count, self.last) = (self.count + 1, position);
            // One position more than a chunk: the list has several chunks.
            if self.pending.len() > CHUNK {
                self.write_chunk(CHUNK, &mut write)?;
            }
        }
        Ok(())
    }

    /// Writes the rest, and appends the list to the bytes beside its key. Returns the number of positions.
    pub(super) fn finish(
        &mut self,
        bytes: &mut Vec<u8>,
        write: impl FnMut(&[u8]) -> std::io::Result<Pointer>,
    ) -> std::io::Result<usize> {
        match self.count {
            0..=INLINE_MAX => put_few(bytes, self.base, &self.pending),
            _ => self.write_all(write)?.put(bytes),
        }
        Ok(self.count)
    }

    fn write_all(
        &mut self,
        mut write: impl FnMut(&[u8]) -> std::io::Result<Pointer>,
    ) -> std::io::Result<RunList> {
        let (base, count, last) = (self.base, self.count, self.last);
        if count <= CHUNK {
            return Ok(RunList::chunk(base, count, last, write(&pack(&self.pending))?));
        }
        self.write_chunk(self.pending.len(), &mut write)?;
        let blocks = self.directory.chunks(DIRECTORY_ENTRIES * ENTRY_BYTES);
        let (mut begins, mut top) = (None, Vec::new());
        for block in blocks {
            top.extend_from_slice(&block[..4]);
            let at = write(block)?;
            begins.get_or_insert(at.offset);
        }
        if top.len() > 4 {
            write(&top)?;
        }
        Ok(RunList::chunks(base, count, last, begins.expect("there are chunks")))
    }

    fn write_chunk(
        &mut self,
        len: usize,
        write: &mut impl FnMut(&[u8]) -> std::io::Result<Pointer>,
    ) -> std::io::Result<()> {
        let at = write(&pack(&self.pending[..len]))?;
        self.directory.extend_from_slice(&self.pending[0].to_le_bytes());
        let length = u16::try_from(at.len).expect("a chunk is below 5 KiB");
        self.directory.extend_from_slice(&length.to_le_bytes());
        self.directory.extend_from_slice(&[0; 2]);
        self.directory.extend_from_slice(&at.offset.to_le_bytes());
        self.pending.drain(..len);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Where the first block is written, and the version of the first event.
    const AT: u64 = 1_000;
    const BASE: u64 = 9;

    /// Writes the list of all positions below a count. Returns the bytes beside its key, and its blocks.
    fn written(count: u32) -> (Vec<u8>, Vec<Vec<u8>>) {
        let (mut bytes, mut blocks, mut offset) = (Vec::new(), Vec::new(), AT);
        let mut write = |block: &[u8]| {
            let at = Pointer { offset, len: block.len() };
            offset = at.end();
            blocks.push(block.to_vec());
            Ok(at)
        };
        let mut builder = ListBuilder::new();
        builder.begin(BASE);
        builder.push(0..count, &mut write).unwrap();
        assert_eq!(builder.finish(&mut bytes, &mut write).unwrap(), count as usize);
        (bytes, blocks)
    }

    #[test]
    fn a_list_round_trips_and_can_be_skipped() {
        for count in [1, 2, 16, 17, 1_024, 1_025, 2_049] {
            let (mut bytes, _) = written(count);
            let mut reader = Reader::new(&bytes);
            let list = RunList::read(&mut reader).unwrap();
            assert_eq!((list.count, list.base, list.last), (count as usize, BASE, count - 1));
            assert!(reader.is_empty(), "of {count}");
            let mut again = Vec::new();
            list.put(&mut again);
            assert_eq!(again, bytes);
            bytes.extend_from_slice(b"next");
            let mut reader = Reader::new(&bytes);
            RunList::pass(&mut reader).unwrap();
            assert_eq!(reader.bytes(reader.len()), Some(&b"next"[..]), "of {count}");
        }
    }

    #[test]
    fn a_list_is_its_chunks_their_directory_and_the_first_position_of_each_directory_block() {
        let lens = |count| written(count).1.iter().map(Vec::len).collect::<Vec<_>>();
        assert_eq!(lens(16), [0; 0], "they stand beside their key");
        assert_eq!(lens(17), [7]);
        assert_eq!(lens(1_024), [42]);
        assert_eq!(lens(1_025), [42, 7, 2 * ENTRY_BYTES]);
        assert_eq!(lens(256 * 1_024)[255..], [42, 256 * ENTRY_BYTES]);
        let (_, blocks) = written(256 * 1_024 + 1);
        let [.., before, last] = &blocks[..] else { panic!("there are many") };
        assert_eq!((before.len(), &last[..]), (ENTRY_BYTES, &[0, 0, 0, 0, 0, 0, 4, 0][..]));
    }

    #[test]
    fn a_directory_locates_every_chunk() {
        let (_, blocks) = written(1_025);
        let first = Pointer { offset: AT, len: 42 };
        assert_eq!(chunk_pointer(&blocks[2], 0), Some(first));
        assert_eq!(chunk_pointer(&blocks[2], 1), Some(Pointer { offset: first.end(), len: 7 }));
        for (offset, is_read) in [(NUMBER_MAX, true), (NUMBER_MAX + 1, false)] {
            let entry = [&[0; 8], &offset.to_le_bytes()[..]].concat();
            assert_eq!(chunk_pointer(&entry, 0).is_some(), is_read, "{offset} in a file");
        }
    }

    #[test]
    fn blocks_of_a_directory_lie_one_behind_the_other() {
        let list = RunList::chunks(BASE, 514 * CHUNK - 1, u32::MAX, AT);
        let blocks = [0, 1, 2].map(|number| list.directory_pointer(AT, number));
        assert_eq!(blocks[0], Pointer { offset: AT, len: 256 * ENTRY_BYTES });
        assert_eq!(blocks[1], Pointer { offset: blocks[0].end(), len: 256 * ENTRY_BYTES });
        assert_eq!(blocks[2], Pointer { offset: blocks[1].end(), len: 2 * ENTRY_BYTES });
    }

    #[test]
    fn a_list_without_positions_or_with_positions_that_do_not_grow_is_refused() {
        let read = |bytes: &[u8]| RunList::read(&mut Reader::new(bytes));
        assert_eq!(read(&[0, 0]), None);
        assert_eq!(RunList::pass(&mut Reader::new(&[0, 0])), None);
        assert_eq!(read(&[2, 0, 5, 0]), None, "one position twice");
        let beyond = [&[2, 0][..], &[0xff, 0xff, 0xff, 0xff, 0xf], &[1]].concat();
        assert_eq!(read(&beyond), None, "beyond the last that there is");
        assert_eq!(read(&[2, 0, 0, 5]), Some(RunList::inline(0, &[0, 5])));
    }
}
