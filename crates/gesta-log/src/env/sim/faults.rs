//! The faults of a simulated machine, and its counters.

use std::io;

/// The rates of faults: how many of 10,000 operations of a kind fail.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Faults {
    /// A sync fails. Some of its sectors are lost, and no later sync writes them.
    pub sync_eio: u64,
    /// The sync of a folder fails.
    pub folder_sync_eio: u64,
    /// A write fails, after nothing or after a part is written.
    pub write_eio: u64,
    /// A part of a write reaches the file, and there is no space for the rest.
    pub short_write: u64,
    /// There is no space to fill a file with zeros or to extend it.
    pub no_space: u64,
    /// The file system becomes read-only, as it does after an internal error, until the machine restarts or these
    /// faults end.
    pub read_only: u64,
    /// The clock goes back, by up to an hour.
    pub clock_back: u64,
    /// A power cut tears a sector that was not synced: one part is new, the other old.
    pub torn: u64,
}

/// Counters of a machine.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Operations of the file system.
    pub file_operations: u64,
    /// Power cuts.
    pub power_cuts: u64,
    /// Killed processes.
    pub kills: u64,
    /// Operations that failed with `EIO`.
    pub eio: u64,
    /// Writes that failed for lack of space before anything was written.
    pub no_space: u64,
    /// Writes that reached the file only in part.
    pub short_writes: u64,
    /// Operations refused by a read-only file system.
    pub read_only: u64,
    /// Times that the clock went back by a long time.
    pub clock_back: u64,
    /// Sectors that a power cut dropped.
    pub dropped_sectors: u64,
    /// Sectors that a power cut tore.
    pub torn_sectors: u64,
    /// Sectors that a sync reported as written although they were not, or were written elsewhere.
    pub betrayed_sectors: u64,
}

/// An operation of the file system.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "each is the call of its name")]
pub enum Operation {
    Open,
    Create,
    List,
    Rename,
    Remove,
    SyncFolder,
    Lock,
    Entropy,
    Length,
    Read,
    Write,
    SetLength,
    FillZeros,
    Sync,
}

impl Operation {
    /// Whether it changes anything.
    #[must_use]
    pub const fn is_change(self) -> bool {
        !matches!(self, Self::Open | Self::List | Self::Entropy | Self::Length | Self::Read)
    }

    /// Whether a read-only mount refuses it. A lock changes nothing on the disk, and a sync has nothing to write
    /// there.
    pub(super) const fn is_change_of_mount(self) -> bool {
        self.is_change() && !matches!(self, Self::Lock | Self::Sync | Self::SyncFolder)
    }

    /// Whether it can fail in this way.
    #[must_use]
    pub const fn fails_by(self, failure: Failure) -> bool {
        match failure {
            Failure::Eio => true,
            Failure::NoSpace => matches!(
                self,
                Self::Create | Self::Rename | Self::Write | Self::SetLength | Self::FillZeros | Self::Sync
            ),
            Failure::ReadOnly => self.is_change(),
        }
    }
}

/// How an operation fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Failure {
    /// The device is broken: any operation fails.
    Eio,
    /// There is no space: every operation that may need space fails.
    NoSpace,
    /// The file system is read-only: every operation that changes something fails.
    ReadOnly,
}

impl Failure {
    pub(super) fn error(self) -> io::Error {
        match self {
            Self::Eio => io::Error::other("input/output error"),
            Self::NoSpace => io::ErrorKind::StorageFull.into(),
            Self::ReadOnly => io::ErrorKind::ReadOnlyFilesystem.into(),
        }
    }
}

/// A fault at one operation, or from one on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PlannedFault {
    /// The number of operations before it.
    pub after: u64,
    /// How the operation fails, if it can fail in this way.
    pub failure: Failure,
    /// Whether all later operations fail as well.
    pub lasts: bool,
}

/// How a disk lies about a sector that it reports as written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Betrayal {
    /// The sector was not written and keeps its old content.
    Stale,
    /// The sector was written elsewhere: it keeps its old content, and another sector is overwritten.
    Misdirected,
}
