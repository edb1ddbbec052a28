//! Operations on a log: back up, restore, verify, scrub, repair.

mod backup;
mod pace;
mod paced;
mod repair;
mod scrub;
mod stat;
mod verify;
mod verify_segment;

#[cfg(feature = "fuzzing")]
pub use backup::manifest;
#[cfg(feature = "fuzzing")]
pub(crate) use backup::sample;
pub(crate) use backup::take;
pub use backup::{
    Backup, BackupError, BackupOptions, BackupReadError, BackupReport, RestoreError, Restored,
    SealedSegments, backup, restore, verify_backup,
};
#[cfg(feature = "sim")]
pub(crate) use backup::{backup_in, restore_in};
pub use pace::Cancel;
pub use repair::{Repair, RepairError, RepairPlan, Repaired, plan_repair, repair};
pub(crate) use scrub::Background;
pub use scrub::{ScrubOptions, ScrubReport, ScrubStatus, ScrubbedAt, ScrubbedSegment, scrub};
pub use stat::{FileStat, IndexFileStat, LogStat, SegmentStat, SegmentStateStat, stat};
#[cfg(feature = "sim")]
pub(crate) use verify::verify_in;
pub use verify::{Report, verify};
