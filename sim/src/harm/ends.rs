//! Harm to the end of a log: files that are cut short or zeroed, and segments and manifests that are missing, stale,
//! or from another history.

use std::path::PathBuf;

use gesta_log::sim::Machine;

use super::{
    End, HEADER_BYTES, Harm, OtherHistory, Snapshot, is_manifest, is_segment, snapshot, used_segments,
};
use crate::frames::{FRAME_HEADER_BYTES, FramePlace, frames};
use crate::plan::index;
use crate::proof::{Evidence, named_frames, proven_position};
use crate::random::Random;

/// One kind of harm.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum EndHarm {
    /// A segment's file is cut short; mostly the last used one.
    Cut,
    /// A segment's file is zeros from some offset on; mostly the last used one.
    Zeroed,
    /// The file of the last used segment is missing.
    Gone,
    /// A spare without events is missing.
    SpareGone,
    /// The manifest is an older one: the previous one, or one from before the last segments were listed.
    StaleManifest,
    /// The last segment comes from a copy of the folder that continued differently.
    OtherHistory,
    /// The whole folder has the state of an earlier time.
    RolledBack,
    /// The folder is on a read-only mount.
    ReadOnlyMount,
}

pub(crate) const END_HARMS: [(&str, EndHarm); 8] = [
    ("cut", EndHarm::Cut),
    ("zeroed", EndHarm::Zeroed),
    ("gone", EndHarm::Gone),
    ("spare-gone", EndHarm::SpareGone),
    ("stale-manifest", EndHarm::StaleManifest),
    ("other-history", EndHarm::OtherHistory),
    ("rolled-back", EndHarm::RolledBack),
    ("read-only-mount", EndHarm::ReadOnlyMount),
];

/// How the process ends before the harm.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Left {
    Closed,
    Killed,
}

/// Earlier states of the log.
#[derive(Default)]
pub(crate) struct Past {
    /// The last manifests, the newest last.
    pub(crate) manifests: Vec<Vec<u8>>,
    /// The whole folder at one earlier time.
    pub(crate) folder: Snapshot,
    /// The files of a copy of the machine, made at that time, that continued differently.
    pub(crate) copy: Snapshot,
}

/// Harms the files of a log whose process has ended. Returns `None` if there was nothing to harm. `acknowledged` is
/// the last position of the log.
pub(crate) fn harm_end(
    machine: &Machine,
    how: EndHarm,
    left: Left,
    past: &Past,
    acknowledged: u64,
    random: &mut Random,
) -> Option<Harm> {
    let before = snapshot(machine);
    let mut harm = match how {
        EndHarm::Cut => cut(machine, &before, random),
        EndHarm::Zeroed => zero(machine, &before, random),
        EndHarm::Gone => gone(machine, &before),
        EndHarm::SpareGone => spare_gone(machine, &before, left),
        EndHarm::StaleManifest => stale_manifest(machine, &before, past, random),
        EndHarm::OtherHistory => other_history(machine, &before, past),
        EndHarm::RolledBack => roll_back(machine, past),
        EndHarm::ReadOnlyMount => Some(Harm { is_harmless: left == Left::Closed, ..Harm::default() }),
    }?;
    // A clean stop records the newest event in the manifest.
    let is_recorded = left == Left::Closed && !harm.hits_manifest();
    // On a read-only mount frames cannot be synced: the log does not show frames that no record covers.
    let evidence = if how == EndHarm::ReadOnlyMount { Evidence::Records } else { Evidence::All };
    let to = if is_recorded { acknowledged } else { proven_position(&before, &snapshot(machine), evidence) };
    harm.end = End::Proven { to };
    Some(harm)
}

/// Mostly the last used segment, else any.
fn choose(files: &Snapshot, random: &mut Random) -> Option<PathBuf> {
    let last = used_segments(files).pop().filter(|_| random.below(3) > 0);
    let segments = files.keys().filter(|path| is_segment(path)).collect::<Vec<_>>();
    last.or_else(|| segments.get(index(random, segments.len().max(1))).map(|path| (*path).clone()))
}

/// An offset in a segment before the end of its frames: any byte, the beginning of a frame, or the beginning of the
/// file.
fn place(segment: &[u8], random: &mut Random) -> usize {
    let used = segment.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
    let frames = frames(segment);
    match random.below(6) {
        0 => 0,
        1 => index(random, used.max(1)),
        2 if !frames.is_empty() => frames[frames.len() - 1].offset,
        3 if !frames.is_empty() => frames[index(random, frames.len())].offset,
        _ => used - index(random, used.saturating_sub(HEADER_BYTES) + 1),
    }
}

