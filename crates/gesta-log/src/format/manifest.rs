//! The manifest: the list of segments and index files, with the newest synced frame. `docs/format.md` has the layout.

use std::io;

use super::header::{SegmentHeader, SegmentKind, SegmentRole};
use super::{
    EndBody, FORMAT_VERSION, FrameName, NUMBER_MAX, Salt, array_at, crc32c, mark_len, put, u16_at, u32_at,
    u64_at,
};

const MAGIC: [u8; 8] = *b"GESTAMAN";
/// The version of a manifest with feature bits. Only a log that has a feature gets it: older programs open all others.
const VERSION_WITH_FEATURES: u16 = 2;
const FIXED_BYTES: usize = 96;
const FEATURES_BYTES: usize = 8;
/// The folder is a replica: it takes what its source has recorded, and nothing else.
const FEATURE_REPLICA: u64 = 1;
pub(crate) const SEGMENT_BYTES: usize = 112;
const RUN_BYTES: usize = 64;
const CHECKSUM_BYTES: usize = 4;
const DIGEST_SHA_256: u8 = 1;

/// The content of the manifest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Manifest {
    pub(crate) generation: u64,
    pub(crate) boot_epoch: u64,
    pub(crate) store: [u8; 16],
    pub(crate) key_secret: [u8; 16],
    pub(crate) partition: u16,
    /// True if the log is a replica: it takes what its source has recorded, and nothing else.
    pub(crate) is_replica: bool,
    pub(crate) durable: DurableMark,
    /// Other stores whose segments belong to this one since a restore or a copy.
    pub(crate) origins: Vec<[u8; 16]>,
    /// In the order of the log.
    pub(crate) segments: Vec<SegmentEntry>,
    /// Index files, over adjacent ranges from the first position on.
    pub(crate) runs: Vec<RunEntry>,
}

/// A synced frame, and the last position up to it: a lower bound of the durable part. The log may continue after it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct DurableMark {
    /// The frame's number; 0 before the first frame.
    pub(crate) number: u64,
    /// The checksum of the frame's header; 0 if it is unknown.
    pub(crate) checksum: u32,
    /// The position of the last event up to the end of that frame.
    pub(crate) position: u64,
}

impl DurableMark {
    /// Moves the mark to a synced frame. It never goes back; an unknown checksum is filled in.
    pub(crate) const fn raise(&mut self, synced: Self) {
        let is_newer = synced.number > self.number;
        let names_frame = synced.number == self.number && self.checksum == 0;
        if (is_newer || names_frame) && synced.position >= self.position {
            *self = synced;
        }
    }
}

/// The manifest's entry for one index file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct RunEntry {
    pub(crate) id: u64,
    pub(crate) first: u64,
    pub(crate) last: u64,
    pub(crate) first_frame: FrameName,
    pub(crate) last_frame: FrameName,
    pub(crate) size_bytes: u64,
    /// How often its content was merged.
    pub(crate) tier: u8,
}

impl RunEntry {
    fn encode(&self) -> [u8; RUN_BYTES] {
        let mut bytes = [0; RUN_BYTES];
        put(&mut bytes, 0, self.id.to_le_bytes());
        put(&mut bytes, 8, self.first.to_le_bytes());
        put(&mut bytes, 16, self.last.to_le_bytes());
        for (at, frame) in [(24, self.first_frame), (36, self.last_frame)] {
            put(&mut bytes, at, frame.number.to_le_bytes());
            put(&mut bytes, at + 8, frame.checksum.to_le_bytes());
        }
        put(&mut bytes, 48, self.size_bytes.to_le_bytes());
        bytes[56] = self.tier;
        bytes
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        let frame = |at| FrameName { number: u64_at(bytes, at), checksum: u32_at(bytes, at + 8) };
        let is_plain = bytes[57..].iter().all(|byte| *byte == 0);
        let can_be = are_numbers(bytes, &[0, 8, 16, 24, 36, 48]);
        (is_plain && can_be).then(|| Self {
            id: u64_at(bytes, 0),
            first: u64_at(bytes, 8),
            last: u64_at(bytes, 16),
            first_frame: frame(24),
            last_frame: frame(36),
            size_bytes: u64_at(bytes, 48),
            tier: bytes[56],
        })
    }
}

/// The manifest's entry for one segment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SegmentEntry {
    pub(crate) header: SegmentHeader,
    pub(crate) size_bytes: u64,
    pub(crate) state: SegmentState,
}

/// The state of a segment in the manifest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SegmentState {
    /// Made ahead of time. It holds no acknowledged event: the manifest on the disk lists it as active before the
    /// first one.
    Spare,
    /// It may hold acknowledged events.
    Active,
    Sealed(Sealed),
}

