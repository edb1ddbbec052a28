//! The real machine with a tap: a test sees each call before it is made, and can make it fail.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use gesta_core::Timestamp;

use super::os::OsEnv;
use super::{Env, File, FileId, Lock, Mode};

/// Sees each call before it is made.
pub(crate) trait Tap: Send + Sync + 'static {
    /// An error is returned to the caller, and the call is not made.
    fn before(&self, path: &Path, call: Call) -> io::Result<()>;
    /// Whether folders can be written to.
    fn is_writable(&self) -> bool {
        true
    }
}

/// A call on a file or folder. A read carries its offset.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Call {
    Open(Mode),
    Read(u64),
    WillRead(u64),
    Write,
    FillZeros,
    Sync,
    SyncDir,
}

/// The real machine, tapped.
pub(crate) struct Tapped<T> {
    pub(crate) tap: Arc<T>,
}

struct TappedFile<T> {
    path: PathBuf,
    file: Arc<dyn File>,
    tap: Arc<T>,
}

impl<T: Tap> Tapped<T> {
    pub(crate) fn by(tap: T) -> Arc<Self> {
        Arc::new(Self { tap: Arc::new(tap) })
    }
}

impl<T: Tap> TappedFile<T> {
    fn before(&self, call: Call) -> io::Result<()> {
        self.tap.before(&self.path, call)
    }
}

impl<T: Tap> Env for Tapped<T> {
    fn create_dir(&self, path: &Path) -> io::Result<()> {
        OsEnv.create_dir(path)
    }

    fn is_writable(&self, _folder: &Path) -> bool {
        self.tap.is_writable()
    }

    fn id_of(&self, path: &Path) -> io::Result<FileId> {
        OsEnv.id_of(path)
    }

    fn open(&self, path: &Path, mode: Mode) -> io::Result<Arc<dyn File>> {
        self.tap.before(path, Call::Open(mode))?;
        let file = OsEnv.open(path, mode)?;
        Ok(Arc::new(TappedFile { path: path.to_owned(), file, tap: Arc::clone(&self.tap) }))
    }

    fn list(&self, folder: &Path) -> io::Result<Vec<String>> {
        OsEnv.list(folder)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        OsEnv.rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        OsEnv.remove(path)
    }

    fn sync_dir(&self, folder: &Path) -> io::Result<()> {
        self.tap.before(folder, Call::SyncDir)?;
        OsEnv.sync_dir(folder)
    }

    fn lock(&self, path: &Path) -> io::Result<Result<Box<dyn Lock>, String>> {
        OsEnv.lock(path)
    }

    fn now(&self) -> Timestamp {
        OsEnv.now()
    }

    fn entropy(&self) -> io::Result<[u8; 16]> {
        OsEnv.entropy()
    }
}

impl<T: Tap> File for TappedFile<T> {
    fn len(&self) -> io::Result<u64> {
        self.file.len()
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        self.before(Call::Read(offset))?;
        self.file.read_at(buffer, offset)
    }

    fn read_cached_at(&self, buffer: &mut [u8], offset: u64) -> bool {
        // As if everything were in memory: some file systems cannot tell, and a test needs one answer.
        self.read_at(buffer, offset).is_ok_and(|read| read == buffer.len())
    }

    fn write_at(&self, pieces: &[&[u8]], offset: u64) -> io::Result<()> {
        self.before(Call::Write)?;
        self.file.write_at(pieces, offset)
    }

    fn write_over_zeros(&self, pieces: &[&[u8]], offset: u64, zeros_to: u64) -> io::Result<()> {
        self.before(Call::Write)?;
        self.file.write_over_zeros(pieces, offset, zeros_to)
    }

    fn will_read(&self, offset: u64, len: u64) {
        if self.before(Call::WillRead(offset)).is_ok() {
            self.file.will_read(offset, len);
        }
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.file.set_len(len)
    }

    fn fill_zeros(&self, from: u64, len: u64) -> io::Result<()> {
        self.before(Call::FillZeros)?;
        self.file.fill_zeros(from, len)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.before(Call::Sync)?;
        self.file.sync_data()
    }

    fn sync_all(&self) -> io::Result<()> {
        self.before(Call::Sync)?;
        self.file.sync_all()
    }
}
