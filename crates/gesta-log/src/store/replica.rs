//! Replicas: a folder that follows one partition of another store. It is fed with recorded batches and read like any log.
//!
//! *Invariants*
//! - It holds what the source has recorded, at the same places: sequences and versions have no gap.
//! - The kept place of the source is never newer than the events.
//! - It never gets shorter. One that holds another history is moved aside.

mod error;
mod look_up;
mod raise;
mod through;

use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex};

use gesta_core::{Batch, Checkpoint, Limit, Place, Query, Read, ReadError, RecordedBatch, StoreId};

use super::open::{Purpose, open};
use super::{Drive, LogStore};
use crate::env::{Env, OsEnv};
use crate::error::OpenError;
use crate::index::ReadMode;
use crate::locks;
use crate::options::Options;
use crate::read::{self, LookError};
use crate::shared::Head;
pub use error::ReplicaError;
pub use look_up::GroupLookUp;
use through::ThroughFile;
pub use through::{SourcePlace, SourcePlaceTooLong};

/// A folder that follows one partition of another store.
///
/// The source's batches come in by [`Self::append`], at the places and times at which they were recorded. [`Self::log`] reads
/// them. Appends to that log are refused; it answers repeats, since it has all ids and command keys.
///
/// The log in the folder has one partition, whichever it follows: its positions are in partition 0, and its checkpoints have one
/// sequence. A store over several replicas translates at its rim: [`Self::lower`] and [`Self::raise`], and what is made of them.
/// Batches that are fed in or looked up are in the words of the source.
///
/// The methods block their thread. Dropping a replica closes it.
pub struct Replica {
    log: Arc<LogStore>,
    partition: u16,
    /// The time of the last event.
    recorded_at: AtomicI64,
    /// Batches come in one call after the other.
    through: Mutex<ThroughFile>,
}

impl Replica {
    /// Opens the replica in a folder, or begins one in a folder that is empty or does not exist. Recovers it if it was not closed,
    /// and blocks until its index is complete.
    ///
    /// # Errors
    /// [`OpenError`]. [`OpenError::OtherStore`] and [`OpenError::NotThisReplica`]: the folder holds something else.
    pub fn open(
        folder: impl AsRef<Path>,
        of: StoreId,
        partition: u16,
        options: &Options,
    ) -> Result<Self, OpenError> {
        Self::open_in(Arc::new(OsEnv), folder.as_ref(), of, partition, (options, Drive::Threads))
    }

    pub(crate) fn open_in(
        env: Arc<dyn Env>,
        root: &Path,
        of: StoreId,
        partition: u16,
        (options, drive): (&Options, Drive),
    ) -> Result<Self, OpenError> {
        let opened = open(env, root, options, Purpose::Replica(*of.as_bytes(), partition))?;
        let log = LogStore::start(opened, options, drive)?;
        if matches!(drive, Drive::Threads) {
            // A failure is reported by the calls that need the index.
            let _ = log.wait_for_index();
        }
        #[cfg(feature = "sim")]
        if matches!(drive, Drive::Inline) {
            log.index_inline()?;
        }
        let through = ThroughFile::open(&*log.env, root, *of.as_bytes(), |place| is_here(&log, place))?;
        let recorded_at = AtomicI64::new(last_recorded_at(&log)?);
        Ok(Self { log: Arc::new(log), partition, recorded_at, through: Mutex::new(through) })
    }

    /// Adds what the source has recorded, and moves the kept place of the source. Without batches, only the place moves. On `Ok`,
    /// the events are durable and visible, and the place is durable.
    ///
    /// After a crash the source sends some batches again: those up to the head are compared with what is here, and skipped. The
    /// others must follow the head without a gap.
    ///
    /// # Errors
    /// [`ReplicaError`]. Some of the batches, from the first on, may have been added; the place has not moved. Send all after
    /// [`Self::through`] again.
    pub fn append(&self, batches: &[RecordedBatch], through: &SourcePlace) -> Result<(), ReplicaError> {
        let mut kept = locks::lock(&self.through);
        let new = self.skip_known(batches)?;
        if let Some(last) = new.last() {
            self.log.add_blocking(new)?;
            self.recorded_at.fetch_max(last.recorded_at().as_nanos(), Ordering::AcqRel);
        }
        let head = self.log.shared.published.head();
        kept.write(through, head).map_err(ReplicaError::Through)
    }

    /// Returns how far the source had got by the newest place that is durable here; `None` if it has given none yet, or if the file
    /// with the place is lost. Everything after it may have to be sent again.
    #[must_use]
    pub fn through(&self) -> Option<SourcePlace> {
        locks::lock(&self.through).newest().cloned()
    }

