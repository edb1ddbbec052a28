//! The states of a disk after a power cut: everything flushed, and any part of the rest.

use std::collections::BTreeMap;
use std::fmt;
use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::str::FromStr;

use super::block_log::{Entry, Write};
use crate::model::Wrong;
use crate::random::Random;

/// The unit that a disk writes atomically.
const SECTOR_BYTES: u64 = 512;
const BLOCK_BYTES: usize = 4096;

/// A moment of the power cut, and the unflushed writes that the disk kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct CrashState {
    /// The number of completed entries.
    pub(super) entries: usize,
    /// The unflushed writes that were kept.
    pub(super) kept: Kept,
}

/// A choice among the writes that no flush follows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Kept {
    /// The writes whose bits are set, whole; for the first 64.
    Subset(u64),
    /// For each write all, none or some of its sectors, from the seed.
    Torn(u64),
}

/// A part of a write that the disk kept.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Piece<'a> {
    pub(super) at: u64,
    /// `None` for zeros.
    bytes: Option<&'a [u8]>,
    len: u64,
}

/// The bytes of a disk. Blocks of zeros are not stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Disk {
    blocks: BTreeMap<u64, Box<[u8; BLOCK_BYTES]>>,
    len: u64,
}

/// The writes among the completed entries that no flush had made durable.
pub(super) fn pending(entries: &[Entry]) -> Vec<&Write> {
    let flushed = flushed(entries);
    let after = entries[flushed..].iter().filter_map(|entry| entry.write.as_ref());
    after.filter(|write| !write.durable).collect()
}

/// The number of entries that a flush made durable. A write with a flush before it is not included.
pub(super) fn flushed(entries: &[Entry]) -> usize {
    entries.iter().rposition(|entry| entry.flushes).unwrap_or(0)
}

impl CrashState {
    /// The kept parts of unflushed writes. `entries` are the completed ones.
    pub(super) fn pieces<'a>(&self, entries: &[Entry], log: &'a [u8]) -> Vec<Piece<'a>> {
        let mut random = match self.kept {
            Kept::Torn(seed) => Random::of(&[seed, self.entries as u64]),
            Kept::Subset(_) => Random::new(0),
        };
        let mut number = 0_u32;
        let mut pieces = Vec::new();
        for write in entries[flushed(entries)..].iter().filter_map(|entry| entry.write.as_ref()) {
            let whole = Piece::of(write, log);
            if write.durable {
                pieces.push(whole);
                continue;
            }
            match self.kept {
                Kept::Subset(mask) if mask.checked_shr(number).is_some_and(|rest| rest & 1 == 1) => {
                    pieces.push(whole);
                }
                Kept::Subset(_) => {}
                Kept::Torn(_) => pieces.extend(whole.torn(&mut random)),
            }
            number += 1;
        }
        pieces
    }
}

impl<'a> Piece<'a> {
    fn of(write: &Write, log: &'a [u8]) -> Self {
        Self { at: write.at, bytes: write.bytes.clone().map(|range| &log[range]), len: write.len }
    }

    /// All, none or some of its sectors.
    fn torn(self, random: &mut Random) -> Vec<Self> {
        let sectors = self.len / SECTOR_BYTES;
        let cut = random.below(sectors + 1);
        match random.below(5) {
            0 => Vec::new(),
            1 => vec![self],
            2 => vec![self.part(0, cut)],
            3 => vec![self.part(cut, sectors)],
            _ => {
                let kept = (0..sectors).filter(|_| random.below(2) == 0);
                kept.map(|sector| self.part(sector, sector + 1)).collect()
            }
        }
    }

    fn part(&self, from: u64, to: u64) -> Self {
        let (from, to) = (from * SECTOR_BYTES, to * SECTOR_BYTES);
        let index = |offset: u64| usize::try_from(offset).expect("it lies in memory");
        let bytes = self.bytes.map(|bytes| &bytes[index(from)..index(to)]);
        Self { at: self.at + from, bytes, len: to - from }
    }
}

