//! The only door outside: files, clock and entropy, behind two small traits, so that a simulated disk can stand in for
//! the real one.
//!
//! *Invariants*
//! - No other module of this crate opens a file, reads a clock or draws a random number.
//! - Paths are made of the folder of a log or of a backup and names that this crate chose; never of anything else that a user said.

mod cold;
mod handles;
mod os;
mod os_file;
#[cfg(feature = "sim")]
mod sim;
#[cfg(test)]
mod tapped;

use std::io;
use std::path::Path;
use std::sync::Arc;

use gesta_core::Timestamp;

pub(crate) use os::OsEnv;
#[cfg(feature = "sim")]
pub(crate) use sim::SimEnv;
#[cfg(feature = "sim")]
pub use sim::{Betrayal, Counts, Failure, Faults, Hook, Machine, Operation, PlannedFault};
#[cfg(test)]
pub(crate) use tapped::{Call, Tap, Tapped};

/// How a file is opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mode {
    /// To read; it must exist.
    Read,
    /// To read and write; it must exist.
    Write,
    /// To read and write; it must not exist.
    CreateNew,
}

/// What the log needs of a machine.
pub(crate) trait Env: Send + Sync {
    fn create_dir(&self, path: &Path) -> io::Result<()>;
    /// Whether this process may make and change files in a folder: not where it is mounted read-only, or belongs to somebody else.
    fn is_writable(&self, _folder: &Path) -> bool {
        true
    }
    fn open(&self, path: &Path, mode: Mode) -> io::Result<Arc<dyn File>>;
    /// Opens a file that must exist, to read what the disk holds rather than what is in memory, and to leave there what others read
    /// often; as far as the system can do that.
    fn open_cold(&self, path: &Path) -> io::Result<Arc<dyn File>> {
        self.open(path, Mode::Read)
    }
    /// Opens one of many files, which may be closed and opened again between two uses, as far as the machine's limits ask for that.
    fn open_on_demand(&self, path: &Path, mode: Mode) -> io::Result<Arc<dyn File>> {
        self.open(path, mode)
    }
    /// The names in a folder, sorted; none where there is no folder.
    fn list(&self, folder: &Path) -> io::Result<Vec<String>>;
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;
    fn remove(&self, path: &Path) -> io::Result<()>;
    /// Gives a file that never changes again a second name. Not every file system can, and none across its own border.
    fn link(&self, _from: &Path, _to: &Path) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }
    /// Makes what happened in a folder durable: files that were made, renamed, removed.
    fn sync_dir(&self, folder: &Path) -> io::Result<()>;
    /// Takes the one lock of a folder, or gives what its holder wrote into the file. In a folder that cannot be written to, the file is
    /// only read, and without one the folder itself is locked.
    fn lock(&self, path: &Path) -> io::Result<Result<Box<dyn Lock>, String>>;
    fn now(&self) -> Timestamp;
    fn entropy(&self) -> io::Result<[u8; 16]>;
}

/// An open file. Reads and writes name their place; there is no cursor.
///
/// A file that is only ever read says how it is read, and no more: whatever it does not say of writing is refused. A file that is written
/// to says all of it.
pub(crate) trait File: Send + Sync {
    fn len(&self) -> io::Result<u64>;
    /// Reads as much as there is, up to the whole buffer.
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize>;
    /// Reads the whole buffer without waiting for the disk, and says whether it did. Where it did not, the buffer holds nothing of use:
    /// the bytes are not in memory, or nobody can say, or reading them fails in a way that [`Self::read_at`] will tell of.
    fn read_cached_at(&self, _buffer: &mut [u8], _offset: u64) -> bool {
        false
    }
    /// Writes the pieces one after the other, all of them.
    fn write_at(&self, _pieces: &[&[u8]], _offset: u64) -> io::Result<()> {
        refuse()
    }
    /// Writes the pieces where the zeros of a file begin: behind them, up to `zeros_to`, it holds nothing else. So more zeros may be
    /// written with them, where that spares the machine to read what it is to write to.
    fn write_over_zeros(&self, pieces: &[&[u8]], offset: u64, _zeros_to: u64) -> io::Result<()> {
        self.write_at(pieces, offset)
    }
    /// Says that a range is about to be read, so that the disk can begin. A hint: it may do nothing, and cannot fail.
    fn will_read(&self, _offset: u64, _len: u64) {}
    fn set_len(&self, _len: u64) -> io::Result<()> {
        refuse()
    }
    /// Extends the file to `len` and fills it with zeros that have their blocks on the disk, at a pace that leaves the disk
    /// to others. The caller still has to sync it.
    fn fill_zeros(&self, _from: u64, _len: u64) -> io::Result<()> {
        refuse()
    }
    /// Makes the bytes durable (`fdatasync`), and the length as far as reading them needs it.
    fn sync_data(&self) -> io::Result<()> {
        refuse()
    }
    /// Makes bytes and length durable (`fsync`).
    fn sync_all(&self) -> io::Result<()> {
        refuse()
    }
    /// Says that everything that was written is synced, and that nothing more is: the file may be closed while nobody reads it.
    fn settle(&self) {}
}

/// What a file that is only read says to whoever writes to it.
fn refuse() -> io::Result<()> {
    Err(io::ErrorKind::PermissionDenied.into())
}

/// A lock that is held until dropped.
pub(crate) trait Lock: Send + Sync {
    /// Says something about the holder, for whoever finds the lock taken.
    fn describe(&self, holder: &str) -> io::Result<()>;
}

/// Whether an error says that this process or machine has too much open or in memory, and nothing of the file.
pub(crate) fn is_shortage(error: &io::Error) -> bool {
    use rustix::io::Errno;
    let shortages = [Errno::MFILE, Errno::NFILE, Errno::NOMEM];
    shortages.iter().any(|own| error.raw_os_error() == Some(own.raw_os_error()))
}

/// Whether an error says that there is no room for more bytes: on the device, within a quota, or within the limit of a file's length.
pub(crate) fn has_no_room(error: &io::Error) -> bool {
    use io::ErrorKind::FileTooLarge;
    use io::ErrorKind::QuotaExceeded;
    use io::ErrorKind::StorageFull;
    matches!(error.kind(), StorageFull | QuotaExceeded | FileTooLarge)
}

/// Reads exactly the buffer's length, or says that the file ends before.
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

/// Writes a file anew, over what a stopped attempt may have left. The caller still has to sync it.
pub(crate) fn write_whole(env: &dyn Env, path: &Path, bytes: &[u8]) -> io::Result<Arc<dyn File>> {
    match env.remove(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let file = env.open(path, Mode::CreateNew)?;
    file.write_at(&[bytes], 0)?;
    Ok(file)
}
