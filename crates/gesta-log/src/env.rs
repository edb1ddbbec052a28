//! The only access to the machine: files, clock and entropy, through two small traits. A simulated disk can replace
//! the real one.
//!
//! *Invariants*
//! - No other module of this crate opens a file, reads a clock or draws a random number.
//! - Paths consist of the folder of a log or backup and names that this crate chose. They never contain other user
//!   input.

mod cold;
mod handles;
mod os;
mod os_file;
mod placed;
#[cfg(feature = "sim")]
mod sim;
#[cfg(test)]
mod tapped;

use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::Arc;

use gesta_core::Timestamp;

pub(crate) use os::OsEnv;
pub(crate) use placed::Placed;
#[cfg(feature = "sim")]
pub(crate) use sim::SimEnv;
#[cfg(feature = "sim")]
pub use sim::{Betrayal, Counts, Failure, Faults, Hook, Machine, Operation, PlannedFault};
#[cfg(test)]
pub(crate) use tapped::{Call, Tap, Tapped};

/// How a file is opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mode {
    /// For reading; the file must exist.
    Read,
    /// For reading and writing; the file must exist.
    Write,
    /// For reading and writing; the file must not exist.
    CreateNew,
}

/// What tells a file or a folder from others, as long as it exists.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct FileId {
    device: u64,
    inode: u64,
}

impl FileId {
    /// All files of a simulated machine: nobody moves them.
    #[cfg(feature = "sim")]
    pub(crate) const SIMULATED: Self = Self { device: 0, inode: 0 };

    pub(crate) fn of(metadata: &std::fs::Metadata) -> Self {
        Self { device: metadata.dev(), inode: metadata.ino() }
    }
}

/// Which of many files are closed first if too many are open.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Turn {
    /// Segments: few of them are in use at a time.
    First,
    /// Index files: any look-up may need each of them.
    Last,
}

/// The services that the log needs from a machine.
pub(crate) trait Env: Send + Sync {
    fn create_dir(&self, path: &Path) -> io::Result<()>;
    /// Whether this process may create and change files in a folder: false on a read-only mount and without
    /// permission.
    fn is_writable(&self, _folder: &Path) -> bool {
        true
    }
    /// What tells the file or folder at a path from others.
    fn id_of(&self, path: &Path) -> io::Result<FileId>;
    /// Why the folder of an open log is no longer at its path; `None` if it is. Only [`Placed`] knows a folder.
    fn displaced(&self) -> Option<String> {
        None
    }
    fn open(&self, path: &Path, mode: Mode) -> io::Result<Arc<dyn File>>;
    /// Opens an existing file so that reads return what the disk holds, not what is in memory, and evict nothing that
    /// other readers use. As far as the system supports it.
    fn open_cold(&self, path: &Path) -> io::Result<Arc<dyn File>> {
        self.open(path, Mode::Read)
    }
    /// Opens one of many files. It may be closed and opened again between two uses, to keep within the machine's
    /// limits.
    fn open_on_demand(&self, path: &Path, mode: Mode, _turn: Turn) -> io::Result<Arc<dyn File>> {
        self.open(path, mode)
    }
    /// The names in a folder, sorted; none if the folder is missing.
    fn list(&self, folder: &Path) -> io::Result<Vec<String>>;
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;
    fn remove(&self, path: &Path) -> io::Result<()>;
    /// Creates a hard link to a file that never changes again. Some file systems do not support it, and none across
    /// its boundary.
    fn link(&self, _from: &Path, _to: &Path) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }
    /// Makes created, renamed and removed names in a folder durable.
    fn sync_dir(&self, folder: &Path) -> io::Result<()>;
    /// Takes the lock of a folder, or returns what its holder wrote into the lock file. The folder itself is locked too, so
    /// nobody else gets in if the lock file is removed. In a folder that cannot be written to, the lock file is only read.
    fn lock(&self, path: &Path) -> io::Result<Result<Box<dyn Lock>, String>>;
    fn now(&self) -> Timestamp;
    fn entropy(&self) -> io::Result<[u8; 16]>;
}

