//! The bytes of the log, as `docs/format.md` specifies them.
//!
//! *Invariant*: no other folder knows an offset within a segment, a manifest, a backup or a record of scrubs. The bytes
//! of index files are in `index/run`, beside the code that reads them block by block.

mod backup;
mod checksum;
mod frame;
mod header;
mod manifest;
mod record;
mod scrub;
mod through;

pub(crate) use backup::{BACKUP_MAGIC, BackupFile, BackupFormatError, BackupManifest};
pub(crate) use checksum::{Crc, crc32c};
#[cfg(feature = "fuzzing")]
pub(crate) use frame::command_bytes;
pub(crate) use frame::{
    EndBody, FRAME_ALIGNMENT, FRAME_HEADER_BYTES, Frame, FrameError, FrameHeader, FrameKind, FrameName,
    Prepared, Seal, StartBody, mark_len, read_command, write_mark,
};
pub(crate) use header::{HeaderError, SEGMENT_HEADER_BYTES, SegmentHeader, SegmentKind, SegmentRole};
#[cfg(all(test, feature = "sim"))]
pub(crate) use manifest::SEGMENT_BYTES;
#[cfg(test)]
pub(crate) use manifest::sample_manifest;
pub(crate) use manifest::{
    DurableMark, Manifest, ManifestError, RunEntry, Sealed, SegmentEntry, SegmentState, last_frame,
    last_position, sealed_len,
};
#[cfg(feature = "fuzzing")]
pub(crate) use manifest::{decode_segment, encode_segment};
pub(crate) use record::{RECORD_HEADER_BYTES, Record, version_in};
pub(crate) use scrub::{ScrubRecord, ScrubRecords};
pub(crate) use through::{
    NewerSlot, SOURCE_PLACE_BYTES_MAX, THROUGH_SLOT_BYTES, THROUGH_SLOT_STEP, ThroughSlot,
};

/// The version of the format that this code writes, and the newest it reads.
pub const FORMAT_VERSION: u16 = 1;

/// The largest number, position, id and offset: they count up from 0 or 1, so a larger one was forged. Readers refuse
/// it, and so no sum of two of them can overflow.
pub(crate) const NUMBER_MAX: u64 = u64::MAX >> 1;

/// Makes the checksums of one segment differ from those of every other.
pub(crate) type Salt = [u8; 16];

/// Reads a fixed-size field; the caller has checked the length.
fn field<const N: usize>(bytes: &[u8], at: usize) -> [u8; N] {
    *bytes[at..].first_chunk().expect("the length was checked")
}

pub(crate) fn u16_at(bytes: &[u8], at: usize) -> u16 {
    u16::from_le_bytes(field(bytes, at))
}

pub(crate) fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(field(bytes, at))
}

pub(crate) fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(field(bytes, at))
}

pub(crate) fn i64_at(bytes: &[u8], at: usize) -> i64 {
    i64::from_le_bytes(field(bytes, at))
}

pub(crate) fn array_at<const N: usize>(bytes: &[u8], at: usize) -> [u8; N] {
    field(bytes, at)
}

/// Writes a field into bytes that are long enough.
pub(crate) fn put<const N: usize>(bytes: &mut [u8], at: usize, field: [u8; N]) {
    bytes[at..at + N].copy_from_slice(&field);
}
