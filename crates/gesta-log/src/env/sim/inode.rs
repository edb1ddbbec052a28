//! One file of a simulated disk: its content, its durable content, and the sectors that differ.

use std::ops::Range;

pub(super) const SECTOR_BYTES: usize = 512;

/// The state of a sector since the last successful sync.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Sector {
    Clean,
    Dirty,
    /// A sync failed on it, and the page cache marks it clean.
    Lost,
}

#[derive(Clone, Default)]
pub(super) struct Inode {
    /// The content that reads return.
    pub(super) content: Vec<u8>,
    pub(super) durable: Vec<u8>,
    /// One for each sector of `content` that was ever written. The others are clean.
    pub(super) sectors: Vec<Sector>,
}

impl Inode {
    pub(super) fn write(&mut self, bytes: &[u8], offset: usize) {
        let end = offset + bytes.len();
        if end > self.content.len() {
            self.content.resize(end, 0);
        }
        self.content[offset..end].copy_from_slice(bytes);
        let sectors = self.content.len().div_ceil(SECTOR_BYTES);
        self.sectors.resize(sectors.max(self.sectors.len()), Sector::Clean);
        self.sectors[offset / SECTOR_BYTES..end.div_ceil(SECTOR_BYTES)].fill(Sector::Dirty);
    }

    pub(super) fn set_len(&mut self, len: usize) {
        self.content.resize(len, 0);
        self.sectors.truncate(len.div_ceil(SECTOR_BYTES));
    }

    pub(super) fn sync(&mut self) {
        self.durable.resize(self.content.len(), 0);
        for sector in 0..self.sectors.len() {
            if self.sectors[sector] == Sector::Dirty {
                self.flush(sector);
            }
        }
    }

    /// Writes a sector to the disk, and extends the durable length as far as the sector needs.
    pub(super) fn flush(&mut self, sector: usize) {
        let end = ((sector + 1) * SECTOR_BYTES).min(self.content.len());
        if self.durable.len() < end {
            self.durable.resize(end, 0);
        }
        self.keep(sector, 0..SECTOR_BYTES);
        self.sectors[sector] = Sector::Clean;
    }

    /// Writes a part of a sector to the disk, as far as the file reaches.
    pub(super) fn keep(&mut self, sector: usize, part: Range<usize>) {
        let outcome = self.content.len().min(self.durable.len());
        let from = (sector * SECTOR_BYTES + part.start).min(outcome);
        let to = (sector * SECTOR_BYTES + part.end).min(outcome);
        self.durable[from..to].copy_from_slice(&self.content[from..to]);
    }

    /// The sectors that the next sync must write.
    pub(super) fn dirty(&self) -> impl Iterator<Item = usize> {
        self.sectors.iter().enumerate().filter(|(_, state)| **state == Sector::Dirty).map(|(at, _)| at)
    }

    pub(super) fn has_unsynced_len(&self) -> bool {
        self.content.len() != self.durable.len()
    }

    /// Drops everything that is not durable.
    pub(super) fn restart(&mut self) {
        self.sectors.clear();
        self.content.clone_from(&self.durable);
    }
}