/// The byte of a spare.
const SPARE: u8 = 3;
/// The byte of a spare in manifests of older versions. Those versions wrote to such a segment without changing the
/// manifest.
const OLD_SPARE: u8 = 0;
const ACTIVE: u8 = 1;
const SEALED: u8 = 2;

/// The properties of a sealed segment, which never change again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Sealed {
    pub(crate) first_frame: u64,
    pub(crate) first_position: u64,
    pub(crate) frames: u64,
    pub(crate) events: u64,
    /// The offset of its END frame.
    pub(crate) end: u64,
    /// The checksum over its headers.
    pub(crate) checksum: u32,
}

/// Why a manifest cannot be read.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ManifestError {
    #[error("the manifest is damaged")]
    Damaged,
    #[error(
        "the manifest has format version {version}, this program reads up to {VERSION_WITH_FEATURES}: use a newer program"
    )]
    NewerVersion { version: u16 },
    #[error("the manifest has content that this program does not know: use a newer program")]
    Unknown,
    #[error(transparent)]
    Io(#[from] io::Error),
}

impl Manifest {
    pub(crate) fn encode(&self) -> Vec<u8> {
        let count = |len: usize| u32::try_from(len).expect("a count of files").to_le_bytes();
        let mut bytes = vec![0; FIXED_BYTES];
        put(&mut bytes, 0, MAGIC);
        let version = if self.is_replica { VERSION_WITH_FEATURES } else { FORMAT_VERSION };
        put(&mut bytes, 8, version.to_le_bytes());
        put(&mut bytes, 10, self.partition.to_le_bytes());
        put(&mut bytes, 16, self.generation.to_le_bytes());
        put(&mut bytes, 24, self.boot_epoch.to_le_bytes());
        put(&mut bytes, 32, self.store);
        put(&mut bytes, 48, self.key_secret);
        put(&mut bytes, 64, self.durable.number.to_le_bytes());
        put(&mut bytes, 72, self.durable.position.to_le_bytes());
        put(&mut bytes, 80, count(self.origins.len()));
        put(&mut bytes, 84, count(self.segments.len()));
        put(&mut bytes, 88, count(self.runs.len()));
        put(&mut bytes, 92, self.durable.checksum.to_le_bytes());
        if self.is_replica {
            bytes.extend_from_slice(&FEATURE_REPLICA.to_le_bytes());
        }
        self.origins.iter().for_each(|origin| bytes.extend_from_slice(origin));
        self.segments.iter().for_each(|entry| bytes.extend_from_slice(&encode_segment(entry)));
        self.runs.iter().for_each(|run| bytes.extend_from_slice(&run.encode()));
        let length = count(bytes.len() + CHECKSUM_BYTES);
        put(&mut bytes, 12, length);
        let checksum = crc32c(&bytes);
        bytes.extend_from_slice(&checksum.to_le_bytes());
        bytes
    }

    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, ManifestError> {
        let body = bytes.len().checked_sub(CHECKSUM_BYTES).filter(|body| *body >= FIXED_BYTES);
        let body = body.ok_or(ManifestError::Damaged)?;
        let whole = bytes[..8] == MAGIC && u32_at(bytes, 12) as usize == bytes.len();
        if !whole || u32_at(bytes, body) != crc32c(&bytes[..body]) {
            return Err(ManifestError::Damaged);
        }
        let version = u16_at(bytes, 8);
        let is_replica = match version {
            FORMAT_VERSION => false,
            VERSION_WITH_FEATURES if body < FIXED_BYTES + FEATURES_BYTES => {
                return Err(ManifestError::Damaged);
            }
            VERSION_WITH_FEATURES if u64_at(bytes, FIXED_BYTES) == FEATURE_REPLICA => true,
            VERSION_WITH_FEATURES => return Err(ManifestError::Unknown),
            version => return Err(ManifestError::NewerVersion { version }),
        };
        if !are_numbers(bytes, &[16, 24, 64, 72]) {
            return Err(ManifestError::Damaged);
        }
        let [origins, segments, runs] = [80, 84, 88].map(|at| u32_at(bytes, at) as usize);
        let origins_at = FIXED_BYTES + if is_replica { FEATURES_BYTES } else { 0 };
        let segments_at = origins_at + 16 * origins;
        let runs_at = segments_at + SEGMENT_BYTES * segments;
        if runs_at + RUN_BYTES * runs != body {
            return Err(ManifestError::Damaged);
        }
        let partition = u16_at(bytes, 10);
        let segments = bytes[segments_at..runs_at].chunks_exact(SEGMENT_BYTES);
        let segments = segments.map(|entry| decode_segment(entry, partition));
        let runs = bytes[runs_at..body].chunks_exact(RUN_BYTES).map(RunEntry::decode);
        Ok(Self {
            generation: u64_at(bytes, 16),
            boot_epoch: u64_at(bytes, 24),
            store: array_at(bytes, 32),
            key_secret: array_at(bytes, 48),
            partition,
            is_replica,
            durable: DurableMark {
                number: u64_at(bytes, 64),
                checksum: u32_at(bytes, 92),
                position: u64_at(bytes, 72),
            },
            origins: bytes[origins_at..segments_at].chunks_exact(16).map(|own| array_at(own, 0)).collect(),
            segments: segments.collect::<Option<Vec<_>>>().ok_or(ManifestError::Unknown)?,
            runs: runs.collect::<Option<Vec<_>>>().ok_or(ManifestError::Unknown)?,
        })
    }
}

