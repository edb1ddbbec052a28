//! The message: one group of batches, as a stream of JetStream keeps it.
//!
//! Each group has exactly one form, and [`Message::decode`] refuses every other one. The digest of a message is the SHA-256 of its bytes,
//! so a chain of digests leads from any message back to the first, and from there to the store and its partition.
//!
//! Layout, little-endian:
//!
//! | at | size | field |
//! | --- | --- | --- |
//! | 0 | 4 | `GJM` and the version of the format, 1 |
//! | 4 | 8 | number: the sequence in the stream of JetStream |
//! | 12 | 32 | digest of the message before; of the store and the partition in the first one |
//! | 44 | 16 | random bytes |
//! | 60 | 8 | the writer's clock |
//! | 68 | 8 | position of the last event before |
//! | 76 | 4 | number of batches |
//! | 80 | … | batches |
//! | end − 12 | 8 | floor, if the message has one: later than its events, and no later event is earlier |
//! | end − 4 | 4 | CRC-32C of everything before |
//!
//! A batch: `recorded_at` (8), length of the command key (2, 0 for none), key and request (32) if there is one, number of events (4),
//! and for each event its version (8), length (4) and canonical bytes.
//!
//! *Random bytes.* JetStream looks for the id of a message before it looks at the expectation. If two processes published equal bytes,
//! both would get an acknowledgement, the second one wrongly, behind events that it never saw.

mod place;
mod reader;
#[cfg(test)]
mod tests;

use std::fmt;

use bytes::Bytes;
use crc_fast::{CrcAlgorithm, checksum};
use gesta_core::{CanonicalError, RecordedBatch, RecordedBatchError, StoreId, Timestamp};
use sha2::{Digest, Sha256};

use crate::bugs::{Bug, planted};
use crate::limits::MESSAGE_BYTES_MAX;
pub use place::Place;
use reader::Reader;

/// `GJM` and the version of the format.
const MAGIC: [u8; 4] = *b"GJM\x01";
/// Bytes before the batches.
const HEADER_BYTES: usize = 80;
/// Where the digest of the message before begins.
const BEFORE_AT: usize = 12;
/// Bytes of the checksum at the end.
const CHECKSUM_BYTES: usize = 4;

/// The SHA-256 of a message. It is also the message's `Nats-Msg-Id`.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct MessageDigest([u8; 32]);

impl MessageDigest {
    /// Returns the digest of a message.
    #[must_use]
    pub fn of(message: &[u8]) -> Self {
        Self(Sha256::digest(message).into())
    }

    /// Returns the digest of the message before, which the bytes of a message name.
    pub(crate) fn named_by(message: &[u8]) -> Option<Self> {
        let digest = message.get(BEFORE_AT..)?.first_chunk::<32>()?;
        Some(Self(*digest))
    }
}

impl fmt::Display for MessageDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for MessageDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The last message that a copy has applied.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tip {
    /// Its number; 0 before the first message.
    pub number: u64,
    /// Its digest; that of the store and the partition before the first message.
    pub digest: MessageDigest,
    /// The position of the last event up to it.
    pub position: u64,
    /// The time that the next event has at least: that of the last event, or a floor. The times of a history do not go back.
    pub recorded_at: Timestamp,
}

/// Bytes are no tip.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a place in the stream has {expected} bytes, these are {found}", expected = Tip::BYTES)]
pub struct TipError {
    found: usize,
}

impl Tip {
    /// Bytes of a tip.
    pub const BYTES: usize = 56;

    /// Returns the tip before the first message.
    #[must_use]
    pub fn start(store: StoreId, partition: u16) -> Self {
        let hash = Sha256::new().chain_update(b"gesta-jetstream").chain_update(store.as_bytes());
        let digest = MessageDigest(hash.chain_update(partition.to_le_bytes()).finalize().into());
        Self { number: 0, digest, position: 0, recorded_at: Timestamp::MIN }
    }

