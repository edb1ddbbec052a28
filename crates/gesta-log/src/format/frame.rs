//! Frames: one batch each, or a mark, checksummed as a whole.
//!
//! A frame of events is made in two steps. The caller *prepares* it: records, the checksum of each payload, the
//! command. The writer *seals* it: versions, position, time and numbers, which only the writer knows. Sealing touches
//! some 30 bytes an event and no payload.

use gesta_core::{Batch, COMMAND_KEY_BYTES_MAX, CommandKey};

use super::checksum::{Crc, crc32c};
use super::record::{RECORD_HEADER_BYTES, Record, body_checksum};
use super::{NUMBER_MAX, Salt, array_at, i64_at, put, u16_at, u32_at, u64_at};
use crate::bugs::{Bug, planted};

/// Bytes of a frame before its body.
pub(crate) const FRAME_HEADER_BYTES: usize = 64;
/// Frames begin at multiples of this.
pub(crate) const FRAME_ALIGNMENT: usize = 8;

const MAGIC: [u8; 4] = *b"GFRM";
const REQUEST_BYTES: usize = 32;

/// What a frame is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum FrameKind {
    Events,
    Idle,
    Start,
    End,
}

impl FrameKind {
    const fn to_byte(self) -> u8 {
        match self {
            Self::Events => 1,
            Self::Idle => 2,
            Self::Start => 3,
            Self::End => 4,
        }
    }

    const fn from_byte(byte: u8) -> Option<Self> {
        match byte {
            1 => Some(Self::Events),
            2 => Some(Self::Idle),
            3 => Some(Self::Start),
            4 => Some(Self::End),
            _ => None,
        }
    }

    /// Whether it takes a frame number.
    pub(crate) const fn is_numbered(self) -> bool {
        matches!(self, Self::Events | Self::Idle)
    }
}

/// Why bytes are not a valid frame.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum FrameError {
    #[error("no frame begins here")]
    NoHeader,
    #[error("the frame has a kind or flags that this program does not know: use a newer program")]
    Unknown,
    #[error("the frame's body does not match its header")]
    Body,
    #[error("the frame is cut off")]
    Cut,
}

/// The header of a frame, with a valid checksum.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct FrameHeader {
    pub(crate) checksum: u32,
    pub(crate) length: usize,
    pub(crate) events: u32,
    pub(crate) number: u64,
    pub(crate) position: u64,
    pub(crate) durable: u64,
    pub(crate) recorded_at: i64,
    pub(crate) previous: u32,
    pub(crate) body_checksum: u32,
    pub(crate) command_len: usize,
    pub(crate) kind: FrameKind,
    pub(crate) padding: usize,
}

impl FrameHeader {
    /// Reads and verifies the header of the frame at `offset` in its segment.
    pub(crate) fn read(salt: &Salt, offset: u64, bytes: &[u8]) -> Result<Self, FrameError> {
        let header = bytes.first_chunk::<FRAME_HEADER_BYTES>().ok_or(FrameError::NoHeader)?;
        if header[..4] != MAGIC || u32_at(header, 4) != header_checksum(salt, offset, header) {
            return Err(FrameError::NoHeader);
        }
        if u16_at(header, 62) != 0 {
            return Err(FrameError::Unknown);
        }
        let kind = FrameKind::from_byte(header[60]).ok_or(FrameError::Unknown)?;
        let read = Self {
            checksum: u32_at(header, 4),
            length: u32_at(header, 8) as usize,
            events: u32_at(header, 12),
            number: u64_at(header, 16),
            position: u64_at(header, 24),
            durable: u64_at(header, 32),
            recorded_at: i64_at(header, 40),
            previous: u32_at(header, 48),
            body_checksum: u32_at(header, 52),
            command_len: u32_at(header, 56) as usize,
            kind,
            padding: usize::from(header[61]),
        };
        if read.is_consistent() { Ok(read) } else { Err(FrameError::NoHeader) }
    }

