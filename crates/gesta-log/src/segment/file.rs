//! The file of a segment, shared by its readers and its writer.

use std::io;
use std::path::Path;
use std::sync::Arc;

use crate::env::{Env, File, Mode, Turn};
use crate::folder::segment_path;
use crate::format::{SEGMENT_HEADER_BYTES, Salt, SegmentHeader};

/// The file of a segment. It stays open while it is written to; readers open it again on demand.
pub(crate) struct SegmentFile {
    pub(crate) id: u64,
    pub(crate) salt: Salt,
    pub(crate) file: Arc<dyn File>,
}

impl SegmentFile {
    /// Creates the file of a segment durably: the header, then zeros up to its size. The caller still has to sync the
    /// folder.
    pub(crate) fn create(
        env: &dyn Env,
        root: &Path,
        header: &SegmentHeader,
        size_bytes: u64,
    ) -> io::Result<Arc<Self>> {
        let file = env.open_on_demand(&segment_path(root, header.id), Mode::CreateNew, Turn::First)?;
        file.fill_zeros(0, size_bytes)?;
        file.write_at(&[&header.encode()], 0)?;
        file.sync_all()?;
        Ok(Arc::new(Self { id: header.id, salt: header.salt, file }))
    }

    /// Opens the file of a segment that the manifest lists.
    pub(crate) fn open(
        env: &dyn Env,
        root: &Path,
        header: &SegmentHeader,
        mode: Mode,
    ) -> io::Result<Arc<Self>> {
        let file = env.open_on_demand(&segment_path(root, header.id), mode, Turn::First)?;
        Ok(Arc::new(Self { id: header.id, salt: header.salt, file }))
    }

    /// The offset of the first frame.
    pub(crate) const fn first_frame_offset() -> u64 {
        SEGMENT_HEADER_BYTES as u64
    }
}

/// A missing file: every read fails with `NotFound`.
pub(crate) struct MissingFile;

impl File for MissingFile {
    fn len(&self) -> io::Result<u64> {
        Err(io::ErrorKind::NotFound.into())
    }

    fn read_at(&self, _buffer: &mut [u8], _offset: u64) -> io::Result<usize> {
        Err(io::ErrorKind::NotFound.into())
    }
}