/// An open file. Reads and writes give their offset; there is no cursor.
///
/// Write methods return `PermissionDenied` by default, so a file for reading only implements reads alone. A file for
/// writing implements all methods.
pub(crate) trait File: Send + Sync {
    fn len(&self) -> io::Result<u64>;
    /// Reads as many bytes as there are, up to the length of the buffer.
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize>;
    /// Reads the whole buffer without waiting for the disk, and returns whether it did. If not, the content of the
    /// buffer is undefined: the bytes are not in memory, the system cannot tell, or the read failed,
    /// and [`Self::read_at`] returns the error.
    fn read_cached_at(&self, _buffer: &mut [u8], _offset: u64) -> bool {
        false
    }
    /// Writes all pieces, one after the other.
    fn write_at(&self, _pieces: &[&[u8]], _offset: u64) -> io::Result<()> {
        refuse()
    }
    /// Writes the pieces at the beginning of a range of zeros that extends to `zeros_to`. It may write more zeros
    /// after them, if that saves the machine from reading before it writes.
    fn write_over_zeros(&self, pieces: &[&[u8]], offset: u64, _zeros_to: u64) -> io::Result<()> {
        self.write_at(pieces, offset)
    }
    /// Announces that a range is about to be read, so that the disk can begin. A hint: it may do nothing, and cannot
    /// fail.
    fn will_read(&self, _offset: u64, _len: u64) {}
    fn set_len(&self, _len: u64) -> io::Result<()> {
        refuse()
    }
    /// Extends the file to `len` with zeros that have blocks on the disk, at a pace that leaves room for other users
    /// of the disk. The caller still has to sync it.
    fn fill_zeros(&self, _from: u64, _len: u64) -> io::Result<()> {
        refuse()
    }
    /// Makes the bytes durable (`fdatasync`), and the length as far as it is needed to read them.
    fn sync_data(&self) -> io::Result<()> {
        refuse()
    }
    /// Makes bytes and length durable (`fsync`).
    fn sync_all(&self) -> io::Result<()> {
        refuse()
    }
    /// Announces that everything is synced and nothing more will be written: the file may be closed while it is not
    /// read.
    fn settle(&self) {}
    /// Keeps the file open until it is dropped: its name is about to be removed, and readers still need it.
    fn hold(&self) -> io::Result<()> {
        Ok(())
    }
}

/// The error for a write to a file for reading only.
fn refuse() -> io::Result<()> {
    Err(io::ErrorKind::PermissionDenied.into())
}

/// A lock that is held until dropped.
pub(crate) trait Lock: Send + Sync {
    /// Writes a description of the holder into the lock file, for other processes.
    fn describe(&self, holder: &str) -> io::Result<()>;
}

/// Whether an error means that this process or machine has too many files open or too little memory. Such an error
/// says nothing about the file.
pub(crate) fn is_shortage(error: &io::Error) -> bool {
    use rustix::io::Errno;
    let shortages = [Errno::MFILE, Errno::NFILE, Errno::NOMEM];
    shortages.iter().any(|own| error.raw_os_error() == Some(own.raw_os_error()))
}

/// Whether an error means that there is no space for more bytes: on the device, within a quota, or within the limit
/// of a file's length.
pub(crate) fn has_no_room(error: &io::Error) -> bool {
    use io::ErrorKind::FileTooLarge;
    use io::ErrorKind::QuotaExceeded;
    use io::ErrorKind::StorageFull;
    matches!(error.kind(), StorageFull | QuotaExceeded | FileTooLarge)
}

/// Fills the whole buffer, or fails if the file ends earlier.
pub(crate) fn read_exact_at(file: &dyn File, buffer: &mut [u8], offset: u64) -> io::Result<()> {
    let read = file.read_at(buffer, offset)?;
    if read == buffer.len() { Ok(()) } else { Err(io::ErrorKind::UnexpectedEof.into()) }
}

/// Reads a whole file.
pub(crate) fn read_whole(env: &dyn Env, path: &Path) -> io::Result<Vec<u8>> {
    let file = env.open(path, Mode::Read)?;
    let len = usize::try_from(file.len()?).map_err(|_| io::Error::from(io::ErrorKind::FileTooLarge))?;
    let mut bytes = vec![0; len];
    read_exact_at(&*file, &mut bytes, 0)?;
    Ok(bytes)
}

/// Writes a file, replacing the leftover of an interrupted attempt. The caller still has to sync it.
pub(crate) fn write_whole(env: &dyn Env, path: &Path, bytes: &[u8]) -> io::Result<Arc<dyn File>> {
    match env.remove(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let file = env.open(path, Mode::CreateNew)?;
    file.write_at(&[bytes], 0)?;
    Ok(file)
}
