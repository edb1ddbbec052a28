//! The header of a segment.

use super::checksum::crc32c;
use super::{FORMAT_VERSION, Salt, array_at, put, u16_at, u32_at, u64_at};

/// Bytes before the first frame.
pub(crate) const SEGMENT_HEADER_BYTES: usize = 4096;

const MAGIC: [u8; 8] = *b"GESTASEG";
const DIGEST_SHA_256: u8 = 1;
const CHECKSUM_AT: usize = SEGMENT_HEADER_BYTES - 4;

/// What a segment holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SegmentKind {
    /// Frames of a log.
    Primary,
    /// Frames of a replica.
    Copy,
    /// Reserved for whole streams of a log, taken into a store of their own.
    Excerpt,
}

impl SegmentKind {
    pub(crate) const fn to_byte(self) -> u8 {
        match self {
            Self::Primary => 0,
            Self::Copy => 1,
            Self::Excerpt => 2,
        }
    }

    pub(crate) const fn from_byte(byte: u8) -> Option<Self> {
        match byte {
            0 => Some(Self::Primary),
            1 => Some(Self::Copy),
            2 => Some(Self::Excerpt),
            _ => None,
        }
    }
}

/// How a segment came to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SegmentRole {
    Normal,
    Spare,
    Recovery,
}

impl SegmentRole {
    pub(crate) const fn to_byte(self) -> u8 {
        match self {
            Self::Normal => 0,
            Self::Spare => 1,
            Self::Recovery => 2,
        }
    }

    pub(crate) const fn from_byte(byte: u8) -> Option<Self> {
        match byte {
            0 => Some(Self::Normal),
            1 => Some(Self::Spare),
            2 => Some(Self::Recovery),
            _ => None,
        }
    }
}

/// The header of a segment. The manifest repeats it, so a damaged header can be restored from there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SegmentHeader {
    pub(crate) id: u64,
    pub(crate) kind: SegmentKind,
    pub(crate) role: SegmentRole,
    pub(crate) partition: u16,
    pub(crate) origin: [u8; 16],
    pub(crate) salt: Salt,
}

/// Why bytes are not a valid segment header.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum HeaderError {
    #[error("the segment's header is damaged")]
    Damaged,
    #[error(
        "the segment has format version {version}, this program reads up to {FORMAT_VERSION}: use a newer program"
    )]
    NewerVersion { version: u16 },
    #[error("the segment's header has content that this program does not know: use a newer program")]
    Unknown,
}

impl SegmentHeader {
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut bytes = vec![0; SEGMENT_HEADER_BYTES];
        put(&mut bytes, 0, MAGIC);
        put(&mut bytes, 8, FORMAT_VERSION.to_le_bytes());
        put(&mut bytes, 10, [self.kind.to_byte(), self.role.to_byte(), DIGEST_SHA_256, 0]);
        put(&mut bytes, 14, self.partition.to_le_bytes());
        put(&mut bytes, 24, self.id.to_le_bytes());
        put(&mut bytes, 32, self.origin);
        put(&mut bytes, 48, self.salt);
        let checksum = crc32c(&bytes[..CHECKSUM_AT]);
        put(&mut bytes, CHECKSUM_AT, checksum.to_le_bytes());
        bytes
    }

    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, HeaderError> {
        let whole = bytes.len() == SEGMENT_HEADER_BYTES && bytes[..8] == MAGIC;
        if !whole || u32_at(bytes, CHECKSUM_AT) != crc32c(&bytes[..CHECKSUM_AT]) {
            return Err(HeaderError::Damaged);
        }
        let version = u16_at(bytes, 8);
        if version != FORMAT_VERSION {
            return Err(HeaderError::NewerVersion { version });
        }
        let reserved = bytes[13] != 0 || bytes[64..CHECKSUM_AT].iter().any(|byte| *byte != 0);
        if u64_at(bytes, 16) != 0 || bytes[12] != DIGEST_SHA_256 || reserved {
            return Err(HeaderError::Unknown);
        }
        Ok(Self {
            id: u64_at(bytes, 24),
            kind: SegmentKind::from_byte(bytes[10]).ok_or(HeaderError::Unknown)?,
            role: SegmentRole::from_byte(bytes[11]).ok_or(HeaderError::Unknown)?,
            partition: u16_at(bytes, 14),
            origin: array_at(bytes, 32),
            salt: array_at(bytes, 48),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> SegmentHeader {
        SegmentHeader {
            id: 7,
            kind: SegmentKind::Primary,
            role: SegmentRole::Recovery,
            partition: 0,
            origin: [1; 16],
            salt: [2; 16],
        }
    }

    #[test]
    fn a_header_round_trips_and_a_flipped_bit_is_refused() {
        let bytes = sample().encode();
        assert_eq!(SegmentHeader::decode(&bytes), Ok(sample()));
        for bit in 0..bytes.len() * 8 {
            let mut flipped = bytes.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(SegmentHeader::decode(&flipped), Err(HeaderError::Damaged), "bit {bit}");
        }
    }

    #[test]
    fn a_newer_format_is_named() {
        let mut bytes = sample().encode();
        bytes[8] = 2;
        let checksum = crc32c(&bytes[..CHECKSUM_AT]);
        put(&mut bytes, CHECKSUM_AT, checksum.to_le_bytes());
        assert_eq!(SegmentHeader::decode(&bytes), Err(HeaderError::NewerVersion { version: 2 }));
    }
}
