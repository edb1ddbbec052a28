//! A file of the real machine.

use std::fs;
use std::io::{self, IoSlice, IoSliceMut};
use std::num::NonZeroU64;
use std::os::unix::fs::FileExt;

use rustix::fs::{Advice, FallocateFlags, OFlags};
use rustix::io::{Errno, ReadWriteFlags};

use super::File;
use crate::limits::BACKGROUND_BYTES_IN_FLIGHT;

/// The most pieces of one `pwritev` (`IOV_MAX` of Linux).
const PIECES_MAX: usize = 1024;
/// The unit of the page cache, and the alignment of direct writes.
const PAGE_BYTES: usize = 4096;
/// Bytes of zeros in one write while a file is filled: the most that a sync of another file waits for.
const FILL_STEP_BYTES: usize = 1 << 20;
/// A page of zeros.
const ZEROS: [u8; PAGE_BYTES] = [0; PAGE_BYTES];

const _: () =
    assert!(FILL_STEP_BYTES.is_multiple_of(PAGE_BYTES) && BACKGROUND_BYTES_IN_FLIGHT >= FILL_STEP_BYTES);

/// An open file.
pub(super) struct OsFile(pub(super) fs::File);

impl File for OsFile {
    fn len(&self) -> io::Result<u64> {
        Ok(self.0.metadata()?.len())
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let mut read = 0;
        while read < buffer.len() {
            match self.0.read_at(&mut buffer[read..], offset + read as u64) {
                Ok(0) => break,
                Ok(more) => read += more,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(read)
    }

    fn read_cached_at(&self, buffer: &mut [u8], offset: u64) -> bool {
        // A short read means that the rest is on the disk only.
        let len = buffer.len();
        let read =
            rustix::io::preadv2(&self.0, &mut [IoSliceMut::new(buffer)], offset, ReadWriteFlags::NOWAIT);
        read.is_ok_and(|read| read == len)
    }

    fn write_at(&self, pieces: &[&[u8]], offset: u64) -> io::Result<()> {
        let mut at = offset;
        for chunk in pieces.chunks(PIECES_MAX) {
            // A call without bytes to write looks like one that cannot write.
            let pieces = chunk.iter().filter(|piece| !piece.is_empty());
            let mut slices = pieces.map(|piece| IoSlice::new(piece)).collect::<Vec<_>>();
            let mut rest = &mut slices[..];
            while !rest.is_empty() {
                match rustix::io::pwritev(&self.0, rest, at) {
                    Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                    Ok(written) => {
                        at += written as u64;
                        IoSlice::advance_slices(&mut rest, written);
                    }
                    Err(Errno::INTR) => {}
                    Err(error) => return Err(error.into()),
                }
            }
        }
        Ok(())
    }

    /// Fills the last page with zeros. Zeros that were written past the page cache are not in it, so a partial write
    /// of that page would first read it from the disk.
    fn write_over_zeros(&self, pieces: &[&[u8]], offset: u64, zeros_to: u64) -> io::Result<()> {
        let end = offset + pieces.iter().map(|piece| piece.len() as u64).sum::<u64>();
        let page_end = end.next_multiple_of(PAGE_BYTES as u64).min(zeros_to);
        let padding = usize::try_from(page_end.saturating_sub(end)).expect("less than a page");
        self.write_at(&[pieces, &[&ZEROS[..padding]]].concat(), offset)
    }

    fn will_read(&self, offset: u64, len: u64) {
        // A hint: without it, the read just takes longer.
        let _ = rustix::fs::fadvise(&self.0, offset, NonZeroU64::new(len), Advice::WillNeed);
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.0.set_len(len)
    }

    fn fill_zeros(&self, from: u64, len: u64) -> io::Result<()> {
        if from >= len {
            return Ok(());
        }
        // Reserving first shows a full disk before anything is written. Some file systems do not support it.
        match rustix::fs::fallocate(&self.0, FallocateFlags::empty(), from, len - from) {
            Ok(()) | Err(Errno::OPNOTSUPP) => {}
            Err(error) => return Err(error.into()),
        }
        let page = PAGE_BYTES as u64;
        let (begin, end) = (from.next_multiple_of(page).min(len), len - len % page);
        self.write_zeros(from, begin)?;
        if !self.write_zeros_directly(begin, end)? {
            self.write_zeros(begin, end)?;
        }
        self.write_zeros(end.max(begin), len)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.0.sync_data()
    }

    fn sync_all(&self) -> io::Result<()> {
        self.0.sync_all()
    }
}

impl OsFile {
    pub(super) const fn new(file: fs::File) -> Self {
        Self(file)
    }

    /// Writes zeros through the page cache.
    fn write_zeros(&self, from: u64, to: u64) -> io::Result<()> {
        let zeros = vec![0; BACKGROUND_BYTES_IN_FLIGHT];
        let mut at = from;
        while at < to {
            let step = (to - at).min(zeros.len() as u64);
            self.write_at(&[&zeros[..usize::try_from(step).expect("a step")]], at)?;
            // Otherwise all of it would wait in memory, and the next sync of any file would wait for all of it.
            self.sync_data()?;
            at += step;
        }
        Ok(())
    }

    /// Writes zeros page by page past the page cache, which copies nothing and evicts nothing. `false` if the file
    /// system does not support it; then some of the zeros may be written.
    fn write_zeros_directly(&self, from: u64, to: u64) -> io::Result<bool> {
        let flags = rustix::fs::fcntl_getfl(&self.0)?;
        if rustix::fs::fcntl_setfl(&self.0, flags | OFlags::DIRECT).is_err() {
            return Ok(false);
        }
        let written = self.write_aligned_zeros(from, to);
        rustix::fs::fcntl_setfl(&self.0, flags)?;
        match written {
            Err(error) if error.raw_os_error() == Some(Errno::INVAL.raw_os_error()) => Ok(false),
            written => written.map(|()| true),
        }
    }

    fn write_aligned_zeros(&self, from: u64, to: u64) -> io::Result<()> {
        let buffer = vec![0; FILL_STEP_BYTES + PAGE_BYTES];
        let zeros = &buffer[buffer.as_ptr().align_offset(PAGE_BYTES)..][..FILL_STEP_BYTES];
        let mut at = from;
        while at < to {
            let step = (to - at).min(FILL_STEP_BYTES as u64);
            self.write_at(&[&zeros[..usize::try_from(step).expect("a step")]], at)?;
            at += step;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::env::{Env as _, Mode, OsEnv};

    #[test]
    fn pieces_that_end_at_a_page_or_at_a_call_are_written() {
        let folder = tempfile::tempdir().unwrap();
        let file = OsEnv.open(&folder.path().join("f"), Mode::CreateNew).unwrap();
        file.fill_zeros(0, 64 << 10).unwrap();
        let piece = [7; 8];
        let pieces = vec![&piece[..]; PIECES_MAX];
        file.write_over_zeros(&pieces, PAGE_BYTES as u64, 64 << 10).unwrap();
        let mut read = vec![0; 64 << 10];
        assert_eq!(file.read_at(&mut read, 0).unwrap(), read.len());
        assert!(read[PAGE_BYTES..3 * PAGE_BYTES].iter().all(|byte| *byte == 7));
        assert!(read[..PAGE_BYTES].iter().chain(&read[3 * PAGE_BYTES..]).all(|byte| *byte == 0));
    }

    #[test]
    fn zeros_fill_a_file_from_any_place_to_any_length() {
        let folder = tempfile::tempdir().unwrap();
        for (from, len) in [(0, 10), (100, 5_000), (4_096, 8_192), (5_000, (9 << 20) + 17), (9_000, 9_000)] {
            let file = OsEnv.open(&folder.path().join(format!("{from}-{len}")), Mode::CreateNew).unwrap();
            file.write_at(&[&vec![7; from]], 0).unwrap();
            file.fill_zeros(from as u64, len as u64).unwrap();
            let mut read = vec![1; len + 1];
            assert_eq!(file.read_at(&mut read, 0).unwrap(), len);
            assert!(read[..from].iter().all(|byte| *byte == 7), "{from} {len}");
            assert!(read[from..len].iter().all(|byte| *byte == 0), "{from} {len}");
        }
    }
}
