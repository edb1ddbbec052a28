//! Files that the manifest does not list: left over from interrupted work, or a sign that the manifest is stale.

use std::path::Path;
use std::sync::Arc;

use super::Listed;
use super::error::{RecoverError, io_error};
use crate::bugs::{Bug, planted};
use crate::env::{Env, File, Mode};
use crate::folder::segment_name;
use crate::format::{
    Frame, FrameKind, HeaderError, Manifest, SEGMENT_HEADER_BYTES, SegmentHeader, SegmentRole, StartBody,
};
use crate::segment::{SegmentFile, Walker};

/// Files in `segments/` that the manifest does not list.
#[derive(Debug, Default)]
pub(crate) struct Unlisted {
    /// Their content is also stored elsewhere.
    pub(crate) useless: Vec<String>,
    /// They hold frames that no other file has: the manifest is stale.
    pub(crate) valuable: Vec<String>,
    /// The last event in the valuable files, according to frame headers.
    pub(crate) end: Option<UnlistedEnd>,
}

/// The last event in segments that the manifest does not list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct UnlistedEnd {
    /// The first of these segments.
    pub(crate) segment: u64,
    pub(crate) position: u64,
}

/// Inspects every unlisted file. Removes nothing.
pub(crate) fn find_unlisted(
    env: &dyn Env,
    root: &Path,
    manifest: &Manifest,
    listed: &[Listed],
) -> Result<Unlisted, RecoverError> {
    let folder = root.join("segments");
    let names = env.list(&folder).map_err(io_error("listing the segments"))?;
    let mut unlisted = Unlisted::default();
    for name in names {
        if manifest.segments.iter().any(|entry| segment_name(entry.header.id) == name) {
            continue;
        }
        if name.ends_with(".seg")
            && !planted(Bug::UnlistedRemoved)
            && is_valuable(env, &folder.join(&name), listed)?
        {
            if let Some(end) = end_of(env, &folder.join(&name), manifest)? {
                let known = unlisted.end.get_or_insert(end);
                known.segment = known.segment.min(end.segment);
                known.position = known.position.max(end.position);
            }
            unlisted.valuable.push(name);
        } else if name.ends_with(".seg") || name.ends_with(".tmp") {
            unlisted.useless.push(name);
        }
    }
    Ok(unlisted)
}

fn is_valuable(env: &dyn Env, path: &Path, listed: &[Listed]) -> Result<bool, RecoverError> {
    let what = || io_error(format!("reading {}", path.display()));
    let file = env.open(path, Mode::Read).map_err(what())?;
    let mut bytes = vec![0; SEGMENT_HEADER_BYTES];
    let read = file.read_at(&mut bytes, 0).map_err(what())?;
    let header = match SegmentHeader::decode(&bytes[..read]) {
        Ok(header) => header,
        // Without its header no frame in it can be verified. A blank file has nothing to verify.
        Err(HeaderError::Damaged) => return Ok(!is_blank(file)?),
        Err(newer) => return Err(RecoverError::Newer(newer)),
    };
    let segment = SegmentFile { id: header.id, salt: header.salt, file };
    let mut walker = Walker::new(&segment)?;
    let first = SegmentFile::first_frame_offset();
    if walker.next_header(first)?.is_none() {
        return Ok(false);
    }
    let start = walker.frame_at(first)?.filter(|(_, header)| header.kind == FrameKind::Start);
    let start = start.and_then(|(bytes, _)| {
        let frame = Frame::read(&segment.salt, first, &bytes).ok()?;
        StartBody::decode(frame.command)
    });
    match start {
        Some(start) if header.role == SegmentRole::Recovery && !planted(Bug::UnlistedCopyKept) => {
            was_cut_for(&start, listed)
        }
        _ => Ok(true),
    }
}

/// The last event that frame headers in a segment name; `None` if another store wrote it, or if no header gives one.
fn end_of(env: &dyn Env, path: &Path, manifest: &Manifest) -> Result<Option<UnlistedEnd>, RecoverError> {
    let what = || io_error(format!("reading {}", path.display()));
    let file = env.open(path, Mode::Read).map_err(what())?;
    let mut bytes = vec![0; SEGMENT_HEADER_BYTES];
    let read = file.read_at(&mut bytes, 0).map_err(what())?;
    let Ok(header) = SegmentHeader::decode(&bytes[..read]) else { return Ok(None) };
    if header.origin != manifest.store && !manifest.origins.contains(&header.origin) {
        return Ok(None);
    }
    let segment = SegmentFile { id: header.id, salt: header.salt, file };
    let (mut walker, mut offset, mut position) = (Walker::new(&segment)?, 0, None);
    while let Some((at, frame)) = walker.next_header(offset)? {
        position = position.max(Some(frame.next_position() - 1));
        offset = at + frame.length as u64;
    }
    Ok(position.map(|position| UnlistedEnd { segment: segment.id, position }))
}

/// Whether the source of a copy ends where the copied frames began. The source is cut after the copy is listed and
/// before anything is shown. If it is not cut, the source still has all acknowledged frames.
fn was_cut_for(copy: &StartBody, listed: &[Listed]) -> Result<bool, RecoverError> {
    let source = listed.iter().find(|own| own.entry.header.id == copy.previous_segment);
    let Some(segment) = source.and_then(|own| own.segment.as_ref()) else { return Ok(true) };
    let frame = Walker::new(segment)?.frame_at(copy.previous_end)?;
    Ok(frame.is_some_and(|(_, header)| header.kind == FrameKind::End))
}

/// Whether a segment's file has only zeros after its header.
pub(crate) fn is_blank(file: Arc<dyn File>) -> Result<bool, RecoverError> {
    let segment = SegmentFile { id: 0, salt: [0; 16], file };
    let first = SegmentFile::first_frame_offset();
    Ok(Walker::new(&segment)?.last_nonzero(first)? == first)
}
