//! Keys of the index.

use std::cell::OnceCell;

use gesta_core::{COMMAND_KEY_BYTES_MAX, EventId, STREAM_NAME_BYTES_MAX};
use xxhash_rust::xxh3::xxh3_64_with_seed;

/// The kind of a key. The number is part of the format of run files.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub(crate) enum Kind {
    /// A stream's name: the positions of its events.
    Stream = 1,
    /// A category: the positions of the events in its streams.
    Category = 2,
    /// An event type.
    Type = 3,
    Tag = 4,
    /// An event's id: its 16 bytes, the highest first, so that ids which grow with time sort by time.
    Id = 5,
    /// A command's key: the position of the first event of its batch.
    Command = 6,
    /// A category: the positions of the first events of its streams. They list the streams.
    New = 7,
    /// The empty key: the positions of the first events of all streams.
    Created = 8,
}

impl Kind {
    pub(crate) const ALL: [Self; 8] = [
        Self::Stream,
        Self::Category,
        Self::Type,
        Self::Tag,
        Self::Id,
        Self::Command,
        Self::New,
        Self::Created,
    ];
}

/// Bytes of the key of an id.
pub(super) const ID_KEY_BYTES: usize = 17;
/// Bytes of the longest key, its kind included.
pub(crate) const KEY_BYTES_MAX: usize = 1 + STREAM_NAME_BYTES_MAX;
const _: () = assert!(COMMAND_KEY_BYTES_MAX <= STREAM_NAME_BYTES_MAX, "streams have the longest names");

/// A key to look for, as run files hold and order it: its kind, then its bytes.
pub(crate) struct Key {
    kind: Kind,
    bytes: [u8; KEY_BYTES_MAX],
    len: usize,
    /// Its hash for filters, computed once for all runs.
    hash: OnceCell<u64>,
}

impl Key {
    pub(crate) fn new(kind: Kind, key: &[u8]) -> Self {
        let mut bytes = [0; KEY_BYTES_MAX];
        bytes[0] = kind as u8;
        bytes[1..=key.len()].copy_from_slice(key);
        Self { kind, bytes, len: 1 + key.len(), hash: OnceCell::new() }
    }

    pub(crate) fn stream(name: &str) -> Self {
        Self::new(Kind::Stream, name.as_bytes())
    }

    pub(crate) fn id(id: EventId) -> Self {
        Self::new(Kind::Id, id.as_bytes())
    }

    pub(crate) const fn kind(&self) -> Kind {
        self.kind
    }

    /// The id as a number, if the key is one.
    pub(super) fn as_id(&self) -> Option<u128> {
        let id = (self.kind == Kind::Id).then(|| self.name().first_chunk())?;
        id.map(id_number)
    }

    /// The key without its kind.
    pub(crate) fn name(&self) -> &[u8] {
        &self.bytes[1..self.len]
    }

    pub(crate) fn as_bytes(&self) -> &[u8] {
        &self.bytes[..self.len]
    }

    /// Its hash for filters, seeded with the store's secret.
    pub(crate) fn hash(&self, secret: u64) -> u64 {
        *self.hash.get_or_init(|| hash_of(secret, self.as_bytes()))
    }
}

/// An id as a number, in the order of keys.
pub(super) const fn id_number(id: &[u8; 16]) -> u128 {
    u128::from_be_bytes(*id)
}

/// The key of an id.
pub(super) fn id_key(id: EventId) -> [u8; ID_KEY_BYTES] {
    let mut key = [Kind::Id as u8; ID_KEY_BYTES];
    key[1..].copy_from_slice(id.as_bytes());
    key
}

/// The first bytes of a key, as a number in the same order.
pub(super) fn leading(key: &[u8]) -> u64 {
    let mut bytes = [0; 8];
    let count = key.len().min(8);
    bytes[..count].copy_from_slice(&key[..count]);
    u64::from_be_bytes(bytes)
}

/// The length of the common prefix of two keys. Compares eight bytes at a time.
pub(super) fn shared_len(a: &[u8], b: &[u8]) -> usize {
    let words = a.chunks_exact(8).zip(b.chunks_exact(8)).take_while(|(a, b)| a == b).count();
    let rest = a[8 * words..].iter().zip(&b[8 * words..]).take_while(|(a, b)| a == b).count();
    8 * words + rest
}

/// The hash of a key, seeded with the store's secret: outsiders cannot construct keys that collide.
pub(crate) fn hash_of(secret: u64, key: &[u8]) -> u64 {
    xxh3_64_with_seed(key, secret)
}
