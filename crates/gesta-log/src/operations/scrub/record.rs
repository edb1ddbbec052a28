//! When each sealed segment was last verified, and its damage then: a small file beside the log, so that a scrub
//! continues after a restart.
//!
//! The file is derived: if it is missing or damaged, the next scrub begins again. So it is replaced by rename and
//! never synced; a sync would delay appends for nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::Path;

use gesta_core::Timestamp;

use crate::damage::Damage;
use crate::env::{Env, read_whole, write_whole};
use crate::folder::{Manifest, Sealed, SegmentEntry, SegmentState};
use crate::format::{array_at, crc32c, i64_at, put, u16_at, u32_at, u64_at};
use crate::limits::SCRUB_DAMAGE_MAX;

const MAGIC: [u8; 8] = *b"GESTASCR";
const VERSION: u16 = 1;
const FIXED_BYTES: usize = 32;
const SEGMENT_BYTES: usize = 24;
const DAMAGE_BYTES: usize = 26;
const CHECKSUM_BYTES: usize = 4;
const NAME: &str = "scrub";
const TEMPORARY_NAME: &str = "scrub.tmp";

/// The result for one segment. Its id and the checksum over its headers identify the segment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Record {
    pub(crate) segment: u64,
    pub(crate) checksum: u32,
    pub(crate) verified_at: Timestamp,
    pub(crate) damage: Vec<Damage>,
}

/// The results of a log, by segment id.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Records(BTreeMap<u64, Record>);

impl Record {
    pub(crate) fn new(
        entry: &SegmentEntry,
        sealed: &Sealed,
        verified_at: Timestamp,
        damage: Vec<Damage>,
    ) -> Self {
        Self { segment: entry.header.id, checksum: sealed.checksum, verified_at, damage: condensed(damage) }
    }
}

/// Bounds a list of damage: the excess becomes one range that covers it.
fn condensed(mut damage: Vec<Damage>) -> Vec<Damage> {
    if damage.len() > SCRUB_DAMAGE_MAX {
        let rest = damage.split_off(SCRUB_DAMAGE_MAX - 1);
        let lost = rest.iter().filter(|own| own.loses_events());
        let (from, to) = lost.fold((u64::MAX, 0), |(from, to), own| (from.min(own.from), to.max(own.to)));
        let what = format!("{} damaged places; the first is here", rest.len());
        damage.push(Damage { from, to, what, ..rest[0].clone() });
    }
    damage
}

impl Records {
    /// Reads the results of a store; none if the file is missing, damaged, or of another store.
    pub(crate) fn load(env: &dyn Env, root: &Path, store: [u8; 16]) -> Self {
        let bytes = read_whole(env, &root.join(NAME));
        bytes.ok().and_then(|bytes| Self::decode(&bytes, store)).unwrap_or_default()
    }

    pub(crate) fn replace(&self, env: &dyn Env, root: &Path, store: [u8; 16]) -> io::Result<()> {
        write_whole(env, &root.join(TEMPORARY_NAME), &self.encode(store))?;
        env.rename(&root.join(TEMPORARY_NAME), &root.join(NAME))
    }

    pub(crate) fn of(&self, entry: &SegmentEntry, sealed: &Sealed) -> Option<&Record> {
        self.0.get(&entry.header.id).filter(|own| own.checksum == sealed.checksum)
    }

    /// Replaces the result of a segment.
    pub(crate) fn note(&mut self, record: Record) {
        self.0.insert(record.segment, record);
    }

    /// Removes segments that the manifest does not list as sealed.
    pub(crate) fn keep_listed(&mut self, manifest: &Manifest) {
        let listed = sealed_segments(manifest).map(|(entry, _)| entry.header.id).collect::<BTreeSet<_>>();
        self.0.retain(|segment, _| listed.contains(segment));
    }

    /// The damaged segments.
    pub(crate) fn damaged(&self) -> Vec<u64> {
        self.0.values().filter(|own| !own.damage.is_empty()).map(|own| own.segment).collect()
    }

