//! Segment headers, frames, records, the commands of batches and marks, and the manifest.

use bytes::Bytes;
use gesta_core::{COMMAND_KEY_BYTES_MAX, CommandKey, Position};

use super::SALT;
use crate::format::{
    Crc, EndBody, FRAME_HEADER_BYTES, Frame, FrameHeader, FrameKind, Manifest, Prepared, RECORD_HEADER_BYTES,
    Record, SEGMENT_HEADER_BYTES, Seal, SegmentHeader, SegmentKind, SegmentRole, StartBody, command_bytes,
    crc32c, put, read_command, u32_at, u64_at, version_in, write_mark,
};
use crate::segment::{ChainPosition, Tally};

/// Where the frame stands in its segment.
const OFFSET: u64 = SEGMENT_HEADER_BYTES as u64;

/// Reads the header of a segment. The bytes replace the beginning of a valid one.
pub fn segment_header(bytes: &[u8]) {
    check_segment_header(bytes);
    let mut proven = sample_segment_header().encode();
    let len = bytes.len().min(SEGMENT_HEADER_BYTES - 12);
    proven[8..8 + len].copy_from_slice(&bytes[..len]);
    let checksum = crc32c(&proven[..SEGMENT_HEADER_BYTES - 4]);
    put(&mut proven, SEGMENT_HEADER_BYTES - 4, checksum.to_le_bytes());
    check_segment_header(&proven);
}

pub(super) fn sample_segment_header() -> SegmentHeader {
    let (kind, role) = (SegmentKind::Primary, SegmentRole::Normal);
    SegmentHeader { id: 7, kind, role, partition: 0, origin: [1; 16], salt: SALT }
}

fn check_segment_header(bytes: &[u8]) {
    if let Ok(header) = SegmentHeader::decode(bytes) {
        assert_eq!(header.encode(), bytes, "a header has one form");
    }
}

/// Reads a frame with its records, and its command or mark.
pub fn frame(bytes: &[u8]) {
    check_frame(bytes);
    let mut proven = bytes.to_vec();
    prove_frame(&mut proven, &SALT, OFFSET);
    check_frame(&proven);
}

/// Corrects every checksum of a frame, as far as its bytes locate them.
pub(super) fn prove_frame(bytes: &mut [u8], salt: &[u8; 16], offset: u64) {
    if bytes.len() < FRAME_HEADER_BYTES {
        return;
    }
    put(bytes, 0, *b"GFRM");
    let length = (u32_at(bytes, 8) as usize).min(bytes.len());
    let tail = u32_at(bytes, 56) as usize + usize::from(bytes[61]);
    let command_at = length.saturating_sub(tail).max(FRAME_HEADER_BYTES);
    let mut body = Crc::salted(salt);
    let (mut at, mut position) = (FRAME_HEADER_BYTES, u64_at(bytes, 24));
    while at < command_at
        && let Ok(length) = Record::length(&bytes[at..command_at])
    {
        prove_record(&mut bytes[at..at + length], salt, position);
        body.update(&bytes[at..at + 8]);
        (at, position) = (at + length, position.wrapping_add(1));
    }
    let command_end = command_at + u32_at(bytes, 56) as usize;
    body.update(bytes.get(command_at..command_end).unwrap_or_default());
    put(bytes, 52, body.value().to_le_bytes());
    let mut header = Crc::salted(salt);
    header.update(&offset.to_le_bytes());
    header.update(&bytes[8..FRAME_HEADER_BYTES]);
    put(bytes, 4, header.value().to_le_bytes());
}

fn prove_record(record: &mut [u8], salt: &[u8; 16], position: u64) {
    let check = Record::check(salt, position, record, crc32c(&record[RECORD_HEADER_BYTES..]));
    put(record, 4, check.to_le_bytes());
}

fn check_frame(bytes: &[u8]) {
    let Ok(header) = FrameHeader::read(&SALT, OFFSET, bytes) else { return };
    check_arithmetic(&header);
    let Ok(frame) = Frame::read(&SALT, OFFSET, bytes) else { return };
    assert_eq!(frame.records().count(), header.events as usize, "a frame has the events that it says");
    if let Some(again) = sealed_again(&frame) {
        let mut expected = bytes[..header.length].to_vec();
        expected[header.length - header.padding..].fill(0);
        assert_eq!(again, expected, "a frame has one form, but for its padding");
    }
    for (position, record) in (header.position..).zip(frame.records()) {
        check_record(position, record);
    }
    command(frame.command);
    mark(frame.command);
}

