//! The disk of a simulated machine: what is written, what of it is durable, and what a crash makes of the difference.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};

use gesta_core::Timestamp;

const SECTOR_BYTES: usize = 512;
/// Bytes of a segment before its frames.
const HEADER_BYTES: usize = 4096;

/// How often faults happen: in so many of 10,000 operations of their kind.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Faults {
    /// A sync fails: some of what it should have written is lost, and no later sync writes it.
    pub sync_eio: u64,
    /// The sync of a folder fails.
    pub folder_sync_eio: u64,
    /// A write fails, after nothing or after a part of it.
    pub write_eio: u64,
    /// There is no space for zeros ahead, or for a file that grows.
    pub no_space: u64,
    /// A sector that was not synced is torn by a power cut: one part is new, the other old.
    pub torn: u64,
}

/// What happened on a machine.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Operations of its file system.
    pub file_operations: u64,
    /// Power cuts.
    pub power_cuts: u64,
    /// Processes that were killed.
    pub kills: u64,
    /// Syncs and writes that failed.
    pub eio: u64,
    /// Writes that found no space.
    pub no_space: u64,
    /// Sectors that a power cut dropped.
    pub dropped_sectors: u64,
    /// Sectors that a power cut tore.
    pub torn_sectors: u64,
    /// Bytes that rotted, and files that were lost.
    pub rots: u64,
}

/// How far an operation gets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reach {
    Whole,
    /// The process is stopped in the midst of it.
    Part,
}

/// A change of names in a folder.
#[derive(Debug, Clone)]
pub(super) enum NameChange {
    Create(PathBuf, usize),
    Rename(PathBuf, PathBuf),
    Remove(PathBuf),
}

/// What became of a sector since the last sync that worked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Sector {
    Clean,
    Dirty,
    /// A sync failed on it. The page cache calls it clean.
    Lost,
}

#[derive(Default)]
struct Inode {
    /// What reads give.
    content: Vec<u8>,
    durable: Vec<u8>,
    /// One for each sector of `content` that was ever written; those beyond are clean.
    sectors: Vec<Sector>,
}

type Names = BTreeMap<PathBuf, usize>;

/// Everything there is to a machine.
pub(super) struct Disk {
    random: u64,
    pub(super) process: u64,
    pub(super) stopped: bool,
    pub(super) stop_after: Option<u64>,
    pub(super) faults: Faults,
    pub(super) counts: Counts,
    pub(super) locked: BTreeSet<PathBuf>,
    clock: i64,
    inodes: Vec<Inode>,
    names: Names,
    durable_names: Names,
    /// Changes that no sync of their folder has made durable, with the inode that each is about.
    pending: Vec<(NameChange, usize)>,
}

impl Disk {
    pub(super) fn new(seed: u64) -> Self {
        Self {
            random: seed,
            process: 1,
            stopped: false,
            stop_after: None,
            faults: Faults::default(),
            counts: Counts::default(),
            locked: BTreeSet::new(),
            clock: 1_000_000_000,
            inodes: Vec::new(),
            names: Names::new(),
            durable_names: Names::new(),
            pending: Vec::new(),
        }
    }

    /// Begins an operation of a process.
    pub(super) fn begin(&mut self, process: u64) -> io::Result<Reach> {
        if self.stopped || process != self.process {
            return Err(io::Error::other("the process was stopped"));
        }
        self.counts.file_operations += 1;
        let Some(left) = self.stop_after else { return Ok(Reach::Whole) };
        self.stop_after = left.checked_sub(1);
        self.stopped = left == 0;
        Ok(if self.stopped { Reach::Part } else { Reach::Whole })
    }

