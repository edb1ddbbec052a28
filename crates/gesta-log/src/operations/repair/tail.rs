//! Drops bytes at the end of the log that may or may not have been acknowledged. Only an operator can decide that.

use std::sync::Arc;

use super::report::write_report;
use super::{Repair, RepairError, Repaired, recover_error};
use crate::env::Mode;
use crate::error::io_error;
use crate::folder::Folder;
use crate::format::Manifest;
use crate::operations::scrub::ScrubOptions;
use crate::read_only::ReadOnly;
use crate::recover::{
    Listed, RecoverError, Recovery, Rescue, TailState, TailSurvey, open_listed, survey_tail,
};
use crate::segment::{LogPoint, SegmentFile, Walker};

/// The bytes at the end of a log that a repair would drop.
pub(crate) struct DroppedTail {
    manifest: Manifest,
    ranges: Vec<Range>,
}

/// Bytes of one segment that are not known to be part of the log.
struct Range {
    segment: Arc<SegmentFile>,
    size_bytes: u64,
    /// Where the valid frames before them end.
    from: u64,
    /// The end of the last byte that is not zero.
    to: u64,
    /// The positions in the frame headers among them; `None` if there is no header.
    positions: Option<(u64, u64)>,
}

impl DroppedTail {
    /// Looks for such bytes; `None` if recovery settles the end of the log by itself. A plan opens the segments to read
    /// them, a repair to write.
    pub(crate) fn of(folder: &Folder<'_>, mode: Mode) -> Result<Option<Self>, RepairError> {
        let manifest = folder.existing_manifest()?;
        let mut recovery = Recovery::default();
        let listed = open_listed(folder.env, folder.root, &manifest, mode, &mut Vec::new());
        let listed = listed.map_err(recover_error(folder))?;
        folder.find_stale(&manifest, &listed, &mut recovery)?;
        if let Some(ReadOnly { reason, .. }) = recovery.read_only {
            return Err(RepairError::NothingToDo { reason });
        }
        let survey = survey_tail(&manifest, &listed, &LogPoint::START).map_err(recover_error(folder))?;
        let ranges = unproven(&listed, &survey).map_err(recover_error(folder))?;
        check_acknowledged(folder, &manifest, &survey)?;
        Ok((!ranges.is_empty()).then_some(Self { manifest, ranges }))
    }

    pub(crate) fn found(&self) -> Vec<String> {
        let what = |range: &Range| {
            let Range { segment, from, to, positions, .. } = range;
            let holding = match positions {
                Some((first, last)) => {
                    format!("; they hold headers of frames with positions {first} to {last}")
                }
                None => String::new(),
            };
            let id = segment.id;
            format!(
                "segment {id} ends in bytes from offset {from} to {to} that are neither a torn write nor proven to be acknowledged{holding}"
            )
        };
        self.ranges.iter().map(what).collect()
    }

    pub(crate) fn steps(&self) -> Vec<String> {
        let what = |range: &Range| {
            let (id, bytes) = (range.segment.id, range.to - range.from);
            format!(
                "move {bytes} bytes at the end of segment {id} to `quarantine/`, and go on at offset {}",
                range.from
            )
        };
        self.ranges.iter().map(what).collect()
    }

    /// Copies the bytes to quarantine, durably, and then cuts them. An interrupted repair continues when it is run
    /// again.
    pub(crate) fn drop(mut self, folder: &Folder<'_>) -> Result<Repaired, RepairError> {
        let (found, steps) = (self.found(), self.steps());
        // The epoch is part of the names in quarantine. It becomes durable first, so that no name is used twice.
        self.manifest.boot_epoch += 1;
        self.manifest.replace(folder.env, folder.root).map_err(io_error("replacing the manifest"))?;
        let boot_epoch = self.manifest.boot_epoch;
        let (manifest, mut recovery) = (&mut self.manifest, Recovery::default());
        let mut rescue = Rescue { env: folder.env, root: folder.root, manifest, report: &mut recovery };
        for range in &self.ranges {
            let Range { segment, size_bytes, from, to, .. } = range;
            rescue.drop_behind(segment, *from, *to, *size_bytes).map_err(recover_error(folder))?;
        }
        write_report(folder, Repair::DropTail, boot_epoch, found, steps)
    }
}

/// Refuses if acknowledged events are damaged: the log would stay read-only anyway.
fn check_acknowledged(
    folder: &Folder<'_>,
    manifest: &Manifest,
    survey: &TailSurvey,
) -> Result<(), RepairError> {
    if survey.state == TailState::Corrupt {
        let what =
            format!("where the valid frames end, at offset {}, stood frames that were synced", survey.stop);
        return Err(RepairError::Acknowledged { what });
    }
    let scrubbed = folder.scrub(manifest, &ScrubOptions::default())?;
    let mut damage = scrubbed.segments.iter().flat_map(|own| &own.damage);
    match damage.find(|damage| damage.loses_events()) {
        Some(damage) => Err(RepairError::Acknowledged { what: damage.to_string() }),
        None => Ok(()),
    }
}

/// The bytes after the last frame, and in unused segments, that are neither zeros nor a torn write.
fn unproven(listed: &[Listed], survey: &TailSurvey) -> Result<Vec<Range>, RecoverError> {
    let mut ranges = Vec::new();
    if let (Some(at), TailState::Unproven) = (survey.at, survey.state) {
        ranges.extend(range(&listed[at], survey.stop)?);
    }
    let unused = survey.at.map_or(0, |at| at + 1);
    for (at, own) in listed.iter().enumerate().skip(unused) {
        let is_torn = survey.torn_spares.iter().any(|(torn, _)| *torn == at);
        if !is_torn {
            ranges.extend(range(own, SegmentFile::first_frame_offset())?);
        }
    }
    Ok(ranges)
}

fn range(own: &Listed, from: u64) -> Result<Option<Range>, RecoverError> {
    let Some(segment) = &own.segment else { return Ok(None) };
    let mut walker = Walker::new(segment)?;
    let to = walker.last_nonzero(from)?;
    if to == from {
        return Ok(None);
    }
    let (mut positions, mut offset) = (None, from);
    while let Some((at, header)) = walker.next_header(offset)? {
        if header.events > 0 {
            let first = positions.map_or(header.position, |(first, _)| first);
            positions = Some((first, header.next_position() - 1));
        }
        offset = at + header.length as u64;
    }
    let (segment, size_bytes) = (Arc::clone(segment), own.entry.size_bytes);
    Ok(Some(Range { segment, size_bytes, from, to, positions }))
}
