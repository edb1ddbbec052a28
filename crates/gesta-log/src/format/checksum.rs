//! CRC-32C, the one checksum of the format.

use crc_fast::{CrcAlgorithm, Digest, checksum};

/// The checksum of one piece of bytes.
pub(crate) fn crc32c(bytes: &[u8]) -> u32 {
    narrow(checksum(CrcAlgorithm::Crc32Iscsi, bytes))
}

/// A checksum over several pieces.
pub(crate) struct Crc(Digest);

impl Crc {
    /// Begins without a salt.
    pub(crate) fn plain() -> Self {
        Self::salted(&[])
    }

    /// Begins with a salt, as every salted checksum does.
    pub(crate) fn salted(salt: &[u8]) -> Self {
        let mut digest = Digest::new(CrcAlgorithm::Crc32Iscsi);
        digest.update(salt);
        Self(digest)
    }

    /// Continues after bytes whose checksum is known.
    pub(crate) fn resume(value: u32) -> Self {
        Self(Digest::new_with_init_state(CrcAlgorithm::Crc32Iscsi, u64::from(value ^ u32::MAX)))
    }

    pub(crate) fn update(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    pub(crate) fn value(&self) -> u32 {
        narrow(self.0.finalize())
    }
}

fn narrow(checksum: u64) -> u32 {
    u32::try_from(checksum).expect("a CRC-32 has 32 bits")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_checksum_is_castagnolis() {
        assert_eq!(crc32c(b"123456789"), 0xe306_9283);
        let mut crc = Crc::salted(b"1234");
        crc.update(b"56789");
        assert_eq!(crc.value(), 0xe306_9283);
        let mut resumed = Crc::resume(crc32c(b"12345"));
        resumed.update(b"6789");
        assert_eq!(resumed.value(), 0xe306_9283);
    }
}
