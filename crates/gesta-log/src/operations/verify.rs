//! `verify`: checks every byte as recovery does, and changes nothing.

mod index;

use std::path::Path;

use crate::env::{Env, Mode, OsEnv};
use crate::error::OpenError;
use crate::folder::Folder;
use crate::index::IndexSnapshot;
use crate::limits::INDEX_CACHE_BYTES_DEFAULT;
use crate::recover::{Recovery, load, open_listed, run_files, survey_tail};
use crate::segment::LogPoint;
use index::IndexCheck;

/// The result of a check of a log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// The report that recovery would give.
    pub recovery: Recovery,
    /// Segments that the manifest lists.
    pub segments: usize,
    /// Valid numbered frames.
    pub frames: u64,
    /// Valid events. Each was verified by its own check.
    pub events: u64,
    /// Streams with at least one of them.
    pub streams: u64,
    /// Event ids that one stream holds twice: a broken promise of the engine.
    pub repeated_ids: u64,
    /// Index files that were compared with the log, entry by entry.
    pub index_files: usize,
    /// Differences between index files and the log, and damage to index files. No event is lost by it: the next open
    /// rebuilds an index that was deleted.
    pub index_errors: Vec<String>,
}

impl Report {
    /// Whether nothing is wrong: every acknowledged byte is valid.
    #[must_use]
    pub fn is_sound(&self) -> bool {
        self.recovery.damage.is_empty()
            && self.recovery.flaws.is_empty()
            && self.recovery.read_only.is_none()
            && self.repeated_ids == 0
            && self.index_errors.is_empty()
    }
}

/// Verifies every byte of the log in a folder that no process has open. Changes nothing.
///
/// # Errors
/// [`OpenError`] if the log cannot be read at all; damage is in the report.
pub fn verify(root: impl AsRef<Path>) -> Result<Report, OpenError> {
    verify_in(&OsEnv, root.as_ref())
}

/// Verifies a log on a real or simulated machine.
pub(crate) fn verify_in(env: &dyn Env, root: &Path) -> Result<Report, OpenError> {
    let folder = Folder { env, root };
    let _lock = folder.lock_existing()?;
    let manifest = folder.existing_manifest()?;
    let mut recovery = Recovery::default();
    let listed =
        open_listed(env, root, &manifest, Mode::Read, &mut recovery.flaws).map_err(folder.recover_error())?;
    let unlisted = folder.find_stale(&manifest, &listed, &mut recovery)?;
    let begin = LogPoint::START;
    let mut survey = survey_tail(&manifest, &listed, &begin).map_err(folder.recover_error())?;
    survey.unlisted = unlisted;
    recovery.note_unproven(&survey);
    let files = run_files(root, &manifest, INDEX_CACHE_BYTES_DEFAULT);
    let (runs, _) = folder.open_runs(&manifest, &listed, &files)?;
    let known = IndexSnapshot { runs: runs.clone(), ..IndexSnapshot::default() };
    let mut check = IndexCheck::new(runs, manifest.runs.len());
    let loaded = load(&manifest, &listed, &survey, IndexSnapshot::default(), &begin, &mut check, None);
    let mut loaded = loaded.map_err(folder.recover_error())?;
    known.name_streams(&mut loaded.damage);
    recovery.note_damage(&survey, &loaded.damage);
    let found = check.finish(&loaded.snapshot.tables);
    Ok(Report {
        recovery,
        segments: manifest.segments.len(),
        frames: loaded.frames,
        events: loaded.events,
        streams: found.streams,
        repeated_ids: found.repeated_ids,
        index_files: found.runs,
        index_errors: found.errors,
    })
}
