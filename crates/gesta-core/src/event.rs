//! Events: as a producer gives them ([`NewEvent`]) and as the log returns them ([`RecordedEvent`]).

use std::fmt;
use std::str::FromStr;

use bytes::Bytes;
use sha2::{Digest, Sha256};

use crate::canonical::{self, CanonicalError, Offsets};
use crate::checkpoint::{Position, Version};
use crate::name::{EventType, StreamName, Tag};
use crate::time::Timestamp;

/// The identity of an event: 16 bytes, unique within its stream for the whole history.
///
/// The typed library creates UUIDv7; the store takes any 16 bytes. Printed and parsed as a UUID.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EventId([u8; 16]);

impl EventId {
    /// Creates an id from its bytes.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    /// Creates an id from a number, big-endian.
    #[must_use]
    pub const fn from_u128(number: u128) -> Self {
        Self(number.to_be_bytes())
    }

    /// Returns the bytes.
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

/// The length of a UUID's text in bytes.
const UUID_TEXT_BYTES: usize = 36;
/// The offset of each byte's two digits in the text of a UUID. Hyphens fill the gaps.
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

    /// Accepts a UUID with hyphens in the standard places, in upper or lower case.
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

/// The format of an event's data. Metadata is JSON by convention.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum ContentKind {
    /// A JSON text.
    #[default]
    Json,
    /// Bytes in a format of the application.
    Octets,
    /// UTF-8 text.
    Text,
}

/// An event as its producer gives it, before it is recorded.
///
/// The store never reads `data` or `metadata`. To find an event by a value, give it a tag.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewEvent {
    /// The identity. The same id in the same stream is the same event.
    pub id: EventId,
    /// The stream that the event belongs to.
    pub stream: StreamName,
    /// The type of the event.
    pub event_type: EventType,
    /// The version of the type's schema. The first is 1 by convention.
    pub schema_version: u16,
    /// The format of `data`.
    pub kind: ContentKind,
    /// The payload, at most 16 MiB.
    pub data: Bytes,
    /// Context of the event, such as trace context or a reason; at most 64 KiB.
    pub metadata: Bytes,
    /// The tags to find the event by: at most 64, stored sorted and without duplicates.
    pub tags: Vec<Tag>,
    /// The time at which it happened, according to the producer.
    pub time: Timestamp,
}

impl NewEvent {
    /// Creates an event with JSON data and schema version 1, without metadata or tags.
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

    /// Adds tags.
    #[must_use]
    pub fn with_tags(mut self, tags: impl IntoIterator<Item = Tag>) -> Self {
        self.tags.extend(tags);
        self
    }

    /// Replaces the metadata.
    #[must_use]
    pub fn with_metadata(mut self, metadata: impl Into<Bytes>) -> Self {
        self.metadata = metadata.into();
        self
    }

    /// Returns the length of the canonical form in bytes. Duplicate tags count, so with them it is an upper bound.
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
    /// If the event exceeds a limit of the contract. Check it first, with [`check_batch`](crate::check_batch).
    pub fn encode_into(&self, buffer: &mut Vec<u8>) {
        canonical::encode(self, buffer);
    }

    /// Returns the canonical bytes in a new buffer.
    ///
    /// # Panics
    /// As [`Self::encode_into`].
    #[must_use]
    pub fn to_bytes(&self) -> EventBytes {
        let mut buffer = Vec::with_capacity(self.canonical_len());
        self.encode_into(&mut buffer);
        EventBytes::parse(buffer.into()).expect("`parse` accepts the output of `encode_into`")
    }
}

/// The canonical bytes of an event: one shared buffer, and offsets into it.
///
/// A clone shares the buffer. The bytes hold everything that the producer gave. They mean the same in every store,
/// and their SHA-256 is the event's digest.
///
/// The layout, little-endian: time `i64`, id 16, schema version `u16`, flags `u8` (the content kind in its two lowest
/// bits), tag count `u8`, stream length `u16`, type length `u8`, metadata length `u24`; then stream, type, tags (each
/// with a length byte; sorted, without duplicates), metadata, and data to the end.
#[derive(Clone, PartialEq, Eq)]
pub struct EventBytes {
    bytes: Bytes,
    offsets: Offsets,
}

impl EventBytes {
    /// Parses canonical bytes. Accepts only the form that [`NewEvent::encode_into`] writes.
    ///
    /// # Errors
    /// [`CanonicalError`] names the invalid field.
    pub fn parse(bytes: Bytes) -> Result<Self, CanonicalError> {
        let offsets = Offsets::parse(&bytes)?;
        Ok(Self { bytes, offsets })
    }