impl Disk {
    /// Reads an image.
    pub(super) fn read(path: &Path) -> Result<Self, Wrong> {
        let failed = |error: std::io::Error| format!("reading `{}`: {error}", path.display());
        let file = File::open(path).map_err(failed)?;
        let mut disk = Self { blocks: BTreeMap::new(), len: file.metadata().map_err(failed)?.len() };
        let mut chunk = vec![0; 256 * BLOCK_BYTES];
        let mut at = 0;
        while at < disk.len {
            let read = file.read_at(&mut chunk, at).map_err(failed)?;
            disk.write(at, &chunk[..read]);
            at += read as u64;
        }
        Ok(disk)
    }

    /// Writes the kept part of a write.
    pub(super) fn keep(&mut self, piece: &Piece<'_>) {
        match piece.bytes {
            Some(bytes) => self.write(piece.at, bytes),
            None => {
                self.write(piece.at, &vec![0; usize::try_from(piece.len).expect("it fits a disk in memory")])
            }
        }
    }

    /// Applies the writes of the entries.
    pub(super) fn apply(&mut self, entries: &[Entry], log: &[u8]) {
        for write in entries.iter().filter_map(|entry| entry.write.as_ref()) {
            self.keep(&Piece::of(write, log));
        }
    }

    fn write(&mut self, at: u64, mut bytes: &[u8]) {
        let mut at = at;
        while !bytes.is_empty() {
            let within = usize::try_from(at % BLOCK_BYTES as u64).expect("less than a block");
            let (here, rest) = bytes.split_at(bytes.len().min(BLOCK_BYTES - within));
            let number = at / BLOCK_BYTES as u64;
            if let Some(block) = self.blocks.get_mut(&number) {
                block[within..within + here.len()].copy_from_slice(here);
                if block.iter().all(|byte| *byte == 0) {
                    self.blocks.remove(&number);
                }
            } else if here.iter().any(|byte| *byte != 0) {
                let mut block = Box::new([0; BLOCK_BYTES]);
                block[within..within + here.len()].copy_from_slice(here);
                self.blocks.insert(number, block);
            }
            at += here.len() as u64;
            bytes = rest;
        }
    }

    /// Saves the disk as an image.
    pub(super) fn save(&self, path: &Path) -> Result<(), Wrong> {
        let failed = |error: std::io::Error| format!("writing `{}`: {error}", path.display());
        let file = File::create(path).map_err(failed)?;
        file.set_len(self.len).map_err(failed)?;
        for (number, block) in &self.blocks {
            file.write_all_at(&block[..], number * BLOCK_BYTES as u64).map_err(failed)?;
        }
        Ok(())
    }
}

impl fmt::Display for CrashState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.kept {
            Kept::Subset(mask) => write!(f, "{}/subset-{mask:x}", self.entries),
            Kept::Torn(seed) => write!(f, "{}/torn-{seed:x}", self.entries),
        }
    }
}

impl FromStr for CrashState {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let parsed = || {
            let (entries, kept) = text.split_once('/')?;
            let (kind, number) = kept.split_once('-')?;
            let number = u64::from_str_radix(number, 16).ok()?;
            let kept = match kind {
                "subset" => Kept::Subset(number),
                "torn" => Kept::Torn(number),
                _ => return None,
            };
            Some(Self { entries: entries.parse().ok()?, kept })
        };
        parsed().ok_or_else(|| format!("`{text}` is not the name of a disk's state"))
    }
}

#[cfg(test)]
mod tests {
    use super::super::block_log::entries;
    use super::super::block_log::listed::{Request, SECTOR, list};
    use super::*;

    fn disk() -> Disk {
        Disk { blocks: BTreeMap::new(), len: 64 * SECTOR as u64 }
    }

