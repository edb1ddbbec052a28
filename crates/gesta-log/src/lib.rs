//! The embedded log of Gesta: segments, group commit, recovery and index in one folder.
//!
//! [`LogStore`] is an [`EventStore`](gesta_core::EventStore) with one partition. One process has a folder open at a
//! time. Within it, any number of threads and tasks append and read. Every acknowledgement comes after an
//! `fdatasync`, which all waiting appends share. Readers see only synced events. The log needs no async runtime and
//! blocks none.
//!
//! After a crash, the next open recovers the log. Acknowledged batches stay. Torn batches, which were never
//! acknowledged, are moved to `quarantine/` and cut off. Damage to acknowledged bytes is never cut and never served:
//! the log opens read-only and reports the place.
//!
//! A background scrub reads sealed segments again, so that rot is found in time ([`Scrub`],
//! [`LogStore::scrub_status`]).
//!
//! [`LogCopy`] fills a folder with what another store has recorded. [`Replica`] follows another store all the time.
//! [`batches_in`] reads a log without opening it, for tests on an excerpt.
//!
//! For operators: [`LogStore::backup`] and [`LogStore::scrub`] work on an open log; [`backup()`], [`restore`],
//! [`verify`], [`scrub()`], [`repair()`] and [`stat()`] work on a folder that no process has open.
//!
//! # Example
//! ```
//! use gesta_core::{Batch, EventId, EventStore, NewEvent, Query, Read, Timestamp};
//! use gesta_log::{LogStore, Options};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let folder = tempfile::tempdir()?;
//! # let options = Options { segment_size_bytes: 1 << 20, ..Options::default() };
//! let log = LogStore::open(folder.path(), &options)?;
//! let (stream, kind) = ("account-42".parse()?, "account.opened".parse()?);
//! let event = NewEvent::json(EventId::from_u128(1), stream, kind, Timestamp::from_nanos(0), "{}");
//! let appended = log.append_blocking(Batch::new([event]))?;
//! assert_eq!(log.read_blocking(&Read::log(Query::All))?.scanned_to, appended.checkpoint);
//! # Ok(())
//! # }
//! ```

mod bugs;
mod damage;
mod env;
mod error;
mod folder;
mod format;
#[cfg(feature = "fuzzing")]
pub mod fuzzing;
mod index;
mod limits;
mod locks;
mod operations;
mod options;
mod read;
mod read_only;
mod rebuild;
mod recover;
mod segment;
mod shared;
#[cfg(feature = "sim")]
pub mod sim;
mod store;
#[cfg(test)]
mod testing;
mod write;

pub use damage::Damage;
pub use error::OpenError;
pub use format::FORMAT_VERSION;
pub use limits::{SEGMENT_SIZE_BYTES_DEFAULT, SEGMENT_SIZE_BYTES_MAX, SEGMENT_SIZE_BYTES_MIN};
pub use operations::{
    Backup, BackupError, BackupOptions, BackupReadError, BackupReport, Cancel, FileStat, IndexFileStat,
    LogStat, Repair, RepairError, RepairPlan, Repaired, Report, RestoreError, Restored, ScrubOptions,
    ScrubReport, ScrubStatus, ScrubbedAt, ScrubbedSegment, SealedSegments, SegmentStat, SegmentStateStat,
    backup, plan_repair, repair, restore, scrub, stat, verify, verify_backup,
};
pub use options::{Clock, Options, Scrub};
pub use read_only::{ReadOnly, ReadOnlyCause};
pub use recover::Recovery;
pub use shared::IndexProgress;
pub use store::{
    BatchesError, GroupLookUp, LogCopy, LogStore, Replica, ReplicaError, SourcePlace, SourcePlaceTooLong,
    batches_in,
};