    fn is_consistent(&self) -> bool {
        let least = FRAME_HEADER_BYTES + self.command_len + self.padding;
        (1..=NUMBER_MAX).contains(&self.position)
            && self.number <= NUMBER_MAX
            && (self.number > 0 || !self.kind.is_numbered())
            && self.length.is_multiple_of(FRAME_ALIGNMENT)
            && self.padding < FRAME_ALIGNMENT
            && least <= self.length
            && (self.events > 0) == (self.kind == FrameKind::Events)
            && (self.kind == FrameKind::Events || least == self.length)
    }

    /// The position after its last event.
    pub(crate) const fn next_position(&self) -> u64 {
        self.position + self.events as u64
    }
}

fn header_checksum(salt: &Salt, offset: u64, header: &[u8]) -> u32 {
    let mut input = [0; 16 + 8 + FRAME_HEADER_BYTES - 8];
    input[..16].copy_from_slice(salt);
    input[16..24].copy_from_slice(&offset.to_le_bytes());
    input[24..].copy_from_slice(&header[8..FRAME_HEADER_BYTES]);
    crc32c(&input)
}

/// A whole frame whose header, body and records are valid.
pub(crate) struct Frame<'a> {
    pub(crate) header: FrameHeader,
    pub(crate) records: &'a [u8],
    pub(crate) command: &'a [u8],
}

impl<'a> Frame<'a> {
    /// Verifies everything: the header, the body's checksum, the padding, and the check of each record.
    pub(crate) fn read(salt: &Salt, offset: u64, bytes: &'a [u8]) -> Result<Self, FrameError> {
        let header = FrameHeader::read(salt, offset, bytes)?;
        let bytes = bytes.get(..header.length).ok_or(FrameError::Cut)?;
        let command_at = header.length - header.padding - header.command_len;
        let (records, rest) = bytes[FRAME_HEADER_BYTES..].split_at(command_at - FRAME_HEADER_BYTES);
        let command = &rest[..header.command_len];
        let sum = body_checksum(salt, records, command).map_err(|_| FrameError::Body)?;
        if sum != header.body_checksum && !planted(Bug::NoBodyChecksum) {
            return Err(FrameError::Body);
        }
        let frame = Self { header, records, command };
        let mut count = 0;
        for (position, record) in (header.position..).zip(frame.records()) {
            Record::prove(salt, position, record).map_err(|_| FrameError::Body)?;
            count += 1;
        }
        if count == header.events { Ok(frame) } else { Err(FrameError::Body) }
    }

    /// Its records, one after the other.
    pub(crate) fn records(&self) -> impl Iterator<Item = &'a [u8]> {
        let mut rest = self.records;
        std::iter::from_fn(move || {
            let length = Record::length(rest).ok()?;
            let (record, after) = rest.split_at(length);
            rest = after;
            Some(record)
        })
    }

    /// The command key of the batch, if it has one.
    pub(crate) fn command_key(&self) -> Option<(&'a [u8], [u8; REQUEST_BYTES])> {
        read_command(self.command)
    }
}

/// Reads the command of a frame. `None` if it is empty or malformed. The index relies on the length limit of the key.
pub(crate) fn read_command(command: &[u8]) -> Option<(&[u8], [u8; REQUEST_BYTES])> {
    let (length, rest) = command.split_first_chunk::<2>()?;
    let (key, request) = rest.split_at_checked(usize::from(u16::from_le_bytes(*length)))?;
    let request = request.try_into().ok()?;
    (1..=COMMAND_KEY_BYTES_MAX).contains(&key.len()).then_some((key, request))
}

/// Encodes a command for a frame.
pub(crate) fn command_bytes(command: &CommandKey) -> Vec<u8> {
    assert!(command.key.len() <= COMMAND_KEY_BYTES_MAX, "the batch's form was checked");
    let length = u16::try_from(command.key.len()).expect("at most 256 bytes");
    [&length.to_le_bytes()[..], &command.key, &command.request].concat()
}

/// A frame of events without a place yet, as its caller prepared it.
pub(crate) struct Prepared {
    /// The whole frame, with zeros in the writer's fields.
    bytes: Vec<u8>,
    /// The beginning of each record, and the checksum of its canonical bytes.
    records: Vec<(u32, u32)>,
    command_len: usize,
    padding: usize,
}

