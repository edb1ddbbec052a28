//! Writes a group durably: one write, one sync.

use std::io;

use crate::bugs::{Bug, planted};
use crate::env::File;

/// Writes the frames of a group where the segment's frames end, and syncs them. An error says that nobody knows what of it is on the
/// disk. The last group of a segment is told apart only by a bug that can be planted.
pub(super) fn write_group(
    file: &dyn File,
    pieces: &[&[u8]],
    offset: u64,
    zeros_to: u64,
    is_last: bool,
) -> io::Result<()> {
    match file.write_over_zeros(pieces, offset, zeros_to) {
        Err(error) if planted(Bug::ShortWriteIgnored) && error.kind() == io::ErrorKind::StorageFull => {}
        written => written?,
    }
    if planted(Bug::AckBeforeSync) || planted(Bug::RollBeforeSync) && is_last {
        return Ok(());
    }
    match file.sync_data() {
        Err(_) if planted(Bug::RetryFailedSync) => file.sync_data(),
        synced => synced,
    }
}
