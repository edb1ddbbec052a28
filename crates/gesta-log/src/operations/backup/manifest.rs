//! The manifest of a backup: each file with its length and checksum, and the position where its log ends.

use std::io;
use std::path::{Path, PathBuf};

use gesta_core::{StoreId, Timestamp};

use super::error::BackupReadError;
use crate::env::{Env, read_whole};
use crate::folder::{
    MAGIC, NAME, SEGMENT_BYTES, Sealed, SegmentEntry, SegmentState, decode_segment, encode_segment,
    write_synced,
};
use crate::format::{FORMAT_VERSION, array_at, crc32c, i64_at, put, u16_at, u32_at, u64_at};

const FIXED_BYTES: usize = 96;
const FILE_BYTES: usize = SEGMENT_BYTES + 16;
const CHECKSUM_BYTES: usize = 4;
const TEMPORARY_NAME: &str = "backup.tmp";

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

/// The file name of a sealed segment. It contains the checksum over headers, so a longer copy of the same segment
/// gets another name.
pub(crate) fn file_name(entry: &SegmentEntry, sealed: &Sealed) -> String {
    format!("{:012}-{:08x}.seg", entry.header.id, sealed.checksum)
}

impl BackupFile {
    pub(crate) fn path(&self, root: &Path) -> PathBuf {
        root.join("segments").join(file_name(&self.entry, &self.sealed))
    }
}

impl BackupManifest {
    /// Reads the manifest of a backup; `None` if there is none.
    pub(crate) fn load(env: &dyn Env, root: &Path) -> Result<Option<Self>, BackupReadError> {
        let path = || root.to_owned();
        match read_whole(env, &root.join(NAME)) {
            Ok(bytes) => Self::decode(&bytes, path).map(Some),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(source) => {
                Err(BackupReadError::Io { what: "reading the backup's manifest".to_owned(), source })
            }
        }
    }

    /// Reads the manifest of a folder that must hold a backup.
    pub(crate) fn load_existing(env: &dyn Env, root: &Path) -> Result<Self, BackupReadError> {
        Self::load(env, root)?.ok_or_else(|| BackupReadError::NotABackup { path: root.to_owned() })
    }

    /// Whether this is the name of a manifest, or of an unfinished one.
    pub(crate) fn is_own_name(name: &str) -> bool {
        [NAME, TEMPORARY_NAME].contains(&name)
    }

    /// Replaces the manifest durably. From then on the backup is the new one.
    pub(crate) fn replace(&self, env: &dyn Env, root: &Path) -> io::Result<()> {
        write_synced(env, &root.join(TEMPORARY_NAME), &self.encode())?;
        env.rename(&root.join(TEMPORARY_NAME), &root.join(NAME))?;
        env.sync_dir(root)
    }

    pub(crate) fn store(&self) -> StoreId {
        StoreId::from_bytes(self.store)
    }

    pub(crate) fn encode(&self) -> Vec<u8> {
        let count = |len: usize| u32::try_from(len).expect("a count of files").to_le_bytes();
        let mut bytes = vec![0; FIXED_BYTES];
        put(&mut bytes, 0, MAGIC);
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
            put(&mut own, SEGMENT_BYTES, crate::folder::sealed_len(&file.sealed).to_le_bytes());
            put(&mut own, SEGMENT_BYTES + 8, file.checksum.to_le_bytes());
            bytes.extend_from_slice(&own);
        }
        let length = count(bytes.len() + CHECKSUM_BYTES);
        put(&mut bytes, 12, length);
        let checksum = crc32c(&bytes);
        bytes.extend_from_slice(&checksum.to_le_bytes());
        bytes
    }

    pub(crate) fn decode(bytes: &[u8], path: impl Fn() -> PathBuf) -> Result<Self, BackupReadError> {
        let damaged = || BackupReadError::ManifestDamaged { path: path() };
        let newer = || BackupReadError::NewerFormat { path: path() };
        let body = bytes.len().checked_sub(CHECKSUM_BYTES).filter(|body| *body >= FIXED_BYTES);
        let body = body.ok_or_else(damaged)?;
        let whole = bytes[..8] == MAGIC && u32_at(bytes, 12) as usize == bytes.len();
        if !whole || u32_at(bytes, body) != crc32c(&bytes[..body]) {
            return Err(damaged());
        }
        if u16_at(bytes, 8) != FORMAT_VERSION || bytes[80..FIXED_BYTES].iter().any(|byte| *byte != 0) {
            return Err(newer());
        }
        let [origins, files] = [72, 76].map(|at| u32_at(bytes, at) as usize);
        let files_at = FIXED_BYTES + 16 * origins;
        if files_at + FILE_BYTES * files != body {
            return Err(damaged());
        }
        let files = bytes[files_at..body].chunks_exact(FILE_BYTES).map(decode_file);
        Ok(Self {
            partition: u16_at(bytes, 10),
            store: array_at(bytes, 16),
            position: u64_at(bytes, 32),
            frame: u64_at(bytes, 40),
            taken_at: Timestamp::from_nanos(i64_at(bytes, 48)),
            generation: u64_at(bytes, 56),
            boot_epoch: u64_at(bytes, 64),
            origins: bytes[FIXED_BYTES..files_at].chunks_exact(16).map(|own| array_at(own, 0)).collect(),
            files: files.collect::<Option<Vec<_>>>().ok_or_else(newer)?,
        })
    }
}

fn decode_file(bytes: &[u8]) -> Option<BackupFile> {
    let entry = decode_segment(&bytes[..SEGMENT_BYTES])?;
    let SegmentState::Sealed(sealed) = entry.state else { return None };
    let (length, reserved) = (u64_at(bytes, SEGMENT_BYTES), u32_at(bytes, SEGMENT_BYTES + 12));
    let is_dense = sealed.first_frame > 0 && sealed.first_position > 0;
    let is_plain = length == crate::folder::sealed_len(&sealed) && reserved == 0 && is_dense;
    is_plain.then_some(BackupFile { entry, sealed, checksum: u32_at(bytes, SEGMENT_BYTES + 8) })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::SegmentHeader;
    use crate::format::SegmentKind;
    use crate::format::SegmentRole;

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
        let decode = |bytes: &[u8]| BackupManifest::decode(bytes, || PathBuf::from("backup"));
        assert_eq!(decode(&bytes).unwrap(), sample());
        for bit in 0..bytes.len() * 8 {
            let mut flipped = bytes.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert!(matches!(decode(&flipped), Err(BackupReadError::ManifestDamaged { .. })), "bit {bit}");
        }
    }
}
