//! Scrub: reads sealed segments again, at a rate that leaves the disk to others, and proves them, so that rot is found while there is
//! still a backup to put it right from. In the background of an open log (`background.rs`), or when somebody asks for it.

mod background;
mod record;

use std::io;
use std::num::NonZeroU64;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use gesta_core::Timestamp;

use crate::damage::Damage;
use crate::env::{Env, OsEnv, is_shortage};
use crate::folder::Folder;
use crate::manifest::{Manifest, Sealed, SegmentEntry, SegmentState, segment_path};
use crate::open_error::OpenError;
pub use crate::pace::Cancel;
use crate::pace::Pace;
use crate::paced::PacedFile;
use crate::prove::{Proof, all_lost, prove, sealed_len};
use crate::recover::RecoverError;
use crate::segment::SegmentFile;
use crate::store::LogStore;
use crate::walk::{Follow, WalkError};
pub(crate) use background::Background;
use record::{Records, sealed_segments};

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

/// Whether sealed segments are read again in the background while a log is open.
///
/// Rot that nobody looks for is found when it is needed, and by then it may be in every backup. What a scrub finds is logged, and is
/// in [`LogStore::scrub_status`]; appends go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scrub {
    /// They are not: call [`LogStore::scrub`] or run `gesta scrub` instead.
    Off,
    /// Each once in that time, at the rate that this takes, and 1 MiB/s at the least. By default in a week: a terabyte takes 2 MB/s.
    Every(Duration),
    /// At that many bytes a second, one pass after the other, and each segment once a day at the most.
    BytesPerSecond(NonZeroU64),
}

impl Default for Scrub {
    fn default() -> Self {
        Self::Every(Duration::from_secs(7 * 24 * 60 * 60))
    }
}

/// What the scrub in the background knows of a log.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ScrubStatus {
    /// The sealed segments, in the order of the log.
    pub segments: Vec<ScrubbedAt>,
}

/// What the scrub in the background knows of one segment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ScrubbedAt {
    /// The segment.
    pub segment: u64,
    /// Bytes of its file.
    pub bytes: u64,
    /// When all of it was last read; `None` if it was not yet.
    pub verified_at: Option<Timestamp>,
    /// What did not prove itself then. Where no event is lost, it is a header or a mark.
    pub damage: Vec<Damage>,
}

impl ScrubStatus {
    fn of(manifest: &Manifest, records: &Records) -> Self {
        let segment = |(entry, sealed): (&SegmentEntry, &Sealed)| {
            let record = records.of(entry, sealed);
            ScrubbedAt {
                segment: entry.header.id,
                bytes: sealed_len(sealed),
                verified_at: record.map(|own| own.verified_at),
                damage: record.map(|own| own.damage.clone()).unwrap_or_default(),
            }
        };
        Self { segments: sealed_segments(manifest).map(segment).collect() }
    }

    /// What was written down of a log that nobody has open.
    pub(crate) fn load(folder: &Folder<'_>, manifest: &Manifest) -> Self {
        Self::of(manifest, &Records::load(folder.env, folder.root, manifest.store))
    }

    /// The last pass: since then, every sealed segment was read. `None` if one was not yet.
    #[must_use]
    pub fn last_pass(&self) -> Option<Timestamp> {
        let all = self.segments.iter().map(|own| own.verified_at).collect::<Option<Vec<_>>>();
        all.and_then(|all| all.into_iter().min())
    }

    /// Bytes of the segments that were read.
    #[must_use]
    pub fn verified_bytes(&self) -> u64 {
        self.segments.iter().filter(|own| own.verified_at.is_some()).map(|own| own.bytes).sum()
    }

    /// What did not prove itself when it was last read.
    pub fn damage(&self) -> impl Iterator<Item = &Damage> {
        self.segments.iter().flat_map(|own| &own.damage)
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

    /// What the scrub in the background ([`Options::scrub`](crate::Options::scrub)) has read and found so far, also before the log was
    /// opened. Reads the manifest.
    ///
    /// # Errors
    /// [`OpenError`] where the manifest cannot be read.
    pub fn scrub_status(&self) -> Result<ScrubStatus, OpenError> {
        Ok(self.background().status(&self.folder().existing_manifest()?))
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
        let pace = Pace { bytes_per_second: options.bytes_per_second, cancel: options.cancel.clone() };
        let begins = |entry: &SegmentEntry| Some(entry.header.id) == options.after;
        let behind = manifest.segments.iter().position(begins).map_or(0, |at| at + 1);
        for entry in &manifest.segments[behind..] {
            let SegmentState::Sealed(sealed) = &entry.state else {
                report.unsealed += 1;
                continue;
            };
            let proof = self.prove_segment(entry, sealed, before.as_ref(), &pace);
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

    /// Proves one segment; `None` if it was ended. What cannot be read is damage, like what does not prove itself: the others are read
    /// all the same.
    fn prove_segment(
        &self,
        entry: &SegmentEntry,
        sealed: &Sealed,
        before: Option<&Follow>,
        pace: &Pace,
    ) -> Result<Option<Proof>, RecoverError> {
        let lost = |what: String| {
            Ok(Some(Proof { damage: vec![all_lost(entry, sealed, what)], ..Proof::default() }))
        };
        let id = entry.header.id;
        let file = match self.env.open_cold(&segment_path(self.root, id)) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return lost("the file is missing".to_owned());
            }
            Err(source) if is_shortage(&source) => {
                return Err(RecoverError::Io { what: format!("opening segment {id}"), source });
            }
            Err(error) => return lost(format!("the file cannot be opened ({error})")),
        };
        let file = Arc::new(PacedFile { file, pace: pace.clone() });
        let segment = SegmentFile { id, salt: entry.header.salt, file };
        match prove(&segment, entry, sealed, before) {
            Err(_) if pace.cancel.is_cancelled() => Ok(None),
            Err(RecoverError::Walk(WalkError::Io { source, .. }) | RecoverError::Io { source, .. })
                if !is_shortage(&source) =>
            {
                lost(format!("the file cannot be read ({source})"))
            }
            proof => proof.map(Some),
        }
    }
}

#[cfg(test)]
#[cfg(feature = "sim")]
mod tests;
