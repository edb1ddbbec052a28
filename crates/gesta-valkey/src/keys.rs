//! The names of hashes, fields and members.

use gesta_core::{SnapshotKey, StoreId, StreamName, Version};

/// The sorted set of all hashes. All scores are 0, so its members are sorted by their bytes.
pub(crate) const INDEX: &str = "gesta:snapshots";

/// The hash of a key. The braces put all hashes of a stream on one slot of a cluster.
pub(crate) fn hash_of(key: &SnapshotKey) -> String {
    format!("gesta:{{{}}}:{}:{}", key.stream, key.store, key.kind)
}

/// The member of a key. Members are sorted as their keys are.
pub(crate) fn member_of(key: &SnapshotKey) -> String {
    format!("{}:{}:{}", key.store, key.kind, key.stream)
}

pub(crate) fn key_of(member: &[u8]) -> Option<SnapshotKey> {
    let mut parts = std::str::from_utf8(member).ok()?.splitn(3, ':');
    Some(SnapshotKey {
        store: parts.next()?.parse().ok()?,
        kind: parts.next()?.parse().ok()?,
        stream: StreamName::new(parts.next()?).ok()?,
    })
}

/// The range of members after a key and within a store, in the words of `ZRANGEBYLEX`.
pub(crate) fn range(within: Option<StoreId>, after: Option<&SnapshotKey>) -> (String, String) {
    let from = match (within, after) {
        (Some(store), Some(after)) if after.store >= store => format!("({}", member_of(after)),
        (Some(store), _) => format!("[{store}:"),
        (None, Some(after)) => format!("({}", member_of(after)),
        (None, None) => "-".to_owned(),
    };
    // The character after `:`.
    let to = within.map_or_else(|| "+".to_owned(), |store| format!("({store};"));
    (from, to)
}

/// The field of a version. Fields have one length, so they are sorted as numbers.
pub(crate) fn field_of(version: Version) -> String {
    format!("{:020}", version.get())
}

pub(crate) fn version_of(field: &[u8]) -> Option<Version> {
    let digits = std::str::from_utf8(field).ok().filter(|field| field.len() == 20)?;
    digits.bytes().all(|digit| digit.is_ascii_digit()).then(|| digits.parse().ok())?.map(Version::new)
}

#[cfg(test)]
mod tests {
    use gesta_core::Fingerprint;

    use super::*;

    fn key(stream: &str) -> SnapshotKey {
        let (store, kind) = (StoreId::from_bytes([0xab; 16]), Fingerprint::from_bytes([1; 32]));
        SnapshotKey { store, kind, stream: stream.parse().unwrap() }
    }

    #[test]
    fn a_member_names_its_key() {
        for stream in ["a-1", "a:b:c", ":", "{x}", "größe-1"] {
            assert_eq!(key_of(member_of(&key(stream)).as_bytes()), Some(key(stream)));
        }
        for wrong in [&b""[..], b"x:y:z", b"\xff", &member_of(&key("a")).as_bytes()[..98]] {
            assert_eq!(key_of(wrong), None);
        }
    }

    #[test]
    fn a_field_is_a_version_of_20_digits() {
        for version in [0, 7, u64::MAX] {
            assert_eq!(version_of(field_of(Version::new(version)).as_bytes()), Some(Version::new(version)));
        }
        for wrong in
            [&b""[..], b"7", b"+0000000000000000007", b"99999999999999999999", b"0000000000000000000x"]
        {
            assert_eq!(version_of(wrong), None);
        }
    }
}
