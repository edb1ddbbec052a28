//! Scrub: reads sealed segments again, at a rate that leaves the disk to others, and proves them, so that rot is found while there is
//! still a backup to put it right from.

use std::io;
use std::num::NonZeroU64;
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;

use crate::damage::Damage;
use crate::env::{Env, Mode, OsEnv};
use crate::folder::Folder;
use crate::manifest::{Manifest, Sealed, SegmentEntry, SegmentState};
use crate::open_error::OpenError;
use crate::prove::{Proof, all_lost, prove, sealed_len};
use crate::recover::RecoverError;
use crate::segment::SegmentFile;
use crate::store::LogStore;
use crate::walk::{Follow, WalkError};

/// How a scrub goes about it.
#[derive(Clone, Default)]
pub struct ScrubOptions {
    /// Bytes that are read a second at the most; as fast as it goes, if not said.
    pub bytes_per_second: Option<NonZeroU64>,
    /// Begins behind this segment, the last one of a scrub that was cancelled; at the beginning, if it is not listed.
    pub after: Option<u64>,
    /// Ends it early.
    pub cancel: Cancel,
}

/// Ends a long task from another thread. A clone ends the same task.
#[derive(Clone, Default)]
pub struct Cancel(Arc<Cancelled>);

#[derive(Default)]
struct Cancelled {
    is_cancelled: Mutex<bool>,
    changed: Condvar,
}

impl Cancel {
    /// Ends the task soon, even where it waits.
    pub fn cancel(&self) {
        *self.0.is_cancelled.lock().unwrap_or_else(PoisonError::into_inner) = true;
        self.0.changed.notify_all();
    }

    /// Waits for so long, or until the task is to end: breaks then.
    fn pause(&self, pause: Duration) -> ControlFlow<()> {
        let guard = self.0.is_cancelled.lock().unwrap_or_else(PoisonError::into_inner);
        let waited = self.0.changed.wait_timeout_while(guard, pause, |is_cancelled| !*is_cancelled);
        match *waited.unwrap_or_else(PoisonError::into_inner).0 {
            true => ControlFlow::Break(()),
            false => ControlFlow::Continue(()),
        }
    }
}

/// What a scrub found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ScrubReport {
    /// The sealed segments that were read to their end, in the order of the log.
    pub segments: Vec<ScrubbedSegment>,
    /// Listed segments that are not sealed yet, and so were not read.
    pub unsealed: usize,
    /// Whether it was cancelled: behind the last segment above, nothing was proven.
    pub cancelled: bool,
}

/// What a scrub found in one segment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ScrubbedSegment {
    /// The segment.
    pub segment: u64,
    /// Bytes of its file, all of which were read.
    pub bytes: u64,
    /// Numbered frames that proved themselves.
    pub frames: u64,
    /// Events that proved themselves.
    pub events: u64,
    /// What did not. Where no event is lost, it is a header or a mark.
    pub damage: Vec<Damage>,
}

impl ScrubReport {
    /// Whether everything that was read proved itself.
    #[must_use]
    pub fn is_sound(&self) -> bool {
        self.segments.iter().all(|own| own.damage.is_empty())
    }
}

impl LogStore {
    /// Reads the sealed segments again and proves them, while the log is in use. Takes no part in appends and reads, but their disk.
    /// Blocks its thread: call it from one of its own, and end it with [`ScrubOptions::cancel`].
    ///
    /// # Errors
    /// [`OpenError`] where the manifest cannot be read. Damage, and what the disk refuses to read, is in the report.
    pub fn scrub(&self, options: &ScrubOptions) -> Result<ScrubReport, OpenError> {
        let folder = self.folder();
        folder.scrub(&folder.existing_manifest()?, options)
    }
}

/// Reads and proves the sealed segments of a log in a folder that nobody has open. Changes nothing.
///
/// # Errors
/// [`OpenError`] where the log cannot be read at all; damage is in the report.
pub fn scrub(root: impl AsRef<Path>, options: &ScrubOptions) -> Result<ScrubReport, OpenError> {
    scrub_in(&OsEnv, root.as_ref(), options)
}

fn scrub_in(env: &dyn Env, root: &Path, options: &ScrubOptions) -> Result<ScrubReport, OpenError> {
    let folder = Folder { env, root };
    let _lock = folder.lock_existing()?;
    folder.scrub(&folder.existing_manifest()?, options)
}

impl Folder<'_> {
    pub(crate) fn scrub(
        &self,
        manifest: &Manifest,
        options: &ScrubOptions,
    ) -> Result<ScrubReport, OpenError> {
        let mut report = ScrubReport::default();
        let mut before = None;
        let begins = |entry: &SegmentEntry| Some(entry.header.id) == options.after;
        let behind = manifest.segments.iter().position(begins).map_or(0, |at| at + 1);
        for entry in &manifest.segments[behind..] {
            let SegmentState::Sealed(sealed) = &entry.state else {
                report.unsealed += 1;
                continue;
            };
            let proof = self.prove_segment(entry, sealed, before.as_ref(), options);
            let Some(proof) = proof.map_err(self.recover_error())? else {
                report.cancelled = true;
                break;
            };
            before = proof.end;
            let Proof { frames, events, damage, .. } = proof;
            let (segment, bytes) = (entry.header.id, sealed_len(sealed));
            report.segments.push(ScrubbedSegment { segment, bytes, frames, events, damage });
        }
        Ok(report)
    }

    /// Proves one segment. What cannot be read is damage, like what does not prove itself: the others are read all the same.
    fn prove_segment(
        &self,
        entry: &SegmentEntry,
        sealed: &Sealed,
        before: Option<&Follow>,
        options: &ScrubOptions,
    ) -> Result<Option<Proof>, RecoverError> {
        let lost = |what: String| {
            Ok(Some(Proof { damage: vec![all_lost(entry, sealed, what)], ..Proof::default() }))
        };
        let segment = match SegmentFile::open(self.env, self.root, &entry.header, Mode::Read) {
            Ok(segment) => segment,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return lost("the file is missing".to_owned());
            }
            Err(error) => return lost(format!("the file cannot be opened ({error})")),
        };
        match prove(&segment, entry, sealed, before, |bytes| options.pace(bytes)) {
            Err(RecoverError::Walk(WalkError::Io { source, .. }) | RecoverError::Io { source, .. }) => {
                lost(format!("the file cannot be read ({source})"))
            }
            proof => proof,
        }
    }
}

impl ScrubOptions {
    /// Waits for as long as reading so many bytes may take. What the reading took itself comes on top: the rate is a ceiling.
    fn pace(&self, bytes: u64) -> ControlFlow<()> {
        let pause = self
            .bytes_per_second
            .map_or(Duration::ZERO, |rate| Duration::from_nanos(bytes.saturating_mul(1_000_000_000) / rate));
        self.cancel.pause(pause)
    }
}

#[cfg(test)]
#[cfg(feature = "sim")]
mod tests;