    pub(super) fn tick(&mut self) -> Timestamp {
        // Now and then the clock goes back.
        let step = i64::try_from(self.below(1_000)).unwrap_or(0) - 100;
        self.clock += step;
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

    pub(super) fn create(&mut self, path: &Path, reach: Reach) -> io::Result<usize> {
        self.inodes.push(Inode::default());
        let inode = self.inodes.len() - 1;
        self.change_name(&NameChange::Create(path.to_owned(), inode), reach)?;
        Ok(inode)
    }

    /// Changes a name; durable only once its folder is synced.
    pub(super) fn change_name(&mut self, change: &NameChange, reach: Reach) -> io::Result<()> {
        let inode = match change {
            NameChange::Create(_, inode) => Some(*inode),
            NameChange::Rename(path, _) | NameChange::Remove(path) => self.find(path),
        };
        let inode = inode.ok_or(io::ErrorKind::NotFound)?;
        if reach == Reach::Whole || self.chance(5_000) {
            apply(&mut self.names, change, inode);
            self.pending.push((change.clone(), inode));
        }
        done(reach)
    }

    pub(super) fn sync_folder(&mut self, folder: &Path, reach: Reach) -> io::Result<()> {
        if reach == Reach::Part {
            return done(reach);
        }
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

    pub(super) fn write(&mut self, inode: usize, bytes: &[u8], offset: u64, reach: Reach) -> io::Result<()> {
        let offset = usize::try_from(offset).map_err(io::Error::other)?;
        if offset + bytes.len() > self.inodes[inode].content.len() && reach == Reach::Whole {
            self.reserve()?;
        }
        let failed = self.fail_at(self.faults.write_eio);
        let whole = failed.is_ok() && reach == Reach::Whole;
        let len = if whole { bytes.len() } else { self.part_of_write(offset, bytes.len()) };
        if len > 0 {
            self.inodes[inode].write(&bytes[..len], offset);
        }
        failed?;
        done(reach)
    }

    /// How much of a write is done that stops on its way: whole sectors, since the page cache is filled page by page.
    fn part_of_write(&mut self, offset: usize, len: usize) -> usize {
        let end = offset + self.index(len + 1);
        (end - end % SECTOR_BYTES).saturating_sub(offset)
    }

    pub(super) fn set_len(&mut self, inode: usize, len: u64, reach: Reach) -> io::Result<()> {
        if reach == Reach::Whole {
            self.inodes[inode].set_len(usize::try_from(len).map_err(io::Error::other)?);
        }
        done(reach)
    }

    /// Fails where there is no space.
    pub(super) fn reserve(&mut self) -> io::Result<()> {
        if self.chance(self.faults.no_space) {
            self.counts.no_space += 1;
            return Err(io::ErrorKind::StorageFull.into());
        }
        Ok(())
    }

    pub(super) fn sync(&mut self, inode: usize, reach: Reach) -> io::Result<()> {
        let failed = self.fail_at(self.faults.sync_eio);
        if failed.is_ok() && reach == Reach::Whole {
            self.inodes[inode].sync();
            return Ok(());
        }
        for sector in 0..self.inodes[inode].sectors.len() {
            if self.inodes[inode].sectors[sector] != Sector::Dirty {
                continue;
            }
            if self.chance(5_000) {
                self.inodes[inode].flush(sector);
            } else if failed.is_err() {
                self.inodes[inode].sectors[sector] = Sector::Lost;
            }
        }
        failed?;
        done(reach)
    }

    /// Keeps what was synced, and of everything else what chance keeps.
    pub(super) fn cut_power(&mut self) {
        self.counts.power_cuts += 1;
        let keep = [0, 2_000, 5_000, 9_000, 10_000][self.index(5)];
        for inode in 0..self.inodes.len() {
            self.lose_unsynced(inode, keep);
        }
        for (change, inode) in std::mem::take(&mut self.pending) {
            if self.chance(keep) {
                apply(&mut self.durable_names, &change, inode);
            }
        }
        self.names = self.durable_names.clone();
        self.restart();
    }

    fn lose_unsynced(&mut self, inode: usize, keep: u64) {
        if self.inodes[inode].content.len() != self.inodes[inode].durable.len() && self.chance(keep) {
            let len = self.inodes[inode].content.len();
            self.inodes[inode].durable.resize(len, 0);
        }
        for sector in 0..self.inodes[inode].sectors.len() {
            let state = self.inodes[inode].sectors[sector];
            match state {
                Sector::Dirty if self.chance(self.faults.torn) => {
                    self.counts.torn_sectors += 1;
                    let (at, first) = (self.index(SECTOR_BYTES), self.chance(5_000));
                    let part = if first { 0..at } else { at..SECTOR_BYTES };
                    self.inodes[inode].keep(sector, part);
                }
                Sector::Dirty if self.chance(keep) => self.inodes[inode].keep(sector, 0..SECTOR_BYTES),
                Sector::Clean => {}
                Sector::Dirty | Sector::Lost => self.counts.dropped_sectors += 1,
            }
        }
        let own = &mut self.inodes[inode];
        own.sectors.clear();
        own.content.clone_from(&own.durable);
    }

    /// Begins another process.
    pub(super) fn restart(&mut self) {
        self.process += 1;
        (self.stopped, self.stop_after) = (false, None);
        self.locked.clear();
    }

    pub(super) fn rot(&mut self) -> Option<(PathBuf, u64)> {
        let is_of_log = |path: &Path| {
            path.extension().is_some_and(|own| own == "seg")
                || path.file_name().is_some_and(|own| own == "manifest")
        };
        let files = self.durable_names.iter().filter(|(path, _)| is_of_log(path));
        let files = files.map(|(path, inode)| (path.clone(), *inode)).collect::<Vec<_>>();
        // Frames behind a segment's header are at risk more often than headers, and the newest most of all.
        let used_of = |inode: usize| self.inodes[inode].durable.iter().rposition(|byte| *byte != 0);
        let newest =
            files.iter().rposition(|(_, inode)| used_of(*inode).is_some_and(|last| last > HEADER_BYTES));
        let chosen = newest.filter(|_| self.chance(5_000)).unwrap_or(0);
        let chosen = if chosen > 0 { chosen } else { self.index(files.len().max(1)) };
        let (path, inode) = files.get(chosen)?.clone();
        let used = self.inodes[inode].durable.iter().rposition(|byte| *byte != 0)? + 1;
        let from = if used > HEADER_BYTES && self.chance(8_000) { HEADER_BYTES } else { 0 };
        let (at, bits) = (from + self.index(used - from), self.below(255) + 1);
        let own = &mut self.inodes[inode];
        own.durable[at] ^= u8::try_from(bits).ok()?;
        own.content[at] = own.durable[at];
        self.counts.rots += 1;
        Some((path, at as u64))
    }

    pub(super) fn lose_segment(&mut self) -> Option<PathBuf> {
        let is_segment = |path: &&PathBuf| path.extension().is_some_and(|own| own == "seg");
        let files = self.durable_names.keys().filter(is_segment).cloned().collect::<Vec<_>>();
        let path = files.get(self.index(files.len().max(1)))?.clone();
        self.durable_names.remove(&path);
        self.names.remove(&path);
        self.counts.rots += 1;
        Some(path)
    }

    fn fail_at(&mut self, rate: u64) -> io::Result<()> {
        if self.chance(rate) {
            self.counts.eio += 1;
            return Err(io::Error::other("input/output error"));
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

impl Inode {
    fn write(&mut self, bytes: &[u8], offset: usize) {
        let end = offset + bytes.len();
        if end > self.content.len() {
            self.content.resize(end, 0);
        }
        self.content[offset..end].copy_from_slice(bytes);
        let sectors = self.content.len().div_ceil(SECTOR_BYTES);
        self.sectors.resize(sectors.max(self.sectors.len()), Sector::Clean);
        self.sectors[offset / SECTOR_BYTES..end.div_ceil(SECTOR_BYTES)].fill(Sector::Dirty);
    }

    fn set_len(&mut self, len: usize) {
        self.content.resize(len, 0);
        self.sectors.truncate(len.div_ceil(SECTOR_BYTES));
    }

    fn sync(&mut self) {
        self.durable.resize(self.content.len(), 0);
        for sector in 0..self.sectors.len() {
            if self.sectors[sector] == Sector::Dirty {
                self.flush(sector);
            }
        }
    }

    /// Writes a sector to the disk, and so much of the length as it needs.
    fn flush(&mut self, sector: usize) {
        let end = ((sector + 1) * SECTOR_BYTES).min(self.content.len());
        if self.durable.len() < end {
            self.durable.resize(end, 0);
        }
        self.keep(sector, 0..SECTOR_BYTES);
        self.sectors[sector] = Sector::Clean;
    }

    /// Puts a part of a sector on the disk, as far as the file reaches there.
    fn keep(&mut self, sector: usize, part: std::ops::Range<usize>) {
        let reach = self.content.len().min(self.durable.len());
        let from = (sector * SECTOR_BYTES + part.start).min(reach);
        let to = (sector * SECTOR_BYTES + part.end).min(reach);
        self.durable[from..to].copy_from_slice(&self.content[from..to]);
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

fn done(reach: Reach) -> io::Result<()> {
    match reach {
        Reach::Whole => Ok(()),
        Reach::Part => Err(io::Error::other("the process was stopped")),
    }
}