    /// Returns the bytes: number, digest, position, time, little-endian.
    #[must_use]
    pub fn to_bytes(&self) -> [u8; Self::BYTES] {
        let mut bytes = [0; Self::BYTES];
        bytes[..8].copy_from_slice(&self.number.to_le_bytes());
        bytes[8..40].copy_from_slice(&self.digest.0);
        bytes[40..48].copy_from_slice(&self.position.to_le_bytes());
        bytes[48..].copy_from_slice(&self.recorded_at.as_nanos().to_le_bytes());
        bytes
    }

    /// Returns the tip with these bytes.
    ///
    /// # Errors
    /// [`TipError`] if there are more or fewer.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, TipError> {
        if bytes.len() != Self::BYTES {
            return Err(TipError { found: bytes.len() });
        }
        let mut reader = Reader::new(bytes);
        let error = |_| TipError { found: bytes.len() };
        let number = reader.u64("number").map_err(error)?;
        let digest = MessageDigest(reader.array("digest").map_err(error)?);
        let position = reader.u64("position").map_err(error)?;
        let recorded_at = reader.time("time").map_err(error)?;
        Ok(Self { number, digest, position, recorded_at })
    }
}

/// A group that was decided and has no place in the stream yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Draft {
    /// From the system's generator. No two drafts of any process have the same.
    pub random: [u8; 16],
    /// The clock of the writer.
    pub written_at: Timestamp,
    /// The batches, with the places that follow the copy. An empty group proves that the copy was at the head.
    pub batches: Vec<RecordedBatch>,
    /// The time that later events have at least, if that is to be later than the batches and the tip are.
    pub floor: Option<Timestamp>,
}

/// A message and its digest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Encoded {
    /// The bytes.
    pub bytes: Bytes,
    /// Their digest.
    pub digest: MessageDigest,
}

impl Draft {
    /// Returns the message that follows a tip, and what every copy will read from it.
    ///
    /// # Errors
    /// [`DraftError`] if a copy would not take the message. One such message would stop all copies for ever.
    pub fn message_after(&self, tip: &Tip, partition: u16) -> Result<(Bytes, Message), DraftError> {
        let Encoded { bytes, .. } = self.encode(tip);
        let message = Message::decode(&bytes, partition)?;
        if planted(Bug::FormUnchecked) {
            return Ok((bytes, message));
        }
        message.follow(tip, tip.number + 1)?;
        if message.batches != self.batches || message.floor != self.floor {
            return Err(DraftError::Moved);
        }
        Ok((bytes, message))
    }

    /// Returns the bytes of the draft as the message that follows a tip. [`Self::message_after`] also checks them.
    #[must_use]
    pub fn encode(&self, tip: &Tip) -> Encoded {
        let mut bytes = Vec::with_capacity(HEADER_BYTES + CHECKSUM_BYTES + self.bytes());
        bytes.extend_from_slice(&MAGIC);
        bytes.extend_from_slice(&(tip.number + 1).to_le_bytes());
        bytes.extend_from_slice(&tip.digest.0);
        let random = if planted(Bug::NoRandomBytes) { [0; 16] } else { self.random };
        bytes.extend_from_slice(&random);
        bytes.extend_from_slice(&self.written_at.as_nanos().to_le_bytes());
        bytes.extend_from_slice(&tip.position.to_le_bytes());
        bytes.extend_from_slice(&count(self.batches.len()));
        self.batches.iter().for_each(|batch| put_batch(batch, &mut bytes));
        if let Some(floor) = self.floor {
            bytes.extend_from_slice(&floor.as_nanos().to_le_bytes());
        }
        bytes.extend_from_slice(&crc32c(&bytes).to_le_bytes());
        let bytes = Bytes::from(bytes);
        Encoded { digest: MessageDigest::of(&bytes), bytes }
    }

    fn bytes(&self) -> usize {
        self.batches.iter().map(batch_bytes).sum()
    }
}