/// The fields of a frame that only the writer knows.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Seal {
    pub(crate) salt: Salt,
    pub(crate) offset: u64,
    pub(crate) number: u64,
    pub(crate) position: u64,
    pub(crate) durable: u64,
    pub(crate) recorded_at: i64,
    pub(crate) previous: u32,
}

impl Prepared {
    /// Encodes a batch. Its form must have been checked.
    pub(crate) fn new(batch: &Batch) -> Self {
        let command = batch.command.as_ref().map(command_bytes).unwrap_or_default();
        let events =
            batch.events.iter().map(|event| RECORD_HEADER_BYTES + event.canonical_len()).sum::<usize>();
        let mut bytes = Vec::with_capacity(padded(FRAME_HEADER_BYTES + events + command.len()));
        bytes.resize(FRAME_HEADER_BYTES, 0);
        let mut records = Vec::with_capacity(batch.events.len());
        for event in &batch.events {
            let at = bytes.len();
            bytes.resize(at + RECORD_HEADER_BYTES, 0);
            event.encode_into(&mut bytes);
            let length = u32::try_from(bytes.len() - at).expect("a record is below 17 MiB");
            put(&mut bytes, at, length.to_le_bytes());
            let at_32 = u32::try_from(at).expect("a frame is below 4 GiB");
            records.push((at_32, crc32c(&bytes[at + RECORD_HEADER_BYTES..])));
        }
        bytes.extend_from_slice(&command);
        let unpadded = bytes.len();
        bytes.resize(padded(unpadded), 0);
        Self { padding: bytes.len() - unpadded, bytes, records, command_len: command.len() }
    }

    /// Bytes of the frame.
    pub(crate) fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Where each record begins within the frame.
    pub(crate) fn record_offsets(&self) -> impl Iterator<Item = u32> {
        self.records.iter().map(|(at, _)| *at)
    }

    /// Fills in the writer's fields; afterwards the bytes are the frame. Returns the header's checksum.
    pub(crate) fn seal(&mut self, seal: &Seal, versions: impl IntoIterator<Item = u64>) -> u32 {
        let mut body = Crc::salted(&seal.salt);
        let mut versions = versions.into_iter();
        for ((at, canonical_checksum), position) in self.records.iter().zip(seal.position..) {
            let record = &mut self.bytes[*at as usize..];
            put(record, 8, versions.next().expect("a version for each event").to_le_bytes());
            put(record, 16, seal.recorded_at.to_le_bytes());
            let check = Record::check(&seal.salt, position, record, *canonical_checksum);
            put(record, 4, check.to_le_bytes());
            body.update(&record[..8]);
        }
        assert!(versions.next().is_none(), "an event for each version");
        let command_at = self.bytes.len() - self.padding - self.command_len;
        body.update(&self.bytes[command_at..command_at + self.command_len]);
        let shape = Shape {
            kind: FrameKind::Events,
            events: u32::try_from(self.records.len()).expect("at most 10,000 events"),
            command_len: self.command_len,
            padding: self.padding,
            body_checksum: body.value(),
        };
        write_header(&mut self.bytes, seal, shape)
    }

    /// A sealed frame that is a mark.
    pub(crate) fn mark(bytes: Vec<u8>) -> Self {
        Self { bytes, records: Vec::new(), command_len: 0, padding: 0 }
    }

    /// The bytes of the sealed frame.
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Takes a stored frame apart, to seal it for another place.
    pub(crate) fn reopen(frame: &Frame<'_>) -> Self {
        let mut bytes = vec![0; FRAME_HEADER_BYTES];
        let mut records = Vec::new();
        for record in frame.records() {
            let at = u32::try_from(bytes.len()).expect("a frame is below 4 GiB");
            records.push((at, crc32c(&record[RECORD_HEADER_BYTES..])));
            bytes.extend_from_slice(record);
        }
        bytes.extend_from_slice(frame.command);
        bytes.resize(frame.header.length, 0);
        Self { bytes, records, command_len: frame.command.len(), padding: frame.header.padding }
    }
}

/// The fields of a header that describe the body.
struct Shape {
    kind: FrameKind,
    events: u32,
    command_len: usize,
    padding: usize,
    body_checksum: u32,
}

