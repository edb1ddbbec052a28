//! A file in memory.

use std::io;
use std::sync::{Mutex, MutexGuard};

use crate::env::File;
use crate::locks;

/// A file in memory, without a machine.
#[derive(Default)]
pub(crate) struct MemoryFile(Mutex<Vec<u8>>);

impl MemoryFile {
    pub(crate) fn new(bytes: Vec<u8>) -> Self {
        Self(Mutex::new(bytes))
    }

    pub(crate) fn content(&self) -> Vec<u8> {
        self.bytes().clone()
    }

    fn bytes(&self) -> MutexGuard<'_, Vec<u8>> {
        locks::lock(&self.0)
    }
}

impl File for MemoryFile {
    fn len(&self) -> io::Result<u64> {
        Ok(self.bytes().len() as u64)
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        // Like `pread`: an offset is a signed number.
        i64::try_from(offset).map_err(|_| io::Error::from(io::ErrorKind::InvalidInput))?;
        let bytes = self.bytes();
        let from = usize::try_from(offset).map_err(io::Error::other)?;
        let held = bytes.get(from..).unwrap_or_default();
        let len = held.len().min(buffer.len());
        buffer[..len].copy_from_slice(&held[..len]);
        Ok(len)
    }

    fn write_at(&self, pieces: &[&[u8]], offset: u64) -> io::Result<()> {
        let (mut bytes, written) = (self.bytes(), pieces.concat());
        let from = usize::try_from(offset).map_err(io::Error::other)?;
        let end = from + written.len();
        if bytes.len() < end {
            bytes.resize(end, 0);
        }
        bytes[from..end].copy_from_slice(&written);
        Ok(())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.bytes().resize(usize::try_from(len).map_err(io::Error::other)?, 0);
        Ok(())
    }

    fn fill_zeros(&self, from: u64, len: u64) -> io::Result<()> {
        if from < len { self.set_len(len) } else { Ok(()) }
    }

    fn sync_data(&self) -> io::Result<()> {
        Ok(())
    }

    fn sync_all(&self) -> io::Result<()> {
        Ok(())
    }
}
