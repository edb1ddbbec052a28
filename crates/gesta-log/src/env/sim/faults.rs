//! What can go wrong on a simulated machine, and the count of what did.

use std::io;

/// How often faults happen: in so many of 10,000 operations of their kind.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Faults {
    /// A sync fails: some of what it should have written is lost, and no later sync writes it.
    pub sync_eio: u64,
    /// The sync of a folder fails.
    pub folder_sync_eio: u64,
    /// A write fails, after nothing or after a part of it.
    pub write_eio: u64,
    /// A part of a write reaches the file, and there is no space for the rest.
    pub short_write: u64,
    /// There is no space for zeros ahead, or for a file that grows.
    pub no_space: u64,
    /// The file system turns read-only, as it does after an error of its own, and stays so until the machine starts again or
    /// these faults end.
    pub read_only: u64,
    /// The clock goes back, by up to an hour.
    pub clock_back: u64,
    /// A sector that was not synced is torn by a power cut: one part is new, the other old.
    pub torn: u64,
}

/// What happened on a machine.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Operations of its file system.
    pub file_operations: u64,
    /// Power cuts.
    pub power_cuts: u64,
    /// Processes that were killed.
    pub kills: u64,
    /// Operations that failed as by a broken device.
    pub eio: u64,
    /// Writes that found no space, before anything was written.
    pub no_space: u64,
    /// Writes of which a part reached the file.
    pub short_writes: u64,
    /// Operations that a file system refused which was read-only.
    pub read_only: u64,
    /// Times that the clock went back by far.
    pub clock_back: u64,
    /// Sectors that a power cut dropped.
    pub dropped_sectors: u64,
    /// Sectors that a power cut tore.
    pub torn_sectors: u64,
    /// Sectors that a sync said were written, and that were not, or elsewhere.
    pub betrayed_sectors: u64,
}

/// What the file system is asked for.
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

    /// Whether a read-only mount refuses it. A lock changes nothing on the disk, and a sync has nothing to write.
    pub(super) const fn is_change_of_mount(self) -> bool {
        self.is_change() && !matches!(self, Self::Lock | Self::Sync | Self::SyncFolder)
    }

    /// Whether it can fail so.
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
    /// There is no space: whatever may need some fails.
    NoSpace,
    /// The file system is read-only: whatever changes something fails.
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
    /// How many operations come before it.
    pub after: u64,
    /// How that operation fails, if it is one that can fail so.
    pub failure: Failure,
    /// Whether every later one fails as well.
    pub lasts: bool,
}

/// How a disk betrays: it says that a sector was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Betrayal {
    /// It was not: the sector stays as it was.
    Stale,
    /// It was written elsewhere: the sector stays as it was, and another one is overwritten.
    Misdirected,
}
