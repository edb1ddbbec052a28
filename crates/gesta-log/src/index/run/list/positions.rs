//! The positions of a list, a chunk at a time. Memory holds one chunk and one block of the directory, however long
//! the list is.

use bytes::Bytes;

use super::{DIRECTORY_ENTRIES, RunList, Shape, chunk_pointer};
use crate::index::lookup_error::LookupError;
use crate::index::run::Run;
use crate::index::run::blocks::Pointer;
use crate::index::run::codec::{CHUNK, Chunk};

/// The rest of a list. Reads past the cache: a block that is read once must not evict a block in use.
pub(crate) struct Positions {
    list: RunList,
    /// The number of the next chunk, and the lowest position that it may hold.
    next: usize,
    lowest: u32,
    /// The last block of the directory, and its number.
    directory: Option<(usize, Bytes)>,
}

impl Positions {
    pub(crate) const fn new(list: RunList) -> Self {
        Self { list, next: 0, lowest: 0, directory: None }
    }

    /// Whether the list is exhausted.
    pub(crate) const fn is_done(&self) -> bool {
        self.next >= self.list.chunk_count()
    }

    /// Fills the buffer with the next positions in that run, in growing order; leaves it empty at the end.
    pub(crate) fn next(&mut self, run: &Run, positions: &mut Vec<u32>) -> Result<(), LookupError> {
        positions.clear();
        if self.is_done() {
            return Ok(());
        }
        let at = match &self.list.shape {
            // The leaf's checksum covers a list beside its key.
            Shape::Inline(own) => {
                positions.extend_from_slice(&own[..self.list.count]);
                run.footer.fence
            }
            Shape::Chunk(chunk) => unpack(run, *chunk, positions)?,
            Shape::Chunks { directory } => {
                let at = self.pointer_of(run, *directory)?;
                unpack(run, at, positions)?
            }
        };
        let expected = (self.list.count - self.next * CHUNK).min(CHUNK);
        let (first, last) = (positions.first().copied(), positions.last().copied());
        let grows = first >= Some(self.lowest) && last <= Some(self.list.last);
        let is_within = last.is_some_and(|last| (last as usize) < run.len());
        if positions.len() != expected || !grows || !is_within {
            return Err(run.blocks.damaged(at));
        }
        self.next += 1;
        self.lowest = last.map_or(self.lowest, |last| last.saturating_add(1));
        Ok(())
    }

    /// Where the next chunk lies.
    fn pointer_of(&mut self, run: &Run, directory: u64) -> Result<Pointer, LookupError> {
        let number = self.next / DIRECTORY_ENTRIES;
        let at = self.list.directory_pointer(directory, number);
        if self.directory.as_ref().is_none_or(|(own, _)| *own != number) {
            self.directory = Some((number, run.blocks.read(at)?));
        }
        let (_, block) = self.directory.as_ref().expect("it was read");
        chunk_pointer(block, self.next % DIRECTORY_ENTRIES).ok_or_else(|| run.blocks.damaged(at))
    }
}

fn unpack(run: &Run, at: Pointer, positions: &mut Vec<u32>) -> Result<Pointer, LookupError> {
    let chunk = Chunk::new(run.blocks.read(at)?);
    let unpacked = chunk.and_then(|mut chunk| chunk.unpack_all(positions));
    unpacked.map(|()| at).ok_or_else(|| run.blocks.damaged(at))
}
