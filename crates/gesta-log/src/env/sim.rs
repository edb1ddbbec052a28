//! A simulated machine: a disk in memory whose faults follow a seed, a virtual clock, and repeatable entropy.
//!
//! *Invariants*
//! - A read returns what was written last. Only a crash takes writes back.
//! - A power cut keeps what was synced. Each other sector, length and name is kept or dropped independently.
//! - A handle of an earlier process fails. A file without a name can be read through open handles.
//! - Only a *betrayal* breaks the first two: then a sync lies about one sector, as a broken disk does.
//!
//! *Choice: sectors of 512 bytes, not pages.* Sectors are the harsher choice: a single sector of a page may reach the
//! disk.

mod disk;
mod faults;
mod inode;

use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};

use gesta_core::Timestamp;

use super::{Env, File, FileId, Lock, Mode, Turn};
use crate::locks;
use disk::{Disk, NameChange, Outcome, done};
pub use faults::{Betrayal, Counts, Failure, Faults, Operation, PlannedFault};

/// A function that a machine calls.
pub type Hook = Arc<dyn Fn() + Send + Sync>;

/// A simulated machine. A clone is the same machine.
#[derive(Clone)]
pub struct Machine(Arc<Mutex<Disk>>);

impl Machine {
    /// A machine with an empty disk. The seed decides everything random on it.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self(Arc::new(Mutex::new(Disk::new(seed))))
    }

    /// A separate machine with the same state. Open logs stay with this one.
    #[must_use]
    pub fn fork(&self) -> Self {
        let mut disk = self.disk().clone();
        disk.before_sync = None;
        Self(Arc::new(Mutex::new(disk)))
    }

    /// Sets a function that is called before every sync, outside of all locks of the machine.
    pub fn before_sync(&self, hook: Option<Hook>) {
        self.disk().before_sync = hook;
    }

    /// The time of the clock.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        self.disk().tick()
    }

    /// Sets the rates of faults from now on.
    pub fn set_faults(&self, faults: Faults) {
        self.disk().set_faults(faults);
    }

    /// Stops the process during the operation that follows after `operations` others.
    pub fn stop_after(&self, operations: u64) {
        self.disk().stop_after = Some(operations);
    }

    /// Whether the process was stopped: every operation fails until [`Self::cut_power`] or [`Self::kill`].
    #[must_use]
    pub fn is_stopped(&self) -> bool {
        self.disk().stopped
    }

    /// Makes one operation fail, or all from one on; `None` ends this.
    pub fn plan_fault(&self, fault: Option<PlannedFault>) {
        self.disk().planned = fault;
    }

    /// Operations that failed because of a planned fault.
    #[must_use]
    pub fn fired(&self) -> u64 {
        self.disk().fired
    }

    /// Resets [`Self::fired`] to 0.
    pub fn forget_fired(&self) {
        self.disk().fired = 0;
    }

    /// Limits the disk to `capacity` bytes over all files that have a name; `None` for no limit. A file that would grow beyond it fails
    /// with [`StorageFull`](io::ErrorKind::StorageFull), before anything is written.
    pub fn set_capacity(&self, capacity_bytes: Option<u64>) {
        self.disk().capacity_bytes = capacity_bytes;
    }

    /// The bytes of all files that have a name.
    #[must_use]
    pub fn used_bytes(&self) -> u64 {
        self.disk().used_bytes()
    }

    /// Limits the files that a process has open; `None` for no limit. Opening one more fails, as beyond
    /// `RLIMIT_NOFILE`.
    pub fn set_open_files_max(&self, open_files_max: Option<u64>) {
        self.disk().open_files_max = open_files_max;
    }

    /// Mounts a folder read-only; `None` makes everything writable again. In a read-only folder, changes and opening
    /// a file for writing fail. Its lock can be taken, and syncs have nothing to do.
    pub fn mount_read_only(&self, folder: Option<&Path>) {
        self.disk().mount_read_only(folder);
    }

    /// Makes the disk lie about one sector, in the sync that follows after `syncs` others.
    pub fn betray_after(&self, syncs: u64, how: Betrayal) {
        self.disk().betray_after(syncs, how);
    }

    /// The files that a betrayal changed.
    #[must_use]
    pub fn betrayed(&self) -> Vec<PathBuf> {
        self.disk().betrayed.clone()
    }

    /// Cuts the power, and restarts the machine. Everything that was not synced is kept or dropped, sector by sector.
    pub fn cut_power(&self) {
        self.disk().cut_power();
    }

    /// The number of sectors, lengths and names that are not durable.
    #[must_use]
    pub fn pending(&self) -> usize {
        self.disk().pending_count()
    }

    /// Cuts the power. Of the items that [`Self::pending`] counts, keeps those whose bit is set.
    pub fn cut_power_with(&self, kept: u64) {
        self.disk().cut_power_with(kept);
    }

    /// Kills the process and starts another. Its writes are still in the page cache, synced or not.
    pub fn kill(&self) {
        let mut disk = self.disk();
        disk.counts.kills += 1;
        disk.restart();
    }

    /// All files of the machine, in all folders.
    #[must_use]
    pub fn paths(&self) -> Vec<PathBuf> {
        self.disk().paths()
    }

    /// The content of a file.
    #[must_use]
    pub fn content(&self, path: &Path) -> Option<Vec<u8>> {
        let disk = self.disk();
        disk.find(path).map(|inode| disk.content(inode).to_vec())
    }

    /// Sets the content of a file durably, without the log's knowledge. Creates the file if it is missing.
    pub fn put(&self, path: &Path, content: Vec<u8>) {
        self.disk().put(path, content);
    }

    /// Removes the name of a file, without the log's knowledge. Open handles can still read it.
    pub fn unlink(&self, path: &Path) {
        self.disk().unlink(path);
    }

    /// The events on the machine so far.
    #[must_use]
    pub fn counts(&self) -> Counts {
        self.disk().counts
    }

    /// A hash over all operations so far, in order.
    #[must_use]
    pub fn trace(&self) -> u64 {
        self.disk().trace
    }

    /// Records all operations from now on.
    pub fn record(&self) {
        self.disk().recorded = Some(Vec::new());
    }

    /// The operations since [`Self::record`], each with its file or folder.
    #[must_use]
    pub fn recorded(&self) -> Vec<(Operation, PathBuf)> {
        self.disk().recorded.clone().unwrap_or_default()
    }

    fn disk(&self) -> MutexGuard<'_, Disk> {
        locks::lock(&self.0)
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

    fn begin(&self, operation: Operation, path: &Path) -> io::Result<(MutexGuard<'_, Disk>, Outcome)> {
        let mut disk = self.machine.disk();
        let outcome = disk.begin(self.process, operation, path)?;
        Ok((disk, outcome))
    }

    /// Begins an operation that changes nothing, so it cannot be done in part.
    fn look(&self, operation: Operation, path: &Path) -> io::Result<MutexGuard<'_, Disk>> {
        let (disk, outcome) = self.begin(operation, path)?;
        done(outcome)?;
        Ok(disk)
    }

    fn open_file(&self, path: &Path, mode: Mode, kept: Kept) -> io::Result<SimFile> {
        let operation = if mode == Mode::CreateNew { Operation::Create } else { Operation::Open };
        let (mut disk, outcome) = self.begin(operation, path)?;
        disk.check_open(path, mode)?;
        let inode = match (disk.find(path), mode) {
            (Some(_), Mode::CreateNew) => return Err(io::ErrorKind::AlreadyExists.into()),
            (Some(inode), _) => done(outcome).map(|()| inode)?,
            (None, Mode::CreateNew) => disk.create(path, outcome)?,
            (None, _) => return Err(io::ErrorKind::NotFound.into()),
        };
        disk.open_files += u64::from(kept == Kept::Open);
        let is_pinned = AtomicBool::new(mode == Mode::CreateNew);
        let is_counted = AtomicBool::new(kept == Kept::Open);
        let (machine, process, path) = (self.machine.clone(), self.process, path.to_owned());
        Ok(SimFile { machine, process, inode, path, kept, is_pinned, is_counted })
    }
}

