//! A snapshot as one value of bytes, with a checksum, as stores keep it.
//!
//! The checksum covers the key and the version too, so a value in a wrong place is found as well.
//!
//! *Layout*, integers little-endian:
//!
//! | at | bytes | what |
//! | --- | --- | --- |
//! | 0 | 16 | anchor |
//! | 16 | 8 | `taken_at` in nanoseconds |
//! | 24 | 8 | XXH3-64 of store, kind, version, anchor, `taken_at`, stream, a zero byte, state |
//! | 32 | – | state |

use bytes::Bytes;
use xxhash_rust::xxh3::Xxh3Default;

use super::{Snapshot, SnapshotKey};
use crate::checkpoint::Version;
use crate::event::EventId;
use crate::time::Timestamp;

const TAKEN_AT: usize = 16;
const CHECKSUM: usize = 24;
const STATE: usize = 32;

impl Snapshot {
    /// The bytes of a value before its state.
    pub const VALUE_HEADER_BYTES: usize = STATE;

    /// Encodes the snapshot as one value with a checksum.
    #[must_use]
    pub fn to_value(&self, of: &SnapshotKey) -> Bytes {
        let mut value = Vec::with_capacity(STATE + self.state.len());
        value.extend(self.anchor.as_bytes());
        value.extend(self.taken_at.as_nanos().to_le_bytes());
        value.extend(self.checksum(of).to_le_bytes());
        value.extend(&self.state);
        value.into()
    }

    /// Decodes what [`Self::to_value`] returned; `None` if any byte of it has changed.
    #[must_use]
    pub fn from_value(of: &SnapshotKey, version: Version, value: &Bytes) -> Option<Self> {
        let anchor = value.get(..TAKEN_AT)?.try_into().ok().map(EventId::from_bytes)?;
        let taken_at = value.get(TAKEN_AT..CHECKSUM)?.try_into().ok().map(i64::from_le_bytes)?;
        let checksum = value.get(CHECKSUM..STATE)?.try_into().ok().map(u64::from_le_bytes)?;
        let taken_at = Timestamp::from_nanos(taken_at);
        let snapshot = Self { version, anchor, taken_at, state: value.slice(STATE..) };
        (snapshot.checksum(of) == checksum).then_some(snapshot)
    }

    fn checksum(&self, of: &SnapshotKey) -> u64 {
        let mut hash = Xxh3Default::new();
        hash.update(of.store.as_bytes());
        hash.update(of.kind.as_bytes());
        hash.update(&self.version.get().to_le_bytes());
        hash.update(self.anchor.as_bytes());
        hash.update(&self.taken_at.as_nanos().to_le_bytes());
        hash.update(of.stream.as_str().as_bytes());
        hash.update(&[0]);
        hash.update(&self.state);
        hash.digest()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checkpoint::StoreId;
    use crate::snapshot::Fingerprint;

    fn key() -> SnapshotKey {
        SnapshotKey {
            store: StoreId::from_bytes([1; 16]),
            kind: Fingerprint::from_bytes([2; 32]),
            stream: "account-1".parse().unwrap(),
        }
    }

    fn snapshot(state: &'static str) -> Snapshot {
        Snapshot {
            version: Version::new(7),
            anchor: EventId::from_u128(3),
            taken_at: Timestamp::from_nanos(-4),
            state: Bytes::from_static(state.as_bytes()),
        }
    }

    #[test]
    fn a_value_is_decoded_as_it_was_encoded() {
        for state in ["", "{}", "{\"balance\":1}"] {
            let snapshot = snapshot(state);
            let value = snapshot.to_value(&key());
            assert_eq!(Snapshot::from_value(&key(), snapshot.version, &value), Some(snapshot));
        }
    }

    #[test]
    fn a_changed_or_missing_byte_makes_the_snapshot_absent() {
        let value = snapshot("{\"balance\":1}").to_value(&key());
        for at in 0..value.len() {
            let mut changed = value.to_vec();
            changed[at] ^= 1;
            assert_eq!(Snapshot::from_value(&key(), Version::new(7), &changed.into()), None, "byte {at}");
            assert_eq!(
                Snapshot::from_value(&key(), Version::new(7), &value.slice(..at)),
                None,
                "cut at {at}"
            );
        }
        let longer = [&value[..], b" "].concat();
        assert_eq!(Snapshot::from_value(&key(), Version::new(7), &longer.into()), None);
    }

    #[test]
    fn a_value_in_the_place_of_another_is_absent() {
        let value = snapshot("{}").to_value(&key());
        let elsewhere = [
            SnapshotKey { store: StoreId::from_bytes([9; 16]), ..key() },
            SnapshotKey { kind: Fingerprint::from_bytes([9; 32]), ..key() },
            SnapshotKey { stream: "account-2".parse().unwrap(), ..key() },
        ];
        for other in elsewhere {
            assert_eq!(Snapshot::from_value(&other, Version::new(7), &value), None, "{other:?}");
        }
        assert_eq!(Snapshot::from_value(&key(), Version::new(8), &value), None);
    }
}
