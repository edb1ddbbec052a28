//! Events: as a producer gives them ([`NewEvent`]) and as the log gives them back ([`RecordedEvent`]).

use std::fmt;
use std::str::FromStr;

use bytes::Bytes;
use sha2::{Digest, Sha256};

use crate::canonical::{self, CanonicalError, Offsets};
use crate::checkpoint::{Position, Version};
use crate::name::{EventType, StreamName, Tag};
use crate::time::Timestamp;

/// The identity of an event: 16 bytes, unique within its stream for the whole history. The typed library makes
/// UUIDv7; the store takes any. Printed and parsed as a UUID.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EventId([u8; 16]);

impl EventId {
    /// From its bytes.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    /// From a number, big-endian.
    #[must_use]
    pub const fn from_u128(number: u128) -> Self {
        Self(number.to_be_bytes())
    }

    /// Its bytes.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }
}

impl fmt::Display for EventId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = [b'-'; UUID_TEXT_BYTES];
        for (byte, at) in self.0.iter().zip(UUID_DIGITS_AT) {
            text[at] = HEX_DIGITS[usize::from(byte >> 4)];
            text[at + 1] = HEX_DIGITS[usize::from(byte & 15)];
        }
        f.write_str(std::str::from_utf8(&text).expect("digits and hyphens are ASCII"))
    }
}

/// How long a UUID is in text.
const UUID_TEXT_BYTES: usize = 36;
/// Where the two digits of each byte of a UUID stand in its text; hyphens stand between.
const UUID_DIGITS_AT: [usize; 16] = [0, 2, 4, 6, 9, 11, 14, 16, 19, 21, 24, 26, 28, 30, 32, 34];
const HEX_DIGITS: &[u8; 16] = b"0123456789abcdef";

impl fmt::Debug for EventId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The text is not a UUID.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not an event id: write it as a UUID, such as `018f4e3c-8a52-7c1e-9d00-3b6f1c2a4d5e`")]
pub struct EventIdParseError {
    /// The text, cut to its first 80 characters.
    pub text: String,
}

impl FromStr for EventId {
    type Err = EventIdParseError;

    /// Accepts a UUID with hyphens in their places, in either case.
    fn from_str(text: &str) -> Result<Self, EventIdParseError> {
        parse_uuid(text.as_bytes())
            .map(Self)
            .ok_or_else(|| EventIdParseError { text: text.chars().take(80).collect() })
    }
}

fn parse_uuid(text: &[u8]) -> Option<[u8; 16]> {
    let text: &[u8; UUID_TEXT_BYTES] = text.try_into().ok()?;
    if [8, 13, 18, 23].iter().any(|at| text[*at] != b'-') {
        return None;
    }
    let digit = |at: usize| char::from(text[at]).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    let mut bytes = [0; 16];
    for (byte, at) in bytes.iter_mut().zip(UUID_DIGITS_AT) {
        *byte = digit(at)? << 4 | digit(at + 1)?;
    }
    Some(bytes)
}

/// What the bytes of an event's data are. Metadata is JSON by convention.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum ContentKind {
    /// A JSON text.
    #[default]
    Json,
    /// Bytes that only the application understands.
    Octets,
    /// UTF-8 text.
    Text,
}

/// An event as its producer gives it: a fact, before it is recorded.
///
/// The store never looks into `data` or `metadata`. What must be found again is a tag.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewEvent {
    /// Its identity; the same id in the same stream is the same event.
    pub id: EventId,
    /// The stream it belongs to.
    pub stream: StreamName,
    /// What kind of event it is.
    pub event_type: EventType,
    /// The version of that type's schema. The first is 1 by convention.
    pub schema_version: u16,
    /// What the bytes of `data` are.
    pub kind: ContentKind,
    /// The fact itself, at most 16 MiB.
    pub data: Bytes,
    /// What surrounds the fact: trace context, reason, and the like; at most 64 KiB.
    pub metadata: Bytes,
    /// What it can be found by: at most 64, stored sorted and without duplicates.
    pub tags: Vec<Tag>,
    /// When it happened, as the producer says.
    pub time: Timestamp,
}

impl NewEvent {
    /// An event with JSON data of schema version 1, without metadata and tags.
    #[must_use]
    pub fn json(
        id: EventId,
        stream: StreamName,
        event_type: EventType,
        time: Timestamp,
        data: impl Into<Bytes>,
    ) -> Self {
        Self {
            id,
            stream,
            event_type,
            schema_version: 1,
            kind: ContentKind::Json,
            data: data.into(),
            metadata: Bytes::new(),
            tags: Vec::new(),
            time,
        }
    }

