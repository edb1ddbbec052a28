//! Writes the lock and its samples, if nothing that was released has changed.

use bytes::Bytes;
use serde_json::{Value, json};

use super::catalog::Catalog;
use super::check::{Checked, check, regenerated};
use super::files::{FileError, LockFiles, ReadAs, Sample};
use super::finding::Finding;
use super::lock::{Lock, SchemaState};
use super::prove::{Unread, other_generator, prove_samples, read};
use super::smallest::smallest;

/// What `lock` does beside the lock itself.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct LockOptions {
    /// Makes a sample of each version that has none: the smallest value that fits its schema. And writes anew what samples are
    /// read as if they name a version that is not written any more; other samples stay as they are.
    pub samples: bool,
    /// Stored events to take as samples, of versions that have none: type, schema version and data.
    pub stored: Vec<(String, u16, Bytes)>,
    /// Makes all schemas anew, for a lock whose schemas were made by something else.
    pub regenerate: bool,
}

/// What `lock` did.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Locked {
    /// What is wrong, and what may be. With an error nothing was written.
    pub findings: Vec<Finding>,
    /// The versions in the lock.
    pub versions: usize,
    /// True if the file of the lock was written: it was not there, or had other entries.
    pub is_changed: bool,
    /// The files of samples that were made.
    pub samples: usize,
    /// The files of samples that were written anew, since they named a version that is not written any more.
    pub rewritten: usize,
}

/// Brings the lock up to the code. It adds new versions and additive changes. If something that was released has changed, it
/// writes nothing.
///
/// # Errors
/// [`FileError`] if a file cannot be read or written. What is wrong with events is a [`Finding`].
pub fn lock(catalog: &Catalog, files: &LockFiles, options: &LockOptions) -> Result<Locked, FileError> {
    let before = match files.read() {
        Err(FileError::Missing { .. }) => None,
        read => Some(read?),
    };
    let locked = before.clone().unwrap_or_default();
    let Checked { lock, mut findings } = updated(catalog, files, &locked, options)?;
    let mut to_write = Vec::new();
    for (event_type, version, _) in lock.versions() {
        let samples = files.samples(event_type, version)?;
        let is_new = samples.is_empty();
        let written = match is_new {
            true => new_sample(catalog, &lock, event_type, version, options),
            false if options.samples => reread(catalog, &lock, event_type, version, samples),
            false => Ok(Vec::new()),
        };
        match written {
            Ok(samples) if samples.is_empty() => {}
            Ok(samples) => to_write.push((event_type, version, samples, is_new)),
            Err(finding) => findings.push(finding),
        }
    }
    let (versions, has_changed) = (lock.entries.len(), before.as_ref() != Some(&lock));
    let mut report = Locked { findings, versions, is_changed: false, samples: 0, rewritten: 0 };
    if report.findings.iter().any(Finding::is_error) {
        return Ok(report);
    }
    for (event_type, version, samples, is_new) in to_write {
        files.write_samples(event_type, version, &samples)?;
        *(if is_new { &mut report.samples } else { &mut report.rewritten }) += 1;
    }
    if has_changed {
        files.write(&lock)?;
        report.is_changed = true;
    }
    Ok(report)
}

fn updated(
    catalog: &Catalog,
    files: &LockFiles,
    locked: &Lock,
    options: &LockOptions,
) -> Result<Checked, FileError> {
    let code = catalog.schemas();
    match (locked.is_comparable(), options.regenerate) {
        (true, false) => Ok(check(locked, &code)),
        (false, false) => Ok(Checked { findings: vec![other_generator(locked)], lock: locked.clone() }),
        (true, true) => {
            let remedy = "leave out `--regenerate`";
            let problem = "the schemas of the lock can be compared: making them anew would hide a change";
            let finding = Finding::error("all types", None, problem, remedy);
            Ok(Checked { findings: vec![finding], lock: locked.clone() })
        }
        (false, true) => {
            // The samples stand in for the comparison that is not possible.
            let mut checked = check(&regenerated(locked, &code), &code);
            checked.findings.extend(prove_samples(catalog, files, &checked.lock)?.1);
            Ok(checked)
        }
    }
}

/// The samples of a version, if one of them names a version that is not written any more: what that one is read as now. Otherwise
/// none, also where the code reads a sample as something else: that is for [`prove`](fn@super::prove) to say.
fn reread(
    catalog: &Catalog,
    lock: &Lock,
    event_type: &str,
    version: u16,
    mut samples: Vec<Sample>,
) -> Result<Vec<Sample>, Finding> {
    let is_written = |(name, version, _): &ReadAs| {
        lock.get(name, *version).is_some_and(|entry| entry.state == SchemaState::Current)
    };
    let mut has_changed = false;
    for sample in samples.iter_mut().filter(|sample| !sample.reads_as.iter().all(is_written)) {
        let reads_as = read(catalog, lock, event_type, version, sample.stored.to_string().as_bytes());
        sample.reads_as = reads_as.map_err(|Unread { problem, remedy }| {
            Finding::error(event_type, version, format!("a sample {problem}"), remedy)
        })?;
        has_changed = true;
    }
    Ok(if has_changed { samples } else { Vec::new() })
}

/// A sample of a version that has none: of stored data if there is, else of its schema. None if none is wanted.
fn new_sample(
    catalog: &Catalog,
    lock: &Lock,
    event_type: &str,
    version: u16,
    options: &LockOptions,
) -> Result<Vec<Sample>, Finding> {
    let fails = |problem: String, remedy: &str| Finding::error(event_type, version, problem, remedy);
    let mut stored = options.stored.iter();
    let from_log = stored.find(|(name, of, _)| (name.as_str(), *of) == (event_type, version));
    let (stored, what) = match from_log {
        Some((.., data)) => {
            let json = serde_json::from_slice::<Value>(data).map_err(|error| {
                fails(format!("a stored event is no JSON: {error}"), "write the sample by hand")
            })?;
            (json, "a stored event")
        }
        None if options.samples => {
            let schema = lock.get(event_type, version).and_then(|entry| entry.schema.as_ref());
            let value = schema.map_or_else(|| Some(json!({})), smallest);
            let value = value.ok_or_else(|| {
                fails(
                    "no value can be made of its schema".to_owned(),
                    "write the sample by hand, or take one with `--from`",
                )
            })?;
            (value, "the smallest value of its schema")
        }
        None => return Ok(Vec::new()),
    };
    let reads_as = read(catalog, lock, event_type, version, stored.to_string().as_bytes());
    let reads_as =
        reads_as.map_err(|Unread { problem, remedy }| fails(format!("{what} {problem}"), remedy))?;
    Ok(vec![Sample { stored, reads_as }])
}
