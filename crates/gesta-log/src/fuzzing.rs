//! Entry points of the fuzzer: a function for each decoder, from any bytes to nothing, and real encodings as seeds.
//!
//! For the project's own fuzzing; not part of the public API. Every decoder must not panic, must not allocate memory
//! because of a length alone, and must encode what it accepts to the same bytes where the format has one form.
//!
//! Chance does not find a checksum. So each decoder with a checksum is called twice: with the bytes as they are, and
//! with corrected checksums. Anyone who can write to the folder can forge what is behind a checksum, and that must
//! not panic either.

mod formats;
mod log;
mod memory;
mod seeds;
#[cfg(test)]
mod tests;

pub use crate::index::{blocks as run_blocks, file as run_file, patched as patched_run};
pub use crate::operations::manifest as backup_manifest;
pub(crate) use formats::proven_manifest;
pub use formats::{command, frame, manifest, mark, record, segment_header};
pub use log::patched_log;
pub(crate) use memory::MemoryFile;
pub use seeds::seeds;

/// The salt of everything that is decoded here.
pub(crate) const SALT: [u8; 16] = [7; 16];

/// Changes some bytes: each four bytes of the input give a place (three of them) and a value.
pub(crate) fn patch(bytes: &mut [u8], patches: &[u8]) {
    for patch in patches.chunks_exact(4) {
        let at = u32::from_le_bytes([patch[0], patch[1], patch[2], 0]) as usize;
        if let Some(byte) = bytes.get_mut(at) {
            *byte = patch[3];
        }
    }
}
