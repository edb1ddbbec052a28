//! What a copy keeps about its stream, beside its events.

use super::{Tip, TipError};

/// The place of a copy in its stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    /// The last message that the copy has applied.
    pub tip: Tip,
    /// The number of the last message that the stream is proven to have. A cluster that lost messages later has lost none up to it, or the
    /// messages after it show that.
    pub proven: u64,
}

impl Place {
    /// Bytes of a place.
    pub const BYTES: usize = Tip::BYTES + 8;

    /// A copy whose last message the stream has.
    #[must_use]
    pub const fn at(tip: Tip) -> Self {
        Self { tip, proven: tip.number }
    }

    /// Returns the bytes: those of the tip, and the number of the proven message, little-endian.
    #[must_use]
    pub fn to_bytes(&self) -> [u8; Self::BYTES] {
        let mut bytes = [0; Self::BYTES];
        bytes[..Tip::BYTES].copy_from_slice(&self.tip.to_bytes());
        bytes[Tip::BYTES..].copy_from_slice(&self.proven.to_le_bytes());
        bytes
    }

    /// Returns the place with these bytes. The bytes of a tip are the place at it.
    ///
    /// # Errors
    /// [`TipError`] if there are more or fewer.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, TipError> {
        match bytes.split_first_chunk::<{ Tip::BYTES }>() {
            Some((tip, proven)) if bytes.len() == Self::BYTES => {
                let proven = proven.try_into().map_err(|_| TipError { found: bytes.len() })?;
                Ok(Self { tip: Tip::from_bytes(tip)?, proven: u64::from_le_bytes(proven) })
            }
            _ => Tip::from_bytes(bytes).map(Self::at),
        }
    }
}
