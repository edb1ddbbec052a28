//! A file that is read at a limited rate, in small steps, until its task is cancelled.

use std::io;
use std::sync::Arc;

use super::pace::Pace;
use crate::env::File;

/// A read-only file with a limited rate.
pub(crate) struct PacedFile {
    pub(crate) file: Arc<dyn File>,
    pub(crate) pace: Pace,
}

impl File for PacedFile {
    fn len(&self) -> io::Result<u64> {
        self.file.len()
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let step = usize::try_from(self.pace.step_bytes()).unwrap_or(usize::MAX).min(buffer.len().max(1));
        let mut done = 0;
        for piece in buffer.chunks_mut(step) {
            let read = self.file.read_at(piece, offset + done as u64)?;
            done += read;
            if self.pace.pause_for(read as u64).is_break() {
                return Err(io::Error::other("it was ended"));
            }
            if read < piece.len() {
                break;
            }
        }
        Ok(done)
    }
}
