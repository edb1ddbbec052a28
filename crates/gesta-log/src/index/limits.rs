//! When a table in memory is full.

/// How far beyond its limit a table may grow while it cannot end, as a factor.
pub(crate) const OVERFULL: usize = 4;

/// When a table is full.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct TableLimits {
    /// Bytes of memory.
    pub(crate) bytes: usize,
    /// Bytes of the log that it covers.
    pub(crate) log_bytes: u64,
}

impl TableLimits {
    pub(crate) const fn is_full(self, bytes: usize, log_bytes: u64) -> bool {
        bytes >= self.bytes || log_bytes >= self.log_bytes
    }

    /// Whether a table is so far beyond its limit that appends must wait.
    pub(crate) const fn is_overfull(self, bytes: usize) -> bool {
        bytes >= OVERFULL * self.bytes
    }
}