impl Env for SimEnv {
    fn create_dir(&self, _path: &Path) -> io::Result<()> {
        // Every folder exists.
        Ok(())
    }

    fn is_writable(&self, folder: &Path) -> bool {
        !self.machine.disk().is_mounted_read_only(folder)
    }

    fn id_of(&self, _path: &Path) -> io::Result<FileId> {
        Ok(FileId::SIMULATED)
    }

    fn open(&self, path: &Path, mode: Mode) -> io::Result<Arc<dyn File>> {
        Ok(Arc::new(self.open_file(path, mode, Kept::Open)?))
    }

    fn open_on_demand(&self, path: &Path, mode: Mode, _turn: Turn) -> io::Result<Arc<dyn File>> {
        Ok(Arc::new(self.open_file(path, mode, Kept::OnDemand)?))
    }

    fn list(&self, folder: &Path) -> io::Result<Vec<String>> {
        Ok(self.look(Operation::List, folder)?.list(folder))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let (mut disk, outcome) = self.begin(Operation::Rename, to)?;
        disk.change_name(&NameChange::Rename(from.to_owned(), to.to_owned()), outcome)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        let (mut disk, outcome) = self.begin(Operation::Remove, path)?;
        disk.change_name(&NameChange::Remove(path.to_owned()), outcome)
    }

    fn sync_dir(&self, folder: &Path) -> io::Result<()> {
        let (mut disk, outcome) = self.begin(Operation::SyncFolder, folder)?;
        disk.sync_folder(folder, outcome)
    }

