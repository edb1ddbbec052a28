//! The real machine.

use std::fs;
use std::io::{self, Read, Seek, Write};
use std::path::Path;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use gesta_core::Timestamp;
use rustix::fs::{Access, FlockOperation, OFlags};
use rustix::io::Errno;

use super::cold::ColdFile;
use super::handles::OnDemand;
use super::os_file::OsFile;
use super::{Env, File, FileId, Lock, Mode, Turn};

/// Files, clock and entropy of the machine this runs on.
pub(crate) struct OsEnv;

impl Env for OsEnv {
    fn create_dir(&self, path: &Path) -> io::Result<()> {
        fs::create_dir_all(path)
    }

    fn is_writable(&self, folder: &Path) -> bool {
        rustix::fs::access(folder, Access::WRITE_OK | Access::EXEC_OK).is_ok()
    }

    fn id_of(&self, path: &Path) -> io::Result<FileId> {
        Ok(FileId::of(&fs::metadata(path)?))
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

    fn open_on_demand(&self, path: &Path, mode: Mode, turn: Turn) -> io::Result<Arc<dyn File>> {
        match mode {
            Mode::Read => Ok(Arc::new(OnDemand::open(path, false, turn)?)),
            Mode::Write => Ok(Arc::new(OnDemand::open(path, true, turn)?)),
            Mode::CreateNew => {
                let file = fs::OpenOptions::new().read(true).write(true).create_new(true).open(path)?;
                Ok(Arc::new(OnDemand::made(path, file, turn)))
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
        // The folder first. It stays locked if somebody removes the lock file, and then nobody makes another one.
        let folder = fs::File::open(folder_of(path))?;
        if !try_lock(&folder)? {
            return Ok(Err(holder_in(path)));
        }
        let mut lock = OsLock { folder, file: None };
        // An earlier version of this program locks the file alone.
        if let Some((file, is_read_only)) = open_lock(path)? {
            if !try_lock(&file)? {
                return Ok(Err(holder_in(path)));
            }
            lock.file = Some(LockFile { file, is_read_only });
        }
        Ok(Ok(Box::new(lock)))
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

/// The folder of a lock file.
fn folder_of(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// Locks a file or folder. `false` if another process has.
fn try_lock(file: &fs::File) -> io::Result<bool> {
    match rustix::fs::flock(file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(true),
        Err(Errno::WOULDBLOCK) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

/// What the holder of a lock wrote about itself; empty if the file cannot be read.
fn holder_in(path: &Path) -> String {
    let mut holder = String::new();
    let _ = fs::File::open(path).and_then(|file| file.take(4096).read_to_string(&mut holder));
    holder
}

/// Opens the lock file, and returns whether it is read-only. `None` if it is missing and cannot be made.
fn open_lock(path: &Path) -> io::Result<Option<(fs::File, bool)>> {
    let opened = fs::OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path);
    match opened {
        Err(error)
            if matches!(
                error.kind(),
                io::ErrorKind::ReadOnlyFilesystem | io::ErrorKind::PermissionDenied
            ) =>
        {
            match fs::File::open(path) {
                Err(missing) if missing.kind() == io::ErrorKind::NotFound => Ok(None),
                file => Ok(Some((file?, true))),
            }
        }
        opened => Ok(Some((opened?, false))),
    }
}

struct OsLock {
    folder: fs::File,
    file: Option<LockFile>,
}

struct LockFile {
    file: fs::File,
    is_read_only: bool,
}

impl Drop for OsLock {
    /// Closing the files is not enough: a process that another thread is starting holds copies of the descriptors until
    /// its `exec`, and with them the lock.
    fn drop(&mut self) {
        let file = self.file.as_ref().map(|own| &own.file);
        for locked in file.into_iter().chain([&self.folder]) {
            // If this fails, closing the file releases the lock.
            let _ = rustix::fs::flock(locked, FlockOperation::NonBlockingUnlock);
        }
    }
}

impl Lock for OsLock {
    fn describe(&self, holder: &str) -> io::Result<()> {
        // Without a file to write to, other processes see no description of the holder.
        let Some(LockFile { file, is_read_only: false }) = &self.file else { return Ok(()) };
        let mut file = file;
        file.set_len(0)?;
        file.rewind()?;
        file.write_all(holder.as_bytes())
    }
}
