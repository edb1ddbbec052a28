//! What the fuzzer calls: a function for every decoder, from any bytes to nothing, and real encodings to begin from.
//!
//! For the project's own fuzzing; no part of the promise to users. Every decoder is held to the same: it does not panic, it asks for
//! no memory on the word of a length alone, and what it takes encodes to the same bytes where the format has one form.
//!
//! Chance does not find a checksum. So each decoder that proves its bytes is called twice: with the bytes as they are, and with
//! their checksums put right. What lies behind a checksum can be forged by whoever writes to the folder, and must not panic either.

mod formats;
mod log;
mod memory;
mod seeds;

pub use crate::backup::fuzzing::manifest as backup_manifest;
pub use crate::index::fuzzing::{blocks as run_blocks, file as run_file, patched as patched_run};
pub(crate) use formats::proven_manifest;
pub use formats::{command, frame, manifest, mark, record, segment_header};
pub use log::patched_log;
pub(crate) use memory::MemoryFile;
pub use seeds::seeds;

/// The salt of everything that is decoded here.
pub(crate) const SALT: [u8; 16] = [7; 16];

/// Bytes with some of them changed: each four bytes of the input say where (three of them) and to what.
pub(crate) fn patch(bytes: &mut [u8], patches: &[u8]) {
    for patch in patches.chunks_exact(4) {
        let at = u32::from_le_bytes([patch[0], patch[1], patch[2], 0]) as usize;
        if let Some(byte) = bytes.get_mut(at) {
            *byte = patch[3];
        }
    }
}

#[cfg(test)]
mod tests;
