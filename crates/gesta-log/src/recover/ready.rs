//! Turns a settled log into one that can be opened.

use std::sync::atomic::AtomicBool;

use super::Recovery;
use super::load::Loaded;
use super::resume::Writable;
use super::runs::RunPolicy;
use super::settled::Settled;
use crate::damage::Damage;
use crate::error::OpenError;
use crate::folder::Folder;
use crate::format::Manifest;
use crate::index::{FullTable, IndexSnapshot};
use crate::segment::Tail;

/// A log with its index, and the state that its threads continue from.
pub(crate) struct Ready {
    pub(crate) manifest: Manifest,
    pub(crate) snapshot: IndexSnapshot,
    pub(crate) damage: Vec<Damage>,
    /// Full tables that must still become runs.
    pub(crate) ended: Vec<FullTable>,
    pub(crate) tail: Tail,
    pub(crate) recovery: Recovery,
    /// The place where the writer continues; `None` if the log is read-only.
    pub(crate) writable: Option<Writable>,
}

/// Loads a settled log, and finds the place where its writer continues. Stops early with an error once `stop` is set.
pub(crate) fn ready(
    folder: &Folder<'_>,
    manifest: &mut Manifest,
    settled: &Settled,
    recovery: &mut Recovery,
    policy: &RunPolicy<'_>,
    stop: Option<&AtomicBool>,
) -> Result<Ready, OpenError> {
    let loaded = folder.load(manifest, settled, policy, stop)?;
    let Loaded { snapshot, mut damage, ended, tail, active, .. } = loaded;
    snapshot.name_streams(&mut damage);
    recovery.note_damage(&settled.survey, &damage);
    let (listed, survey) = (&settled.listed, &settled.survey);
    let writable = match recovery.read_only {
        Some(_) => None,
        None => Some(folder.writable(manifest, listed, survey, &tail, active)),
    };
    let (manifest, recovery) = (manifest.clone(), recovery.clone());
    Ok(Ready { manifest, snapshot, damage, ended, tail, recovery, writable })
}
