//! The manifest of a backup: each file with its length and checksum, and the position where its log ends.

use gesta_core::Timestamp;

use super::manifest::{
    SEGMENT_BYTES, Sealed, SegmentEntry, SegmentState, decode_segment, encode_segment, sealed_len,
};
use super::{FORMAT_VERSION, array_at, crc32c, i64_at, put, u16_at, u32_at, u64_at};

pub(crate) const BACKUP_MAGIC: [u8; 8] = *b"GESTABAK";
const FIXED_BYTES: usize = 96;
const FILE_BYTES: usize = SEGMENT_BYTES + 16;
const CHECKSUM_BYTES: usize = 4;

/// The content of a backup's manifest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct BackupManifest {
    pub(crate) partition: u16,
    pub(crate) store: [u8; 16],
    pub(crate) position: u64,
    pub(crate) frame: u64,
    pub(crate) taken_at: Timestamp,
    /// The generation of the log's manifest at the time.
    pub(crate) generation: u64,
    pub(crate) boot_epoch: u64,
    pub(crate) origins: Vec<[u8; 16]>,
    /// In the order of the log.
    pub(crate) files: Vec<BackupFile>,
}

/// One file of a backup: a sealed segment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct BackupFile {
    pub(crate) entry: SegmentEntry,
    pub(crate) sealed: Sealed,
    /// The checksum of the whole file. The length follows from `sealed`.
    pub(crate) checksum: u32,
}

/// Why bytes are not the manifest of a backup.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum BackupFormatError {
    Damaged,
    /// A newer version of this program wrote it.
    Newer,
}

impl BackupManifest {
    pub(crate) fn encode(&self) -> Vec<u8> {
        let count = |len: usize| u32::try_from(len).expect("a count of files").to_le_bytes();
        let mut bytes = vec![0; FIXED_BYTES];
        put(&mut bytes, 0, BACKUP_MAGIC);
        put(&mut bytes, 8, FORMAT_VERSION.to_le_bytes());
        put(&mut bytes, 10, self.partition.to_le_bytes());
        put(&mut bytes, 16, self.store);
        put(&mut bytes, 32, self.position.to_le_bytes());
        put(&mut bytes, 40, self.frame.to_le_bytes());
        put(&mut bytes, 48, self.taken_at.as_nanos().to_le_bytes());
        put(&mut bytes, 56, self.generation.to_le_bytes());
        put(&mut bytes, 64, self.boot_epoch.to_le_bytes());
        put(&mut bytes, 72, count(self.origins.len()));
        put(&mut bytes, 76, count(self.files.len()));
        self.origins.iter().for_each(|origin| bytes.extend_from_slice(origin));
        for file in &self.files {
            let mut own = [0; FILE_BYTES];
            put(&mut own, 0, encode_segment(&file.entry));
            put(&mut own, SEGMENT_BYTES, sealed_len(&file.sealed).to_le_bytes());
            put(&mut own, SEGMENT_BYTES + 8, file.checksum.to_le_bytes());
            bytes.extend_from_slice(&own);
        }
        let length = count(bytes.len() + CHECKSUM_BYTES);
        put(&mut bytes, 12, length);
        let checksum = crc32c(&bytes);
        bytes.extend_from_slice(&checksum.to_le_bytes());
        bytes
    }

    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, BackupFormatError> {
        let body = bytes.len().checked_sub(CHECKSUM_BYTES).filter(|body| *body >= FIXED_BYTES);
        let body = body.ok_or(BackupFormatError::Damaged)?;
        let whole = bytes[..8] == BACKUP_MAGIC && u32_at(bytes, 12) as usize == bytes.len();
        if !whole || u32_at(bytes, body) != crc32c(&bytes[..body]) {
            return Err(BackupFormatError::Damaged);
        }
        if u16_at(bytes, 8) != FORMAT_VERSION || bytes[80..FIXED_BYTES].iter().any(|byte| *byte != 0) {
            return Err(BackupFormatError::Newer);
        }
        let [origins, files] = [72, 76].map(|at| u32_at(bytes, at) as usize);
        let files_at = FIXED_BYTES + 16 * origins;
        if files_at + FILE_BYTES * files != body {
            return Err(BackupFormatError::Damaged);
        }
        let partition = u16_at(bytes, 10);
        let files = bytes[files_at..body].chunks_exact(FILE_BYTES).map(|file| decode_file(file, partition));
        Ok(Self {
            partition,
            store: array_at(bytes, 16),
            position: u64_at(bytes, 32),
            frame: u64_at(bytes, 40),
            taken_at: Timestamp::from_nanos(i64_at(bytes, 48)),
            generation: u64_at(bytes, 56),
            boot_epoch: u64_at(bytes, 64),
            origins: bytes[FIXED_BYTES..files_at].chunks_exact(16).map(|own| array_at(own, 0)).collect(),
            files: files.collect::<Option<Vec<_>>>().ok_or(BackupFormatError::Newer)?,
        })
    }
}

fn decode_file(bytes: &[u8], partition: u16) -> Option<BackupFile> {
    let entry = decode_segment(&bytes[..SEGMENT_BYTES], partition)?;
    let SegmentState::Sealed(sealed) = entry.state else { return None };
    let (length, reserved) = (u64_at(bytes, SEGMENT_BYTES), u32_at(bytes, SEGMENT_BYTES + 12));
    let is_dense = sealed.first_frame > 0 && sealed.first_position > 0;
    let is_plain = length == sealed_len(&sealed) && reserved == 0 && is_dense;
    is_plain.then_some(BackupFile { entry, sealed, checksum: u32_at(bytes, SEGMENT_BYTES + 8) })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::{SegmentHeader, SegmentKind, SegmentRole};

    fn sample() -> BackupManifest {
        let (kind, role) = (SegmentKind::Primary, SegmentRole::Normal);
        let header = SegmentHeader { id: 7, kind, role, partition: 0, origin: [3; 16], salt: [4; 16] };
        let sealed = Sealed { first_frame: 1, first_position: 1, frames: 3, events: 4, end: 5, checksum: 6 };
        let entry = SegmentEntry { header, size_bytes: 64, state: SegmentState::Sealed(sealed) };
        BackupManifest {
            partition: 0,
            store: [1; 16],
            position: 4,
            frame: 3,
            taken_at: Timestamp::from_nanos(-5),
            generation: 6,
            boot_epoch: 7,
            origins: vec![[3; 16]],
            files: vec![BackupFile { entry, sealed, checksum: 8 }],
        }
    }

    #[test]
    fn the_manifest_of_a_backup_round_trips_and_a_flipped_bit_is_refused() {
        let bytes = sample().encode();
        assert_eq!(BackupManifest::decode(&bytes), Ok(sample()));
        for bit in 0..bytes.len() * 8 {
            let mut flipped = bytes.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            let damaged = Err(BackupFormatError::Damaged);
            assert_eq!(BackupManifest::decode(&flipped), damaged, "bit {bit}");
        }
    }
}
