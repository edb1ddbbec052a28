//! Stat: the parts of a log according to its files, without loading it.

use std::path::Path;

use gesta_core::{StoreId, Timestamp};

use super::scrub::ScrubStatus;
use crate::env::{Env, Mode, OsEnv};
use crate::error::{OpenError, io_error};
use crate::folder::Folder;
use crate::format::{
    EndBody, Frame, RunEntry, Sealed, SegmentEntry, SegmentRole, SegmentState, last_position, sealed_len,
};
use crate::recover::RecoverError;
use crate::segment::{ChainPosition, SegmentFile, Tally, Walker};

/// Bytes after the last frame that are read: if the log ends there, all of them are zeros.
const BEHIND_BYTES: usize = 512;

/// The parts of a log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogStat {
    /// The store.
    pub store: StoreId,
    /// Stores whose segments belong to it since a restore.
    pub origins: Vec<StoreId>,
    /// Opens so far.
    pub boot_epoch: u64,
    /// Manifests so far.
    pub manifest_generation: u64,
    /// The last position that the manifest proves to be durable. A log that ends before it has lost events.
    pub proven_position: u64,
    /// Its segments, in the order of the log.
    pub segments: Vec<SegmentStat>,
    /// The time of the machine's clock.
    pub now: Timestamp,
    /// The files of its index, from old to new.
    pub index: Vec<IndexFileStat>,
    /// When background scrubs last read its sealed segments, and what they found.
    pub scrub: ScrubStatus,
    /// Files in quarantine: torn writes, and what a repair dropped.
    pub quarantine: Vec<FileStat>,
    /// The reports of repairs.
    pub repairs: Vec<FileStat>,
}

/// One segment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SegmentStat {
    /// The segment's id, which names its file.
    pub segment: u64,
    /// Its state.
    pub state: SegmentStateStat,
    /// Whether another store wrote it, before a restore.
    pub is_restored: bool,
    /// Whether it holds a tail that recovery copied.
    pub is_recovered: bool,
    /// The length of its file; `None` if that is missing.
    pub file_bytes: Option<u64>,
    /// Bytes of header and frames.
    pub used_bytes: u64,
    /// Numbered frames: batches, and idle marks.
    pub frames: u64,
    /// Events.
    pub events: u64,
    /// The position of its first event, or of the next one to come.
    pub first_position: u64,
    /// Whether other bytes follow its frames although it is not sealed: a torn write, or damage. `verify` tells
    /// which.
    pub is_broken_off: bool,
    /// When its first and last events were recorded; `None` if it has none, or if its END is damaged.
    pub recorded_at: Option<(Timestamp, Timestamp)>,
}

/// One index file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct IndexFileStat {
    /// Its id, which names it.
    pub file: u64,
    /// The first and the last position that it covers.
    pub positions: (u64, u64),
    /// Its length.
    pub bytes: u64,
    /// How often the covered range was merged.
    pub tier: u8,
}

/// The state of a segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SegmentStateStat {
    /// Made ahead; holds no frame.
    Spare,
    /// Not sealed. Its counts cover the valid frames from its beginning on.
    Active,
    /// It never changes again. Its counts come from the manifest. A backup that holds it does not copy it again.
    Sealed,
}

/// A file beside the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileStat {
    /// Its name.
    pub name: String,
    /// Its length.
    pub bytes: u64,
}

impl LogStat {
    /// Events in all segments.
    #[must_use]
    pub fn events(&self) -> u64 {
        self.segments.iter().map(|own| own.events).sum()
    }

    /// Bytes of header and frames in all segments.
    #[must_use]
    pub fn used_bytes(&self) -> u64 {
        self.segments.iter().map(|own| own.used_bytes).sum()
    }

    /// Bytes of the index.
    #[must_use]
    pub fn index_bytes(&self) -> u64 {
        self.index.iter().map(|own| own.bytes).sum()
    }

    /// By how many nanoseconds the machine's clock is behind the newest event; 0 if it is not. Until it has caught up, new events are
    /// recorded at that event's time, since `recorded_at` never goes back.
    #[must_use]
    pub fn clock_behind_nanos(&self) -> u64 {
        let newest =
            self.segments.iter().filter_map(|own| own.recorded_at).map(|(_, last)| last.as_nanos()).max();
        newest.map_or(0, |newest| u64::try_from(newest.saturating_sub(self.now.as_nanos())).unwrap_or(0))
    }

    /// The position of the last event.
    #[must_use]
    pub fn last_position(&self) -> u64 {
        self.segments.iter().filter(|own| own.frames > 0).map(SegmentStat::last_position).max().unwrap_or(0)
    }
}

impl SegmentStat {
    /// The position of its last event; one before its first if it has none.
    #[must_use]
    pub const fn last_position(&self) -> u64 {
        (self.first_position + self.events).saturating_sub(1)
    }
}

/// Describes the log in a folder that no process has open. Reads headers and ENDs of sealed segments, and the frames
/// of the active one; verifies nothing else. Changes nothing.
///
/// # Errors
/// [`OpenError`] if the log cannot be read at all.
pub fn stat(root: impl AsRef<Path>) -> Result<LogStat, OpenError> {
    stat_in(&OsEnv, root.as_ref())
}