    /// The first byte of each sector of the disk in that state, up to the last nonzero one.
    fn sectors(requests: &[Request], kept: Kept) -> Vec<u8> {
        let log = list(requests);
        let entries = entries(&log).unwrap();
        let mut disk = disk();
        disk.apply(&entries[..flushed(&entries)], &log);
        let state = CrashState { entries: entries.len(), kept };
        state.pieces(&entries, &log).iter().for_each(|piece| disk.keep(piece));
        let first = |sector: usize| {
            let block = disk.blocks.get(&((sector / 8) as u64));
            block.map_or(0, |block| block[sector % 8 * SECTOR])
        };
        let sectors = (0..64).map(first).collect::<Vec<_>>();
        let end = sectors.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
        sectors[..end].to_vec()
    }

    #[test]
    fn flushed_writes_are_kept_with_any_part_of_the_rest() {
        let requests =
            || [Request::Write(0, 2, 1), Request::Flush, Request::Write(1, 1, 2), Request::Write(3, 1, 3)];
        let cases =
            [(0b00, vec![1, 1]), (0b01, vec![1, 2]), (0b10, vec![1, 1, 0, 3]), (0b11, vec![1, 2, 0, 3])];
        for (mask, expected) in cases {
            assert_eq!(sectors(&requests(), Kept::Subset(mask)), expected, "{mask:b}");
        }
    }

    #[test]
    fn a_write_with_a_flush_before_it_is_durable_only_with_fua() {
        let plain = [Request::Write(0, 1, 1), Request::WriteDurably(1, 1, 2), Request::Write(2, 1, 3)];
        assert_eq!(sectors(&plain, Kept::Subset(0)), [1, 2], "the FUA write is kept without a flush");
        let log = list(&plain);
        let mut entries = entries(&log).unwrap();
        entries[1].write.as_mut().unwrap().durable = false;
        assert_eq!(pending(&entries).len(), 2);
        assert_eq!(pending(&entries[..1]).len(), 1);
    }

    #[test]
    fn a_discard_leaves_zeros_or_the_old_bytes() {
        let requests = || [Request::Write(0, 3, 1), Request::Flush, Request::Discard(1, 1)];
        assert_eq!(sectors(&requests(), Kept::Subset(0)), [1, 1, 1]);
        assert_eq!(sectors(&requests(), Kept::Subset(1)), [1, 0, 1]);
    }

    #[test]
    fn a_torn_write_keeps_some_of_its_sectors_and_the_same_seed_keeps_the_same() {
        let requests = || [Request::Write(0, 16, 1)];
        let states = (0..200).map(|seed| sectors(&requests(), Kept::Torn(seed))).collect::<Vec<_>>();
        assert!(states.contains(&vec![]) && states.contains(&vec![1; 16]), "none and all of them");
        let is_prefix = |state: &Vec<u8>| (1..16).contains(&state.len()) && !state.contains(&0);
        assert!(states.iter().any(is_prefix));
        assert!(states.iter().any(|state| state.first() == Some(&0)), "without its beginning");
        assert!(states.iter().any(|state| state.first() == Some(&1) && state.contains(&0)), "with a hole");
        let again = (0..200).map(|seed| sectors(&requests(), Kept::Torn(seed)));
        assert!(again.eq(states));
    }

    #[test]
    fn an_image_is_read_and_saved_unchanged() {
        let folder = tempfile::tempdir().unwrap();
        let (first, second) = (folder.path().join("first"), folder.path().join("second"));
        let mut disk = disk();
        disk.write(5 * SECTOR as u64 - 3, &[7; 9000]);
        disk.write(60 * SECTOR as u64, &[0; SECTOR]);
        disk.save(&first).unwrap();
        let read = Disk::read(&first).unwrap();
        assert_eq!(read, disk);
        read.save(&second).unwrap();
        assert_eq!(std::fs::read(first).unwrap(), std::fs::read(second).unwrap());
    }

    #[test]
    fn the_name_of_a_state_is_parsed_back_to_the_state() {
        for kept in [Kept::Subset(5), Kept::Torn(u64::MAX)] {
            let state = CrashState { entries: 412, kept };
            assert_eq!(state.to_string().parse(), Ok(state));
        }
        for text in ["", "4", "4/x-1", "x/torn-1", "4/torn-"] {
            assert!(text.parse::<CrashState>().is_err(), "{text}");
        }
    }
}
