//! The record of every write and flush that a disk completed, in order: the format of the kernel's `dm-log-writes`
//! and QEMU's `blklogwrites`.
//!
//! *Layout*, little-endian: a header sector, then entries. Each entry is a sector and, for a write, its bytes.
//!
//! | sector | at | size | field |
//! | --- | --- | --- | --- |
//! | first | 0 | 8 | magic `0x6a736677736872` |
//! | | 8 | 8 | version, 1 |
//! | | 16 | 8 | entries at some earlier moment: there may be more |
//! | | 24 | 4 | bytes of a sector |
//! | entry | 0 | 8 | first sector on the disk |
//! | | 8 | 8 | number of sectors |
//! | | 16 | 8 | 1: flush before it, 2: durable when completed (FUA), 4: discard, 8: a mark |
//! | | 24 | 8 | bytes of a mark |

use std::ops::Range;

use crate::model::Wrong;

const MAGIC: u64 = 0x006a_7366_7773_6872;
const VERSION: u64 = 1;
const FLUSH: u64 = 1;
const DURABLE: u64 = 2;
const DISCARD: u64 = 4;
const MARK: u64 = 8;

/// One request to the disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Entry {
    /// True if every request that was completed earlier is durable once this one is completed.
    pub(super) flushes: bool,
    /// The write, if the request is one.
    pub(super) write: Option<Write>,
    /// Length of the record after this entry, in bytes.
    pub(super) end: u64,
}

/// Bytes for a place on the disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Write {
    /// Offset on the disk, in bytes.
    pub(super) at: u64,
    /// Number of bytes.
    pub(super) len: u64,
    /// Place of the bytes in the record; `None` for zeros after a discard.
    pub(super) bytes: Option<Range<usize>>,
    /// True if the write is durable once it is completed, without a flush.
    pub(super) durable: bool,
}

/// The entries of a record.
///
/// # Errors
/// If the bytes are not a record of writes. An entry that is cut off at the end is left out: it was never completed.
pub(super) fn entries(log: &[u8]) -> Result<Vec<Entry>, Wrong> {
    let [magic, version, _, sector] =
        words(log, 0).ok_or("not a record of writes: it has no header sector")?;
    if (magic, version) != (MAGIC, VERSION) {
        return Err(format!("not a record of writes: magic {magic:#x}, version {version}"));
    }
    let sector = sector & u64::from(u32::MAX);
    if !(512..=4096).contains(&sector) || !sector.is_power_of_two() {
        return Err(format!("not a record of writes: sectors of {sector} bytes"));
    }
    let mut entries = Vec::new();
    let mut at = sector;
    while let Some(entry) = entry(log, at, sector)? {
        at = entry.end;
        entries.push(entry);
    }
    Ok(entries)
}

fn entry(log: &[u8], at: u64, sector: u64) -> Result<Option<Entry>, Wrong> {
    let Some([first, sectors, flags, mark_len]) = words(log, at) else { return Ok(None) };
    let wrong = || format!("entry at {at} of the record of writes: {sectors} sectors, flags {flags:#x}");
    let from = at + sector;
    let (place, len) = (first.checked_mul(sector), sectors.checked_mul(sector));
    let (Some(place), Some(len), 0..16) = (place, len, flags) else { return Err(wrong()) };
    let listed_bytes = match flags & (DISCARD | MARK) {
        0 => len,
        MARK => mark_len.next_multiple_of(sector),
        _ => 0,
    };
    let end = from.checked_add(listed_bytes).ok_or_else(wrong)?;
    if end > log.len() as u64 {
        return Ok(None);
    }
    let index = |offset: u64| usize::try_from(offset).expect("it lies in memory");
    let bytes = (flags & DISCARD == 0).then(|| index(from)..index(end));
    let is_write = flags & MARK == 0 && len > 0;
    let write = is_write.then_some(Write { at: place, len, bytes, durable: flags & DURABLE != 0 });
    Ok(Some(Entry { flushes: flags & FLUSH != 0, write, end }))
}

