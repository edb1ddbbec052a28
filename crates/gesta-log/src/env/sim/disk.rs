//! The disk of a simulated machine: what is written, which part of it is durable, and what a crash keeps of the rest.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};

use gesta_core::Timestamp;

use super::faults::{Betrayal, Counts, Failure, Faults, Operation, PlannedFault};
use super::inode::{Inode, SECTOR_BYTES, Sector};
use crate::env::Mode;

/// How far an operation gets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Outcome {
    Whole,
    /// The process is stopped during the operation.
    Part,
    Fails(Failure),
}

/// A change of names in a folder.
#[derive(Debug, Clone)]
pub(super) enum NameChange {
    Create(PathBuf, usize),
    Rename(PathBuf, PathBuf),
    Remove(PathBuf),
}

/// Something that is not durable. A power cut keeps or drops it independently.
#[derive(Debug, Clone, Copy)]
enum Pending {
    Length(usize),
    Sector(usize, usize),
    Name(usize),
}

type Names = BTreeMap<PathBuf, usize>;

/// The complete state of a machine.
#[derive(Clone)]
pub(super) struct Disk {
    random: u64,
    pub(super) process: u64,
    pub(super) stopped: bool,
    pub(super) stop_after: Option<u64>,
    pub(super) planned: Option<PlannedFault>,
    /// Operations that failed because of the planned fault.
    pub(super) fired: u64,
    betrayal: Option<(u64, Betrayal)>,
    pub(super) betrayed: Vec<PathBuf>,
    pub(super) faults: Faults,
    is_read_only: bool,
    /// A folder that is mounted read-only.
    read_only_folder: Option<PathBuf>,
    pub(super) capacity_bytes: Option<u64>,
    pub(super) open_files_max: Option<u64>,
    /// Files that the process has open.
    pub(super) open_files: u64,
    pub(super) counts: Counts,
    /// All operations since recording began.
    pub(super) recorded: Option<Vec<(Operation, PathBuf)>>,
    /// A hash over every operation.
    pub(super) trace: u64,
    pub(super) locked: BTreeSet<PathBuf>,
    pub(super) before_sync: Option<super::Hook>,
    clock: i64,
    inodes: Vec<Inode>,
    names: Names,
    durable_names: Names,
    /// Changes of names that no sync of their folder has made durable, each with its inode.
    pending: Vec<(NameChange, usize)>,
}

impl Disk {
    pub(super) fn new(seed: u64) -> Self {
        Self {
            random: seed,
            process: 1,
            stopped: false,
            stop_after: None,
            planned: None,
            fired: 0,
            betrayal: None,
            betrayed: Vec::new(),
            faults: Faults::default(),
            is_read_only: false,
            read_only_folder: None,
            capacity_bytes: None,
            open_files_max: None,
            open_files: 0,
            counts: Counts::default(),
            recorded: None,
            trace: 0,
            locked: BTreeSet::new(),
            before_sync: None,
            clock: 1_700_000_000_000_000_000,
            inodes: Vec::new(),
            names: Names::new(),
            durable_names: Names::new(),
            pending: Vec::new(),
        }
    }

    /// Begins an operation of a process.
    pub(super) fn begin(&mut self, process: u64, operation: Operation, path: &Path) -> io::Result<Outcome> {
        if self.stopped || process != self.process {
            return Err(io::Error::other("the process was stopped"));
        }
        self.note(operation, path);
        if let Some(left) = self.stop_after {
            self.stop_after = left.checked_sub(1);
            self.stopped = left == 0;
            if self.stopped {
                return Ok(Outcome::Part);
            }
        }
        if let Some(failure) = self.planned_failure(operation) {
            return Ok(Outcome::Fails(failure));
        }
        self.is_read_only |=
            self.faults.read_only > 0 && operation.is_change() && self.chance(self.faults.read_only);
        if self.is_read_only && operation.is_change() {
            self.counts.read_only += 1;
            return Ok(Outcome::Fails(Failure::ReadOnly));
        }
        if operation.is_change_of_mount() && self.is_mounted_read_only(path) {
            return Ok(Outcome::Fails(Failure::ReadOnly));
        }
        Ok(Outcome::Whole)
    }