/// Bytes of a batch in a message.
fn batch_bytes(batch: &RecordedBatch) -> usize {
    let key = batch.command().map_or(0, |command| command.key.len() + command.request.len());
    8 + 2 + key + 4 + 12 * batch.events().len() + batch.bytes()
}

fn put_batch(batch: &RecordedBatch, bytes: &mut Vec<u8>) {
    bytes.extend_from_slice(&batch.recorded_at().as_nanos().to_le_bytes());
    let key = batch.command().map_or(&[][..], |command| &command.key);
    // A longer one is refused when it is read.
    let length = u16::try_from(key.len()).unwrap_or(u16::MAX);
    bytes.extend_from_slice(&length.to_le_bytes());
    if let Some(command) = batch.command() {
        bytes.extend_from_slice(&command.key);
        bytes.extend_from_slice(&command.request);
    }
    bytes.extend_from_slice(&count(batch.events().len()));
    for event in batch.events() {
        bytes.extend_from_slice(&event.version().get().to_le_bytes());
        bytes.extend_from_slice(&count(event.as_bytes().len()));
        bytes.extend_from_slice(event.as_bytes());
    }
}

fn count(number: usize) -> [u8; 4] {
    // A larger one is refused when it is read.
    u32::try_from(number).unwrap_or(u32::MAX).to_le_bytes()
}

fn crc32c(bytes: &[u8]) -> u32 {
    u32::try_from(checksum(CrcAlgorithm::Crc32Iscsi, bytes)).expect("a CRC-32 has 32 bits")
}

/// A message of the stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    number: u64,
    before: MessageDigest,
    random: [u8; 16],
    written_at: Timestamp,
    position_before: u64,
    batches: Vec<RecordedBatch>,
    floor: Option<Timestamp>,
    digest: MessageDigest,
}

