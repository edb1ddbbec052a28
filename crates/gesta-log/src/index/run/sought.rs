//! Looks for several ids at once. Most of them are new, so the filters have to exclude them fast.

use std::hint::black_box;

use gesta_core::EventId;

use super::{Run, filter};
use crate::index::key::{ID_KEY_BYTES, hash_of, id_key, id_number};
use crate::index::lookup_error::ReadMode;

/// Ids whose filters are probed side by side.
const PROBED_AT_ONCE: usize = 16;

/// One of several sought ids.
pub(crate) struct SoughtId {
    /// Its index among them.
    pub(crate) at: usize,
    id: u128,
    key: [u8; ID_KEY_BYTES],
    hash: u64,
}

impl SoughtId {
    pub(crate) fn new(at: usize, id: EventId, secret: u64) -> Self {
        let key = id_key(id);
        Self { at, id: id_number(id.as_bytes()), key, hash: hash_of(secret, &key) }
    }
}

impl Run {
    /// Appends the indexes of the ids that the run may hold, according to its filters.
    pub(crate) fn may_hold_ids(&self, ids: &[SoughtId], mode: ReadMode, held: &mut Vec<usize>) {
        for some in ids.chunks(PROBED_AT_ONCE) {
            // The probed bytes lie far apart in memory: all of them are requested before the first answer is awaited.
            let mut probes = [None; PROBED_AT_ONCE];
            let mut touched = 0;
            for (probe, id) in probes.iter_mut().zip(some).filter(|(_, id)| self.may_hold_id(id.id)) {
                let fence = self.fence_of(&id.key);
                let resident = fence.and_then(|fence| fence.resident.get());
                let block = resident.and_then(|filter| filter::probe(filter, id.hash));
                touched ^= block.map_or(0, |block| block[0]);
                *probe = fence.map(|fence| (fence, block));
            }
            black_box(touched);
            for (probe, id) in probes.into_iter().zip(some) {
                let Some((fence, block)) = probe else { continue };
                let may_hold = match block {
                    Some(block) => filter::block_may_hold(block, id.hash),
                    None => self.may_hold(fence, id.hash, mode),
                };
                if may_hold {
                    held.push(id.at);
                }
            }
        }
    }
}