/// Whether the numbers at these offsets are possible in a log.
fn are_numbers(bytes: &[u8], places: &[usize]) -> bool {
    places.iter().all(|at| u64_at(bytes, *at) <= NUMBER_MAX)
}

/// Encodes the entry of a segment.
pub(crate) fn encode_segment(entry: &SegmentEntry) -> [u8; SEGMENT_BYTES] {
    let mut bytes = [0; SEGMENT_BYTES];
    let header = &entry.header;
    let state = match entry.state {
        SegmentState::Spare => SPARE,
        SegmentState::Active => ACTIVE,
        SegmentState::Sealed(_) => SEALED,
    };
    put(&mut bytes, 0, header.id.to_le_bytes());
    put(&mut bytes, 8, [state, 0, header.kind.to_byte(), header.role.to_byte(), DIGEST_SHA_256]);
    put(&mut bytes, 24, header.origin);
    put(&mut bytes, 40, header.salt);
    put(&mut bytes, 56, entry.size_bytes.to_le_bytes());
    if let SegmentState::Sealed(sealed) = entry.state {
        put(&mut bytes, 64, sealed.first_frame.to_le_bytes());
        put(&mut bytes, 72, sealed.first_position.to_le_bytes());
        put(&mut bytes, 80, sealed.frames.to_le_bytes());
        put(&mut bytes, 88, sealed.events.to_le_bytes());
        put(&mut bytes, 96, sealed.end.to_le_bytes());
        put(&mut bytes, 104, sealed.checksum.to_le_bytes());
    }
    bytes
}

/// Decodes the entry of a segment of a partition; `None` if it has content that this version does not know.
pub(crate) fn decode_segment(bytes: &[u8], partition: u16) -> Option<SegmentEntry> {
    let plain =
        bytes[12] == DIGEST_SHA_256 && bytes[13..24].iter().all(|byte| *byte == 0) && u32_at(bytes, 108) == 0;
    if !plain || !are_numbers(bytes, &[0, 56, 64, 72, 80, 88, 96]) {
        return None;
    }
    let salt: Salt = array_at(bytes, 40);
    let header = SegmentHeader {
        id: u64_at(bytes, 0),
        kind: SegmentKind::from_byte(bytes[10])?,
        role: SegmentRole::from_byte(bytes[11])?,
        partition,
        origin: array_at(bytes, 24),
        salt,
    };
    let is_unsealed = bytes[64..].iter().all(|byte| *byte == 0);
    let state = match (bytes[8], bytes[9]) {
        (SPARE | OLD_SPARE | ACTIVE, 0) if !is_unsealed => return None,
        (SPARE, 0) => SegmentState::Spare,
        (OLD_SPARE | ACTIVE, 0) => SegmentState::Active,
        (SEALED, 0) => SegmentState::Sealed(Sealed {
            first_frame: u64_at(bytes, 64),
            first_position: u64_at(bytes, 72),
            frames: u64_at(bytes, 80),
            events: u64_at(bytes, 88),
            end: u64_at(bytes, 96),
            checksum: u32_at(bytes, 104),
        }),
        _ => return None,
    };
    Some(SegmentEntry { header, size_bytes: u64_at(bytes, 56), state })
}

/// The length of the file of a sealed segment.
pub(crate) const fn sealed_len(sealed: &Sealed) -> u64 {
    sealed.end + mark_len(EndBody::BYTES) as u64
}

/// The last position of a sealed segment; one before its first if it has no events.
pub(crate) const fn last_position(sealed: &Sealed) -> u64 {
    (sealed.first_position + sealed.events).saturating_sub(1)
}

/// The last numbered frame of a sealed segment.
pub(crate) const fn last_frame(sealed: &Sealed) -> u64 {
    (sealed.first_frame + sealed.frames).saturating_sub(1)
}

