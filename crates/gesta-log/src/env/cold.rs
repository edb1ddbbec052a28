//! Files that are read past the page cache: reads return what the disk holds, and evict nothing that other readers
//! use.
//!
//! *Choice: `O_DIRECT`, not `posix_fadvise(DONTNEED)` after each read.* A read of cached pages says nothing about the
//! disk, and dropping them takes them from their readers. If the file system does not support `O_DIRECT`, reads go
//! through the cache, and the pages they loaded are dropped.

use std::num::NonZeroU64;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::{fs, io};

use rustix::fs::Advice;

use super::File;

/// The alignment of offsets, lengths and buffers of direct reads: no disk needs more.
const ALIGNMENT: usize = 4096;

/// A file for reading only.
pub(super) struct ColdFile {
    cached: fs::File,
    /// `None` if the file system does not support direct reads.
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
        // A hint: if the system ignores it, the pages stay.
        let _ = rustix::fs::fadvise(&self.cached, offset, NonZeroU64::new(read as u64), Advice::DontNeed);
        Ok(read)
    }
}

#[cfg(target_os = "linux")]
fn open_direct(path: &Path) -> Option<fs::File> {
    use rustix::fs::Mode;
    use rustix::fs::OFlags;
    let flags = OFlags::RDONLY | OFlags::DIRECT | OFlags::CLOEXEC;
    rustix::fs::open(path, flags, Mode::empty()).ok().map(fs::File::from)
}

#[cfg(not(target_os = "linux"))]
fn open_direct(_path: &Path) -> Option<fs::File> {
    None
}

/// Reads whole blocks around a range into aligned memory, and copies the range from there.
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

/// Reads as much as there is. A short direct read has met the end of the file if its length is not a multiple of the
/// block size.
fn read_full(file: &fs::File, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
    let mut read = 0;
    while read < buffer.len() {
        match file.read_at(&mut buffer[read..], offset + read as u64) {
            Ok(0) => break,
            Ok(more) => read += more,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            // After an end within a block, the next offset is not aligned.
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
    fn every_range_of_a_file_is_read_with_and_without_direct_reads() {
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
            assert_eq!(file.read_at(&mut [0; 100], offset).unwrap(), 0, "after the end, at {offset}");
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
