//! Numbers in run files: varints, and growing positions packed into as few bits as their steps need.

use crate::format::{NUMBER_MAX, put, u16_at, u32_at};

/// Positions that share one bit width.
const GROUP: usize = 128;
/// Positions of a full chunk, the unit of reading and verifying.
pub(super) const CHUNK: usize = 8 * GROUP;

const COUNT_BYTES: usize = 2;
/// The first position of each group, and the width of its steps.
const GROUP_BYTES: usize = 5;

/// Appends a number in 7-bit pieces, the lowest first. The eighth bit means that more follow.
pub(super) fn put_varint(bytes: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        bytes.push(value.to_le_bytes()[0] | 0x80);
        value >>= 7;
    }
    bytes.push(value.to_le_bytes()[0]);
}

/// Reads bytes from the front. Each method gives `None` if the bytes are too short or invalid.
#[derive(Clone, Copy)]
pub(super) struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    pub(super) const fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    pub(super) const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Bytes that are left.
    pub(super) const fn len(&self) -> usize {
        self.0.len()
    }

    pub(super) fn varint(&mut self) -> Option<u64> {
        let mut value = 0;
        for shift in (0..u64::BITS).step_by(7) {
            let (byte, rest) = self.0.split_first()?;
            self.0 = rest;
            value |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Some(value);
            }
        }
        None
    }

    /// A number or offset within the range that a log can reach.
    pub(super) fn number(&mut self) -> Option<u64> {
        self.varint().filter(|number| *number <= NUMBER_MAX)
    }

    /// A count of at most `most`.
    pub(super) fn count(&mut self, most: usize) -> Option<usize> {
        usize::try_from(self.varint()?).ok().filter(|count| *count <= most)
    }

    pub(super) fn position(&mut self) -> Option<u32> {
        u32::try_from(self.varint()?).ok()
    }

    pub(super) fn bytes(&mut self, len: usize) -> Option<&'a [u8]> {
        let (bytes, rest) = self.0.split_at_checked(len)?;
        self.0 = rest;
        Some(bytes)
    }

    pub(super) fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        self.bytes(N)?.first_chunk().copied()
    }
}

/// Packs up to [`CHUNK`] growing positions.
pub(super) fn pack(positions: &[u32]) -> Vec<u8> {
    assert!(!positions.is_empty() && positions.len() <= CHUNK, "a chunk holds 1 to {CHUNK} positions");
    let groups = positions.chunks(GROUP);
    let mut bytes = vec![0; COUNT_BYTES + GROUP_BYTES * groups.len()];
    put(&mut bytes, 0, u16::try_from(positions.len()).expect("at most a chunk").to_le_bytes());
    for (number, group) in groups.enumerate() {
        let steps = || group.windows(2).map(|pair| pair[1] - pair[0] - 1);
        let width = steps().map(|step| u32::BITS - step.leading_zeros()).max().unwrap_or(0);
        let at = COUNT_BYTES + GROUP_BYTES * number;
        put(&mut bytes, at, group[0].to_le_bytes());
        bytes[at + 4] = u8::try_from(width).expect("at most 32");
        pack_group(&mut bytes, steps(), width);
    }
    bytes
}

fn pack_group(bytes: &mut Vec<u8>, steps: impl Iterator<Item = u32>, width: u32) {
    let (mut held, mut bits) = (0_u64, 0);
    for step in steps {
        held |= u64::from(step) << bits;
        bits += width;
        while bits >= 8 {
            bytes.push(held.to_le_bytes()[0]);
            held >>= 8;
            bits -= 8;
        }
    }
    if bits > 0 {
        bytes.push(held.to_le_bytes()[0]);
    }
}

/// A chunk of packed positions. Keeps the group that was unpacked last.
pub(super) struct Chunk {
    bytes: bytes::Bytes,
    count: usize,
    /// The number of the group that is unpacked, and its positions.
    unpacked: Option<(usize, Vec<u32>)>,
}

impl Chunk {
    pub(super) fn new(bytes: bytes::Bytes) -> Option<Self> {
        let count = usize::from(u16_at(bytes.get(..COUNT_BYTES)?, 0));
        let groups = count.div_ceil(GROUP);
        let whole = (1..=CHUNK).contains(&count) && bytes.len() >= COUNT_BYTES + GROUP_BYTES * groups;
        whole.then_some(Self { bytes, count, unpacked: None })
    }

    pub(super) const fn len(&self) -> usize {
        self.count
    }