/// Four words of eight bytes.
fn words(log: &[u8], at: u64) -> Option<[u64; 4]> {
    let at = usize::try_from(at).ok()?;
    let bytes = log.get(at..at.checked_add(32)?)?;
    let mut words = [0; 4];
    for (word, bytes) in words.iter_mut().zip(bytes.chunks_exact(8)) {
        *word = u64::from_le_bytes(bytes.try_into().expect("eight bytes"));
    }
    Some(words)
}

/// Records for tests.
#[cfg(test)]
pub(super) mod listed {
    use super::{DISCARD, DURABLE, FLUSH, MAGIC, MARK, VERSION};

    pub(in super::super) const SECTOR: usize = 512;

    /// A request: the number of sectors, the byte that fills them, and the first sector.
    pub(in super::super) enum Request {
        Flush,
        Write(u64, u64, u8),
        WriteDurably(u64, u64, u8),
        Discard(u64, u64),
        Mark(u64),
    }

    pub(in super::super) fn list(requests: &[Request]) -> Vec<u8> {
        let mut log = sector([MAGIC, VERSION, 0, SECTOR as u64]);
        for request in requests {
            let (first, sectors, flags, byte) = match *request {
                Request::Flush => (0, 0, FLUSH, 0),
                Request::Write(first, sectors, byte) => (first, sectors, 0, byte),
                Request::WriteDurably(first, sectors, byte) => (first, sectors, FLUSH | DURABLE, byte),
                Request::Discard(first, sectors) => (first, sectors, DISCARD, 0),
                Request::Mark(_) => (0, 0, MARK, 0),
            };
            let mark_len = if let Request::Mark(len) = request { *len } else { 0 };
            log.extend(sector([first, sectors, flags, mark_len]));
            let listed = if flags & DISCARD == 0 { usize::try_from(sectors).unwrap() * SECTOR } else { 0 };
            let mark = usize::try_from(mark_len).unwrap().next_multiple_of(SECTOR);
            log.resize(log.len() + listed + mark, byte);
        }
        log
    }

    fn sector(words: [u64; 4]) -> Vec<u8> {
        let mut sector = words.map(u64::to_le_bytes).concat();
        sector.resize(SECTOR, 0);
        sector
    }
}

#[cfg(test)]
mod tests {
    use super::listed::{Request, SECTOR, list};
    use super::*;

    #[test]
    fn every_kind_of_entry_is_read() {
        let log = list(&[
            Request::Write(8, 2, 7),
            Request::Flush,
            Request::Mark(5),
            Request::Discard(16, 4),
            Request::WriteDurably(9, 1, 8),
        ]);
        let sector = SECTOR as u64;
        let write = |first: u64, sectors: u64, at: usize| Write {
            at: first * sector,
            len: sectors * sector,
            bytes: Some(at * SECTOR..(at + usize::try_from(sectors).unwrap()) * SECTOR),
            durable: false,
        };
        let entry = |flushes, write, end| Entry { flushes, write, end: end * sector };
        let expected = [
            entry(false, Some(write(8, 2, 2)), 4),
            entry(true, None, 5),
            entry(false, None, 7),
            entry(false, Some(Write { bytes: None, ..write(16, 4, 0) }), 8),
            entry(true, Some(Write { durable: true, ..write(9, 1, 9) }), 10),
        ];
        assert_eq!(entries(&log), Ok(expected.to_vec()));
    }

    #[test]
    fn an_entry_that_is_cut_off_was_never_completed() {
        let log = list(&[Request::Flush, Request::Write(0, 2, 1)]);
        for len in [SECTOR, SECTOR + 31, log.len() - 1] {
            assert!(entries(&log[..len]).unwrap().len() <= 1, "{len}");
        }
        assert_eq!(entries(&log).unwrap().len(), 2);
    }

    #[test]
    fn another_file_is_not_a_record_of_writes() {
        assert!(entries(&[]).is_err());
        assert!(entries(&[0; 1024]).is_err());
        let mut log = list(&[Request::Write(0, 1, 1)]);
        log[SECTOR + 16] = 255;
        assert!(entries(&log).is_err());
    }
}