pub(crate) fn stat_in(env: &dyn Env, root: &Path) -> Result<LogStat, OpenError> {
    let folder = Folder { env, root };
    let _lock = folder.lock_existing()?;
    let manifest = folder.existing_manifest()?;
    let mut segments = Vec::with_capacity(manifest.segments.len());
    for entry in &manifest.segments {
        let stat = segment_stat(&folder, entry, manifest.store).map_err(folder.recover_error())?;
        segments.push(stat);
    }
    Ok(LogStat {
        store: StoreId::from_bytes(manifest.store),
        origins: manifest.origins.iter().copied().map(StoreId::from_bytes).collect(),
        boot_epoch: manifest.boot_epoch,
        manifest_generation: manifest.generation,
        proven_position: manifest.proven_position(),
        scrub: ScrubStatus::load(&folder, &manifest),
        segments,
        now: env.now(),
        index: manifest.runs.iter().map(index_stat).collect(),
        quarantine: files(&folder, &root.join("quarantine"), |_| true)?,
        repairs: files(&folder, root, |name| name.starts_with("repair-") && name.ends_with(".txt"))?,
    })
}

const fn index_stat(entry: &RunEntry) -> IndexFileStat {
    let RunEntry { id, first, last, size_bytes, tier, .. } = *entry;
    IndexFileStat { file: id, positions: (first, last), bytes: size_bytes, tier }
}

fn files(folder: &Folder<'_>, of: &Path, is_one: impl Fn(&str) -> bool) -> Result<Vec<FileStat>, OpenError> {
    let what = || io_error(format!("listing {}", of.display()));
    let names = folder.env.list(of).map_err(what())?.into_iter().filter(|name| is_one(name));
    let stat = |name: String| {
        let bytes = folder.env.open(&of.join(&name), Mode::Read)?.len()?;
        Ok(FileStat { name, bytes })
    };
    names.map(stat).collect::<std::io::Result<Vec<_>>>().map_err(what())
}

fn segment_stat(
    folder: &Folder<'_>,
    entry: &SegmentEntry,
    store: [u8; 16],
) -> Result<SegmentStat, RecoverError> {
    let id = entry.header.id;
    let mut stat = SegmentStat {
        segment: id,
        state: SegmentStateStat::Spare,
        is_restored: entry.header.origin != store,
        is_recovered: entry.header.role == SegmentRole::Recovery,
        file_bytes: None,
        used_bytes: 0,
        frames: 0,
        events: 0,
        first_position: 0,
        is_broken_off: false,
        recorded_at: None,
    };
    if let SegmentState::Sealed(sealed) = &entry.state {
        stat.state = SegmentStateStat::Sealed;
        stat.count_sealed(sealed);
    }
    let io = |source| RecoverError::Io { what: format!("reading segment {id}"), source };
    let segment = match SegmentFile::open(folder.env, folder.root, &entry.header, Mode::Read) {
        Ok(segment) => segment,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(stat),
        Err(error) => return Err(io(error)),
    };
    stat.file_bytes = Some(segment.file.len().map_err(io)?);
    match &entry.state {
        SegmentState::Sealed(sealed) => stat.recorded_at = recorded_at(&segment, sealed)?,
        // A spare is used before the manifest records its frames.
        SegmentState::Spare | SegmentState::Active => stat.count_frames(&segment)?,
    }
    Ok(stat)
}

impl SegmentStat {
    fn count_sealed(&mut self, sealed: &Sealed) {
        self.used_bytes = sealed_len(sealed);
        self.frames = sealed.frames;
        self.events = sealed.events;
        self.first_position = sealed.first_position;
        assert_eq!(self.last_position(), last_position(sealed), "one way to count positions");
    }

    fn count_frames(&mut self, segment: &SegmentFile) -> Result<(), RecoverError> {
        let first = SegmentFile::first_frame_offset();
        let mut walker = Walker::new(segment)?;
        let Some((_, header)) = walker.frame_at(first)? else { return Ok(()) };
        let (mut chain, mut end) = (ChainPosition::before(&header), first);
        let mut tally = Tally::begin(&segment.salt, &chain);
        walker.walk(first, u64::MAX, &mut chain, |frame, _, offset| {
            tally.add(&frame.header, offset);
            end = offset + frame.header.length as u64;
        })?;
        self.is_broken_off = walker.bytes(end, BEHIND_BYTES)?.iter().any(|byte| *byte != 0);
        let body = tally.body();
        self.state = SegmentStateStat::Active;
        self.used_bytes = end;
        (self.frames, self.events) = (body.frames, body.events);
        self.first_position = header.position;
        self.recorded_at = times(&body);
        Ok(())
    }
}

/// When the events of a segment were recorded, according to its END.
fn recorded_at(
    segment: &SegmentFile,
    sealed: &Sealed,
) -> Result<Option<(Timestamp, Timestamp)>, RecoverError> {
    let frame = Walker::new(segment)?.frame_at(sealed.end)?;
    Ok(frame.and_then(|(bytes, _)| {
        let frame = Frame::read(&segment.salt, sealed.end, &bytes).ok()?;
        EndBody::decode(frame.command).as_ref().and_then(times)
    }))
}

fn times(body: &EndBody) -> Option<(Timestamp, Timestamp)> {
    let times = [body.first_recorded_at, body.last_recorded_at].map(Timestamp::from_nanos);
    (body.events > 0).then_some(times.into())
}