/// Writes the header of a frame whose body is in place. Returns its checksum.
fn write_header(frame: &mut [u8], seal: &Seal, shape: Shape) -> u32 {
    let length = u32::try_from(frame.len()).expect("a frame is below 4 GiB");
    put(frame, 0, MAGIC);
    put(frame, 8, length.to_le_bytes());
    put(frame, 12, shape.events.to_le_bytes());
    put(frame, 16, seal.number.to_le_bytes());
    put(frame, 24, seal.position.to_le_bytes());
    put(frame, 32, seal.durable.to_le_bytes());
    put(frame, 40, seal.recorded_at.to_le_bytes());
    put(frame, 48, seal.previous.to_le_bytes());
    put(frame, 52, shape.body_checksum.to_le_bytes());
    put(frame, 56, u32::try_from(shape.command_len).expect("a command is short").to_le_bytes());
    put(frame, 60, [shape.kind.to_byte(), u8::try_from(shape.padding).expect("at most 7"), 0, 0]);
    let checksum = header_checksum(&seal.salt, seal.offset, frame);
    put(frame, 4, checksum.to_le_bytes());
    checksum
}

/// Appends a mark (a frame without events) to a buffer. Returns its header's checksum.
pub(crate) fn write_mark(buffer: &mut Vec<u8>, kind: FrameKind, seal: &Seal, command: &[u8]) -> u32 {
    assert!(kind != FrameKind::Events, "a mark has no events");
    let at = buffer.len();
    buffer.resize(at + FRAME_HEADER_BYTES, 0);
    buffer.extend_from_slice(command);
    buffer.resize(at + mark_len(command.len()), 0);
    let mut body = Crc::salted(&seal.salt);
    body.update(command);
    let shape = Shape {
        kind,
        events: 0,
        command_len: command.len(),
        padding: mark_len(command.len()) - FRAME_HEADER_BYTES - command.len(),
        body_checksum: body.value(),
    };
    write_header(&mut buffer[at..], seal, shape)
}

/// Bytes of a mark with a command of that length.
pub(crate) const fn mark_len(command_len: usize) -> usize {
    padded(FRAME_HEADER_BYTES + command_len)
}

/// The next multiple of the alignment.
pub(crate) const fn padded(length: usize) -> usize {
    length.next_multiple_of(FRAME_ALIGNMENT)
}

/// The command of a START frame: the end of the segment before.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct StartBody {
    pub(crate) previous_segment: u64,
    pub(crate) previous_end: u64,
    pub(crate) previous_checksum: u32,
    pub(crate) manifest_generation: u64,
    /// The store, and the boot epoch in which the segment was begun. A rebuilt manifest depends on both.
    pub(crate) store: [u8; 16],
    pub(crate) boot_epoch: u64,
}

impl StartBody {
    /// Bytes of its encoded form.
    pub(crate) const BYTES: usize = 52;

    pub(crate) fn encode(&self) -> [u8; Self::BYTES] {
        let mut bytes = [0; Self::BYTES];
        put(&mut bytes, 0, self.previous_segment.to_le_bytes());
        put(&mut bytes, 8, self.previous_end.to_le_bytes());
        put(&mut bytes, 16, self.previous_checksum.to_le_bytes());
        put(&mut bytes, 20, self.manifest_generation.to_le_bytes());
        put(&mut bytes, 28, self.store);
        put(&mut bytes, 44, self.boot_epoch.to_le_bytes());
        bytes
    }

    pub(crate) fn decode(bytes: &[u8]) -> Option<Self> {
        (bytes.len() == Self::BYTES).then(|| Self {
            previous_segment: u64_at(bytes, 0),
            previous_end: u64_at(bytes, 8),
            previous_checksum: u32_at(bytes, 16),
            manifest_generation: u64_at(bytes, 20),
            store: array_at(bytes, 28),
            boot_epoch: u64_at(bytes, 44),
        })
    }
}

/// The command of an END frame: the totals of its segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct EndBody {
    pub(crate) frames: u64,
    pub(crate) events: u64,
    pub(crate) first_recorded_at: i64,
    pub(crate) last_recorded_at: i64,
    pub(crate) checksum: u32,
}

