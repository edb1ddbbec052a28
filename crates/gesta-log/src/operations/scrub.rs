//! Scrub: reads and verifies sealed segments at a limited rate, so that rot is found while a backup can still replace
//! the bytes. Runs in the background of an open log (`background.rs`), or on request.

mod background;
mod record;
#[cfg(test)]
#[cfg(feature = "sim")]
mod tests;

use std::io;
use std::num::NonZeroU64;
use std::path::Path;
use std::sync::Arc;

use gesta_core::Timestamp;

use super::pace::{Cancel, Pace};
use super::paced::PacedFile;
use super::verify_segment::{Proof, all_lost, prove};
use crate::damage::Damage;
use crate::env::{Env, OsEnv, is_shortage};
use crate::error::OpenError;
use crate::folder::{Folder, segment_path};
use crate::format::{Manifest, ScrubRecords, Sealed, SegmentEntry, SegmentState, sealed_len};
use crate::recover::RecoverError;
use crate::segment::{ChainPosition, SegmentFile, WalkError};
pub(crate) use background::Background;
use record::sealed_segments;

/// Options of a scrub.
#[derive(Clone, Default)]
pub struct ScrubOptions {
    /// The most bytes to read a second; without a limit if `None`.
    pub bytes_per_second: Option<NonZeroU64>,
    /// Begins after this segment, the last one of a cancelled scrub; at the beginning if it is `None` or not listed.
    pub after: Option<u64>,
    /// Ends it early.
    pub cancel: Cancel,
}

/// The results of background scrubs of a log.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ScrubStatus {
    /// The sealed segments, in the order of the log.
    pub segments: Vec<ScrubbedAt>,
}

/// The results of background scrubs of one segment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ScrubbedAt {
    /// The segment.
    pub segment: u64,
    /// Bytes of its file.
    pub bytes: u64,
    /// When all of it was last read; `None` if never.
    pub verified_at: Option<Timestamp>,
    /// The damage that was found then. Damage without a lost event is in a header or a mark.
    pub damage: Vec<Damage>,
}

impl ScrubStatus {
    fn of(manifest: &Manifest, records: &ScrubRecords) -> Self {
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

    /// The stored results of a log that no process has open.
    pub(crate) fn load(folder: &Folder<'_>, manifest: &Manifest) -> Self {
        Self::of(manifest, &ScrubRecords::load(folder.env, folder.root, manifest.store))
    }

    /// When the last pass began: every sealed segment was read since. `None` if one never was.
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

    /// The damage that the last reads found.
    pub fn damage(&self) -> impl Iterator<Item = &Damage> {
        self.segments.iter().flat_map(|own| &own.damage)
    }
}

/// What a scrub found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ScrubReport {
    /// The sealed segments that were read to their end, in the order of the log.
    pub segments: Vec<ScrubbedSegment>,
    /// Listed segments that are not sealed yet. They are not read.
    pub unsealed: usize,
    /// Whether it was cancelled. Segments after the last one above were not verified.
    pub cancelled: bool,
}

/// The result of a scrub of one segment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ScrubbedSegment {
    /// The segment.
    pub segment: u64,
    /// Bytes of its file. All of them were read.
    pub bytes: u64,
    /// Valid numbered frames.
    pub frames: u64,
    /// Valid events.
    pub events: u64,
    /// The damage. Damage without a lost event is in a header or a mark.
    pub damage: Vec<Damage>,
}

impl ScrubReport {
    /// Whether everything that was read is valid.
    #[must_use]
    pub fn is_sound(&self) -> bool {
        self.segments.iter().all(|own| own.damage.is_empty())
    }
}

/// Verifies the sealed segments of a log in a folder that no process has open. Changes nothing.
///
/// # Errors
/// [`OpenError`] if the log cannot be read at all; damage is in the report.
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

    /// Verifies one segment; `None` if it was cancelled. A read error counts as damage: the other segments are still
    /// read.
    fn prove_segment(
        &self,
        entry: &SegmentEntry,
        sealed: &Sealed,
        before: Option<&ChainPosition>,
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
            proof => proof.map(|mut proof| {
                proof.damage.append(&mut proof.flaws);
                Some(proof)
            }),
        }
    }
}
