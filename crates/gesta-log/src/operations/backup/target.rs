//! The folder of a backup while it is written: only missing files are copied, and the manifest comes last.

use std::ops::Range;
use std::path::{Path, PathBuf};

use gesta_core::StoreId;

use super::cut::{Cut, CutSegment};
use super::error::{BackupError, backup_io};
use super::history::check_continues;
use super::manifest::file_name;
use super::prove::{Inspected, inspect};
use super::{Backup, BackupOptions, SealedSegments};
use crate::damage::Damage;
use crate::env::{Env, File, Lock, Mode, write_whole};
use crate::folder::{Folder, segment_path};
use crate::format::{BackupFile, BackupManifest, Manifest, SEGMENT_HEADER_BYTES, sealed_len};
use crate::operations::pace::Pace;
use crate::segment::{ChainPosition, SegmentEnd, SegmentFile, Stop, Tally, WalkError, Walker, write_end};

/// Bytes copied at once, each piece durable before the next: as much as a copy may have in flight without delaying
/// the syncs of appends.
const COPY_STEP_BYTES: usize = 4 << 20;
/// The same with a limited rate, which leaves time between the pieces: less in flight at once, but enough that
/// appends do not mostly wait for the syncs of the copy.
const PACED_STEP_BYTES: usize = 1 << 20;

/// Files that may stand in a backup's folder beside the log's: the key-value store of its server, and a copy of it that
/// is being made, with what SQLite keeps beside it. The log neither reads nor changes them.
fn is_of_the_server(name: &str) -> bool {
    name == "state.db" || name.starts_with("state.db.new")
}

/// The folder of a backup, locked.
pub(crate) struct Target<'a> {
    env: &'a dyn Env,
    root: &'a Path,
    previous: Option<BackupManifest>,
    _lock: Box<dyn Lock>,
}

/// How a file came into the backup.
enum Came {
    WasThere,
    Linked,
    Copied,
}

impl<'a> Target<'a> {
    /// Opens or creates the folder of a backup of that store.
    pub(crate) fn open(env: &'a dyn Env, root: &'a Path, store: [u8; 16]) -> Result<Self, BackupError> {
        let path = || root.to_owned();
        let name = root.display();
        let names = env.list(root).map_err(backup_io(format!("listing `{name}`")))?;
        let is_own = |name: &String| {
            BackupManifest::is_own_name(name)
                || ["segments", "LOCK", "lost+found"].contains(&name.as_str())
                || is_of_the_server(name)
        };
        if let Some(name) = names.iter().find(|name| !is_own(name)) {
            return Err(BackupError::NotABackup { path: path(), name: name.clone() });
        }
        env.create_dir(&root.join("segments")).map_err(backup_io(format!("making the folder `{name}`")))?;
        let locked = env.lock(&root.join("LOCK")).map_err(backup_io(format!("locking `{name}`")))?;
        let lock = locked.map_err(|holder| BackupError::InUse { path: path(), holder })?;
        let holder = format!("process {}", std::process::id());
        lock.describe(&holder).map_err(backup_io("writing the lock file"))?;
        let previous = BackupManifest::load(env, root).map_err(BackupError::Previous)?;
        if let Some(previous) = previous.as_ref().filter(|previous| previous.store != store) {
            let (found, store) = (previous.store(), StoreId::from_bytes(store));
            return Err(BackupError::OtherStore { path: path(), found, store });
        }
        Ok(Self { env, root, previous, _lock: lock })
    }

    /// Refuses a cut that does not continue the previous backup.
    pub(crate) fn check_continues(
        &self,
        source: &Folder<'_>,
        cut: &Cut,
        options: &BackupOptions,
    ) -> Result<(), BackupError> {
        let pace = Pace { bytes_per_second: options.bytes_per_second, ..Pace::default() };
        match &self.previous {
            Some(previous) => check_continues(source, cut, self.root, previous, &pace),
            None => Ok(()),
        }
    }