impl EndBody {
    /// The totals of a segment without a frame.
    pub(crate) const EMPTY: Self =
        Self { frames: 0, events: 0, first_recorded_at: 0, last_recorded_at: 0, checksum: 0 };

    /// Counts another numbered frame, without its checksum.
    pub(crate) const fn count_numbered(&mut self, events: u64, recorded_at: i64) {
        self.frames += 1;
        if events > 0 {
            if self.events == 0 {
                self.first_recorded_at = recorded_at;
            }
            self.events += events;
            self.last_recorded_at = recorded_at;
        }
    }

    /// Bytes of its encoded form.
    pub(crate) const BYTES: usize = 36;

    pub(crate) fn encode(&self) -> [u8; Self::BYTES] {
        let mut bytes = [0; Self::BYTES];
        put(&mut bytes, 0, self.frames.to_le_bytes());
        put(&mut bytes, 8, self.events.to_le_bytes());
        put(&mut bytes, 16, self.first_recorded_at.to_le_bytes());
        put(&mut bytes, 24, self.last_recorded_at.to_le_bytes());
        put(&mut bytes, 32, self.checksum.to_le_bytes());
        bytes
    }

    pub(crate) fn decode(bytes: &[u8]) -> Option<Self> {
        (bytes.len() == Self::BYTES).then(|| Self {
            frames: u64_at(bytes, 0),
            events: u64_at(bytes, 8),
            first_recorded_at: i64_at(bytes, 16),
            last_recorded_at: i64_at(bytes, 24),
            checksum: u32_at(bytes, 32),
        })
    }
}

/// The identity of a frame: its number and the checksum of its header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct FrameName {
    pub(crate) number: u64,
    pub(crate) checksum: u32,
}

#[cfg(test)]
mod tests {
    use super::*;
    use gesta_conformance::sample::{self, Sample as _};

    const SALT: Salt = [9; 16];

    fn sealed() -> Vec<u8> {
        let event = |id: u128| sample::event("a-1", id).with_data(vec![b'x'; 40]);
        let command = CommandKey { key: "key".into(), request: [7; 32] };
        let batch = Batch::new([event(1), event(2)]).with_command(command);
        let mut prepared = Prepared::new(&batch);
        prepared.seal(&seal_at(4096), [0, 1]);
        prepared.bytes().to_vec()
    }

    fn seal_at(offset: u64) -> Seal {
        Seal { salt: SALT, offset, number: 3, position: 11, durable: 2, recorded_at: 77, previous: 5 }
    }

    #[test]
    fn a_frame_round_trips() {
        let bytes = sealed();
        let frame = Frame::read(&SALT, 4096, &bytes).ok().unwrap();
        assert_eq!((frame.header.number, frame.header.position, frame.header.events), (3, 11, 2));
        assert_eq!((frame.header.durable, frame.header.recorded_at, frame.header.previous), (2, 77, 5));
        assert_eq!(frame.command_key(), Some((&b"key"[..], [7; 32])));
        assert_eq!(frame.records().count(), 2);
        assert_eq!(frame.header.next_position(), 13);
    }

    #[test]
    fn a_flipped_bit_or_another_place_is_refused() {
        let bytes = sealed();
        let padding = Frame::read(&SALT, 4096, &bytes).ok().unwrap().header.padding;
        assert!(Frame::read(&SALT, 4104, &bytes).is_err(), "another offset");
        assert!(Frame::read(&[8; 16], 4096, &bytes).is_err(), "another segment");
        assert!(Frame::read(&SALT, 4096, &bytes[..bytes.len() - 1]).is_err(), "cut off");
        for bit in 0..bytes.len() * 8 {
            let mut flipped = bytes.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            let in_padding = bit / 8 >= bytes.len() - padding;
            assert_eq!(Frame::read(&SALT, 4096, &flipped).is_ok(), in_padding, "bit {bit}");
        }
    }

