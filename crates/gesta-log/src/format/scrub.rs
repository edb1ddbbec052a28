//! The record of scrubs: when each sealed segment was last verified, and its damage then.

use std::collections::BTreeMap;

use gesta_core::Timestamp;

use super::{array_at, crc32c, i64_at, put, u16_at, u32_at, u64_at};
use crate::damage::Damage;

const MAGIC: [u8; 8] = *b"GESTASCR";
const VERSION: u16 = 1;
const FIXED_BYTES: usize = 32;
const SEGMENT_BYTES: usize = 24;
const DAMAGE_BYTES: usize = 26;
const CHECKSUM_BYTES: usize = 4;

/// The result for one segment. Its id and the checksum over its headers identify the segment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ScrubRecord {
    pub(crate) segment: u64,
    pub(crate) checksum: u32,
    pub(crate) verified_at: Timestamp,
    pub(crate) damage: Vec<Damage>,
}

/// The results of a log, by segment id.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct ScrubRecords(pub(crate) BTreeMap<u64, ScrubRecord>);

impl ScrubRecords {
    pub(crate) fn encode(&self, store: [u8; 16]) -> Vec<u8> {
        let mut bytes = vec![0; FIXED_BYTES];
        put(&mut bytes, 0, MAGIC);
        put(&mut bytes, 8, VERSION.to_le_bytes());
        put(&mut bytes, 12, count(self.0.len()));
        put(&mut bytes, 16, store);
        for own in self.0.values() {
            bytes.extend_from_slice(&own.segment.to_le_bytes());
            bytes.extend_from_slice(&own.checksum.to_le_bytes());
            bytes.extend_from_slice(&count(own.damage.len()));
            bytes.extend_from_slice(&own.verified_at.as_nanos().to_le_bytes());
            for damage in &own.damage {
                for number in [damage.offset, damage.from, damage.to] {
                    bytes.extend_from_slice(&number.to_le_bytes());
                }
                // Texts of ours, one line at most.
                let what = damage.what.as_bytes();
                let len = u16::try_from(what.len()).unwrap_or(u16::MAX);
                bytes.extend_from_slice(&len.to_le_bytes());
                bytes.extend_from_slice(&what[..usize::from(len)]);
            }
        }
        let checksum = crc32c(&bytes);
        bytes.extend_from_slice(&checksum.to_le_bytes());
        bytes
    }

    pub(crate) fn decode(bytes: &[u8], store: [u8; 16]) -> Option<Self> {
        let body = bytes.len().checked_sub(CHECKSUM_BYTES).filter(|body| *body >= FIXED_BYTES)?;
        let is_whole = bytes[..8] == MAGIC && u32_at(bytes, body) == crc32c(&bytes[..body]);
        if !is_whole || u16_at(bytes, 8) != VERSION || array_at::<16>(bytes, 16) != store {
            return None;
        }
        let mut rest = &bytes[FIXED_BYTES..body];
        let mut records = Self::default();
        for _ in 0..u32_at(bytes, 12) {
            let own = take(&mut rest, SEGMENT_BYTES)?;
            let segment = u64_at(own, 0);
            let damage = (0..u32_at(own, 12)).map(|_| decode_damage(&mut rest, segment));
            let damage = damage.collect::<Option<Vec<_>>>()?;
            let verified_at = Timestamp::from_nanos(i64_at(own, 16));
            let record = ScrubRecord { segment, checksum: u32_at(own, 8), verified_at, damage };
            records.0.insert(segment, record);
        }
        rest.is_empty().then_some(records)
    }
}

fn count(len: usize) -> [u8; 4] {
    u32::try_from(len).expect("a count of segments or of damage").to_le_bytes()
}

fn decode_damage(rest: &mut &[u8], segment: u64) -> Option<Damage> {
    let own = take(rest, DAMAGE_BYTES)?;
    let what = take(rest, usize::from(u16_at(own, 24)))?;
    let what = String::from_utf8_lossy(what).into_owned();
    Some(Damage::of(segment, u64_at(own, 0), u64_at(own, 8), u64_at(own, 16), what))
}

fn take<'a>(rest: &mut &'a [u8], len: usize) -> Option<&'a [u8]> {
    let (taken, left) = rest.split_at_checked(len)?;
    *rest = left;
    Some(taken)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn sample() -> ScrubRecords {
        let damage = |offset| Damage::of(7, offset, offset, 9, "nothing stands here");
        let at = Timestamp::from_nanos(-5);
        let sound = ScrubRecord { segment: 3, checksum: 4, verified_at: at, damage: Vec::new() };
        let damaged =
            ScrubRecord { segment: 7, checksum: 8, verified_at: at, damage: vec![damage(1), damage(2)] };
        let mut records = ScrubRecords::default();
        for own in [sound, damaged] {
            records.0.insert(own.segment, own);
        }
        records
    }

    #[test]
    fn records_round_trip_and_a_flipped_bit_or_another_store_is_refused() {
        let bytes = sample().encode([1; 16]);
        assert_eq!(ScrubRecords::decode(&bytes, [1; 16]), Some(sample()));
        assert_eq!(ScrubRecords::decode(&bytes, [2; 16]), None);
        for bit in 0..bytes.len() * 8 {
            let mut flipped = bytes.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(ScrubRecords::decode(&flipped, [1; 16]), None, "bit {bit}");
        }
        for len in 0..bytes.len() {
            assert_eq!(ScrubRecords::decode(&bytes[..len], [1; 16]), None, "{len} bytes");
        }
    }

    proptest! {
        #[test]
        fn a_file_with_a_valid_checksum_is_read_or_refused(
            own in proptest::collection::vec(any::<u8>(), 0..200),
            small in proptest::collection::vec(0_u8..3, 0..200),
            count in 0_u32..5,
        ) {
            for rest in [own, small] {
                let mut bytes = ScrubRecords::default().encode([1; 16]);
                bytes.truncate(FIXED_BYTES);
                put(&mut bytes, 12, count.to_le_bytes());
                bytes.extend_from_slice(&rest);
                let checksum = crc32c(&bytes);
                bytes.extend_from_slice(&checksum.to_le_bytes());
                if let Some(records) = ScrubRecords::decode(&bytes, [1; 16]) {
                    prop_assert!(records.0.len() <= count as usize);
                }
            }
        }
    }
}
