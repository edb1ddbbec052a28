//! Makes and ends segment files.

use std::io;
use std::path::Path;
use std::sync::Arc;

use super::file::SegmentFile;
use super::tally::SegmentEnd;
use crate::bugs::{Bug, planted};
use crate::env::Env;
use crate::folder::segment_path;
use crate::format::{Manifest, SegmentHeader, SegmentKind, SegmentRole};

/// A listed segment without frames.
pub(crate) struct Spare {
    pub(crate) segment: Arc<SegmentFile>,
    pub(crate) size_bytes: u64,
    /// The generation of the manifest that lists it.
    pub(crate) generation: u64,
    /// True if the manifest on the disk lists it as active. Only then may the writer use it.
    pub(crate) is_active: bool,
}

/// Makes the file of a segment, durably. The caller still has to list it in the manifest. Removes the file if an
/// attempt fails.
pub(crate) fn make_file(
    env: &dyn Env,
    root: &Path,
    mut header: SegmentHeader,
    size_bytes: u64,
) -> io::Result<(SegmentHeader, Arc<SegmentFile>)> {
    let segment = loop {
        match SegmentFile::create(env, root, &header, size_bytes) {
            Ok(segment) => break segment,
            // Left over from an attempt that was never listed; the next open removes it.
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => header.id += 1,
            Err(error) => {
                let _ = env.remove(&segment_path(root, header.id));
                return Err(error);
            }
        }
    };
    if !planted(Bug::NoFolderSync)
        && let Err(error) = env.sync_dir(&root.join("segments"))
    {
        let _ = env.remove(&segment_path(root, header.id));
        return Err(error);
    }
    Ok((header, segment))
}

/// The header of a new segment.
pub(crate) fn new_header(env: &dyn Env, manifest: &Manifest, role: SegmentRole) -> io::Result<SegmentHeader> {
    Ok(SegmentHeader {
        id: manifest.next_segment_id(),
        kind: if manifest.is_replica { SegmentKind::Copy } else { SegmentKind::Primary },
        role,
        partition: manifest.partition,
        origin: manifest.store,
        salt: env.entropy()?,
    })
}

/// Ends a segment: writes END, cuts the file after it, and syncs. A second call changes nothing.
pub(crate) fn write_end(segment: &SegmentFile, end: &SegmentEnd) -> io::Result<()> {
    let (frame, offset) = (end.frame(), end.seal.offset);
    assert!(end.sealed.end == offset, "END stands where the manifest says");
    assert!(end.sealed.checksum == end.body.checksum, "END and the manifest have the same checksum");
    segment.file.write_at(&[&frame], offset)?;
    segment.file.set_len(offset + frame.len() as u64)?;
    segment.file.sync_all()?;
    segment.file.settle();
    Ok(())
}