    #[test]
    fn a_frame_can_be_sealed_for_another_place() {
        let bytes = sealed();
        let frame = Frame::read(&SALT, 4096, &bytes).ok().unwrap();
        let mut again = Prepared::reopen(&frame);
        again.seal(&seal_at(4096), [0, 1]);
        assert_eq!(again.bytes(), bytes);
        again.seal(&Seal { salt: [1; 16], ..seal_at(8192) }, [0, 1]);
        assert!(Frame::read(&[1; 16], 8192, again.bytes()).is_ok());
    }

    #[test]
    fn a_frame_with_numbers_beyond_the_maximum_is_refused() {
        let last = Seal { number: NUMBER_MAX, position: NUMBER_MAX, ..seal_at(4096) };
        let beyond = [Seal { number: u64::MAX, ..last }, Seal { position: u64::MAX, ..last }];
        for (seal, is_read) in [(last, true), (beyond[0], false), (beyond[1], false)] {
            let mut bytes = Vec::new();
            write_mark(&mut bytes, FrameKind::Idle, &seal, &[]);
            assert_eq!(FrameHeader::read(&SALT, 4096, &bytes).is_ok(), is_read, "{seal:?}");
        }
    }

    #[test]
    fn a_header_that_contradicts_itself_is_refused() {
        let is_read = |kind, number, length: usize, padding| {
            let (mut bytes, seal) = (vec![0; length], Seal { number, ..seal_at(4096) });
            let body_checksum = Crc::salted(&SALT).value();
            write_header(
                &mut bytes,
                &seal,
                Shape { kind, events: 0, command_len: 0, padding, body_checksum },
            );
            FrameHeader::read(&SALT, 4096, &bytes).is_ok()
        };
        let unpadded = FRAME_HEADER_BYTES;
        assert!(is_read(FrameKind::Idle, 1, unpadded, 0));
        assert!(!is_read(FrameKind::Idle, 0, unpadded, 0), "numbers are counted from 1");
        assert!(is_read(FrameKind::Start, 0, unpadded, 0), "a log begins with a mark before any number");
        assert!(!is_read(FrameKind::Idle, 1, unpadded + FRAME_ALIGNMENT, FRAME_ALIGNMENT), "padding pads");
    }

    #[test]
    fn a_command_has_a_key_within_its_limits() {
        for (len, is_read) in
            [(0, false), (1, true), (COMMAND_KEY_BYTES_MAX, true), (COMMAND_KEY_BYTES_MAX + 1, false)]
        {
            let length = u16::try_from(len).unwrap().to_le_bytes();
            let bytes = [&length[..], &vec![b'k'; len], &[7; REQUEST_BYTES]].concat();
            assert_eq!(read_command(&bytes).is_some(), is_read, "{len}");
        }
    }

    #[test]
    fn marks_round_trip() {
        let mut buffer = Vec::new();
        let start = StartBody {
            previous_segment: 1,
            previous_end: 2,
            previous_checksum: 3,
            manifest_generation: 4,
            store: [5; 16],
            boot_epoch: 6,
        };
        write_mark(&mut buffer, FrameKind::Start, &seal_at(4096), &start.encode());
        let frame = Frame::read(&SALT, 4096, &buffer).ok().unwrap();
        assert_eq!((frame.header.kind, StartBody::decode(frame.command)), (FrameKind::Start, Some(start)));
        let end = EndBody { frames: 1, events: 2, first_recorded_at: -3, last_recorded_at: 4, checksum: 5 };
        let at = buffer.len() as u64 + 4096;
        write_mark(&mut buffer, FrameKind::End, &seal_at(at), &end.encode());
        let frame = Frame::read(&SALT, at, &buffer[120..]).ok().unwrap();
        assert_eq!(EndBody::decode(frame.command), Some(end));
    }

    #[test]
    fn an_end_holds_the_times_of_the_first_and_the_last_event_and_ignores_idle_frames() {
        let mut end = EndBody::EMPTY;
        for (events, recorded_at) in [(0, 10), (2, 20), (0, 30), (3, 40), (0, 50)] {
            end.count_numbered(events, recorded_at);
        }
        let (first_recorded_at, last_recorded_at) = (20, 40);
        assert_eq!(end, EndBody { frames: 5, events: 5, first_recorded_at, last_recorded_at, checksum: 0 });
    }
}