/// A manifest with an entry of each kind.
#[cfg(test)]
pub(crate) fn sample_manifest() -> Manifest {
    let header = |id| SegmentHeader {
        id,
        kind: SegmentKind::Primary,
        role: SegmentRole::Spare,
        partition: 0,
        origin: [3; 16],
        salt: [4; 16],
    };
    let sealed = Sealed { first_frame: 1, first_position: 2, frames: 3, events: 4, end: 5, checksum: 6 };
    Manifest {
        generation: 7,
        boot_epoch: 8,
        durable: DurableMark { number: 9, checksum: 12, position: 10 },
        origins: vec![[5; 16]],
        segments: vec![
            SegmentEntry { header: header(1), size_bytes: 64, state: SegmentState::Sealed(sealed) },
            SegmentEntry { header: header(2), size_bytes: 64, state: SegmentState::Active },
            SegmentEntry { header: header(3), size_bytes: 64, state: SegmentState::Spare },
        ],
        runs: vec![RunEntry {
            id: 6,
            first: 1,
            last: 4,
            first_frame: FrameName { number: 1, checksum: 11 },
            last_frame: FrameName { number: 3, checksum: 12 },
            size_bytes: 4_096,
            tier: 1,
        }],
        store: [1; 16],
        key_secret: [2; 16],
        partition: 0,
        is_replica: false,
    }
}

#[cfg(test)]
mod tests {
    use super::sample_manifest as sample;
    use super::*;

    #[test]
    fn a_manifest_round_trips_and_every_flipped_bit_is_found() {
        let mut replica = Manifest { is_replica: true, partition: 3, ..sample() };
        replica.segments.iter_mut().for_each(|entry| entry.header.partition = 3);
        for manifest in [sample(), replica] {
            let bytes = manifest.encode();
            assert_eq!(Manifest::decode(&bytes).unwrap(), manifest);
            for bit in 0..bytes.len() * 8 {
                let mut flipped = bytes.clone();
                flipped[bit / 8] ^= 1 << (bit % 8);
                assert!(Manifest::decode(&flipped).is_err(), "bit {bit}");
            }
            assert!(Manifest::decode(&bytes[..bytes.len() - 1]).is_err());
        }
    }

    #[test]
    fn only_a_manifest_with_a_feature_has_the_newer_version_and_unknown_features_are_refused() {
        let replica = Manifest { is_replica: true, ..sample() }.encode();
        assert_eq!([&sample().encode(), &replica].map(|bytes| u16_at(bytes, 8)), [1, 2]);
        for features in [0, 2, 3] {
            let mut bytes = replica.clone();
            put(&mut bytes, FIXED_BYTES, u64::to_le_bytes(features));
            let body = bytes.len() - CHECKSUM_BYTES;
            let checksum = crc32c(&bytes[..body]);
            put(&mut bytes, body, checksum.to_le_bytes());
            assert!(matches!(Manifest::decode(&bytes), Err(ManifestError::Unknown)), "{features}");
        }
    }

    #[test]
    fn the_entry_of_an_unsealed_segment_has_no_end() {
        for entry in &sample().segments[1..] {
            let mut bytes = encode_segment(entry);
            assert_eq!(decode_segment(&bytes, 0).as_ref(), Some(entry));
            bytes[96] = 1;
            assert_eq!(decode_segment(&bytes, 0), None, "{:?}", entry.state);
        }
    }

    #[test]
    fn the_durable_mark_never_goes_back_and_an_unknown_checksum_is_filled_in() {
        let mark = |number, checksum, position| DurableMark { number, checksum, position };
        let raised = |mut from: DurableMark, to| {
            from.raise(to);
            from
        };
        assert_eq!(raised(mark(9, 12, 10), mark(8, 5, 9)), mark(9, 12, 10));
        assert_eq!(raised(mark(9, 12, 10), mark(9, 5, 10)), mark(9, 12, 10));
        assert_eq!(raised(mark(9, 0, 10), mark(9, 5, 10)), mark(9, 5, 10));
        assert_eq!(raised(mark(9, 12, 10), mark(11, 5, 10)), mark(11, 5, 10));
        assert_eq!(raised(mark(9, 12, 10), mark(11, 5, 9)), mark(9, 12, 10), "a position that goes back");
    }

    #[test]
    fn impossible_numbers_are_refused() {
        let of_manifest = |number| Manifest { generation: number, ..sample() }.encode();
        assert!(Manifest::decode(&of_manifest(NUMBER_MAX)).is_ok());
        assert!(Manifest::decode(&of_manifest(NUMBER_MAX + 1)).is_err());
        let of_run = |id| RunEntry { id, ..sample().runs[0] }.encode();
        assert!(RunEntry::decode(&of_run(NUMBER_MAX)).is_some());
        assert!(RunEntry::decode(&of_run(NUMBER_MAX + 1)).is_none());
        let mut of_segment = encode_segment(&sample().segments[0]);
        put(&mut of_segment, 96, (NUMBER_MAX + 1).to_le_bytes());
        assert_eq!(decode_segment(&of_segment, 0), None);
    }
}
