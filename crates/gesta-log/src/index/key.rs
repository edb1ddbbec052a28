//! What the index finds things by.

use gesta_core::COMMAND_KEY_BYTES_MAX;
use gesta_core::STREAM_NAME_BYTES_MAX;

/// What a key is. The number is part of the format of run files.
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
    /// An event's id, its 16 bytes with the highest first, so that ids which grow with time stand in the order of time.
    Id = 5,
    /// A command's key: the position of the first event of its batch.
    Command = 6,
    /// A category: the positions of the first events of its streams, which are the list of them.
    New = 7,
    /// The empty key: the positions of the first events of all streams.
    Created = 8,
}

/// Bytes of the longest key, its kind included.
pub(crate) const KEY_BYTES_MAX: usize = 1 + STREAM_NAME_BYTES_MAX;
const _: () = assert!(COMMAND_KEY_BYTES_MAX <= STREAM_NAME_BYTES_MAX, "streams have the longest names");

/// A key as run files hold and order it: its kind, then its bytes.
pub(crate) struct Key {
    bytes: [u8; KEY_BYTES_MAX],
    len: usize,
}

impl Key {
    pub(crate) fn new(kind: Kind, key: &[u8]) -> Self {
        let mut bytes = [0; KEY_BYTES_MAX];
        bytes[0] = kind as u8;
        bytes[1..=key.len()].copy_from_slice(key);
        Self { bytes, len: 1 + key.len() }
    }

    pub(crate) fn as_bytes(&self) -> &[u8] {
        &self.bytes[..self.len]
    }
}
