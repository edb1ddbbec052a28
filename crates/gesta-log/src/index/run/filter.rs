//! Split-block Bloom filters as Apache Parquet specifies them: one probe reads one block of 32 bytes.

use crate::bugs::{Bug, planted};
use crate::format::u32_at;

/// Keys of one filter at most: twelve bits a key make 64 KiB.
pub(super) const FILTER_KEYS_MAX: usize = (64 << 10) * 8 / BITS_PER_KEY;

/// About one in 300 absent keys passes the filter.
const BITS_PER_KEY: usize = 12;
const BLOCK_BYTES: usize = 32;
/// One odd constant for each word of a block (Parquet's).
const SALTS: [u32; 8] =
    [0x47b6_137b, 0x4497_4d91, 0x8824_ad5b, 0xa2b7_289d, 0x7054_95c7, 0x2df1_424b, 0x9efc_4947, 0x5c6b_fb31];

/// Builds a filter over these hashes.
pub(super) fn build(hashes: &[u64]) -> Vec<u8> {
    let blocks = (hashes.len() * BITS_PER_KEY).div_ceil(8 * BLOCK_BYTES).max(1);
    let mut filter = vec![0; blocks * BLOCK_BYTES];
    for hash in hashes.iter().filter(|hash| !planted(Bug::FilterForgets) || *hash % 16 != 0) {
        let block = block_of(*hash, blocks) * BLOCK_BYTES;
        for (word, bit) in bits_of(*hash).enumerate() {
            filter[block + 4 * word + bit / 8] |= 1 << (bit % 8);
        }
    }
    filter
}

/// Whether a key with that hash may be present. `false` is certain.
pub(super) fn may_hold(filter: &[u8], hash: u64) -> bool {
    probe(filter, hash).is_none_or(|block| block_may_hold(block, hash))
}

/// The block that decides about a hash.
pub(super) fn probe(filter: &[u8], hash: u64) -> Option<&[u8; BLOCK_BYTES]> {
    let (blocks, _) = filter.as_chunks();
    blocks.get(block_of(hash, blocks.len()))
}

/// Whether a key with that hash may be present, according to its block.
pub(super) fn block_may_hold(block: &[u8; BLOCK_BYTES], hash: u64) -> bool {
    // Branchless: the processor could not predict which word says no.
    bits_of(hash).enumerate().fold(true, |may, (word, bit)| may & (u32_at(block, 4 * word) >> bit & 1 == 1))
}

fn block_of(hash: u64, blocks: usize) -> usize {
    let scaled = (u128::from(hash >> 32) * blocks as u128) >> 32;
    usize::try_from(scaled).expect("below the number of blocks")
}

fn bits_of(hash: u64) -> impl Iterator<Item = usize> {
    let [a, b, c, d, ..] = hash.to_le_bytes();
    let low = u32::from_le_bytes([a, b, c, d]);
    SALTS.iter().map(move |salt| (low.wrapping_mul(*salt) >> 27) as usize)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::index::key::hash_of as hash;

    #[test]
    fn a_filter_passes_every_present_key_and_few_absent_ones() {
        let key = |n: u64| hash(7, &n.to_le_bytes());
        let hashes = (0..10_000).map(key).collect::<Vec<_>>();
        let filter = build(&hashes);
        assert!(hashes.iter().all(|hash| may_hold(&filter, *hash)));
        let wrong = (10_000..110_000).filter(|n| may_hold(&filter, key(*n))).count();
        assert!(wrong < 1_000, "{wrong} of 100,000 keys that are not there pass");
        assert_eq!(filter.len(), (10_000 * BITS_PER_KEY).div_ceil(256) * 32);
    }
}