    /// The same event with these tags as well.
    #[must_use]
    pub fn with_tags(mut self, tags: impl IntoIterator<Item = Tag>) -> Self {
        self.tags.extend(tags);
        self
    }

    /// The same event with this metadata.
    #[must_use]
    pub fn with_metadata(mut self, metadata: impl Into<Bytes>) -> Self {
        self.metadata = metadata.into();
        self
    }

    /// How many bytes its canonical form has, if no tag stands twice; otherwise at most that.
    #[must_use]
    pub fn canonical_len(&self) -> usize {
        let tags = self.tags.iter().map(|tag| 1 + tag.as_str().len()).sum::<usize>();
        canonical::HEADER_BYTES
            + self.stream.as_str().len()
            + self.event_type.as_str().len()
            + tags
            + self.metadata.len()
            + self.data.len()
    }

    /// Appends the canonical bytes to a buffer. See [`EventBytes`].
    ///
    /// # Panics
    /// If the event is beyond the limits of the contract: check it first, with
    /// [`check_batch`](crate::check_batch).
    pub fn encode_into(&self, buffer: &mut Vec<u8>) {
        canonical::encode(self, buffer);
    }

    /// The canonical bytes in a buffer of their own.
    ///
    /// # Panics
    /// As [`Self::encode_into`].
    #[must_use]
    pub fn to_bytes(&self) -> EventBytes {
        let mut buffer = Vec::with_capacity(self.canonical_len());
        self.encode_into(&mut buffer);
        EventBytes::parse(buffer.into()).expect("what `encode` writes, `parse` reads")
    }
}

/// What a producer said, in its canonical bytes: one shared buffer, and offsets into it. A clone shares it.
///
/// The layout, little-endian: time `i64`, id 16, schema version `u16`, flags `u8` (the content kind in its two
/// lowest bits), tag count `u8`, stream length `u16`, type length `u8`, metadata length `u24`; then stream, type,
/// tags (a length byte and the bytes each, sorted, none twice), metadata, and data to the end. These bytes mean the
/// same in every store, and their SHA-256 is the event's digest.
#[derive(Clone, PartialEq, Eq)]
pub struct EventBytes {
    bytes: Bytes,
    offsets: Offsets,
}

impl EventBytes {
    /// Reads canonical bytes. Accepts only the one form that [`NewEvent::encode_into`] writes.
    ///
    /// # Errors
    /// [`CanonicalError`] names the field that is wrong.
    pub fn parse(bytes: Bytes) -> Result<Self, CanonicalError> {
        let offsets = Offsets::parse(&bytes)?;
        Ok(Self { bytes, offsets })
    }

    /// The bytes.
    #[must_use]
    pub const fn as_bytes(&self) -> &Bytes {
        &self.bytes
    }

    /// When it happened, as the producer said.
    #[must_use]
    pub fn time(&self) -> Timestamp {
        Timestamp::from_nanos(canonical::time(&self.bytes))
    }

    /// Its identity.
    #[must_use]
    pub fn id(&self) -> EventId {
        EventId(canonical::id(&self.bytes))
    }

    /// The version of its type's schema.
    #[must_use]
    pub fn schema_version(&self) -> u16 {
        canonical::schema_version(&self.bytes)
    }

    /// What the bytes of its data are.
    #[must_use]
    pub const fn kind(&self) -> ContentKind {
        self.offsets.kind
    }

    /// The name of its stream.
    #[must_use]
    pub fn stream(&self) -> &str {
        self.text(canonical::HEADER_BYTES, self.offsets.event_type)
    }

    /// Its type.
    #[must_use]
    pub fn event_type(&self) -> &str {
        self.text(self.offsets.event_type, self.offsets.tags)
    }

    /// Its tags, sorted.
    #[must_use]
    pub fn tags(&self) -> TagsIter<'_> {
        TagsIter { rest: &self.bytes[self.offsets.tags..self.offsets.metadata] }
    }

    /// The value of the first tag with that key.
    #[must_use]
    pub fn tag(&self, key: &str) -> Option<&str> {
        self.tags().filter_map(|tag| tag.split_once(':')).find(|(own, _)| *own == key).map(|(_, value)| value)
    }

    /// Its metadata.
    #[must_use]
    pub fn metadata(&self) -> Bytes {
        self.bytes.slice(self.offsets.metadata..self.offsets.data)
    }

    /// Its data.
    #[must_use]
    pub fn data(&self) -> Bytes {
        self.bytes.slice(self.offsets.data..)
    }

    /// Its metadata, borrowed.
    #[must_use]
    pub fn metadata_slice(&self) -> &[u8] {
        &self.bytes[self.offsets.metadata..self.offsets.data]
    }

    /// Its data, borrowed.
    #[must_use]
    pub fn data_slice(&self) -> &[u8] {
        &self.bytes[self.offsets.data..]
    }

    fn text(&self, from: usize, to: usize) -> &str {
        std::str::from_utf8(&self.bytes[from..to]).expect("`parse` checked the text")
    }
}