fn cut(machine: &Machine, before: &Snapshot, random: &mut Random) -> Option<Harm> {
    let path = choose(before, random)?;
    let bytes = &before[&path];
    machine.put(&path, bytes[..place(bytes, random)].to_vec());
    Some(Harm { files: vec![path], ..Harm::default() })
}

fn zero(machine: &Machine, before: &Snapshot, random: &mut Random) -> Option<Harm> {
    let path = choose(before, random)?;
    let mut bytes = before[&path].clone();
    let from = place(&bytes, random);
    bytes[from..].fill(0);
    machine.put(&path, bytes);
    Some(Harm { files: vec![path], ..Harm::default() })
}

fn gone(machine: &Machine, before: &Snapshot) -> Option<Harm> {
    let path = used_segments(before).pop()?;
    machine.unlink(&path);
    Some(Harm { files: vec![path], is_gone: true, ..Harm::default() })
}

/// Removes a spare. After a clean close it holds no events. After a kill a listed spare may have held events, as far
/// as the files show.
fn spare_gone(machine: &Machine, before: &Snapshot, left: Left) -> Option<Harm> {
    let used = used_segments(before);
    let spares =
        before.keys().filter(|path| is_segment(path) && !used.contains(path)).cloned().collect::<Vec<_>>();
    spares.iter().for_each(|path| machine.unlink(path));
    // After a sealed segment, the log goes on in one that is listed as active: without its file, nothing shows that it held no frame.
    let goes_on_in_a_used_one = used.last().is_some_and(|path| !is_sealed(&before[path]));
    let is_harmless = left == Left::Closed && goes_on_in_a_used_one;
    (!spares.is_empty()).then_some(Harm { files: spares, is_harmless, ..Harm::default() })
}

/// True if the file ends with its last frame.
fn is_sealed(segment: &[u8]) -> bool {
    frames(segment).last().is_some_and(|last| last.offset + last.len == segment.len())
}

fn stale_manifest(machine: &Machine, before: &Snapshot, past: &Past, random: &mut Random) -> Option<Harm> {
    let (path, now) = before.iter().find(|(path, _)| is_manifest(path))?;
    let older = past.manifests.iter().filter(|older| *older != now).collect::<Vec<_>>();
    let older = older.get(older.len().checked_sub(1 + index(random, older.len().max(1)))?)?;
    machine.put(path, (*older).clone());
    Some(Harm { files: vec![path.clone()], ..Harm::default() })
}

/// Replaces the last segment by that of the copy, if the two histories differ in it.
fn other_history(machine: &Machine, before: &Snapshot, past: &Past) -> Option<Harm> {
    let path = used_segments(&past.copy).into_iter().rfind(|path| {
        before.get(path).is_some_and(|own| own[..HEADER_BYTES] == past.copy[path][..HEADER_BYTES])
    })?;
    let (own, copy) = (&before[&path], &past.copy[&path]);
    let copied = frames(copy);
    let is_same =
        |at: usize| own.get(at..at + FRAME_HEADER_BYTES) == Some(&copy[at..at + FRAME_HEADER_BYTES]);
    let first = copied.iter().find(|frame| frame.events > 0 && !is_same(frame.offset))?;
    let last = copied.last().expect("one differs");
    // The checksum of a sealed segment covers all of its frames: after a gap it is unknown which frames belong to
    // this history.
    let end = |frames: &[FramePlace]| frames.last().map_or(0, |frame| frame.offset + frame.len);
    let has_ended = used_segments(before).last() != Some(&path) && end(&copied) >= end(&frames(own));
    let manifest = before.iter().find(|(path, _)| is_manifest(path)).map(|(_, bytes)| named_frames(bytes));
    let is_named =
        manifest.into_iter().flatten().any(|number| (first.number..=last.number).contains(&number));
    let other_history =
        OtherHistory { from: first.position, to: last.last_position(), is_named: has_ended || is_named };
    machine.put(&path, copy.clone());
    Some(Harm { files: vec![path], other_history: Some(other_history), ..Harm::default() })
}

/// Restores the folder of an earlier time, which has no record of later acknowledgements.
fn roll_back(machine: &Machine, past: &Past) -> Option<Harm> {
    if past.folder.is_empty() {
        return None;
    }
    let own = snapshot(machine);
    own.keys().filter(|path| !past.folder.contains_key(*path)).for_each(|path| machine.unlink(path));
    past.folder.iter().for_each(|(path, bytes)| machine.put(path, bytes.clone()));
    Some(Harm { files: past.folder.keys().cloned().collect(), ..Harm::default() })
}
