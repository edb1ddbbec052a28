//! The manifest of a backup, for the fuzzer.

use gesta_core::Timestamp;

use crate::format::{BackupFile, BackupManifest, SegmentState, decode_segment};
use crate::fuzzing::proven_manifest;

/// Reads the manifest of a backup.
pub fn manifest(bytes: &[u8]) {
    check(bytes);
    if bytes.len() >= 16 {
        check(&proven_manifest(bytes, *b"GESTABAK"));
    }
}

fn check(bytes: &[u8]) {
    if let Ok(manifest) = BackupManifest::decode(bytes) {
        assert_eq!(manifest.encode(), bytes, "the manifest of a backup has one form");
    }
}

/// A manifest that lists one segment, without its checksum.
pub(crate) fn sample(entry: &[u8]) -> Vec<u8> {
    let SegmentState::Sealed(sealed) = decode_segment(entry, 0).expect("a segment").state else {
        unreachable!("a backup holds sealed segments only");
    };
    let entry = decode_segment(entry, 0).expect("a segment");
    let manifest = BackupManifest {
        partition: 0,
        store: [1; 16],
        position: 4,
        frame: 3,
        taken_at: Timestamp::from_nanos(5),
        generation: 6,
        boot_epoch: 7,
        origins: vec![[3; 16]],
        files: vec![BackupFile { entry, sealed, checksum: 8 }],
    };
    let mut bytes = manifest.encode();
    bytes.truncate(bytes.len() - 4);
    bytes
}
