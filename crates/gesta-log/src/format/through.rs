//! The file `through` of a replica: the source's own place. `docs/format.md` has the layout.

use super::{FORMAT_VERSION, NUMBER_MAX, array_at, crc32c, put, u16_at, u32_at, u64_at};

const MAGIC: [u8; 8] = *b"GESTATHR";
const PLACE_AT: usize = 48;
const CHECKSUM_AT: usize = 124;

/// The most bytes of a source's place.
pub(crate) const SOURCE_PLACE_BYTES_MAX: usize = 64;
/// The bytes of a slot.
pub(crate) const THROUGH_SLOT_BYTES: usize = 128;
/// The distance of the slots: no device tears two of them with one write.
pub(crate) const THROUGH_SLOT_STEP: u64 = 4_096;

const _: () = assert!(PLACE_AT + SOURCE_PLACE_BYTES_MAX <= CHECKSUM_AT);

/// A slot of the file `through`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ThroughSlot {
    pub(crate) store: [u8; 16],
    /// The number of the write, from 1. The higher one of two slots is newer.
    pub(crate) number: u64,
    /// The last event that the place covers, and its mark; 0 before the first event.
    pub(crate) position: u64,
    pub(crate) mark: u32,
    pub(crate) place: Box<[u8]>,
}

/// A newer program has written the slot.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct NewerSlot;

impl ThroughSlot {
    pub(crate) fn encode(&self) -> [u8; THROUGH_SLOT_BYTES] {
        let mut bytes = [0; THROUGH_SLOT_BYTES];
        put(&mut bytes, 0, MAGIC);
        put(&mut bytes, 8, FORMAT_VERSION.to_le_bytes());
        let length = u16::try_from(self.place.len()).expect("a place is short");
        put(&mut bytes, 10, length.to_le_bytes());
        put(&mut bytes, 12, self.mark.to_le_bytes());
        put(&mut bytes, 16, self.store);
        put(&mut bytes, 32, self.number.to_le_bytes());
        put(&mut bytes, 40, self.position.to_le_bytes());
        bytes[PLACE_AT..PLACE_AT + self.place.len()].copy_from_slice(&self.place);
        let checksum = crc32c(&bytes[..CHECKSUM_AT]);
        put(&mut bytes, CHECKSUM_AT, checksum.to_le_bytes());
        bytes
    }

    /// Reads a slot; `None` if it was never written, or not as a whole.
    pub(crate) fn decode(bytes: &[u8]) -> Result<Option<Self>, NewerSlot> {
        let is_whole = bytes.len() == THROUGH_SLOT_BYTES
            && bytes[..8] == MAGIC
            && u32_at(bytes, CHECKSUM_AT) == crc32c(&bytes[..CHECKSUM_AT])
            && [32, 40].iter().all(|at| u64_at(bytes, *at) <= NUMBER_MAX);
        if !is_whole {
            return Ok(None);
        }
        let end = PLACE_AT + usize::from(u16_at(bytes, 10));
        let is_known = u16_at(bytes, 8) == FORMAT_VERSION
            && end <= PLACE_AT + SOURCE_PLACE_BYTES_MAX
            && bytes[end..CHECKSUM_AT].iter().all(|byte| *byte == 0);
        if !is_known {
            return Err(NewerSlot);
        }
        Ok(Some(Self {
            store: array_at(bytes, 16),
            number: u64_at(bytes, 32),
            position: u64_at(bytes, 40),
            mark: u32_at(bytes, 12),
            place: bytes[PLACE_AT..end].into(),
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn slot(place: &[u8]) -> ThroughSlot {
        ThroughSlot { store: [7; 16], number: 3, position: 9, mark: 0xdead_beef, place: place.into() }
    }

    #[test]
    fn a_slot_round_trips_and_a_flipped_bit_makes_it_one_that_was_never_written() {
        for place in [&b""[..], b"17", &[0xff; SOURCE_PLACE_BYTES_MAX]] {
            let bytes = slot(place).encode();
            assert_eq!(ThroughSlot::decode(&bytes), Ok(Some(slot(place))));
            for bit in 0..bytes.len() * 8 {
                let mut flipped = bytes;
                flipped[bit / 8] ^= 1 << (bit % 8);
                assert_eq!(ThroughSlot::decode(&flipped), Ok(None), "bit {bit}");
            }
        }
        assert_eq!(ThroughSlot::decode(&[0; THROUGH_SLOT_BYTES]), Ok(None));
        assert_eq!(ThroughSlot::decode(b"short"), Ok(None));
    }

    #[test]
    fn a_slot_of_a_newer_program_is_not_taken_for_an_empty_one() {
        let unknown = |number| ThroughSlot { number, ..slot(b"17") }.encode();
        assert!(ThroughSlot::decode(&unknown(NUMBER_MAX)).unwrap().is_some());
        assert_eq!(ThroughSlot::decode(&unknown(NUMBER_MAX + 1)), Ok(None), "a number that cannot be");
        for (at, byte) in [(8, 2), (10, 65), (PLACE_AT + 2, 1), (CHECKSUM_AT - 1, 1)] {
            let mut bytes = slot(b"17").encode();
            bytes[at] = byte;
            let checksum = crc32c(&bytes[..CHECKSUM_AT]);
            put(&mut bytes, CHECKSUM_AT, checksum.to_le_bytes());
            assert_eq!(ThroughSlot::decode(&bytes), Err(NewerSlot), "byte {at}");
        }
    }
}
