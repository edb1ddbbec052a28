//! A simulated machine: a disk in memory that fails as a seed says, a virtual clock, entropy that repeats.
//!
//! *Invariants*
//! - A read gives what was written last: what a crash may take back is for the crash alone to say.
//! - A power cut keeps what was synced. Of the rest each sector, length and name is kept or dropped on its own.
//! - A handle of an earlier process fails.
//!
//! *Choice: sectors of 512 bytes, not pages.* It is the harsher of the two: a sector of a page may reach the disk alone.

mod disk;

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use gesta_core::Timestamp;

use super::{Env, File, Lock, Mode};
pub use disk::{Counts, Faults};
use disk::{Disk, NameChange, Reach};

/// A machine that is simulated. A clone is the same machine.
#[derive(Clone)]
pub struct Machine(Arc<Mutex<Disk>>);

impl Machine {
    /// A machine with an empty disk. The seed decides everything that happens by chance on it.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self(Arc::new(Mutex::new(Disk::new(seed))))
    }

    /// From now on faults happen at these rates.
    pub fn set_faults(&self, faults: Faults) {
        self.disk().faults = faults;
    }

    /// Stops the process within the operation that comes after so many others.
    pub fn stop_after(&self, operations: u64) {
        self.disk().stop_after = Some(operations);
    }

    /// Whether the process was stopped: every operation fails until [`Self::cut_power`] or [`Self::kill`].
    #[must_use]
    pub fn is_stopped(&self) -> bool {
        self.disk().stopped
    }

    /// Cuts the power, and starts the machine again: what was not synced is kept or dropped, sector by sector.
    pub fn cut_power(&self) {
        self.disk().cut_power();
    }

    /// Kills the process, and lets another begin: what it wrote is in the page cache still, synced or not.
    pub fn kill(&self) {
        let mut disk = self.disk();
        disk.counts.kills += 1;
        disk.restart();
    }

    /// Flips bits of one byte of a segment or of the manifest on the disk, as rot does. Gives the file and the offset.
    #[must_use]
    pub fn rot(&self) -> Option<(PathBuf, u64)> {
        self.disk().rot()
    }

    /// Loses the file of a segment.
    #[must_use]
    pub fn lose_segment(&self) -> Option<PathBuf> {
        self.disk().lose_segment()
    }

    /// What has happened so far.
    #[must_use]
    pub fn counts(&self) -> Counts {
        self.disk().counts
    }

    fn disk(&self) -> MutexGuard<'_, Disk> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The machine, as one process sees it.
pub(crate) struct SimEnv {
    machine: Machine,
    process: u64,
}

impl SimEnv {
    pub(crate) fn new(machine: &Machine) -> Self {
        let process = machine.disk().process;
        Self { machine: machine.clone(), process }
    }

    fn begin(&self) -> io::Result<(MutexGuard<'_, Disk>, Reach)> {
        let mut disk = self.machine.disk();
        let reach = disk.begin(self.process)?;
        Ok((disk, reach))
    }

    fn change_name(&self, change: &NameChange) -> io::Result<()> {
        let (mut disk, reach) = self.begin()?;
        disk.change_name(change, reach)
    }
}

impl Env for SimEnv {
    fn create_dir(&self, _path: &Path) -> io::Result<()> {
        // Every folder is there.
        Ok(())
    }

    fn open(&self, path: &Path, mode: Mode) -> io::Result<Arc<dyn File>> {
        let (mut disk, reach) = self.begin()?;
        let inode = match (disk.find(path), mode) {
            (Some(_), Mode::CreateNew) => return Err(io::ErrorKind::AlreadyExists.into()),
            (Some(inode), _) => inode,
            (None, Mode::CreateNew) => disk.create(path, reach)?,
            (None, _) => return Err(io::ErrorKind::NotFound.into()),
        };
        Ok(Arc::new(SimFile { machine: self.machine.clone(), process: self.process, inode }))
    }

    fn list(&self, folder: &Path) -> io::Result<Vec<String>> {
        let (disk, _) = self.begin()?;
        Ok(disk.list(folder))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.change_name(&NameChange::Rename(from.to_owned(), to.to_owned()))
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.change_name(&NameChange::Remove(path.to_owned()))
    }

    fn sync_dir(&self, folder: &Path) -> io::Result<()> {
        let (mut disk, reach) = self.begin()?;
        disk.sync_folder(folder, reach)
    }

    fn lock(&self, path: &Path) -> io::Result<Result<Box<dyn Lock>, String>> {
        let (mut disk, _) = self.begin()?;
        if !disk.locked.insert(path.to_owned()) {
            return Ok(Err("a simulated process".to_owned()));
        }
        let (machine, process) = (self.machine.clone(), self.process);
        Ok(Ok(Box::new(SimLock { machine, process, path: path.to_owned() })))
    }

    fn now(&self) -> Timestamp {
        self.machine.disk().tick()
    }

    fn entropy(&self) -> io::Result<[u8; 16]> {
        let (mut disk, _) = self.begin()?;
        Ok(disk.entropy())
    }
}

struct SimFile {
    machine: Machine,
    process: u64,
    inode: usize,
}

impl SimFile {
    fn begin(&self) -> io::Result<(MutexGuard<'_, Disk>, Reach)> {
        let mut disk = self.machine.disk();
        let reach = disk.begin(self.process)?;
        Ok((disk, reach))
    }
}

impl File for SimFile {
    fn len(&self) -> io::Result<u64> {
        let (disk, _) = self.begin()?;
        Ok(disk.content(self.inode).len() as u64)
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let (disk, _) = self.begin()?;
        let content = disk.content(self.inode);
        let from = usize::try_from(offset).map_or(content.len(), |offset| offset.min(content.len()));
        let len = buffer.len().min(content.len() - from);
        buffer[..len].copy_from_slice(&content[from..from + len]);
        Ok(len)
    }

    fn write_at(&self, pieces: &[&[u8]], offset: u64) -> io::Result<()> {
        let (mut disk, reach) = self.begin()?;
        disk.write(self.inode, &pieces.concat(), offset, reach)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        let (mut disk, reach) = self.begin()?;
        disk.set_len(self.inode, len, reach)
    }

    fn fill_zeros(&self, from: u64, len: u64) -> io::Result<()> {
        if from >= len {
            return Ok(());
        }
        let (mut disk, reach) = self.begin()?;
        disk.reserve()?;
        let zeros = vec![0; usize::try_from(len - from).map_err(io::Error::other)?];
        disk.write(self.inode, &zeros, from, reach)?;
        drop(disk);
        self.sync_data()
    }

    fn sync_data(&self) -> io::Result<()> {
        let (mut disk, reach) = self.begin()?;
        disk.sync(self.inode, reach)
    }

    fn sync_all(&self) -> io::Result<()> {
        self.sync_data()
    }
}

struct SimLock {
    machine: Machine,
    process: u64,
    path: PathBuf,
}

impl Lock for SimLock {
    fn describe(&self, _holder: &str) -> io::Result<()> {
        Ok(())
    }
}

impl Drop for SimLock {
    fn drop(&mut self) {
        let mut disk = self.machine.disk();
        if disk.process == self.process {
            disk.locked.remove(&self.path);
        }
    }
}