    /// The position at an index below the count.
    pub(super) fn at(&mut self, index: usize) -> Option<u32> {
        self.group(index / GROUP)?.get(index % GROUP).copied()
    }

    /// The index of the first position that is at least `target`; the count if there is none.
    pub(super) fn lower_bound(&mut self, target: u32) -> Option<usize> {
        let groups = self.count.div_ceil(GROUP);
        let (mut low, mut high) = (0, groups);
        while low < high {
            let middle = usize::midpoint(low, high);
            if self.first_of(middle) < target { low = middle + 1 } else { high = middle }
        }
        // Groups from `low` on begin at the target or later, so the answer lies in the group before `low` or at its
        // end.
        let Some(before) = low.checked_sub(1) else { return Some(0) };
        let group = self.group(before)?;
        Some(before * GROUP + group.partition_point(|position| *position < target))
    }

    /// Appends every position. `None` if they do not grow.
    pub(super) fn unpack_all(&mut self, positions: &mut Vec<u32>) -> Option<()> {
        for number in 0..self.count.div_ceil(GROUP) {
            let group = self.group(number)?;
            if group.first() <= positions.last() {
                return None;
            }
            positions.extend_from_slice(group);
        }
        Some(())
    }

    fn first_of(&self, group: usize) -> u32 {
        u32_at(&self.bytes, COUNT_BYTES + GROUP_BYTES * group)
    }

    fn width_of(&self, group: usize) -> usize {
        usize::from(self.bytes[COUNT_BYTES + GROUP_BYTES * group + 4])
    }

    fn group_len(&self, group: usize) -> usize {
        (self.count - group * GROUP).min(GROUP)
    }

    fn packed_len(&self, group: usize) -> usize {
        ((self.group_len(group) - 1) * self.width_of(group)).div_ceil(8)
    }

    fn group(&mut self, number: usize) -> Option<&[u32]> {
        if self.unpacked.as_ref().is_none_or(|(own, _)| *own != number) {
            let mut positions = self.unpacked.take().map(|(_, positions)| positions).unwrap_or_default();
            positions.clear();
            self.unpack_group(number, &mut positions)?;
            self.unpacked = Some((number, positions));
        }
        self.unpacked.as_ref().map(|(_, positions)| &positions[..])
    }

