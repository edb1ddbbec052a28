//! The sorted keys of one block. Each key is stored as the length of the prefix it shares with the one before and the
//! rest; every sixteenth is stored whole, so that a look-up skips few keys.

use std::cmp::Ordering;

use super::codec::{Reader, put_varint};
use crate::format::u16_at;
use crate::index::key::shared_len;

/// Every sixteenth key is stored whole.
const RESTART_EVERY: usize = 16;

/// A block of keys with their values that is being written.
#[derive(Default)]
pub(super) struct KeyBlock {
    bytes: Vec<u8>,
    last: Vec<u8>,
    restarts: Vec<u8>,
    count: usize,
}

impl KeyBlock {
    pub(super) const fn is_empty(&self) -> bool {
        self.count == 0
    }

    pub(super) const fn len(&self) -> usize {
        self.bytes.len() + self.restarts.len()
    }

    /// The key that was added last.
    pub(super) fn last(&self) -> &[u8] {
        &self.last
    }

    /// Adds the next key. The caller appends its value to the returned buffer.
    pub(super) fn push(&mut self, key: &[u8]) -> &mut Vec<u8> {
        let mut shared = 0;
        if self.count.is_multiple_of(RESTART_EVERY) {
            let at = u16::try_from(self.bytes.len()).expect("a block is below 64 KiB");
            self.restarts.extend_from_slice(&at.to_le_bytes());
        } else {
            shared = shared_len(&self.last, key);
        }
        put_varint(&mut self.bytes, shared as u64);
        put_varint(&mut self.bytes, (key.len() - shared) as u64);
        self.bytes.extend_from_slice(&key[shared..]);
        self.last.clear();
        self.last.extend_from_slice(key);
        self.count += 1;
        &mut self.bytes
    }

    /// Takes the finished block, and begins the next one.
    pub(super) fn take(&mut self) -> Vec<u8> {
        let restarts = u16::try_from(self.restarts.len() / 2).expect("a block is below 64 KiB");
        let mut block = std::mem::take(&mut self.bytes);
        block.extend_from_slice(&self.restarts);
        block.extend_from_slice(&restarts.to_le_bytes());
        self.restarts.clear();
        self.count = 0;
        block
    }
}

/// Keys of a block, one after the other.
pub(super) struct Keys<'a> {
    pub(super) reader: Reader<'a>,
    pub(super) key: Vec<u8>,
}

impl<'a> Keys<'a> {
    /// From the first key on. `None` if the bytes are not a valid block.
    pub(super) fn new(block: &'a [u8]) -> Option<Self> {
        let (entries, _) = split(block)?;
        Some(Self { reader: Reader::new(entries), key: Vec::with_capacity(64) })
    }

    /// From the last whole key that is not above `key`; from the first key if there is none.
    pub(super) fn near(block: &'a [u8], key: &[u8]) -> Option<Self> {
        let (entries, restarts) = split(block)?;
        let (mut low, mut high) = (0, restarts.len() / 2);
        while low < high {
            let middle = usize::midpoint(low, high);
            let at = usize::from(u16_at(restarts, 2 * middle));
            let mut reader = Reader::new(entries.get(at..)?);
            reader.varint().filter(|shared| *shared == 0)?;
            let len = reader.count(u16::MAX.into())?;
            if reader.bytes(len)? <= key { low = middle + 1 } else { high = middle }
        }
        let at = low.checked_sub(1).map_or(0, |last| usize::from(u16_at(restarts, 2 * last)));
        Some(Self { reader: Reader::new(entries.get(at..)?), key: Vec::with_capacity(64) })
    }

    /// Advances to the next key; the caller then reads its value. `None` if the block is invalid.
    pub(super) fn next(&mut self) -> Option<()> {
        read_over(&mut self.reader, &mut self.key).map(drop)
    }

    pub(super) fn compare(&self, key: &[u8]) -> Ordering {
        self.key[..].cmp(key)
    }

    pub(super) const fn is_done(&self) -> bool {
        self.reader.is_empty()
    }
}

/// Replaces `key`, the key before, with the next key of a block. Returns whether it grew. `None` if the block is
/// invalid.
pub(super) fn read_over(reader: &mut Reader<'_>, key: &mut Vec<u8>) -> Option<bool> {
    let shared = reader.count(key.len())?;
    let rest = reader.count(u16::MAX.into())?;
    let rest = reader.bytes(rest)?;
    let grows = *rest > key[shared..];
    key.truncate(shared);
    key.extend_from_slice(rest);
    Some(grows)
}

/// Splits a block into its entries and the offsets of its whole keys.
pub(super) fn split(block: &[u8]) -> Option<(&[u8], &[u8])> {
    let (rest, count) = block.split_last_chunk::<2>()?;
    let restarts = 2 * usize::from(u16::from_le_bytes(*count));
    rest.split_at_checked(rest.len().checked_sub(restarts)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn block(count: usize) -> (Vec<u8>, Vec<Vec<u8>>) {
        let keys = (0..count).map(|n| format!("key-{:05}", n * 3).into_bytes()).collect::<Vec<_>>();
        let mut block = KeyBlock::default();
        for (number, key) in keys.iter().enumerate() {
            put_varint(block.push(key), number as u64);
        }
        (block.take(), keys)
    }

    fn find(block: &[u8], key: &[u8]) -> Option<u64> {
        let mut keys = Keys::near(block, key).unwrap();
        while !keys.is_done() {
            keys.next().unwrap();
            let value = keys.reader.varint().unwrap();
            match keys.compare(key) {
                Ordering::Less => {}
                Ordering::Equal => return Some(value),
                Ordering::Greater => return None,
            }
        }
        None
    }

    #[test]
    fn exactly_the_stored_keys_are_found() {
        for count in [1, 2, 15, 16, 17, 33, 300] {
            let (block, keys) = block(count);
            for (number, key) in keys.iter().enumerate() {
                assert_eq!(find(&block, key), Some(number as u64));
                assert_eq!(find(&block, &[key, &b"!"[..]].concat()), None);
            }
            assert_eq!(find(&block, b"a"), None);
            assert_eq!(find(&block, b"z"), None);
        }
    }

    #[test]
    fn no_bytes_make_a_block_panic() {
        let (bytes, keys) = block(40);
        for at in 0..bytes.len() {
            let mut bytes = bytes.clone();
            bytes[at] ^= 0xff;
            for block in [&bytes[..], &bytes[..at]] {
                let Some(mut near) = Keys::near(block, &keys[20]) else { continue };
                while !near.is_done() && near.next().and_then(|()| near.reader.varint()).is_some() {}
            }
        }
    }
}
