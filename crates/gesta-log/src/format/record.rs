//! A record: one event, self-contained, with its own check.

use bytes::Bytes;
use gesta_core::{CanonicalError, EventBytes, Position, RecordedEvent, Timestamp, Version};

use super::checksum::{Crc, crc32c};
use super::{Salt, i64_at, u32_at, u64_at};
use crate::bugs::{Bug, planted};

/// Bytes before the canonical bytes of the event.
pub(crate) const RECORD_HEADER_BYTES: usize = 24;

/// Why bytes are not a valid record.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum RecordError {
    #[error("the record's length is wrong")]
    Length,
    #[error("the record's check does not match its bytes")]
    Check,
    #[error("the record holds no event in canonical form")]
    Event(#[from] CanonicalError),
}

/// The version of the event in a record.
pub(crate) fn version_in(record: &[u8]) -> u64 {
    u64_at(record, 8)
}

/// Reads and verifies records.
pub(crate) struct Record;

impl Record {
    /// The check of a record at a position. Covers its bytes and the checksum of its canonical bytes.
    pub(crate) fn check(salt: &Salt, position: u64, record: &[u8], canonical_checksum: u32) -> u32 {
        let mut input = [0; 16 + 8 + 16 + 4];
        input[..16].copy_from_slice(salt);
        input[16..24].copy_from_slice(&position.to_le_bytes());
        input[24..40].copy_from_slice(&record[8..RECORD_HEADER_BYTES]);
        input[40..].copy_from_slice(&canonical_checksum.to_le_bytes());
        crc32c(&input)
    }

    /// The length of the record that begins the bytes, if they hold all of it.
    pub(crate) fn length(bytes: &[u8]) -> Result<usize, RecordError> {
        let claimed = bytes.first_chunk().map(|length| u32::from_le_bytes(*length) as usize);
        claimed
            .filter(|length| (RECORD_HEADER_BYTES + 1..=bytes.len()).contains(length))
            .ok_or(RecordError::Length)
    }

    /// Verifies that the bytes are the whole record at that position of that segment.
    pub(crate) fn prove(salt: &Salt, position: u64, record: &[u8]) -> Result<(), RecordError> {
        let check = Self::check(salt, position, record, crc32c(&record[RECORD_HEADER_BYTES..]));
        if u32_at(record, 4) == check || planted(Bug::NoRecordChecks) {
            Ok(())
        } else {
            Err(RecordError::Check)
        }
    }

    /// Reads and verifies the record that begins the bytes. The event shares the bytes.
    pub(crate) fn read(salt: &Salt, position: Position, bytes: &Bytes) -> Result<RecordedEvent, RecordError> {
        let length = Self::length(bytes)?;
        let record = bytes.slice(..length);
        Self::prove(salt, position.sequence, &record)?;
        let event = EventBytes::parse(record.slice(RECORD_HEADER_BYTES..))?;
        let version = Version::new(version_in(&record));
        Ok(RecordedEvent::new(position, version, Timestamp::from_nanos(i64_at(&record, 16)), event))
    }
}

/// The checksum of a frame's body: over the head of each record, then the command.
pub(super) fn body_checksum(salt: &Salt, records: &[u8], command: &[u8]) -> Result<u32, RecordError> {
    let mut crc = Crc::salted(salt);
    let mut rest = records;
    while !rest.is_empty() {
        let length = Record::length(rest)?;
        crc.update(&rest[..8]);
        rest = &rest[length..];
    }
    crc.update(command);
    Ok(crc.value())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_with_an_impossible_length_is_refused() {
        const LEAST: usize = RECORD_HEADER_BYTES + 1;
        for (claimed, there, is_one) in [
            (LEAST - 2, LEAST, false),
            (LEAST - 1, LEAST, false),
            (LEAST, LEAST, true),
            (LEAST, LEAST + 1, true),
            (LEAST + 1, LEAST, false),
            (LEAST, 3, false),
        ] {
            let mut bytes = u32::try_from(claimed).unwrap().to_le_bytes().to_vec();
            bytes.resize(there, 0);
            let length = Record::length(&bytes);
            assert_eq!(length.ok(), is_one.then_some(claimed), "{claimed} claimed, {there} there");
        }
    }
}