    /// Adds the missing segments, then replaces the manifest.
    pub(crate) fn fill(
        &self,
        source: &Folder<'_>,
        manifest: &Manifest,
        cut: &Cut,
        options: &BackupOptions,
    ) -> Result<Backup, BackupError> {
        let pace = Pace { bytes_per_second: options.bytes_per_second, ..Pace::default() };
        let taken_at = self.env.now();
        let mut backup = Backup {
            store: StoreId::from_bytes(manifest.store),
            position: cut.position,
            frame: cut.frame,
            taken_at,
            segments: cut.segments.len(),
            bytes: 0,
            copied: 0,
            copied_bytes: 0,
            linked: 0,
        };
        let mut files = Vec::with_capacity(cut.segments.len());
        for own in &cut.segments {
            let (file, came) = self.bring(source, own, options.sealed, &pace)?;
            let bytes = sealed_len(&file.sealed);
            backup.bytes += bytes;
            match came {
                Came::WasThere => {}
                Came::Linked => backup.linked += 1,
                Came::Copied => {
                    (backup.copied, backup.copied_bytes) = (backup.copied + 1, backup.copied_bytes + bytes)
                }
            }
            files.push(file);
        }
        let manifest = BackupManifest {
            partition: manifest.partition,
            store: manifest.store,
            position: cut.position,
            frame: cut.frame,
            taken_at,
            generation: manifest.generation,
            boot_epoch: manifest.boot_epoch,
            origins: manifest.origins.clone(),
            files,
        };
        self.finish(&manifest).map_err(backup_io("finishing the backup"))?;
        Ok(backup)
    }

    /// Makes sure that the backup holds a segment.
    fn bring(
        &self,
        source: &Folder<'_>,
        own: &CutSegment,
        sealed: SealedSegments,
        pace: &Pace,
    ) -> Result<(BackupFile, Came), BackupError> {
        if let Some(file) = self.listed(own)? {
            return Ok((file, Came::WasThere));
        }
        let path = self.path(own);
        // Left over from an interrupted attempt: used if it is valid.
        if let Ok(Some(file)) = self.inspect(&path, own, pace).map(Inspected::sound) {
            return Ok((file, Came::WasThere));
        }
        let temporary = path.with_extension("seg.tmp");
        let linked = match sealed {
            SealedSegments::Link if own.end.is_none() => self.link(source, own, &temporary, pace)?,
            SealedSegments::Link | SealedSegments::Copy => None,
        };
        let (file, came) = match linked {
            Some(file) => (file, Came::Linked),
            None => (self.copy(source, own, &temporary, pace)?, Came::Copied),
        };
        self.env.rename(&temporary, &path).map_err(backup_io(format!("naming {}", path.display())))?;
        Ok((file, came))
    }

    /// The previous backup's file of the same segment, if it has one of the same length.
    fn listed(&self, own: &CutSegment) -> Result<Option<BackupFile>, BackupError> {
        let is_same = |file: &&BackupFile| file.entry.header == own.entry.header && file.sealed == own.sealed;
        let Some(file) = self.previous.iter().flat_map(|previous| &previous.files).find(is_same) else {
            return Ok(None);
        };
        // Checks the length only, which is cheap. `verify` reads the bytes.
        let Ok(there) = self.env.open(&file.path(self.root), Mode::Read) else { return Ok(None) };
        let len = there.len().map_err(backup_io("reading the backup"))?;
        Ok((len == sealed_len(&file.sealed)).then(|| file.clone()))
    }

    /// Gives a sealed segment a second name; `None` if that fails, or if the file differs from what a copy would be.
    fn link(
        &self,
        source: &Folder<'_>,
        own: &CutSegment,
        temporary: &Path,
        pace: &Pace,
    ) -> Result<Option<BackupFile>, BackupError> {
        self.remove_left(temporary)?;
        let from = segment_path(source.root, own.entry.header.id);
        if self.env.link(&from, temporary).is_err() {
            return Ok(None);
        }
        Ok(self.inspect(temporary, own, pace)?.sound())
    }

    /// Copies a segment, and verifies the copy. The header is written from the manifest, and END is written again if
    /// it is damaged.
    fn copy(
        &self,
        source: &Folder<'_>,
        own: &CutSegment,
        temporary: &Path,
        pace: &Pace,
    ) -> Result<BackupFile, BackupError> {
        let id = own.entry.header.id;
        let path = segment_path(source.root, id);
        // The active segment is in the page cache, so it is read from there.
        let from =
            if own.end.is_some() { self.env.open(&path, Mode::Read) } else { self.env.open_cold(&path) };
        let from = from.map_err(backup_io(format!("opening segment {id}")))?;
        let write = || {
            let to = write_whole(self.env, temporary, &own.entry.header.encode())?;
            let copied_to = if own.end.is_some() { own.sealed.end } else { sealed_len(&own.sealed) };
            copy_range(&*from, &*to, SEGMENT_HEADER_BYTES as u64..copied_to, pace)?;
            if let Some(end) = &own.end {
                to.write_at(&[end], own.sealed.end)?;
            }
            to.sync_all()
        };
        write().map_err(backup_io(format!("copying segment {id}")))?;
        // The copy is still in memory, so the check takes nothing from the disk.
        let inspected = match self.inspect(temporary, own, &Pace::default())? {
            Inspected::Damaged(damage) if !damage.loses_events() => self.end_again(own, temporary, damage)?,
            inspected => inspected,
        };
        match inspected {
            Inspected::Sound(file) => Ok(file),
            Inspected::Damaged(damage) => {
                self.remove_left(temporary)?;
                Err(BackupError::Damaged(damage))
            }
        }
    }

