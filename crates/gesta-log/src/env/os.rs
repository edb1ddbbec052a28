//! The real machine.

use std::fs;
use std::io::{self, IoSlice, IoSliceMut, Read, Seek, Write};
use std::num::NonZeroU64;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use gesta_core::Timestamp;
use rustix::fs::{Access, Advice, FallocateFlags, FlockOperation, OFlags};
use rustix::io::{Errno, ReadWriteFlags};

use super::cold::ColdFile;
use super::handles::OnDemand;
use super::{Env, File, Lock, Mode};
use crate::limits::BACKGROUND_BYTES_IN_FLIGHT;

/// Files, clock and entropy of the machine this runs on.
pub(crate) struct OsEnv;

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

impl Env for OsEnv {
    fn create_dir(&self, path: &Path) -> io::Result<()> {
        fs::create_dir_all(path)
    }

    fn is_writable(&self, folder: &Path) -> bool {
        rustix::fs::access(folder, Access::WRITE_OK | Access::EXEC_OK).is_ok()
    }

    fn open(&self, path: &Path, mode: Mode) -> io::Result<Arc<dyn File>> {
        let mut options = fs::OpenOptions::new();
        options.read(true);
        match mode {
            Mode::Read => {}
            Mode::Write => {
                options.write(true);
            }
            Mode::CreateNew => {
                options.write(true).create_new(true);
            }
        }
        Ok(Arc::new(OsFile(options.open(path)?)))
    }

    fn open_on_demand(&self, path: &Path, mode: Mode) -> io::Result<Arc<dyn File>> {
        match mode {
            Mode::Read => Ok(Arc::new(OnDemand::open(path, false)?)),
            Mode::Write => Ok(Arc::new(OnDemand::open(path, true)?)),
            Mode::CreateNew => {
                let file = fs::OpenOptions::new().read(true).write(true).create_new(true).open(path)?;
                Ok(Arc::new(OnDemand::made(path, file)))
            }
        }
    }

    fn open_cold(&self, path: &Path) -> io::Result<Arc<dyn File>> {
        Ok(Arc::new(ColdFile::open(path)?))
    }

    fn list(&self, folder: &Path) -> io::Result<Vec<String>> {
        let entries = match fs::read_dir(folder) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(error),
        };
        let name = |entry: io::Result<fs::DirEntry>| Ok(entry?.file_name().to_string_lossy().into_owned());
        let mut names = entries.map(name).collect::<io::Result<Vec<_>>>()?;
        names.sort_unstable();
        Ok(names)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        fs::remove_file(path)
    }

    fn link(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::hard_link(from, to)
    }

    fn sync_dir(&self, folder: &Path) -> io::Result<()> {
        let folder = rustix::fs::open(
            folder,
            OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC,
            rustix::fs::Mode::empty(),
        )?;
        Ok(rustix::fs::fsync(folder)?)
    }

    fn lock(&self, path: &Path) -> io::Result<Result<Box<dyn Lock>, String>> {
        let (file, is_read_only) = open_lock(path)?;
        match rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(Ok(Box::new(OsLock { file, is_read_only }))),
            Err(Errno::WOULDBLOCK) => {
                let mut holder = String::new();
                // A folder cannot be read so, and says nothing.
                let _ = (&file).take(4096).read_to_string(&mut holder);
                Ok(Err(holder))
            }
            Err(error) => Err(error.into()),
        }
    }

    fn now(&self) -> Timestamp {
        let nanos = match SystemTime::now().duration_since(UNIX_EPOCH) {
            Ok(since) => i64::try_from(since.as_nanos()).unwrap_or(i64::MAX),
            Err(before) => i64::try_from(before.duration().as_nanos()).map_or(i64::MIN, |nanos| -nanos),
        };
        Timestamp::from_nanos(nanos)
    }

    fn entropy(&self) -> io::Result<[u8; 16]> {
        let mut bytes = [0; 16];
        let drawn = rustix::rand::getrandom(&mut bytes[..], rustix::rand::GetRandomFlags::empty())?;
        assert_eq!(drawn, bytes.len(), "the kernel gives up to 256 bytes at once");
        Ok(bytes)
    }
}

pub(super) struct OsFile(fs::File);

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

/// Opens what a folder is locked by, and says whether it can only be read.
fn open_lock(path: &Path) -> io::Result<(fs::File, bool)> {
    let opened = fs::OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path);
    match opened {
        Err(error)
            if matches!(
                error.kind(),
                io::ErrorKind::ReadOnlyFilesystem | io::ErrorKind::PermissionDenied
            ) =>
        {
            let file = fs::File::open(path).or_else(|missing| match (missing.kind(), path.parent()) {
                (io::ErrorKind::NotFound, Some(folder)) => fs::File::open(folder),
                _ => Err(missing),
            });
            Ok((file?, true))
        }
        opened => Ok((opened?, false)),
    }
}

struct OsLock {
    file: fs::File,
    is_read_only: bool,
}

impl Drop for OsLock {
    /// Closing the file is not enough: a process that another thread is starting holds a copy of the descriptor until
    /// its `exec`, and with it the lock.
    fn drop(&mut self) {
        // If this fails, closing the file releases the lock.
        let _ = rustix::fs::flock(&self.file, FlockOperation::NonBlockingUnlock);
    }
}

impl Lock for OsLock {
    fn describe(&self, holder: &str) -> io::Result<()> {
        if self.is_read_only {
            // Whoever finds it locked is not told by whom.
            return Ok(());
        }
        let mut file = &self.file;
        file.set_len(0)?;
        file.rewind()?;
        file.write_all(holder.as_bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
