//! Checks that a log still holds the last event of an older backup: only then does a new backup continue it.

use std::io;
use std::path::Path;
use std::sync::Arc;

use gesta_core::{EventBytes, Timestamp, mark_of};

use super::cut::Cut;
use super::error::{BackupError, backup_io};
use crate::bugs::{Bug, planted};
use crate::env::Mode;
use crate::folder::Folder;
use crate::format::{BackupManifest, Frame, FrameKind, RECORD_HEADER_BYTES, SegmentEntry, last_position};
use crate::operations::pace::Pace;
use crate::operations::paced::PacedFile;
use crate::segment::{SegmentFile, WalkError, Walker};

/// Refuses to replace a backup if the log does not hold the backup's last event at the same position. The log was
/// then restored from an older copy or has lost its end, even if it has grown past that position again.
pub(crate) fn check_continues(
    source: &Folder<'_>,
    cut: &Cut,
    to: &Path,
    previous: &BackupManifest,
    pace: &Pace,
) -> Result<(), BackupError> {
    let is_compared = previous.position > 0 && !planted(Bug::BackupOverOtherHistory);
    let Some(last) = previous.files.last().filter(|_| is_compared) else { return Ok(()) };
    if cut.segments.iter().any(|own| own.entry.header == last.entry.header && own.sealed == last.sealed) {
        // The log holds the same frames: their checksums are the same.
        return Ok(());
    }
    let reading = || backup_io("reading the last event of the backup");
    let kept = match source.env.open(&last.path(to), Mode::Read) {
        Ok(file) => mark_at(&last.entry, Arc::new(PacedFile { file, pace: pace.clone() }), previous.position),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    };
    let kept = kept.map_err(reading())?;
    let holds = |own: &&super::cut::CutSegment| {
        (own.sealed.first_position..=last_position(&own.sealed)).contains(&previous.position)
    };
    let held = match cut.segments.iter().find(holds) {
        Some(own) => {
            let segment = SegmentFile::open(source.env, source.root, &own.entry.header, Mode::Read);
            let file = Arc::clone(
                &segment.map_err(backup_io(format!("opening segment {}", own.entry.header.id)))?.file,
            );
            let file = Arc::new(PacedFile { file, pace: pace.clone() });
            mark_at(&own.entry, file, previous.position)
                .map_err(backup_io(format!("reading segment {}", own.entry.header.id)))?
        }
        None => None,
    };
    match (kept, held) {
        (Some(kept), Some(held)) if kept == held => Ok(()),
        _ => Err(BackupError::OtherHistory {
            path: to.to_owned(),
            position: previous.position,
            ends_at: cut.position,
        }),
    }
}

/// The mark of the event at a position of a segment; `None` if no valid frame holds it.
fn mark_at(entry: &SegmentEntry, file: Arc<PacedFile>, position: u64) -> io::Result<Option<u32>> {
    let segment = SegmentFile { id: entry.header.id, salt: entry.header.salt, file };
    let mut walker = Walker::new(&segment).map_err(WalkError::into_io)?;
    let mut offset = SegmentFile::first_frame_offset();
    while let Some((at, header)) = walker.next_header(offset).map_err(WalkError::into_io)? {
        let is_sought =
            header.kind == FrameKind::Events && (header.position..header.next_position()).contains(&position);
        if is_sought {
            let Some((bytes, _)) = walker.frame_at(at).map_err(WalkError::into_io)? else { return Ok(None) };
            let Ok(frame) = Frame::read(&segment.salt, at, &bytes) else { return Ok(None) };
            let number = usize::try_from(position - header.position).expect("a batch fits memory");
            let Some(record) = frame.records().nth(number) else { return Ok(None) };
            let begin = record.as_ptr() as usize - bytes.as_ptr() as usize;
            let event = EventBytes::parse(bytes.slice(begin + RECORD_HEADER_BYTES..begin + record.len()));
            return Ok(event
                .ok()
                .map(|event| mark_of(event.id(), Timestamp::from_nanos(header.recorded_at))));
        }
        offset = at + header.length as u64;
    }
    Ok(None)
}