    fn encode(&self, store: [u8; 16]) -> Vec<u8> {
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

    fn decode(bytes: &[u8], store: [u8; 16]) -> Option<Self> {
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
            records.note(Record { segment, checksum: u32_at(own, 8), verified_at, damage });
        }
        rest.is_empty().then_some(records)
    }
}

/// The sealed segments of a manifest, in the order of the log.
pub(crate) fn sealed_segments(manifest: &Manifest) -> impl Iterator<Item = (&SegmentEntry, &Sealed)> {
    manifest.segments.iter().filter_map(|entry| match &entry.state {
        SegmentState::Sealed(sealed) => Some((entry, sealed)),
        SegmentState::Spare | SegmentState::Active => None,
    })
}

fn count(len: usize) -> [u8; 4] {
    u32::try_from(len).expect("a count of segments or of damage").to_le_bytes()
}

fn decode_damage(rest: &mut &[u8], segment: u64) -> Option<Damage> {
    let own = take(rest, DAMAGE_BYTES)?;
    let what = take(rest, usize::from(u16_at(own, 24)))?;
    let what = String::from_utf8_lossy(what).into_owned();
    Some(Damage {
        segment,
        offset: u64_at(own, 0),
        from: u64_at(own, 8),
        to: u64_at(own, 16),
        end_is_known: true,
        what,
    })
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

    fn sample() -> Records {
        let damage = |offset| Damage {
            segment: 7,
            offset,
            from: offset,
            to: 9,
            end_is_known: true,
            what: "nothing stands here".to_owned(),
        };
        let at = Timestamp::from_nanos(-5);
        let sound = Record { segment: 3, checksum: 4, verified_at: at, damage: Vec::new() };
        let damaged = Record { segment: 7, checksum: 8, verified_at: at, damage: vec![damage(1), damage(2)] };
        let mut records = Records::default();
        [sound, damaged].into_iter().for_each(|own| records.note(own));
        records
    }

    #[test]
    fn records_round_trip_and_a_flipped_bit_or_another_store_is_refused() {
        let bytes = sample().encode([1; 16]);
        assert_eq!(Records::decode(&bytes, [1; 16]), Some(sample()));
        assert_eq!(Records::decode(&bytes, [2; 16]), None);
        assert_eq!(sample().damaged(), [7]);
        for bit in 0..bytes.len() * 8 {
            let mut flipped = bytes.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(Records::decode(&flipped, [1; 16]), None, "bit {bit}");
        }
        for len in 0..bytes.len() {
            assert_eq!(Records::decode(&bytes[..len], [1; 16]), None, "{len} bytes");
        }
    }

    #[test]
    fn too_much_damage_becomes_a_range_that_covers_it() {
        let damage = |at| Damage {
            segment: 1,
            offset: at,
            from: at,
            to: at + 1,
            end_is_known: true,
            what: String::new(),
        };
        let many = |count| (1..=count).map(damage).collect::<Vec<_>>();
        let max = SCRUB_DAMAGE_MAX as u64;
        assert_eq!(condensed(many(max)), many(max));
        let condensed = condensed(many(max + 1));
        let last = condensed.last().unwrap();
        assert_eq!((condensed.len() as u64, last.from, last.to), (max, max, max + 2));
    }

    proptest! {
        #[test]
        fn a_file_with_a_valid_checksum_is_read_or_refused(
            own in proptest::collection::vec(any::<u8>(), 0..200),
            small in proptest::collection::vec(0_u8..3, 0..200),
            count in 0_u32..5,
        ) {
            for rest in [own, small] {
                let mut bytes = Records::default().encode([1; 16]);
                bytes.truncate(FIXED_BYTES);
                put(&mut bytes, 12, count.to_le_bytes());
                bytes.extend_from_slice(&rest);
                let checksum = crc32c(&bytes);
                bytes.extend_from_slice(&checksum.to_le_bytes());
                if let Some(records) = Records::decode(&bytes, [1; 16]) {
                    prop_assert!(records.0.len() <= count as usize);
                }
            }
        }
    }
}