    /// Looks up a group of batches, so that they can be decided against the replica by [`repeat_of`](gesta_core::repeat_of) and
    /// [`check`](gesta_core::check), before the source records them.
    ///
    /// # Errors
    /// [`ReadError`] if the disk or the index gives no answer.
    pub fn look_up<'a>(&self, batches: &'a [Batch]) -> Result<GroupLookUp<'a>, ReadError> {
        GroupLookUp::of(self, batches).map_err(|fault| LookError::from(fault).into_read_error())
    }

    /// Returns the place after the last event, in the words of the log.
    #[must_use]
    pub fn head(&self) -> Checkpoint {
        self.log.shared.head()
    }

    /// Returns the log, to be read. It refuses appends.
    #[must_use]
    pub const fn log(&self) -> &Arc<LogStore> {
        &self.log
    }

    /// Checks the mark that a place of the source has in this partition.
    ///
    /// # Errors
    /// [`ReadError::Diverged`], in the words of the source; [`ReadError`] if the disk gives no answer.
    pub async fn check_place(&self, place: &Checkpoint) -> Result<(), ReadError> {
        let lowered = self.lower(place);
        let checked = self.log.look(move |shared, mode| read::check_place(shared, &lowered, mode)).await;
        checked.map_err(|error| self.raise_error(error, place))
    }

    /// [`Self::check_place`] as a call that blocks its thread.
    ///
    /// # Errors
    /// As [`Self::check_place`].
    pub fn check_place_blocking(&self, place: &Checkpoint) -> Result<(), ReadError> {
        let checked = read::check_place(&self.log.shared, &self.lower(place), ReadMode::Disk);
        checked.map_err(|error| self.raise_error(error.into_read_error(), place))
    }

    /// Returns the partition of the source.
    #[must_use]
    pub const fn partition(&self) -> u16 {
        self.partition
    }

    /// Closes the replica. Further calls are refused.
    pub fn close(&self) {
        self.log.close();
    }

    /// Closes the replica and renames its folder to `<folder>.diverged-<seconds since 1970>`, so that a new one can be begun. The old one
    /// may hold the only copy of events that the source has lost. Returns its new path.
    ///
    /// # Errors
    /// The system's error. The folder is where it was.
    pub fn set_aside(self) -> io::Result<PathBuf> {
        self.close();
        let (env, root) = (&*self.log.env, &self.log.root);
        let seconds = env.now().as_nanos().div_euclid(1_000_000_000);
        let mut name = root.file_name().unwrap_or_default().to_owned();
        name.push(format!(".diverged-{seconds}"));
        let aside = root.with_file_name(name);
        env.rename(root, &aside)?;
        if let Some(parent) = aside.parent().filter(|parent| !parent.as_os_str().is_empty()) {
            env.sync_dir(parent)?;
        }
        Ok(aside)
    }

    /// Compares the batches up to the head with what is here, and returns the others, which must follow without a gap.
    fn skip_known<'b>(&self, batches: &'b [RecordedBatch]) -> Result<&'b [RecordedBatch], ReplicaError> {
        let head = self.log.durable_position();
        let known = batches.iter().take_while(|batch| batch.first().sequence <= head).count();
        let (known, new) = batches.split_at(known);
        for batch in known {
            self.check_partition(batch)?;
            self.check_known(batch, head)?;
        }
        let mut next = head + 1;
        for batch in new {
            self.check_partition(batch)?;
            if batch.first().sequence != next {
                return Err(ReplicaError::NotNext { position: batch.first(), next });
            }
            next = batch.last().position().sequence + 1;
        }
        Ok(new)
    }

    fn check_partition(&self, batch: &RecordedBatch) -> Result<(), ReplicaError> {
        if batch.first().partition == self.partition {
            return Ok(());
        }
        Err(ReplicaError::OtherPartition { position: batch.first(), partition: self.partition })
    }

    /// Checks that a batch that begins at or before the head is the one that is here. An unreadable event is accepted: a read
    /// reports it.
    fn check_known(&self, batch: &RecordedBatch, head: u64) -> Result<(), ReplicaError> {
        let last = batch.last();
        let (position, sequence) = (last.position(), last.position().sequence);
        if sequence > head {
            // Batches are whole, so here the batch ends at the head.
            return Err(ReplicaError::Diverged { position });
        }
        let here = read::mark_at(&self.log.shared, sequence, ReadMode::Disk)
            .map_err(|fault| ReplicaError::Read(LookError::from(fault).into_read_error()))?;
        match here {
            Some(mark) if mark != last.mark() => Err(ReplicaError::Diverged { position }),
            _ => Ok(()),
        }
    }
}

/// Whether a log has an event, with its mark.
fn is_here(log: &LogStore, place: Head) -> Result<bool, OpenError> {
    if place.position > log.durable_position() {
        return Ok(false);
    }
    let found = read::mark_at(&log.shared, place.position, ReadMode::Disk);
    let found = found.map_err(|fault| OpenError::Io {
        what: format!("reading the event at {}", place.position),
        source: io::Error::other(fault),
    })?;
    Ok(found.is_none_or(|mark| Some(mark) == place.mark))
}

/// The time of the last event; the least value if there is none.
fn last_recorded_at(log: &LogStore) -> Result<i64, OpenError> {
    let one = Limit::events(std::num::NonZeroU32::MIN);
    let last = Read::log_from(Query::All, Place::End).backward().limit(one);
    let page = log.read_blocking(&last).map_err(|fault| OpenError::Io {
        what: "reading the last event of the replica".to_owned(),
        source: io::Error::other(fault),
    })?;
    Ok(page.events.last().map_or(i64::MIN, |event| event.recorded_at().as_nanos()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_last_event_that_cannot_be_read_is_an_error() {
        let folder = tempfile::tempdir().unwrap();
        let replica = Replica::open(&folder, StoreId::from_bytes([5; 16]), 0, &Options::default()).unwrap();
        assert_eq!(last_recorded_at(&replica.log).unwrap(), i64::MIN);
        replica.close();
        let error = last_recorded_at(&replica.log).unwrap_err();
        assert!(error.to_string().contains("the last event"), "{error}");
    }
}