    fn unpack_group(&self, number: usize, positions: &mut Vec<u32>) -> Option<()> {
        let groups = self.count.div_ceil(GROUP);
        let at = COUNT_BYTES + GROUP_BYTES * groups;
        let at = at + (0..number).map(|before| self.packed_len(before)).sum::<usize>();
        let packed = self.bytes.get(at..at + self.packed_len(number))?;
        let width = u32::try_from(self.width_of(number)).ok().filter(|width| *width <= u32::BITS)?;
        let mask = (1_u64 << width) - 1;
        let mut position = self.first_of(number);
        positions.push(position);
        let (mut held, mut bits, mut bytes) = (0_u64, 0, packed.iter());
        for _ in 1..self.group_len(number) {
            while bits < width {
                held |= u64::from(*bytes.next()?) << bits;
                bits += 8;
            }
            let step = u32::try_from(held & mask).expect("at most 32 bits");
            held >>= width;
            bits -= width;
            position = position.checked_add(step)?.checked_add(1)?;
            positions.push(position);
        }
        Some(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_come_back() {
        let mut bytes = Vec::new();
        let numbers = [0, 1, 127, 128, 300, u64::from(u32::MAX), u64::MAX];
        numbers.iter().for_each(|number| put_varint(&mut bytes, *number));
        let mut reader = Reader::new(&bytes);
        for number in numbers {
            assert_eq!(reader.varint(), Some(number));
        }
        assert_eq!(reader.varint(), None);
        assert_eq!(Reader::new(&[0xff; 11]).varint(), None, "longer than any number");
        for (number, is_read) in [(NUMBER_MAX, true), (NUMBER_MAX + 1, false)] {
            let mut bytes = Vec::new();
            put_varint(&mut bytes, number);
            assert_eq!(Reader::new(&bytes).number().is_some(), is_read);
        }
    }

    #[test]
    fn a_reader_gives_what_is_asked_for_and_never_more_than_is_there() {
        let bytes = [7, 1, 2, 3, 4, 5];
        let mut reader = Reader::new(&bytes);
        assert_eq!((reader.len(), reader.is_empty()), (6, false));
        assert_eq!(reader.position(), Some(7));
        assert_eq!(reader.bytes(2), Some(&bytes[1..3]));
        assert_eq!(reader.array(), Some([3, 4]));
        assert_eq!((reader.bytes(2), reader.array::<2>()), (None, None), "one is left");
        assert_eq!(reader.count(5), Some(5));
        assert_eq!((reader.len(), reader.is_empty()), (0, true));
        assert_eq!(Reader::new(&bytes).count(6), None, "more than may be");
    }

    #[test]
    fn positions_beyond_the_range_of_a_run_are_refused() {
        for (number, position) in [(u64::from(u32::MAX), Some(u32::MAX)), (u64::from(u32::MAX) + 1, None)] {
            let mut bytes = Vec::new();
            put_varint(&mut bytes, number);
            assert_eq!(Reader::new(&bytes).position(), position);
        }
    }

    #[test]
    fn a_chunk_is_a_count_the_first_position_a_width_and_steps_less_one() {
        // The steps 1, 2 and 5, less one each, take three bits: 0, 1 and 4.
        assert_eq!(pack(&[7, 8, 10, 15]), [4, 0, 7, 0, 0, 0, 3, 0b0000_1000, 0b1]);
        assert_eq!(pack(&[7, 8, 9]), [3, 0, 7, 0, 0, 0, 0], "what follows without a gap takes no bits");
    }

    #[test]
    fn steps_that_fill_their_last_byte_take_no_further_one() {
        let positions = (0..256).map(|n| n * 0x100).collect::<Vec<u32>>();
        let packed = pack(&positions);
        assert_eq!(packed.len(), COUNT_BYTES + 2 * (GROUP_BYTES + GROUP - 1), "eight bits a step");
        let mut all = Vec::new();
        Chunk::new(packed.into()).unwrap().unpack_all(&mut all).unwrap();
        assert_eq!(all, positions);
    }

    #[test]
    fn positions_come_back_and_are_found() {
        let spread = |step: u32| move |n: u32| n * step + (n * n) % step.max(1);
        for (count, step) in [(1, 7), (2, 1), (127, 3), (128, 1), (129, 900), (1024, 1), (1000, 4_000_000)] {
            let positions = (0..count).map(spread(step)).collect::<Vec<u32>>();
            let mut chunk = Chunk::new(pack(&positions).into()).unwrap();
            let mut all = Vec::new();
            chunk.unpack_all(&mut all).unwrap();
            assert_eq!(all, positions);
            assert_eq!(chunk.len(), positions.len());
            for (index, position) in positions.iter().enumerate() {
                assert_eq!(chunk.at(index), Some(*position));
                assert_eq!(chunk.lower_bound(*position), Some(index));
                let after = positions.partition_point(|own| *own <= *position);
                assert_eq!(chunk.lower_bound(position + 1), Some(after));
            }
        }
    }

    #[test]
    fn a_chunk_whose_groups_do_not_grow_is_refused() {
        let positions = (0..300).map(|n| n * 5).collect::<Vec<u32>>();
        let mut bytes = pack(&positions);
        // The second group begins where the first one does.
        put(&mut bytes, COUNT_BYTES + GROUP_BYTES, 0_u32.to_le_bytes());
        let mut chunk = Chunk::new(bytes.into()).unwrap();
        assert_eq!(chunk.unpack_all(&mut Vec::new()), None);
    }

    #[test]
    fn unpacked_positions_are_appended() {
        for (before, is_behind) in [(4, true), (5, false)] {
            let mut chunk = Chunk::new(pack(&[5, 6]).into()).unwrap();
            assert_eq!(chunk.unpack_all(&mut vec![before]).is_some(), is_behind, "behind {before}");
        }
    }

    #[test]
    fn no_bytes_make_a_chunk_panic() {
        let positions = (0..300).map(|n| n * 5).collect::<Vec<u32>>();
        let bytes = pack(&positions);
        for cut in 0..bytes.len() {
            if let Some(mut chunk) = Chunk::new(bytes[..cut].to_vec().into()) {
                let _ = chunk.unpack_all(&mut Vec::new());
            }
        }
        for at in 0..bytes.len() {
            let mut bytes = bytes.clone();
            bytes[at] ^= 0xff;
            if let Some(mut chunk) = Chunk::new(bytes.into()) {
                let _ = (chunk.unpack_all(&mut Vec::new()), chunk.lower_bound(700), chunk.at(299));
            }
        }
    }
}
