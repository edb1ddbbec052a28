//! Files read past the page cache: what comes back is what the disk holds, and nothing that others read often is pushed out for it.
//!
//! *Choice: `O_DIRECT`, not `posix_fadvise(DONTNEED)` behind each read.* Pages that are in memory already would be read from there, which
//! proves nothing of the disk, and dropping them would take them from whoever reads them often. Where the file system cannot do it, the
//! reads go through the cache, and what they brought in is dropped.

use std::fs;
use std::io;
use std::num::NonZeroU64;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::fs::Advice;

use super::File;

/// What offsets, lengths and buffers of direct reads are multiples of: no disk asks for more.
const ALIGNMENT: usize = 4096;

/// A file that is read, and never written to.
pub(super) struct ColdFile {
    cached: fs::File,
    /// `None` where the file system cannot do that.
    direct: Option<fs::File>,
    /// Set once a direct read was refused.
    is_refused: AtomicBool,
}

impl ColdFile {
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        let cached = fs::File::open(path)?;
        Ok(Self { cached, direct: open_direct(path), is_refused: AtomicBool::new(false) })
    }

    fn read_cached(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let read = read_full(&self.cached, buffer, offset)?;
        // A hint: where it is not understood, the pages stay.
        let _ = rustix::fs::fadvise(&self.cached, offset, NonZeroU64::new(read as u64), Advice::DontNeed);
        Ok(read)
    }
}

#[cfg(target_os = "linux")]
fn open_direct(path: &Path) -> Option<fs::File> {
    use rustix::fs::{Mode, OFlags};
    let flags = OFlags::RDONLY | OFlags::DIRECT | OFlags::CLOEXEC;
    rustix::fs::open(path, flags, Mode::empty()).ok().map(fs::File::from)
}

#[cfg(not(target_os = "linux"))]
fn open_direct(_path: &Path) -> Option<fs::File> {
    None
}

/// Reads whole blocks around a range into memory that is aligned, and copies the range out of it.
fn read_direct(file: &fs::File, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
    let lead = usize::try_from(offset % ALIGNMENT as u64).expect("below the alignment");
    let len = (lead + buffer.len()).next_multiple_of(ALIGNMENT);
    let mut memory = vec![0; len + ALIGNMENT];
    let begin = memory.as_ptr().align_offset(ALIGNMENT);
    let blocks = &mut memory[begin..begin + len];
    let read = read_full(file, blocks, offset - lead as u64)?;
    let read = read.saturating_sub(lead).min(buffer.len());
    buffer[..read].copy_from_slice(&blocks[lead..lead + read]);
    Ok(read)
}

/// Reads as much as there is. A direct read that ends before the buffer does has met the end of the file, as long as the rest is
/// not of whole blocks.
fn read_full(file: &fs::File, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
    let mut read = 0;
    while read < buffer.len() {
        match file.read_at(&mut buffer[read..], offset + read as u64) {
            Ok(0) => break,
            Ok(more) => read += more,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            // Behind an end within a block, direct reads go on at no block.
            Err(error) if error.kind() == io::ErrorKind::InvalidInput && read > 0 => break,
            Err(error) => return Err(error),
        }
    }
    Ok(read)
}

impl File for ColdFile {
    fn len(&self) -> io::Result<u64> {
        Ok(self.cached.metadata()?.len())
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let direct = self.direct.as_ref().filter(|_| !self.is_refused.load(Ordering::Relaxed));
        match direct.map(|file| read_direct(file, buffer, offset)) {
            Some(Err(error)) if error.kind() == io::ErrorKind::InvalidInput => {
                self.is_refused.store(true, Ordering::Relaxed);
                self.read_cached(buffer, offset)
            }
            Some(read) => read,
            None => self.read_cached(buffer, offset),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_range_of_a_file_is_read_directly_or_not() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        let content = (0_u32..3_000).flat_map(u32::to_le_bytes).collect::<Vec<_>>();
        fs::write(&path, &content).unwrap();
        let file = ColdFile::open(&path).unwrap();
        let without = ColdFile { direct: None, ..ColdFile::open(&path).unwrap() };
        for (offset, len) in
            [(0, 4_096), (0, 12_000), (1, 1), (4_095, 2), (5_000, 7_000), (11_999, 9_000), (8_192, 4_096)]
        {
            for file in [&file, &without] {
                let mut buffer = vec![7; len];
                let read = file.read_at(&mut buffer, offset as u64).unwrap();
                let expected = &content[offset..(offset + len).min(content.len())];
                assert_eq!(&buffer[..read], expected, "{len} bytes at {offset}");
            }
        }
        for offset in [12_000, 12_288, 20_000, 40_960] {
            assert_eq!(file.read_at(&mut [0; 100], offset).unwrap(), 0, "behind the end, at {offset}");
        }
        assert_eq!(file.len().unwrap(), 12_000);
    }

    #[test]
    fn a_file_that_is_only_read_refuses_every_write() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        fs::write(&path, [1; 10]).unwrap();
        let file = ColdFile::open(&path).unwrap();
        let refusals = [
            file.write_at(&[b"2"], 0),
            file.write_over_zeros(&[b"2"], 0, 10),
            file.set_len(20),
            file.fill_zeros(10, 20),
            file.sync_data(),
            file.sync_all(),
        ];
        for refusal in refusals {
            assert_eq!(refusal.unwrap_err().kind(), io::ErrorKind::PermissionDenied);
        }
        assert_eq!(fs::read(&path).unwrap(), [1; 10]);
    }
}