    /// Writes the END of a copy again, if its frames are those that the manifest lists: all that END holds follows
    /// from them.
    fn end_again(&self, own: &CutSegment, copy: &Path, damage: Damage) -> Result<Inspected, BackupError> {
        let write = || {
            let file = self.env.open(copy, Mode::Write)?;
            let segment = SegmentFile { id: own.entry.header.id, salt: own.entry.header.salt, file };
            let ended = ended_at(&segment, own.sealed.end)?.filter(|ended| ended.sealed == own.sealed);
            let Some(ended) = ended else { return Ok(false) };
            write_end(&segment, &ended)?;
            Ok(true)
        };
        match write().map_err(backup_io(format!("ending the copy of segment {}", own.entry.header.id)))? {
            true => self.inspect(copy, own, &Pace::default()),
            false => Ok(Inspected::Damaged(damage)),
        }
    }

    fn inspect(&self, path: &Path, own: &CutSegment, pace: &Pace) -> Result<Inspected, BackupError> {
        let inspected = inspect(self.env, path, &own.entry, &own.sealed, pace);
        inspected.map_err(backup_io(format!("reading {}", path.display())))
    }

    fn remove_left(&self, path: &Path) -> Result<(), BackupError> {
        match self.env.remove(path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                Err(backup_io(format!("removing {}", path.display()))(error))
            }
            _ => Ok(()),
        }
    }

    fn path(&self, own: &CutSegment) -> PathBuf {
        self.root.join("segments").join(file_name(&own.entry, &own.sealed))
    }

    /// Makes the new manifest durable, then removes files that only the previous backup needed.
    fn finish(&self, manifest: &BackupManifest) -> std::io::Result<()> {
        let segments = self.root.join("segments");
        self.env.sync_dir(&segments)?;
        manifest.replace(self.env, self.root)?;
        for name in self.env.list(&segments)? {
            let is_listed = manifest.files.iter().any(|file| file_name(&file.entry, &file.sealed) == name);
            let is_own = name.ends_with(".seg") || name.ends_with(".seg.tmp");
            if is_own && !is_listed {
                self.env.remove(&segments.join(name))?;
            }
        }
        self.env.sync_dir(&segments)
    }
}

/// The end of a segment whose frames end at that offset; `None` if they end elsewhere.
fn ended_at(segment: &SegmentFile, end: u64) -> std::io::Result<Option<SegmentEnd>> {
    let io = WalkError::into_io;
    let mut walker = Walker::new(segment).map_err(io)?;
    let first = SegmentFile::first_frame_offset();
    let Some((_, header)) = walker.frame_at(first).map_err(io)? else { return Ok(None) };
    let mut chain = ChainPosition::before(&header);
    let mut tally = Tally::begin(&segment.salt, &chain);
    let stop = walker.walk(first, end, &mut chain, |frame, _, offset| tally.add(&frame.header, offset));
    let stop = stop.map_err(io)?;
    Ok((stop == Stop::NoFrame { offset: end }).then(|| tally.end_at(segment, end, &chain)))
}

/// Copies a range of one file to the same place of another. All pieces except the last are durable on return.
pub(crate) fn copy_range(
    from: &dyn File,
    to: &dyn File,
    range: Range<u64>,
    pace: &Pace,
) -> std::io::Result<()> {
    let step = if pace.bytes_per_second.is_some() { PACED_STEP_BYTES } else { COPY_STEP_BYTES };
    let mut buffer = vec![0; step];
    let mut at = range.start;
    while at < range.end {
        let piece = usize::try_from((range.end - at).min(step as u64)).expect("a piece");
        let read = from.read_at(&mut buffer[..piece], at)?;
        if read == 0 {
            // The file is too short: the check of the copy reports it.
            return Ok(());
        }
        to.write_at(&[&buffer[..read]], at)?;
        to.sync_data()?;
        at += read as u64;
        if pace.pause_for(read as u64).is_break() {
            return Err(std::io::ErrorKind::Interrupted.into());
        }
    }
    Ok(())
}
