//! When each sealed segment was last verified, and its damage then: a small file beside the log, so that a scrub
//! continues after a restart.
//!
//! The file is derived: if it is missing or damaged, the next scrub begins again. So it is replaced by rename and
//! never synced; a sync would delay appends for nothing.

use std::collections::BTreeSet;
use std::io;
use std::path::Path;

use gesta_core::Timestamp;

use crate::damage::Damage;
use crate::env::{Env, read_whole, write_whole};
use crate::format::{Manifest, ScrubRecord, ScrubRecords, Sealed, SegmentEntry, SegmentState};
use crate::limits::SCRUB_DAMAGE_MAX;

const NAME: &str = "scrub";
const TEMPORARY_NAME: &str = "scrub.tmp";

impl ScrubRecord {
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

impl ScrubRecords {
    /// Reads the results of a store; none if the file is missing, damaged, or of another store.
    pub(crate) fn load(env: &dyn Env, root: &Path, store: [u8; 16]) -> Self {
        let bytes = read_whole(env, &root.join(NAME));
        bytes.ok().and_then(|bytes| Self::decode(&bytes, store)).unwrap_or_default()
    }

    pub(crate) fn replace(&self, env: &dyn Env, root: &Path, store: [u8; 16]) -> io::Result<()> {
        write_whole(env, &root.join(TEMPORARY_NAME), &self.encode(store))?;
        env.rename(&root.join(TEMPORARY_NAME), &root.join(NAME))
    }

    pub(crate) fn of(&self, entry: &SegmentEntry, sealed: &Sealed) -> Option<&ScrubRecord> {
        self.0.get(&entry.header.id).filter(|own| own.checksum == sealed.checksum)
    }

    /// Replaces the result of a segment.
    pub(crate) fn note(&mut self, record: ScrubRecord) {
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
}

/// The sealed segments of a manifest, in the order of the log.
pub(crate) fn sealed_segments(manifest: &Manifest) -> impl Iterator<Item = (&SegmentEntry, &Sealed)> {
    manifest.segments.iter().filter_map(|entry| match &entry.state {
        SegmentState::Sealed(sealed) => Some((entry, sealed)),
        SegmentState::Spare | SegmentState::Active => None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn damaged_segments_are_named() {
        let at = Timestamp::from_nanos(-5);
        let record = |segment, damage| ScrubRecord { segment, checksum: 4, verified_at: at, damage };
        let mut records = ScrubRecords::default();
        records.note(record(3, Vec::new()));
        records.note(record(7, vec![Damage::of(7, 1, 1, 9, "nothing stands here")]));
        assert_eq!(records.damaged(), [7]);
    }

    #[test]
    fn too_much_damage_becomes_a_range_that_covers_it() {
        let damage = |at| Damage::of(1, at, at, at + 1, "");
        let many = |count| (1..=count).map(damage).collect::<Vec<_>>();
        let max = SCRUB_DAMAGE_MAX as u64;
        assert_eq!(condensed(many(max)), many(max));
        let condensed = condensed(many(max + 1));
        let last = condensed.last().unwrap();
        assert_eq!((condensed.len() as u64, last.from, last.to), (max, max, max + 2));
    }
}