    /// Fails if a file cannot be opened in this mode: on a read-only mount, or beyond the limit of open files.
    pub(super) fn check_open(&self, path: &Path, mode: Mode) -> io::Result<()> {
        if mode != Mode::Read && self.is_mounted_read_only(path) {
            return Err(Failure::ReadOnly.error());
        }
        match self.open_files_max.is_some_and(|max| self.open_files >= max) {
            true => Err(io::Error::from_raw_os_error(rustix::io::Errno::MFILE.raw_os_error())),
            false => Ok(()),
        }
    }

    pub(super) fn is_mounted_read_only(&self, path: &Path) -> bool {
        self.read_only_folder.as_ref().is_some_and(|folder| path.starts_with(folder))
    }

    /// Mounts a folder read-only. Like the kernel, it first writes everything back.
    pub(super) fn mount_read_only(&mut self, folder: Option<&Path>) {
        if folder.is_some() {
            self.inodes.iter_mut().for_each(Inode::sync);
            self.durable_names.clone_from(&self.names);
            self.pending.clear();
        }
        self.read_only_folder = folder.map(Path::to_owned);
    }

    fn note(&mut self, operation: Operation, path: &Path) {
        self.counts.file_operations += 1;
        let name = path.file_name().map_or(&[][..], |name| name.as_encoded_bytes());
        for byte in name.iter().chain([&(operation as u8)]) {
            self.trace = (self.trace ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
        }
        if let Some(recorded) = &mut self.recorded {
            recorded.push((operation, path.to_owned()));
        }
    }

    fn planned_failure(&mut self, operation: Operation) -> Option<Failure> {
        let PlannedFault { after, failure, lasts } = self.planned?;
        if after > 0 {
            self.planned = Some(PlannedFault { after: after - 1, failure, lasts });
            return None;
        }
        if !lasts {
            self.planned = None;
        }
        operation.fails_by(failure).then(|| {
            self.fired += 1;
            self.count(failure);
            failure
        })
    }

    fn count(&mut self, failure: Failure) {
        match failure {
            Failure::Eio => self.counts.eio += 1,
            Failure::NoSpace => self.counts.no_space += 1,
            Failure::ReadOnly => self.counts.read_only += 1,
        }
    }

    pub(super) fn set_faults(&mut self, faults: Faults) {
        self.is_read_only &= faults.read_only > 0;
        self.faults = faults;
    }

    pub(super) fn tick(&mut self) -> Timestamp {
        // Sometimes the clock goes back, usually by little.
        let step = i64::try_from(self.below(1_000)).unwrap_or(0) - 100;
        self.clock += step;
        if self.faults.clock_back > 0 && self.chance(self.faults.clock_back) {
            self.counts.clock_back += 1;
            self.clock -= i64::try_from(self.below(3_600_000_000_000)).unwrap_or(0);
        }
        Timestamp::from_nanos(self.clock)
    }

    pub(super) fn entropy(&mut self) -> [u8; 16] {
        (u128::from(self.next()) << 64 | u128::from(self.next())).to_le_bytes()
    }

    pub(super) fn content(&self, inode: usize) -> &[u8] {
        &self.inodes[inode].content
    }

    pub(super) fn find(&self, path: &Path) -> Option<usize> {
        self.names.get(path).copied()
    }

    pub(super) fn list(&self, folder: &Path) -> Vec<String> {
        let own = self.names.keys().filter(|path| path.parent() == Some(folder));
        own.filter_map(|path| Some(path.file_name()?.to_string_lossy().into_owned())).collect()
    }

    pub(super) fn paths(&self) -> Vec<PathBuf> {
        self.names.keys().cloned().collect()
    }

    /// Sets the content of a file durably. Creates the file if it is missing.
    pub(super) fn put(&mut self, path: &Path, bytes: Vec<u8>) {
        let inode = self.find(path).unwrap_or(self.inodes.len());
        if inode == self.inodes.len() {
            self.inodes.push(Inode::default());
        }
        self.inodes[inode] = Inode { content: bytes.clone(), durable: bytes, sectors: Vec::new() };
        self.names.insert(path.to_owned(), inode);
        self.durable_names.insert(path.to_owned(), inode);
    }

    /// Removes a file's name durably. Open handles can still read it.
    pub(super) fn unlink(&mut self, path: &Path) {
        self.names.remove(path);
        self.durable_names.remove(path);
    }

    pub(super) fn create(&mut self, path: &Path, outcome: Outcome) -> io::Result<usize> {
        self.inodes.push(Inode::default());
        let inode = self.inodes.len() - 1;
        self.change_name(&NameChange::Create(path.to_owned(), inode), outcome)?;
        Ok(inode)
    }

    /// Changes a name. It becomes durable when its folder is synced.
    pub(super) fn change_name(&mut self, change: &NameChange, outcome: Outcome) -> io::Result<()> {
        let inode = match change {
            NameChange::Create(_, inode) => Some(*inode),
            NameChange::Rename(path, _) | NameChange::Remove(path) => self.find(path),
        };
        let inode = inode.ok_or(io::ErrorKind::NotFound)?;
        if outcome == Outcome::Whole || outcome == Outcome::Part && self.chance(5_000) {
            apply(&mut self.names, change, inode);
            self.pending.push((change.clone(), inode));
        }
        done(outcome)
    }

    pub(super) fn sync_folder(&mut self, folder: &Path, outcome: Outcome) -> io::Result<()> {
        done(outcome)?;
        self.fail_at(self.faults.folder_sync_eio)?;
        let (own, others) = std::mem::take(&mut self.pending)
            .into_iter()
            .partition(|(change, _)| folder_of(change) == Some(folder));
        self.pending = others;
        for (change, inode) in Vec::from_iter::<Vec<_>>(own) {
            apply(&mut self.durable_names, &change, inode);
        }
        Ok(())
    }

    pub(super) fn write(
        &mut self,
        inode: usize,
        bytes: &[u8],
        offset: u64,
        outcome: Outcome,
    ) -> io::Result<()> {
        let offset = usize::try_from(offset).map_err(io::Error::other)?;
        let end = offset + bytes.len();
        if end > self.inodes[inode].content.len() && outcome == Outcome::Whole {
            self.reserve(inode, end as u64)?;
        }
        let failed = match outcome {
            Outcome::Whole => {
                self.fail_at(self.faults.write_eio).and_then(|()| self.write_short(bytes.len()))
            }
            _ => done(outcome),
        };
        let len = if failed.is_ok() { bytes.len() } else { self.part_of_write(offset, bytes.len()) };
        if len > 0 {
            self.inodes[inode].write(&bytes[..len], offset);
        }
        failed
    }

    fn write_short(&mut self, len: usize) -> io::Result<()> {
        if len > SECTOR_BYTES && self.chance(self.faults.short_write) {
            self.counts.short_writes += 1;
            return Err(io::ErrorKind::StorageFull.into());
        }
        Ok(())
    }

    /// The length of an interrupted write: whole sectors, since the page cache is filled page by page.
    fn part_of_write(&mut self, offset: usize, len: usize) -> usize {
        let end = offset + self.index(len + 1);
        (end - end % SECTOR_BYTES).saturating_sub(offset)
    }

    pub(super) fn set_len(&mut self, inode: usize, len: u64, outcome: Outcome) -> io::Result<()> {
        if outcome == Outcome::Whole {
            self.inodes[inode].set_len(usize::try_from(len).map_err(io::Error::other)?);
        }
        done(outcome)
    }

    /// Fails if there is no space for a file of that length.
    pub(super) fn reserve(&mut self, inode: usize, len: u64) -> io::Result<()> {
        if self.chance(self.faults.no_space) || self.is_full(inode, len) {
            self.counts.no_space += 1;
            return Err(io::ErrorKind::StorageFull.into());
        }
        Ok(())
    }

    fn is_full(&self, inode: usize, len: u64) -> bool {
        let Some(capacity) = self.capacity_bytes else { return false };
        let growth = len.saturating_sub(self.inodes[inode].content.len() as u64);
        self.used_bytes() + growth > capacity
    }

    pub(super) fn used_bytes(&self) -> u64 {
        self.names.values().map(|inode| self.inodes[*inode].content.len() as u64).sum()
    }

    pub(super) fn sync(&mut self, inode: usize, outcome: Outcome) -> io::Result<()> {
        let failed = match outcome {
            Outcome::Whole => self.fail_at(self.faults.sync_eio),
            _ => done(outcome),
        };
        if failed.is_ok() {
            self.betray(inode);
            self.inodes[inode].sync();
            return Ok(());
        }
        for sector in self.inodes[inode].dirty().collect::<Vec<_>>() {
            if self.chance(5_000) {
                self.inodes[inode].flush(sector);
            } else if outcome != Outcome::Part {
                self.inodes[inode].sectors[sector] = Sector::Lost;
            }
        }
        failed
    }

    /// Betrays the sync that follows after `syncs` others that have something to write.
    pub(super) fn betray_after(&mut self, syncs: u64, how: Betrayal) {
        self.betrayal = Some((syncs, how));
    }

    /// Loses or misdirects a sector of this sync, if its turn has come.
    fn betray(&mut self, inode: usize) {
        let Some((left, how)) = self.betrayal else { return };
        let dirty = self.inodes[inode].dirty().collect::<Vec<_>>();
        if dirty.is_empty() {
            return;
        }
        self.betrayal = left.checked_sub(1).map(|left| (left, how));
        if left > 0 {
            return;
        }
        let sector = dirty[self.index(dirty.len())];
        self.counts.betrayed_sectors += 1;
        self.betrayed.extend(self.path_of(inode));
        self.inodes[inode].sectors[sector] = Sector::Clean;
        if how == Betrayal::Misdirected {
            self.misdirect(inode, sector);
        }
    }

    /// Writes a sector over another one, in any file of the log.
    fn misdirect(&mut self, inode: usize, sector: usize) {
        let targets = self.durable_names.iter().map(|(path, inode)| (path.clone(), *inode));
        let targets =
            targets.filter(|(_, target)| !self.inodes[*target].durable.is_empty()).collect::<Vec<_>>();
        if targets.is_empty() {
            return;
        }
        let (path, target) = targets[self.index(targets.len())].clone();
        let from = sector * SECTOR_BYTES;
        let bytes = self.inodes[inode].content[from..].iter().copied().take(SECTOR_BYTES).collect::<Vec<_>>();
        let sectors = self.inodes[target].durable.len().div_ceil(SECTOR_BYTES);
        let to = self.index(sectors) * SECTOR_BYTES;
        if (target, to) == (inode, from) {
            return;
        }
        let durable = &mut self.inodes[target].durable;
        let len = bytes.len().min(durable.len() - to);
        durable[to..to + len].copy_from_slice(&bytes[..len]);
        self.betrayed.push(path);
    }

    fn path_of(&self, inode: usize) -> Option<PathBuf> {
        self.names.iter().find(|(_, own)| **own == inode).map(|(path, _)| path.clone())
    }

    /// Everything that is not durable, in a deterministic order.
    fn pending(&self) -> Vec<Pending> {
        let mut pending = Vec::new();
        for (inode, own) in self.inodes.iter().enumerate() {
            if own.has_unsynced_len() {
                pending.push(Pending::Length(inode));
            }
            pending.extend(own.dirty().map(|sector| Pending::Sector(inode, sector)));
        }
        pending.extend((0..self.pending.len()).map(Pending::Name));
        pending
    }

    /// The number of things that are not durable.
    pub(super) fn pending_count(&self) -> usize {
        self.pending().len()
    }

    /// Keeps what was synced, and a random part of the rest.
    pub(super) fn cut_power(&mut self) {
        let keep = [0, 2_000, 5_000, 9_000, 10_000][self.index(5)];
        self.cut_power_keeping(|disk, pending| match pending {
            Pending::Sector(inode, sector) if disk.chance(disk.faults.torn) => {
                disk.tear(inode, sector);
                false
            }
            _ => disk.chance(keep),
        });
    }

    /// Keeps what was synced, and the part of the rest whose bits are set, in order.
    pub(super) fn cut_power_with(&mut self, mut kept: u64) {
        self.cut_power_keeping(|_, _| {
            let bit = kept & 1 == 1;
            kept >>= 1;
            bit
        });
    }

    fn cut_power_keeping(&mut self, mut keeps: impl FnMut(&mut Self, Pending) -> bool) {
        self.counts.power_cuts += 1;
        for pending in self.pending() {
            let is_kept = keeps(self, pending);
            match pending {
                Pending::Length(inode) if is_kept => {
                    let len = self.inodes[inode].content.len();
                    self.inodes[inode].durable.resize(len, 0);
                }
                Pending::Sector(inode, sector) if is_kept => {
                    self.inodes[inode].keep(sector, 0..SECTOR_BYTES);
                }
                Pending::Sector(..) => self.counts.dropped_sectors += 1,
                Pending::Name(at) if is_kept => {
                    let (change, inode) = &self.pending[at];
                    apply(&mut self.durable_names, change, *inode);
                }
                Pending::Length(_) | Pending::Name(_) => {}
            }
        }
        self.pending.clear();
        self.inodes.iter_mut().for_each(Inode::restart);
        self.names.clone_from(&self.durable_names);
        self.is_read_only = false;
        self.restart();
    }

    fn tear(&mut self, inode: usize, sector: usize) {
        self.counts.torn_sectors += 1;
        let (at, first) = (self.index(SECTOR_BYTES), self.chance(5_000));
        let part = if first { 0..at } else { at..SECTOR_BYTES };
        self.inodes[inode].keep(sector, part);
    }

    /// Starts another process.
    pub(super) fn restart(&mut self) {
        self.process += 1;
        self.open_files = 0;
        (self.stopped, self.stop_after, self.planned) = (false, None, None);
        self.locked.clear();
        self.forget_unnamed();
    }

    /// Frees files without a name that no process has open.
    fn forget_unnamed(&mut self) {
        let named = self.names.values().chain(self.durable_names.values());
        let named = named.copied().chain(self.pending.iter().map(|(_, inode)| *inode));
        let mut is_named = vec![false; self.inodes.len()];
        named.for_each(|inode| is_named[inode] = true);
        let unnamed = self.inodes.iter_mut().zip(is_named).filter(|(_, is_named)| !is_named);
        unnamed.for_each(|(inode, _)| *inode = Inode::default());
    }

    fn fail_at(&mut self, rate: u64) -> io::Result<()> {
        if self.chance(rate) {
            self.counts.eio += 1;
            return Err(Failure::Eio.error());
        }
        Ok(())
    }

    fn chance(&mut self, rate: u64) -> bool {
        rate > 0 && self.below(10_000) < rate
    }

    fn index(&mut self, bound: usize) -> usize {
        usize::try_from(self.below(bound as u64)).expect("below a usize")
    }

    fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }

    /// SplitMix64.
    const fn next(&mut self) -> u64 {
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.random;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }
}

fn apply(names: &mut Names, change: &NameChange, inode: usize) {
    match change {
        NameChange::Create(path, _) => {
            names.insert(path.clone(), inode);
        }
        NameChange::Rename(from, to) => {
            names.remove(from);
            names.insert(to.clone(), inode);
        }
        NameChange::Remove(path) => {
            names.remove(path);
        }
    }
}

fn folder_of(change: &NameChange) -> Option<&Path> {
    match change {
        NameChange::Create(path, _) | NameChange::Rename(_, path) | NameChange::Remove(path) => path.parent(),
    }
}

/// The result of an operation with this outcome.
pub(super) fn done(outcome: Outcome) -> io::Result<()> {
    match outcome {
        Outcome::Whole => Ok(()),
        Outcome::Part => Err(io::Error::other("the process was stopped")),
        Outcome::Fails(failure) => Err(failure.error()),
    }
}
