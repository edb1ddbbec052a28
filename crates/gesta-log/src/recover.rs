//! Recovery: turns the files that a crash left into a log that takes appends, or into one that gives the reason why
//! not.
//!
//! Two steps, each with its rules in `docs/format.md`, "Reading after a crash". The *tail* step looks at the last
//! used segment, decides which part of it was acknowledged, and makes that part durable. The *load* step walks over
//! everything, builds the index and finds damage. The load step writes nothing, so `verify` runs the same code.

mod covered;
mod create;
mod error;
mod frames;
mod gap;
mod load;
mod ready;
mod rescue;
mod resume;
mod runs;
mod settle;
mod settled;
mod settled_end;
mod standing;
mod tail;
mod unlisted;

use std::io;
use std::path::Path;
use std::sync::Arc;

use crate::damage::Damage;
use crate::env::{Env, Mode};
use crate::folder::segment_path;
use crate::format::{HeaderError, Manifest, SEGMENT_HEADER_BYTES, SegmentEntry, SegmentHeader, SegmentState};
use crate::read_only::{ReadOnly, ReadOnlyCause};
use crate::segment::SegmentFile;
pub(crate) use error::{RecoverError, io_error};
pub(crate) use frames::{Frames, Scanned};
pub(crate) use gap::Gap;
pub(crate) use load::{Tables, load, load_range};
pub(crate) use ready::{Ready, ready};
pub(crate) use rescue::Rescue;
pub(crate) use resume::Writable;
pub(crate) use runs::{RunPolicy, run_files};
pub(crate) use settled::Settled;
pub(crate) use tail::{TailState, TailSurvey, survey_tail};
pub(crate) use unlisted::is_blank;

/// The result of recovery, for the caller of open.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Recovery {
    /// Damage to acknowledged bytes. Any damage makes the log read-only.
    pub damage: Vec<Damage>,
    /// Errors that lose nothing, because the same data is stored elsewhere: in a segment's header, for example.
    pub flaws: Vec<Damage>,
    /// The cause if the log takes no writes.
    pub read_only: Option<ReadOnly>,
    /// True if the log does not show bytes that may be acknowledged events: an unproven tail, segments that a stale manifest
    /// does not list, or whole events at the end of a read-only folder that are not known to be synced.
    pub may_miss_events: bool,
    /// The first and the last of the events that are whole and left out of a read-only folder, because nothing proves that
    /// they are on the disk.
    pub left_out: Option<(u64, u64)>,
    /// Bytes of a torn write that were moved to `quarantine/`.
    pub quarantined_bytes: u64,
    /// Frames that were valid but not known to be synced, and were copied into a new segment.
    pub rescued_frames: u64,
}

impl Recovery {
    /// Records bytes that may have been acknowledged or not. Only an operator can decide.
    pub(crate) fn note_unproven(&mut self, survey: &TailSurvey) {
        if survey.state == TailState::Unproven || survey.unproven_spare {
            self.may_miss_events = true;
            let reason = "its last segment ends in bytes that are neither a torn write nor proven to be acknowledged: restore it from a backup with `gesta restore`, or move them aside with `gesta repair --drop-tail`";
            self.read_only.get_or_insert_with(|| ReadOnly::new(ReadOnlyCause::UnprovenTail, reason));
        }
    }

    /// Records the damage. Damage that loses no event is a flaw.
    pub(crate) fn note_damage(&mut self, survey: &TailSurvey, damage: &[Damage]) {
        let known = self.flaws.clone();
        let (lost, flaws) = damage.iter().cloned().partition::<Vec<_>, _>(Damage::loses_events);
        self.flaws.extend(flaws.into_iter().filter(|flaw| !known.contains(flaw)));
        self.damage = lost;
        let reason = match self.damage.first() {
            Some(damage) => format!(
                "acknowledged events are damaged ({damage}): restore them from a backup with `gesta restore`"
            ),
            None if survey.state == TailState::Corrupt => {
                self.may_miss_events = true;
                "acknowledged bytes at its end are damaged: restore it from a backup with `gesta restore`"
                    .to_owned()
            }
            None => return,
        };
        self.read_only.get_or_insert_with(|| ReadOnly::new(ReadOnlyCause::Damaged, reason));
    }
}

/// A listed segment, opened; `None` if its file is missing.
pub(crate) struct Listed {
    pub(crate) entry: SegmentEntry,
    pub(crate) segment: Option<Arc<SegmentFile>>,
}

/// Opens the segments that the manifest lists. A header that differs from the manifest's copy is a flaw.
pub(crate) fn open_listed(
    env: &dyn Env,
    root: &Path,
    manifest: &Manifest,
    mode: Mode,
    flaws: &mut Vec<Damage>,
) -> Result<Vec<Listed>, RecoverError> {
    let mut listed = Vec::with_capacity(manifest.segments.len());
    for entry in &manifest.segments {
        let segment = match SegmentFile::open(env, root, &entry.header, mode) {
            Ok(segment) => Some(segment),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(source) => {
                let path = segment_path(root, entry.header.id);
                return Err(io_error(format!("opening `{}`", path.display()))(source));
            }
        };
        if segment.is_none() && entry.state == SegmentState::Spare {
            let what = "the file of a spare, which was never used, is missing";
            flaws.push(Damage::flaw(entry.header.id, 0, what));
        }
        if let Some(segment) = &segment
            && let Some(flaw) = check_header(segment, &entry.header)?
        {
            flaws.push(flaw);
        }
        listed.push(Listed { entry: entry.clone(), segment });
    }
    Ok(listed)
}

/// The error in a segment's header, if it differs from the manifest's copy.
pub(crate) fn check_header(
    segment: &SegmentFile,
    expected: &SegmentHeader,
) -> Result<Option<Damage>, RecoverError> {
    let mut bytes = vec![0; SEGMENT_HEADER_BYTES];
    let read = segment.file.read_at(&mut bytes, 0);
    let read = read.map_err(io_error(format!("reading the header of segment {}", segment.id)))?;
    let what = match SegmentHeader::decode(&bytes[..read]) {
        Ok(header) if header == *expected => return Ok(None),
        Ok(_) => "the header belongs to another segment; the manifest's copy is used",
        Err(HeaderError::Damaged) => "the header is damaged; the manifest's copy is used",
        Err(newer) => return Err(RecoverError::Newer(newer)),
    };
    Ok(Some(Damage::flaw(segment.id, 0, what)))
}