/// The arithmetic that walks over frames do with a valid header.
fn check_arithmetic(header: &FrameHeader) {
    let mut chain = ChainPosition::before(header);
    // The time of a frame may be later than that of the frame before, never earlier.
    assert!(header.number == 0 || chain.accepts(header), "a frame follows what it stands behind");
    let mut tally = Tally::begin(&SALT, &chain);
    tally.add(header, OFFSET);
    chain.pass(header);
    let frames = tally.sealed(OFFSET + header.length as u64).frames;
    assert_eq!(frames, u64::from(header.kind.is_numbered()), "a numbered frame is counted");
}

/// The frame as a writer would write it; `None` if its records and its header disagree about the time, which no
/// writer produces.
fn sealed_again(frame: &Frame<'_>) -> Option<Vec<u8>> {
    let header = &frame.header;
    let seal = Seal {
        salt: SALT,
        offset: OFFSET,
        number: header.number,
        position: header.position,
        durable: header.durable,
        recorded_at: header.recorded_at,
        previous: header.previous,
    };
    if header.kind != FrameKind::Events {
        let mut bytes = Vec::new();
        write_mark(&mut bytes, header.kind, &seal, frame.command);
        return Some(bytes);
    }
    let recorded_at = header.recorded_at.to_le_bytes();
    let agrees = frame.records().all(|record| record[16..RECORD_HEADER_BYTES] == recorded_at);
    agrees.then(|| {
        let mut again = Prepared::reopen(frame);
        again.seal(&seal, frame.records().map(version_in));
        again.bytes().to_vec()
    })
}

/// Reads a record and the event in it.
pub fn record(bytes: &[u8]) {
    check_record(1, bytes);
    if bytes.len() > RECORD_HEADER_BYTES {
        let mut proven = bytes.to_vec();
        put(&mut proven, 0, u32::try_from(bytes.len()).unwrap_or(u32::MAX).to_le_bytes());
        prove_record(&mut proven, &SALT, 1);
        check_record(1, &proven);
    }
}

fn check_record(sequence: u64, bytes: &[u8]) {
    let position = Position { partition: 0, sequence };
    if let Ok(event) = Record::read(&SALT, position, &Bytes::copy_from_slice(bytes)) {
        let record = &bytes[..RECORD_HEADER_BYTES + event.as_bytes().len()];
        assert_eq!(event.as_bytes(), &record[RECORD_HEADER_BYTES..], "an event has one form");
        assert_eq!(event.version().get(), version_in(record));
    }
}

/// Reads the commands of START and END.
pub fn mark(bytes: &[u8]) {
    if let Some(start) = StartBody::decode(bytes) {
        assert_eq!(start.encode(), bytes, "what START says has one form");
    }
    if let Some(end) = EndBody::decode(bytes) {
        assert_eq!(end.encode(), bytes, "what END says has one form");
    }
}

/// Reads the command of a batch.
pub fn command(bytes: &[u8]) {
    if let Some((key, request)) = read_command(bytes) {
        assert!((1..=COMMAND_KEY_BYTES_MAX).contains(&key.len()), "a command key has its limits");
        let again = command_bytes(&CommandKey { key: key.to_vec().into(), request });
        assert_eq!(again, bytes, "a command has one form");
    }
}

/// Reads a manifest.
pub fn manifest(bytes: &[u8]) {
    check_manifest(bytes);
    if bytes.len() >= 16 {
        check_manifest(&proven_manifest(bytes, *b"GESTAMAN"));
    }
}

/// Makes the magic, length and checksum of a manifest valid.
pub(crate) fn proven_manifest(bytes: &[u8], magic: [u8; 8]) -> Vec<u8> {
    let mut proven = bytes.to_vec();
    put(&mut proven, 0, magic);
    put(&mut proven, 12, u32::try_from(bytes.len() + 4).unwrap_or(u32::MAX).to_le_bytes());
    let checksum = crc32c(&proven);
    proven.extend_from_slice(&checksum.to_le_bytes());
    proven
}

fn check_manifest(bytes: &[u8]) {
    if let Ok(manifest) = Manifest::decode(bytes) {
        assert_eq!(manifest.encode(), bytes, "a manifest has one form");
        // New ids, as the keeper and the indexer ask for them.
        let _ = (manifest.next_segment_id(), manifest.next_run_id());
    }
}