    /// Returns the canonical bytes.
    #[must_use]
    pub const fn as_bytes(&self) -> &Bytes {
        &self.bytes
    }

    /// Returns the time at which the event happened, according to the producer.
    #[must_use]
    pub fn time(&self) -> Timestamp {
        Timestamp::from_nanos(canonical::time(&self.bytes))
    }

    /// Returns the event's id.
    #[must_use]
    pub fn id(&self) -> EventId {
        EventId(canonical::id(&self.bytes))
    }

    /// Returns the version of the type's schema.
    #[must_use]
    pub fn schema_version(&self) -> u16 {
        canonical::schema_version(&self.bytes)
    }

    /// Returns the format of the data.
    #[must_use]
    pub const fn kind(&self) -> ContentKind {
        self.offsets.kind
    }

    /// Returns the name of the stream.
    #[must_use]
    pub fn stream(&self) -> &str {
        self.text(canonical::HEADER_BYTES, self.offsets.event_type)
    }

    /// Returns the type of the event.
    #[must_use]
    pub fn event_type(&self) -> &str {
        self.text(self.offsets.event_type, self.offsets.tags)
    }

    /// Returns the tags, sorted.
    #[must_use]
    pub fn tags(&self) -> TagsIter<'_> {
        TagsIter { rest: &self.bytes[self.offsets.tags..self.offsets.metadata] }
    }

    /// Returns the value of the first tag with this key.
    #[must_use]
    pub fn tag(&self, key: &str) -> Option<&str> {
        self.tags().filter_map(|tag| tag.split_once(':')).find(|(own, _)| *own == key).map(|(_, value)| value)
    }

    /// Returns the metadata. It shares the event's buffer.
    #[must_use]
    pub fn metadata(&self) -> Bytes {
        self.bytes.slice(self.offsets.metadata..self.offsets.data)
    }

    /// Returns the data. It shares the event's buffer.
    #[must_use]
    pub fn data(&self) -> Bytes {
        self.bytes.slice(self.offsets.data..)
    }

    /// Returns the metadata, borrowed.
    #[must_use]
    pub fn metadata_slice(&self) -> &[u8] {
        &self.bytes[self.offsets.metadata..self.offsets.data]
    }

    /// Returns the data, borrowed.
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

/// An iterator over the tags of an event, sorted. Created by [`EventBytes::tags`].
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

/// An event as the log returns it: the producer's part, and the place and time of the record.
///
/// It dereferences to its [`EventBytes`]. A clone shares the buffer.
#[derive(Clone, PartialEq, Eq)]
pub struct RecordedEvent {
    position: Position,
    version: Version,
    recorded_at: Timestamp,
    bytes: EventBytes,
}

impl RecordedEvent {
    /// Creates a recorded event from the parts that a store has read.
    #[must_use]
    pub const fn new(
        position: Position,
        version: Version,
        recorded_at: Timestamp,
        bytes: EventBytes,
    ) -> Self {
        Self { position, version, recorded_at, bytes }
    }

    /// Returns the event's place in the log.
    #[must_use]
    pub const fn position(&self) -> Position {
        self.position
    }

    /// Returns the event's place in its stream.
    #[must_use]
    pub const fn version(&self) -> Version {
        self.version
    }

    /// Returns the time of the append.
    ///
    /// All events of a batch have the same time. It never goes back within a partition.
    #[must_use]
    pub const fn recorded_at(&self) -> Timestamp {
        self.recorded_at
    }

    /// Returns the mark, which distinguishes this event from others at the same position in other histories of the
    /// store.
    ///
    /// See [`mark_of`].
    #[must_use]
    pub fn mark(&self) -> u32 {
        mark_of(self.id(), self.recorded_at)
    }
}

/// Computes the mark of an event.
///
/// The mark is the first four bytes of the SHA-256 of the id and `recorded_at` (`i64` nanoseconds, little-endian),
/// read big-endian.
///
/// A store that lost its newest events gives their positions to other events. A mark that is kept beside the position
/// detects that. It contains `recorded_at` because a producer may append the same ids again after a loss. It detects
/// accidents, except for 1 in 4 billion. It does not detect forgery.
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
    fn a_mark_depends_on_id_and_time_and_is_fixed() {
        let mark = |id, nanos| mark_of(EventId::from_u128(id), Timestamp::from_nanos(nanos));
        // The SHA-256 of 15 bytes of 0, a 1, and 2 as eight little-endian bytes, from another implementation.
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