    fn lock(&self, path: &Path) -> io::Result<Result<Box<dyn Lock>, String>> {
        let mut disk = self.look(Operation::Lock, path)?;
        if !disk.locked.insert(path.to_owned()) {
            return Ok(Err("a simulated process".to_owned()));
        }
        let (machine, process) = (self.machine.clone(), self.process);
        Ok(Ok(Box::new(SimLock { machine, process, path: path.to_owned() })))
    }

    fn now(&self) -> Timestamp {
        self.machine.now()
    }

    fn entropy(&self) -> io::Result<[u8; 16]> {
        Ok(self.look(Operation::Entropy, Path::new(""))?.entropy())
    }
}

struct SimFile {
    machine: Machine,
    process: u64,
    inode: usize,
    path: PathBuf,
    kept: Kept,
    /// Whether a file that is opened on use stays open: it was written to, or its name is about to be removed.
    is_pinned: AtomicBool,
    /// Whether it takes a descriptor.
    is_counted: AtomicBool,
}

/// How long a file takes one of the descriptors of its process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kept {
    /// As long as somebody holds it.
    Open,
    /// While it is used.
    OnDemand,
}

impl SimFile {
    fn begin(&self, operation: Operation) -> io::Result<(MutexGuard<'_, Disk>, Outcome)> {
        let mut disk = self.machine.disk();
        let outcome = disk.begin(self.process, operation, &self.path)?;
        if operation.is_change() {
            self.is_pinned.store(true, Ordering::Relaxed);
        }
        // With few descriptors, a file that is opened on use was closed since its last use.
        let is_closed = self.kept == Kept::OnDemand && disk.open_files_max.is_some();
        if is_closed && !self.is_pinned.load(Ordering::Relaxed) && disk.find(&self.path) != Some(self.inode) {
            return Err(io::ErrorKind::NotFound.into());
        }
        Ok((disk, outcome))
    }

    fn look(&self, operation: Operation) -> io::Result<MutexGuard<'_, Disk>> {
        let (disk, outcome) = self.begin(operation)?;
        done(outcome)?;
        Ok(disk)
    }
}

impl File for SimFile {
    fn len(&self) -> io::Result<u64> {
        Ok(self.look(Operation::Length)?.content(self.inode).len() as u64)
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let disk = self.look(Operation::Read)?;
        let content = disk.content(self.inode);
        let from = usize::try_from(offset).map_or(content.len(), |offset| offset.min(content.len()));
        let len = buffer.len().min(content.len() - from);
        buffer[..len].copy_from_slice(&content[from..from + len]);
        Ok(len)
    }

    fn write_at(&self, pieces: &[&[u8]], offset: u64) -> io::Result<()> {
        let (mut disk, outcome) = self.begin(Operation::Write)?;
        disk.write(self.inode, &pieces.concat(), offset, outcome)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        let (mut disk, outcome) = self.begin(Operation::SetLength)?;
        disk.set_len(self.inode, len, outcome)
    }

    fn fill_zeros(&self, from: u64, len: u64) -> io::Result<()> {
        if from >= len {
            return Ok(());
        }
        let (mut disk, outcome) = self.begin(Operation::FillZeros)?;
        if outcome == Outcome::Whole {
            disk.reserve(self.inode, len)?;
        }
        let zeros = vec![0; usize::try_from(len - from).map_err(io::Error::other)?];
        disk.write(self.inode, &zeros, from, outcome)?;
        drop(disk);
        self.sync_data()
    }

    fn sync_data(&self) -> io::Result<()> {
        let hook = self.machine.disk().before_sync.clone();
        hook.iter().for_each(|hook| hook());
        let (mut disk, outcome) = self.begin(Operation::Sync)?;
        disk.sync(self.inode, outcome)
    }

    fn sync_all(&self) -> io::Result<()> {
        self.sync_data()
    }

    fn settle(&self) {
        self.is_pinned.store(false, Ordering::Relaxed);
    }

    fn hold(&self) -> io::Result<()> {
        let mut disk = self.machine.disk();
        if disk.find(&self.path) != Some(self.inode) {
            return Err(io::ErrorKind::NotFound.into());
        }
        if !self.is_counted.load(Ordering::Relaxed) {
            disk.check_open(&self.path, Mode::Read)?;
            disk.open_files += 1;
            self.is_counted.store(true, Ordering::Relaxed);
        }
        self.is_pinned.store(true, Ordering::Relaxed);
        Ok(())
    }
}

impl Drop for SimFile {
    fn drop(&mut self) {
        let mut disk = self.machine.disk();
        // The files of an earlier process were closed when it ended.
        if disk.process == self.process && self.is_counted.load(Ordering::Relaxed) {
            disk.open_files -= 1;
        }
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
