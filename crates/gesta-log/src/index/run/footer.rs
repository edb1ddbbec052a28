//! The footer of a run file: what the run covers, and where its parts lie.

use super::blocks::{BLOCK_BYTES_MAX, Pointer};
use super::codec::{Reader, put_varint};
use crate::format::{EndBody, FrameName, Salt, crc32c, u32_at};
use crate::segment::{ChainPosition, LogPoint, Progress};

/// The first bytes of a run file.
pub(super) const MAGIC: [u8; 16] = *b"GESTARUN\x01\0\0\0\0\0\0\0";
/// The last bytes of the file, after the length of the footer and its checksum.
const END_MAGIC: [u8; 8] = *b"GESTAEND";
pub(super) const TRAILER_BYTES: usize = 16;

/// A piece of a segment whose records a run or table holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Extent {
    /// The position of its first record.
    pub(crate) first: u64,
    pub(crate) segment: u64,
    /// Its last record ends here or before.
    pub(crate) end: u64,
}

/// The footer of a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct RunFooter {
    pub(crate) id: u64,
    /// How often the covered range was merged.
    pub(crate) tier: u8,
    pub(crate) store: [u8; 16],
    pub(crate) salt: Salt,
    /// The first position that it covers. It covers all positions up to `last`.
    pub(crate) first: u64,
    pub(crate) last: u64,
    pub(crate) first_frame: FrameName,
    /// The place after its last frame.
    pub(crate) end: LogPoint,
    pub(crate) extents: Vec<Extent>,
    /// The lowest and the highest event id.
    pub(crate) ids: ([u8; 16], [u8; 16]),
    pub(crate) keys: u64,
    pub(crate) postings: u64,
    pub(super) fence: Pointer,
}

impl RunFooter {
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        let LogPoint { segment, offset, last_frame, chain, progress } = &self.end;
        bytes.extend_from_slice(&[self.tier]);
        bytes.extend_from_slice(&self.store);
        bytes.extend_from_slice(&self.salt);
        bytes.extend_from_slice(&self.ids.0);
        bytes.extend_from_slice(&self.ids.1);
        bytes.extend_from_slice(&self.first_frame.checksum.to_le_bytes());
        bytes.extend_from_slice(&chain.checksum.to_le_bytes());
        bytes.extend_from_slice(&chain.recorded_at.to_le_bytes());
        bytes.extend_from_slice(&progress.end.encode());
        let numbers = [self.id, self.first, self.last, self.first_frame.number, chain.number];
        let place = [*segment, *offset, *last_frame, progress.first_frame, progress.first_position];
        numbers.into_iter().chain(place).for_each(|number| put_varint(&mut bytes, number));
        [self.keys, self.postings].into_iter().for_each(|number| put_varint(&mut bytes, number));
        self.fence.put(&mut bytes);
        put_varint(&mut bytes, self.extents.len() as u64);
        for extent in &self.extents {
            [extent.first, extent.segment, extent.end]
                .into_iter()
                .for_each(|number| put_varint(&mut bytes, number));
        }
        let (length, checksum) = (u32::try_from(bytes.len()).expect("facts are short"), crc32c(&bytes));
        bytes.extend_from_slice(&length.to_le_bytes());
        bytes.extend_from_slice(&checksum.to_le_bytes());
        bytes.extend_from_slice(&END_MAGIC);
        bytes
    }

    /// The length of the footer according to the trailer.
    pub(super) fn len_of(trailer: &[u8; TRAILER_BYTES]) -> Option<usize> {
        let length = u32_at(trailer, 0) as usize;
        (trailer[8..] == END_MAGIC && length <= BLOCK_BYTES_MAX).then_some(length)
    }

    pub(super) fn decode(bytes: &[u8], trailer: &[u8; TRAILER_BYTES]) -> Option<Self> {
        if u32_at(trailer, 4) != crc32c(bytes) {
            return None;
        }
        let mut reader = Reader::new(bytes);
        let [tier] = reader.array()?;
        let (store, salt) = (reader.array()?, reader.array()?);
        let ids = (reader.array()?, reader.array()?);
        let [first_checksum, last_checksum] =
            [u32::from_le_bytes(reader.array()?), u32::from_le_bytes(reader.array()?)];
        let recorded_at = i64::from_le_bytes(reader.array()?);
        let end = EndBody::decode(reader.bytes(EndBody::BYTES)?)?;
        let mut number = || reader.number();
        let (id, first, last) = (number()?, number()?, number()?);
        let (first_number, last_number) = (number()?, number()?);
        let (segment, offset, last_frame) = (number()?, number()?, number()?);
        let (first_frame, first_position) = (number()?, number()?);
        let (keys, postings) = (number()?, number()?);
        let fence = Pointer::read(&mut reader)?;
        // An extent takes three bytes at least, so a false count cannot allocate much.
        let count = reader.count(bytes.len() / 3)?;
        let mut extents = Vec::with_capacity(count);
        for _ in 0..count {
            let (first, segment, end) = (reader.number()?, reader.number()?, reader.number()?);
            extents.push(Extent { first, segment, end });
        }
        let chain =
            ChainPosition { number: last_number, checksum: last_checksum, position: last, recorded_at };
        let progress = Progress { first_frame, first_position, end };
        let footer = Self {
            id,
            tier,
            store,
            salt,
            first,
            last,
            first_frame: FrameName { number: first_number, checksum: first_checksum },
            end: LogPoint { segment, offset, last_frame, chain, progress },
            extents,
            ids,
            keys,
            postings,
            fence,
        };
        (reader.is_empty() && footer.is_consistent()).then_some(footer)
    }

    fn is_consistent(&self) -> bool {
        let grows = self.extents.windows(2).all(|pair| pair[0].first < pair[1].first);
        let begins = self.extents.first().is_some_and(|extent| extent.first == self.first);
        let within = self.extents.last().is_some_and(|extent| extent.first <= self.last);
        let count = self.last.checked_sub(self.first);
        let ends_behind = self.end.last_frame < self.end.offset;
        grows
            && begins
            && within
            && ends_behind
            && count.is_some_and(|count| count < u64::from(u32::MAX))
            && self.first > 0
    }
}
