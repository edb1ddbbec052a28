//! Files that the manifest does not list: what is left of something that never came to be, or proof that it is stale.

use std::path::Path;

use super::{Listed, RecoverError, io_error};
use crate::env::{Env, Mode};
use crate::format::{SEGMENT_HEADER_BYTES, SegmentHeader, SegmentRole};
use crate::manifest::{Manifest, segment_name};
use crate::segment::SegmentFile;
use crate::walk::Walker;

/// Files in `segments/` that the manifest does not list.
#[derive(Debug, Default)]
pub(crate) struct Unlisted {
    /// They hold nothing that is not elsewhere.
    pub(crate) useless: Vec<String>,
    /// They hold frames that stand nowhere else: the manifest is stale.
    pub(crate) valuable: Vec<String>,
}

/// Looks at every file that is not listed. Removes nothing.
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
        if name.ends_with(".seg") && is_valuable(env, &folder.join(&name), listed)? {
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
    let Ok(header) = SegmentHeader::decode(&bytes[..read]) else { return Ok(false) };
    let segment = SegmentFile { id: header.id, salt: header.salt, file };
    let mut walker = Walker::new(&segment)?;
    let mut from = SegmentFile::first_frame_offset();
    let mut last = None;
    while let Some((at, frame)) = walker.next_header(from)? {
        from = at + frame.length as u64;
        last = last.max(Some(frame.number));
    }
    let Some(last) = last else { return Ok(false) };
    // A copy of a tail that was never listed: its frames still stand where they were copied from.
    Ok(header.role != SegmentRole::Recovery || last_listed_frame(listed)? < last)
}

fn last_listed_frame(listed: &[Listed]) -> Result<u64, RecoverError> {
    let mut last = 0;
    for segment in listed.iter().rev().filter_map(|own| own.segment.as_ref()) {
        let mut walker = Walker::new(segment)?;
        let mut from = SegmentFile::first_frame_offset();
        while let Some((at, frame)) = walker.next_header(from)? {
            from = at + frame.length as u64;
            last = last.max(frame.number);
        }
        if last > 0 {
            break;
        }
    }
    Ok(last)
}
