//! Proves that the code reads what was released: the lock against the code, and every sample against what it is to be read as.

use serde_json::Value;

use super::catalog::{Catalog, Written};
use super::check::check;
use super::files::{FileError, LockFiles, ReadAs, Sample};
use super::finding::Finding;
use super::lock::{GENERATOR, Lock};
use super::validate::misfit;

/// What a proof came to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Proof {
    /// What is wrong, and what may be.
    pub findings: Vec<Finding>,
    /// The released versions that were checked.
    pub versions: usize,
    /// The samples that were read.
    pub samples: usize,
}

impl Proof {
    /// True if no finding is an error.
    #[must_use]
    pub fn holds(&self) -> bool {
        !self.findings.iter().any(Finding::is_error)
    }
}

/// Checks the lock against the code, and that each sample is read as it is to be read. Writes nothing.
///
/// # Errors
/// [`FileError`] if a file cannot be read. What is wrong with events is a [`Finding`].
pub fn prove(catalog: &Catalog, files: &LockFiles) -> Result<Proof, FileError> {
    let locked = files.read()?;
    let mut proof = Proof { versions: locked.entries.len(), ..Proof::default() };
    if !locked.is_comparable() {
        proof.findings.push(other_generator(&locked));
        return Ok(proof);
    }
    let checked = check(&locked, &catalog.schemas());
    proof.findings = checked.findings;
    if proof.holds() {
        proof.findings.extend(not_locked(&locked, &checked.lock));
    }
    let (samples, findings) = prove_samples(catalog, files, &checked.lock)?;
    proof.samples = samples;
    proof.findings.extend(findings);
    Ok(proof)
}

/// The schemas of the lock cannot be compared.
pub(crate) fn other_generator(locked: &Lock) -> Finding {
    let problem = format!(
        "the schemas of the lock were made by `{}`, and those of this program by `{GENERATOR}`",
        locked.schemas
    );
    let remedy = "make them anew with `lock --regenerate`, on a commit that changes no event";
    Finding::error("all types", None, problem, remedy)
}

/// The versions that `lock` would add or change.
fn not_locked<'a>(locked: &'a Lock, code: &'a Lock) -> impl Iterator<Item = Finding> + 'a {
    let changed = code.entries.iter().filter(|(key, entry)| locked.entries.get(*key) != Some(entry));
    changed.map(|((event_type, version), _)| {
        let remedy = "run the command `lock --samples`, and commit what it writes";
        Finding::error(event_type, *version, "the lock does not have it as the code does", remedy)
    })
}

/// Reads all samples of a lock. Returns their number, and what is wrong.
pub(crate) fn prove_samples(
    catalog: &Catalog,
    files: &LockFiles,
    lock: &Lock,
) -> Result<(usize, Vec<Finding>), FileError> {
    let (mut count, mut findings) = (0, Vec::new());
    for path in files.unknown_samples(lock)? {
        let problem = format!("`{}` belongs to no version of the lock", path.display());
        let remedy = "name the file after a version, `TYPE@VERSION.json`, or remove it";
        findings.push(Finding::error("samples", None, problem, remedy));
    }
    for (event_type, version, _) in lock.versions() {
        let samples = files.samples(event_type, version)?;
        if samples.is_empty() {
            let path = files.sample_path(event_type, version);
            let remedy = format!("run `lock --samples`, or write `{}`", path.display());
            findings.push(Finding::error(event_type, version, "has no sample", remedy));
        }
        for (number, sample) in (1..).zip(&samples) {
            count += 1;
            findings.extend(prove_sample(catalog, lock, (event_type, version), number, sample).err());
        }
    }
    Ok((count, findings))
}

fn prove_sample(
    catalog: &Catalog,
    lock: &Lock,
    (event_type, version): (&str, u16),
    number: usize,
    sample: &Sample,
) -> Result<(), Finding> {
    let fails = |problem: String, remedy: &str| Finding::error(event_type, version, problem, remedy);
    let read = read(catalog, lock, event_type, version, sample.stored.to_string().as_bytes());
    let read =
        read.map_err(|Unread { problem, remedy }| fails(format!("sample {number} {problem}"), remedy))?;
    if read == sample.reads_as {
        return Ok(());
    }
    let text = |events: &[ReadAs]| serde_json::to_string(events).unwrap_or_else(|error| error.to_string());
    let problem = format!("sample {number} is read as {}, not as {}", text(&read), text(&sample.reads_as));
    Err(fails(
        problem,
        "correct the code; correct the sample only if the meaning of stored events was to change",
    ))
}

/// Stored data is not read as it should be.
pub(crate) struct Unread {
    /// What is wrong, as a sentence without a subject.
    pub(crate) problem: String,
    /// What helps.
    pub(crate) remedy: &'static str,
}

/// The events that stored data is read as today, each checked against its schema.
pub(crate) fn read(
    catalog: &Catalog,
    lock: &Lock,
    event_type: &str,
    version: u16,
    data: &[u8],
) -> Result<Vec<ReadAs>, Unread> {
    let written = catalog.rewrite(event_type, version, data).map_err(|error| Unread {
        problem: format!("is not read: {}", gesta_core::with_causes(&error)),
        remedy: "correct the type of this version, or its upcaster",
    })?;
    let written = written.ok_or_else(|| Unread {
        problem: "is of a type that no enum of the host owns".to_owned(),
        remedy: "add its enum to the host with `events`, or put `schema` on the enum that owns it",
    })?;
    written.iter().map(|written| fits(lock, written)).collect()
}

fn fits(lock: &Lock, written: &Written) -> Result<ReadAs, Unread> {
    let &Written { event_type, version, ref data } = written;
    let json = serde_json::from_slice::<Value>(data).map_err(|error| Unread {
        problem: format!("is written again as no JSON: {error}"),
        remedy: "correct how the event is encoded",
    })?;
    let schema = lock.get(event_type, version).and_then(|entry| entry.schema.as_ref());
    match schema.and_then(|schema| misfit(schema, &json)) {
        Some(misfit) => Err(Unread {
            problem: format!(
                "is written again as `{event_type}` version {version} that does not fit its schema: {misfit}"
            ),
            remedy: "make the schema say what is written, with `#[schemars(with = …)]` for example",
        }),
        None => Ok((event_type.to_owned(), version, json)),
    }
}
