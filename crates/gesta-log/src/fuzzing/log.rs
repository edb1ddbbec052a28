//! A whole log with some changed bytes and corrected checksums: it is opened, verified and read.

use std::path::PathBuf;
use std::sync::OnceLock;

use gesta_core::{Batch, CommandKey, EventId, NewEvent, Place, Query, Read, Tag, Timestamp};

use super::formats::{prove_frame, proven_manifest};
use super::patch;
use crate::env::Machine;
use crate::format::{SEGMENT_HEADER_BYTES, SegmentHeader, crc32c, put, u32_at};
use crate::limits::SEGMENT_SIZE_BYTES_MIN;
use crate::options::Options;
use crate::sim::{ROOT, open, verify};

/// A file of a log whose process was killed, and where its frames begin.
struct Sample {
    machine: Machine,
    files: Vec<(PathBuf, Vec<u8>)>,
}

/// Opens a log with changed bytes: the first byte of the input chooses the file, the others say where and to what.
/// Every checksum is corrected afterwards.
pub fn patched_log(bytes: &[u8]) {
    let Some((file, patches)) = bytes.split_first() else { return };
    let sample = sample();
    let machine = sample.machine.fork();
    let (path, content) = &sample.files[usize::from(*file) % sample.files.len()];
    let mut content = content.clone();
    patch(&mut content, patches);
    let content = if path.ends_with("manifest") {
        proven_manifest(&content[..content.len() - 4], *b"GESTAMAN")
    } else {
        prove_segment(&mut content);
        content
    };
    machine.put(path, content);

    let proven = verify(&machine);
    let Ok(log) = open(&machine, &options()) else { return };
    if proven.is_ok_and(|report| report.is_sound()) {
        assert!(log.recovery().damage.is_empty(), "a valid log opens without damage");
    }
    for query in [Query::All, Query::stream("account-1".parse().expect("a name"))] {
        let mut read = Read::log(query.clone());
        // An error is a valid answer. A page must not stay empty for ever.
        for _ in 0..100 {
            let Ok(page) = log.read_blocking(&read) else { break };
            if page.scanned_to == page.head {
                break;
            }
            read = Read::log_from(query.clone(), Place::At(page.scanned_to));
        }
    }
    let _ = log.append_blocking(batch(100));
    log.keep_inline();
    log.close();
}

/// Corrects the checksums of a segment's header and frames, as far as they are found.
fn prove_segment(bytes: &mut [u8]) {
    let checksum = crc32c(&bytes[..SEGMENT_HEADER_BYTES - 4]);
    put(bytes, SEGMENT_HEADER_BYTES - 4, checksum.to_le_bytes());
    let Ok(header) = SegmentHeader::decode(&bytes[..SEGMENT_HEADER_BYTES]) else { return };
    let (mut at, mut previous) = (SEGMENT_HEADER_BYTES, 0);
    while bytes.get(at..at + 4).is_some_and(|magic| magic == b"GFRM") {
        let length = u32_at(bytes, at + 8) as usize;
        if length < 64 || bytes.len() - at < length {
            return;
        }
        put(bytes, at + 48, u32::to_le_bytes(previous));
        prove_frame(&mut bytes[at..at + length], &header.salt, at as u64);
        if matches!(bytes[at + 60], 1 | 2) {
            previous = u32_at(bytes, at + 4);
        }
        at += length;
    }
}

fn options() -> Options {
    Options { segment_size_bytes: SEGMENT_SIZE_BYTES_MIN, index_run_bytes: 1 << 10, ..Options::default() }
}

/// A log of one segment whose process was killed.
fn sample() -> &'static Sample {
    static SAMPLE: OnceLock<Sample> = OnceLock::new();
    SAMPLE.get_or_init(|| {
        let machine = Machine::new(1);
        let log =
            open(&machine, &Options { index_run_bytes: 1 << 20, ..options() }).expect("an empty machine");
        for number in 0..12 {
            log.append_blocking(batch(number)).expect("a machine without faults");
        }
        log.rest_inline();
        log.keep_inline();
        machine.kill();
        drop(log);
        let paths = machine.paths().into_iter().filter(|path| path.starts_with(ROOT));
        let is_changed = |path: &PathBuf| path.ends_with("manifest") || path.ends_with("000000000001.seg");
        let files = paths.filter(is_changed).map(|path| {
            let content = machine.content(&path).expect("it was listed");
            (path, content)
        });
        let files = files.collect::<Vec<_>>();
        assert_eq!(files.len(), 2, "a manifest, and a segment with every frame");
        Sample { files, machine }
    })
}

fn batch(number: u32) -> Batch {
    let event = |at: u32| {
        let stream = format!("account-{}", (number + at) % 3).parse().expect("a name");
        let kind = "account.opened".parse().expect("a type");
        let id = EventId::from_u128((u128::from(number) << 8) + u128::from(at));
        let tag = "a:1".parse::<Tag>().expect("a tag");
        NewEvent::json(id, stream, kind, Timestamp::from_nanos(1), "{}").with_tags([tag])
    };
    let batch = Batch::new((0..1 + number % 3).map(event));
    match number % 4 {
        0 => batch.with_command(CommandKey { key: number.to_le_bytes().to_vec().into(), request: [1; 32] }),
        _ => batch,
    }
}

/// Patches of a sample, as seeds for a corpus: one in the manifest, and one in each field of a frame.
pub(super) fn patches() -> Vec<Vec<u8>> {
    let [begin, ..] = u32::try_from(SEGMENT_HEADER_BYTES).expect("4 KiB").to_le_bytes();
    let in_frame = (0..64).map(|at: u8| vec![1, begin + at, 0x10, 0, 0xff]);
    let in_manifest = (0..96).map(|at: u8| vec![0, at, 0, 0, 0xff]);
    in_frame.chain(in_manifest).collect()
}