impl fmt::Debug for EventBytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} in {}", self.event_type(), self.id(), self.stream())
    }
}

/// The tags of an event, sorted. Made by [`EventBytes::tags`].
#[derive(Debug, Clone)]
pub struct TagsIter<'a> {
    rest: &'a [u8],
}

impl<'a> Iterator for TagsIter<'a> {
    type Item = &'a str;

    fn next(&mut self) -> Option<&'a str> {
        let (length, rest) = self.rest.split_first()?;
        let (tag, rest) = rest.split_at(usize::from(*length));
        self.rest = rest;
        Some(std::str::from_utf8(tag).expect("`parse` checked the text"))
    }
}

/// An event as the log gives it back: what the producer said, and where and when it was recorded.
///
/// Reads like its [`EventBytes`]; a clone shares their buffer.
#[derive(Clone, PartialEq, Eq)]
pub struct RecordedEvent {
    position: Position,
    version: Version,
    recorded_at: Timestamp,
    bytes: EventBytes,
}

impl RecordedEvent {
    /// Puts together what a store has read.
    #[must_use]
    pub const fn new(
        position: Position,
        version: Version,
        recorded_at: Timestamp,
        bytes: EventBytes,
    ) -> Self {
        Self { position, version, recorded_at, bytes }
    }

    /// Its place in the log.
    #[must_use]
    pub const fn position(&self) -> Position {
        self.position
    }

    /// Its place in its stream.
    #[must_use]
    pub const fn version(&self) -> Version {
        self.version
    }

    /// When it was appended. Never goes back within a partition; one a batch.
    #[must_use]
    pub const fn recorded_at(&self) -> Timestamp {
        self.recorded_at
    }

    /// Tells this event from any other that has the same position in another history of the store. See [`mark_of`].
    #[must_use]
    pub fn mark(&self) -> u32 {
        mark_of(self.id(), self.recorded_at)
    }
}

/// The mark of an event: the first four bytes of the SHA-256 of its id and its `recorded_at` (`i64` nanoseconds,
/// little-endian), read big-endian.
///
/// A store that lost its newest events gives their positions to other events. The mark shows that, because it is kept
/// beside the position. `recorded_at` is in it because a producer may append the same ids again after a loss. It finds
/// accidents, except for 1 in 4 billion. It does not find forgers.
#[must_use]
pub fn mark_of(id: EventId, recorded_at: Timestamp) -> u32 {
    let mut bytes = [0; 24];
    bytes[..16].copy_from_slice(id.as_bytes());
    bytes[16..].copy_from_slice(&recorded_at.as_nanos().to_le_bytes());
    let digest: [u8; 32] = Sha256::digest(bytes).into();
    u32::from_be_bytes([digest[0], digest[1], digest[2], digest[3]])
}

impl std::ops::Deref for RecordedEvent {
    type Target = EventBytes;

    fn deref(&self) -> &EventBytes {
        &self.bytes
    }
}

impl fmt::Debug for RecordedEvent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} v{} at {}", self.bytes, self.version, self.position)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mark_depends_on_id_and_time_and_never_changes() {
        let mark = |id, nanos| mark_of(EventId::from_u128(id), Timestamp::from_nanos(nanos));
        // SHA-256 of 15 bytes of 0, a 1, and 2 as eight bytes, little-endian; from another implementation.
        assert_eq!(mark(1, 2), 0xa761_56b9);
        assert_eq!(mark(1, -1), 0xd494_d7f3);
        assert_ne!(mark(1, 2), mark(2, 2));
    }

    #[test]
    fn an_event_id_is_printed_and_parsed_as_a_uuid() {
        let id = EventId::from_u128(0x018f_4e3c_8a52_7c1e_9d00_3b6f_1c2a_4d5e);
        assert_eq!(id.to_string(), "018f4e3c-8a52-7c1e-9d00-3b6f1c2a4d5e");
        assert_eq!("018F4E3C-8a52-7c1e-9d00-3b6f1c2a4d5e".parse(), Ok(id));
        for wrong in ["", "018f4e3c8a527c1e9d003b6f1c2a4d5e", "018f4e3c-8a52-7c1e-9d00-3b6f1c2a4d5g"] {
            assert!(wrong.parse::<EventId>().is_err(), "{wrong}");
        }
    }
}