/// Bytes are no message.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum MessageError {
    /// The bytes do not begin as a message, or are of a newer format.
    #[error("the bytes are no message of format 1: a newer program may have written them")]
    Format,
    /// The checksum differs.
    #[error("the message is damaged: its checksum differs")]
    Checksum,
    /// A field does not fit.
    #[error("the {field} of the message is not in its only form")]
    Field {
        /// The name of the field.
        field: &'static str,
    },
    /// An event is not in its canonical form.
    #[error("an event of the message cannot be read")]
    Event(#[from] CanonicalError),
    /// Events are no batch.
    #[error("events of the message are no batch")]
    Batch(#[from] RecordedBatchError),
}

/// A group cannot be published.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DraftError {
    /// Nobody could read its message.
    #[error("the group is no message")]
    Message(#[from] MessageError),
    /// Its message does not follow the one before.
    #[error("the group does not follow the message before")]
    Chain(#[from] ChainError),
    /// Its batches do not follow one another.
    #[error("the batches of the group have other places than a copy would give them")]
    Moved,
}

/// A message does not follow the one before.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ChainError {
    /// The number within the message is another one than that in the stream.
    #[error("message {number} says that it is number {own}")]
    Number {
        /// The number in the stream.
        number: u64,
        /// The number in the message.
        own: u64,
    },
    /// The message follows another history.
    #[error("message {number} follows another message than the one before it")]
    Before {
        /// The number of the message.
        number: u64,
    },
    /// The positions of its events do not go on.
    #[error("message {number} goes on after position {own}, and the events before it end at {expected}")]
    Position {
        /// The number of the message.
        number: u64,
        /// The position that it goes on after.
        own: u64,
        /// The last position before it.
        expected: u64,
    },
    /// Its events are older than those before it.
    #[error("message {number} has events of {own}, and the events before it are of {before}")]
    Time {
        /// The number of the message.
        number: u64,
        /// The time of its first event.
        own: Timestamp,
        /// The time of the last event before it.
        before: Timestamp,
    },
}

impl Message {
    /// Reads a message of a partition.
    ///
    /// # Errors
    /// [`MessageError`]. No bytes lead to a panic, or to more memory than a few times their own.
    pub fn decode(bytes: &Bytes, partition: u16) -> Result<Self, MessageError> {
        if !bytes.starts_with(&MAGIC) {
            return Err(MessageError::Format);
        }
        if bytes.len() > MESSAGE_BYTES_MAX {
            return Err(MessageError::Field { field: "length" });
        }
        let (body, checksum) =
            bytes.split_last_chunk::<CHECKSUM_BYTES>().ok_or(MessageError::Field { field: "length" })?;
        if crc32c(body) != u32::from_le_bytes(*checksum) {
            return Err(MessageError::Checksum);
        }
        let mut reader = Reader::new(body);
        let _magic: [u8; 4] = reader.array("format")?;
        let number = reader.u64("number")?;
        if number == 0 {
            return Err(MessageError::Field { field: "number" });
        }
        let before = MessageDigest(reader.array("digest of the message before")?);
        let random = reader.array("random bytes")?;
        let written_at = reader.time("clock")?;
        let position_before = reader.u64("position")?;
        if position_before == u64::MAX {
            return Err(MessageError::Field { field: "position" });
        }
        let batches = reader.batches(bytes, partition, position_before)?;
        let floor = reader.floor(batches.last())?;
        let digest = MessageDigest::of(bytes);
        Ok(Self { number, before, random, written_at, position_before, batches, floor, digest })
    }

    /// Returns the tip after this message, if it is number `number` of the stream and follows a tip.
    ///
    /// # Errors
    /// [`ChainError`]: messages were lost or changed.
    pub fn follow(&self, tip: &Tip, number: u64) -> Result<Tip, ChainError> {
        if self.number != number {
            return Err(ChainError::Number { number, own: self.number });
        }
        if self.before != tip.digest {
            return Err(ChainError::Before { number });
        }
        self.go_on(tip)
    }

    /// Returns the tip after this message, if its positions follow those of a tip.
    pub(crate) fn go_on(&self, tip: &Tip) -> Result<Tip, ChainError> {
        let (number, own) = (self.number, self.position_before);
        if own != tip.position {
            return Err(ChainError::Position { number, own, expected: tip.position });
        }
        let first = self.batches.first().map(RecordedBatch::recorded_at).or(self.floor);
        if let Some(own) = first.filter(|own| *own < tip.recorded_at) {
            return Err(ChainError::Time { number, own, before: tip.recorded_at });
        }
        let last = self.batches.last();
        let position = last.map_or(tip.position, |last| last.last().position().sequence);
        let recorded_at =
            self.floor.or_else(|| last.map(RecordedBatch::recorded_at)).unwrap_or(tip.recorded_at);
        Ok(Tip { number, digest: self.digest, position, recorded_at })
    }

    /// Returns the group as it was decided.
    #[must_use]
    pub fn to_draft(&self) -> Draft {
        let batches = self.batches.clone();
        Draft { random: self.random, written_at: self.written_at, batches, floor: self.floor }
    }

    /// Returns the tip that the message follows. When its last event was recorded is not in the message: it is the earliest time.
    #[must_use]
    pub const fn tip_before(&self) -> Tip {
        let (number, digest, position) = (self.number - 1, self.before, self.position_before);
        Tip { number, digest, position, recorded_at: Timestamp::MIN }
    }

    /// Returns the batches, in order.
    #[must_use]
    pub fn batches(&self) -> &[RecordedBatch] {
        &self.batches
    }

    /// Returns the batches.
    #[must_use]
    pub fn into_batches(self) -> Vec<RecordedBatch> {
        self.batches
    }

    /// Returns the clock of the writer.
    #[must_use]
    pub const fn written_at(&self) -> Timestamp {
        self.written_at
    }

    /// Returns the time that later events have at least, if the message raises it above that of its own.
    #[must_use]
    pub const fn floor(&self) -> Option<Timestamp> {
        self.floor
    }

    /// Returns the digest.
    #[must_use]
    pub const fn digest(&self) -> MessageDigest {
        self.digest
    }
}
