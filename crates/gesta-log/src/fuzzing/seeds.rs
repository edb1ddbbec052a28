//! Real encodings, the seeds of a corpus.

use gesta_core::{Batch, CommandKey, EventId, NewEvent, Tag, Timestamp};

use super::formats::sample_segment_header;
use super::{SALT, log};
use crate::format::{
    EndBody, FRAME_HEADER_BYTES, FrameKind, FrameName, Manifest, Prepared, RunEntry, SEGMENT_HEADER_BYTES,
    Seal, Sealed, SegmentEntry, SegmentState, StartBody, encode_segment, write_mark,
};
use crate::index::fuzzing as runs;

/// For each target that reads this crate's files: real inputs, and inputs close to them.
#[must_use]
pub fn seeds() -> Vec<(&'static str, Vec<Vec<u8>>)> {
    let frames = frames();
    let commands = vec![crate::format::command_bytes(&command())];
    let records = frames[..1].iter().map(|frame| frame[FRAME_HEADER_BYTES..].to_vec()).collect();
    let start = StartBody { store: [1; 16], boot_epoch: 2, ..StartBody::default() }.encode().to_vec();
    vec![
        ("segment_header", vec![sample_segment_header().encode()[8..64].to_vec()]),
        ("frame", frames),
        ("record", records),
        ("mark", vec![start, EndBody::EMPTY.encode().to_vec()]),
        ("command", commands),
        ("manifest", vec![without_checksum(manifest().encode())]),
        ("backup_manifest", vec![backup_manifest()]),
        ("run_file", vec![runs::sample_file()]),
        ("run_blocks", runs::sample_blocks()),
        ("patched_run", (0..=3).map(|manner| vec![manner, 16, 0, 0, 0]).collect()),
        ("patched_log", log::patches()),
    ]
}

fn command() -> CommandKey {
    CommandKey { key: b"key"[..].into(), request: [9; 32] }
}

fn seal() -> Seal {
    Seal {
        salt: SALT,
        offset: SEGMENT_HEADER_BYTES as u64,
        number: 3,
        position: 5,
        durable: 2,
        recorded_at: 4,
        previous: 6,
    }
}

/// One frame of events, one of several events with a command, and each mark.
fn frames() -> Vec<Vec<u8>> {
    let event = |number: u32| {
        let (stream, kind) = ("account-1".parse().expect("a name"), "opened".parse().expect("a type"));
        let tag = "a:1".parse::<Tag>().expect("a tag");
        let id = EventId::from_u128(number.into());
        NewEvent::json(id, stream, kind, Timestamp::from_nanos(1), "{}").with_tags([tag])
    };
    let batches = [Batch::new([event(1)]), Batch::new((1..4).map(event)).with_command(command())];
    let mut frames = batches.map(|batch| {
        let mut prepared = Prepared::new(&batch);
        prepared.seal(&seal(), 0..batch.events.len() as u64);
        prepared.bytes().to_vec()
    });
    let mut frames = frames.iter_mut().map(std::mem::take).collect::<Vec<_>>();
    let start = StartBody::default().encode();
    let marks = [
        (FrameKind::Idle, &[][..]),
        (FrameKind::Start, &start[..]),
        (FrameKind::End, &EndBody::EMPTY.encode()[..]),
    ];
    for (kind, command) in marks {
        let mut bytes = Vec::new();
        write_mark(&mut bytes, kind, &seal(), command);
        frames.push(bytes);
    }
    frames
}

fn entries() -> Vec<SegmentEntry> {
    let sealed = Sealed { first_frame: 1, first_position: 1, frames: 3, events: 4, end: 5_000, checksum: 6 };
    let states = [SegmentState::Sealed(sealed), SegmentState::Active, SegmentState::Spare];
    let entry = |state| SegmentEntry { header: sample_segment_header(), size_bytes: 65_536, state };
    states.map(entry).into()
}

fn manifest() -> Manifest {
    let name = |number| FrameName { number, checksum: 5 };
    let (first_frame, last_frame) = (name(1), name(3));
    let run = RunEntry { id: 6, first: 1, last: 4, first_frame, last_frame, size_bytes: 4_096, tier: 1 };
    Manifest {
        origins: vec![[5; 16]],
        segments: entries(),
        runs: vec![run],
        ..Manifest::new([1; 16], [2; 16])
    }
}

/// The target adds the checksum.
fn without_checksum(mut bytes: Vec<u8>) -> Vec<u8> {
    bytes.truncate(bytes.len() - 4);
    bytes
}

fn backup_manifest() -> Vec<u8> {
    crate::operations::sample(&encode_segment(&entries()[0]))
}
