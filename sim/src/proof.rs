//! Finds the last position that something on the disk records as durable.
//!
//! The log is checked against it after harm. This module reads the bytes as `docs/format.md` describes them,
//! independently of the log's code, and compares the files with their state before the harm. A position is recorded
//! by a field of the manifest (the newest durable event, a sealed segment, a run), by the watermark in an intact
//! frame header, and by an intact frame itself. The log must return a recorded event or report it as lost.
//!
//! *Events without a record may vanish.* Examples: the last group before a kill, cut off at the beginning of a frame
//! and recorded nowhere; a whole folder that was restored from an older copy. From the folder alone a reader cannot
//! distinguish these from a log that ended there. Nor can it recognize frames of another history in the last segment,
//! if no record names one of the frames that they replaced.

use std::collections::BTreeMap;
use std::slice::ChunksExact;

use crate::frames::{FRAME_HEADER_BYTES, FramePlace, frames};
use crate::harm::{Snapshot, is_manifest, is_segment};

const MANIFEST_FIXED_BYTES: usize = 96;
const ORIGIN_BYTES: usize = 16;
const SEGMENT_ENTRY_BYTES: usize = 112;
const RUN_ENTRY_BYTES: usize = 64;
const SEALED: u8 = 2;
/// The bytes of a segment's header that identify it: all nonzero ones.
const NAME_BYTES: usize = 64;

/// The evidence that counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Evidence {
    /// Records of durable positions, and intact frames.
    All,
    /// Records of durable positions.
    Records,
}

/// The last recorded position. `before` are the files that the log wrote, `now` the files after the harm.
pub(crate) fn proven_position(before: &Snapshot, now: &Snapshot, evidence: Evidence) -> u64 {
    let segments = before.iter().filter(|(path, _)| is_segment(path));
    let segments = segments.map(|(_, bytes)| (bytes, frames(bytes))).collect::<Vec<_>>();
    let positions =
        segments.iter().flat_map(|(_, frames)| frames).map(|own| (own.number, own.last_position()));
    let mut last_positions = BTreeMap::new();
    for (number, last) in positions {
        let known = last_positions.entry(number).or_insert(last);
        *known = last.max(*known);
    }
    let by_frames = now.iter().filter(|(path, _)| is_segment(path)).flat_map(|(_, bytes)| {
        let own = segments
            .iter()
            .find(|(before, _)| name_of(before).is_some_and(|name| name_of(bytes) == Some(name)));
        own.iter()
            .filter_map(|(before, frames)| proven_by_frames(before, frames, bytes, &last_positions, evidence))
            .collect::<Vec<_>>()
    });
    let manifest = now.iter().find(|(path, _)| is_manifest(path)).map(|(_, bytes)| bytes);
    let by_manifest = manifest.and_then(|manifest| proven_by_manifest(manifest, &last_positions));
    by_frames.chain(by_manifest).max().unwrap_or(0)
}

fn name_of(segment: &[u8]) -> Option<&[u8]> {
    segment.get(..NAME_BYTES)
}

/// The last position that unchanged frames of a segment record.
fn proven_by_frames(
    before: &[u8],
    frames: &[FramePlace],
    now: &[u8],
    last_positions: &BTreeMap<u64, u64>,
    evidence: Evidence,
) -> Option<u64> {
    let is_intact = |from: usize, len: usize| now.get(from..from + len) == Some(&before[from..from + len]);
    let proven = frames.iter().flat_map(|frame| {
        let durable = is_intact(frame.offset, FRAME_HEADER_BYTES)
            .then(|| last_positions.get(&frame.durable).copied())
            .flatten();
        let is_proof = evidence == Evidence::All && is_intact(frame.offset, frame.len - frame.padding);
        durable.into_iter().chain(is_proof.then(|| frame.last_position()))
    });
    proven.max()
}

/// The last position that a manifest records; `None` if the manifest is damaged.
fn proven_by_manifest(manifest: &[u8], last_positions: &BTreeMap<u64, u64>) -> Option<u64> {
    let Entries { segments, runs } = entries(manifest)?;
    let sealed = segments.filter(|entry| entry[8] == SEALED);
    let sealed = sealed.map(|entry| u64_at(entry, 72) + u64_at(entry, 88) - 1);
    let runs = runs.map(|entry| u64_at(entry, 16));
    let durable_frame = last_positions.get(&u64_at(manifest, 64)).copied();
    sealed.chain(runs).chain([u64_at(manifest, 72)]).chain(durable_frame).max()
}

/// The numbers of the frames that a manifest names with their checksums: the newest durable one, and the ends of runs.
pub(crate) fn named_frames(manifest: &[u8]) -> Vec<u64> {
    let Some(Entries { runs, .. }) = entries(manifest) else { return Vec::new() };
    runs.flat_map(|entry| [u64_at(entry, 24), u64_at(entry, 36)]).chain([u64_at(manifest, 64)]).collect()
}

/// The entries of a manifest.
struct Entries<'a> {
    segments: ChunksExact<'a, u8>,
    runs: ChunksExact<'a, u8>,
}

fn entries(manifest: &[u8]) -> Option<Entries<'_>> {
    let fixed = manifest.get(..MANIFEST_FIXED_BYTES).filter(|fixed| fixed.starts_with(b"GESTAMAN"))?;
    let count = |at: usize| u32::from_le_bytes(fixed[at..at + 4].try_into().expect("4 bytes")) as usize;
    let [origins, segments, runs] = [80, 84, 88].map(count);
    let segments_at = MANIFEST_FIXED_BYTES + ORIGIN_BYTES * origins;
    let runs_at = segments_at + SEGMENT_ENTRY_BYTES * segments;
    Some(Entries {
        segments: manifest.get(segments_at..runs_at)?.chunks_exact(SEGMENT_ENTRY_BYTES),
        runs: manifest.get(runs_at..runs_at + RUN_ENTRY_BYTES * runs)?.chunks_exact(RUN_ENTRY_BYTES),
    })
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(bytes[at..at + 8].try_into().expect("8 bytes"))
}
