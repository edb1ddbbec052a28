//! The files of a lock: `events.lock`, and the samples of each version in the folder `events.samples` beside it.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::lock::{Lock, LockError};
use crate::canonical::sorted;

/// The folder of the samples, from the file of the lock.
const SAMPLES: &str = "samples";

/// Where a lock and its samples are.
#[derive(Debug, Clone)]
pub struct LockFiles {
    path: PathBuf,
}

/// An event as it is written today: type, schema version and data.
pub(crate) type ReadAs = (String, u16, Value);

/// A stored event, and what it is to be read as.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Sample {
    /// What the code is to make of it.
    pub(crate) reads_as: Vec<ReadAs>,
    /// The data as stored.
    pub(crate) stored: Value,
}

/// A file of a lock cannot be read or written.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// The system does not read or write it.
    #[error("cannot use `{}`", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },
    /// The lock cannot be read.
    #[error("`{}` cannot be used", path.display())]
    Lock {
        /// The file.
        path: PathBuf,
        /// The cause.
        source: LockError,
    },
    /// Samples cannot be read.
    #[error("`{}` holds no samples: write `[{{\"stored\": …, \"reads_as\": [[type, version, data]]}}]`", path.display())]
    Samples {
        /// The file.
        path: PathBuf,
        /// The cause.
        source: serde_json::Error,
    },
    /// There is no lock yet.
    #[error("there is no `{}`: make it with the command `lock`, and commit it", path.display())]
    Missing {
        /// The file.
        path: PathBuf,
    },
}

impl LockFiles {
    /// The files of the lock at that path, such as `events.lock`.
    #[must_use]
    pub fn at(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into() }
    }

    /// The file of the lock.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The folder of the samples.
    #[must_use]
    pub fn samples_folder(&self) -> PathBuf {
        self.path.with_extension(SAMPLES)
    }

    /// Reads the lock.
    ///
    /// # Errors
    /// [`FileError`]; [`FileError::Missing`] if there is none.
    pub fn read(&self) -> Result<Lock, FileError> {
        let path = || self.path.clone();
        match std::fs::read_to_string(&self.path) {
            Ok(text) => Lock::parse(&text).map_err(|source| FileError::Lock { path: path(), source }),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Err(FileError::Missing { path: path() }),
            Err(source) => Err(FileError::Io { path: path(), source }),
        }
    }

    pub(crate) fn write(&self, lock: &Lock) -> Result<(), FileError> {
        write(&self.path, &lock.to_string())
    }

    /// The samples of a version; none if there is no file.
    pub(crate) fn samples(&self, event_type: &str, version: u16) -> Result<Vec<Sample>, FileError> {
        let path = self.sample_path(event_type, version);
        let text = match std::fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(source) => return Err(FileError::Io { path, source }),
        };
        serde_json::from_str(&text).map_err(|source| FileError::Samples { path, source })
    }

    /// Files in the folder of the samples that belong to no version of a lock.
    pub(crate) fn unknown_samples(&self, lock: &Lock) -> Result<Vec<PathBuf>, FileError> {
        let folder = self.samples_folder();
        let cannot = |source| FileError::Io { path: folder.clone(), source };
        let files = match std::fs::read_dir(&folder) {
            Ok(files) => files,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(source) => return Err(cannot(source)),
        };
        let known = lock.versions().map(|(event_type, version, _)| self.sample_path(event_type, version));
        let known = known.collect::<BTreeSet<_>>();
        let paths = files.map(|file| file.map(|file| file.path()).map_err(cannot));
        let mut unknown = paths.collect::<Result<Vec<_>, _>>()?;
        unknown.retain(|path| !known.contains(path) && path.extension().is_some_and(|end| end == "json"));
        unknown.sort();
        Ok(unknown)
    }

    pub(crate) fn write_samples(
        &self,
        event_type: &str,
        version: u16,
        samples: &[Sample],
    ) -> Result<(), FileError> {
        let path = self.sample_path(event_type, version);
        let samples =
            serde_json::to_value(samples).and_then(|json| serde_json::to_string_pretty(&sorted(&json)));
        let text = samples.map_err(|source| FileError::Samples { path: path.clone(), source })?;
        write(&path, &format!("{text}\n"))
    }

    /// The file of a version's samples: `TYPE@VERSION.json`. Other bytes than `a-z`, `0-9`, `.`, `_` and `-` are written as `%`
    /// and two digits, since file systems disagree about them and about capital letters.
    pub(crate) fn sample_path(&self, event_type: &str, version: u16) -> PathBuf {
        let mut name = String::with_capacity(event_type.len() + 11);
        for byte in event_type.bytes() {
            match byte {
                b'a'..=b'z' | b'0'..=b'9' | b'.' | b'_' | b'-' => name.push(char::from(byte)),
                other => write!(name, "%{other:02x}").expect("text can be written"),
            }
        }
        self.samples_folder().join(format!("{name}@{version}.json"))
    }
}

/// Writes a file whole: a crash leaves the old one or the new one.
fn write(path: &Path, text: &str) -> Result<(), FileError> {
    let io = |source| FileError::Io { path: path.to_owned(), source };
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder).map_err(io)?;
    }
    let mut beside = path.as_os_str().to_owned();
    beside.push(".new");
    std::fs::write(&beside, text).and_then(|()| std::fs::rename(&beside, path)).map_err(io)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_of_a_sample_file_is_the_same_on_every_file_system() {
        let files = LockFiles::at("a/events.lock");
        let cases = [
            ("bank.account.opened", "bank.account.opened@1.json"),
            ("bank.Account", "bank.%41ccount@1.json"),
            ("a/b:c", "a%2fb%3ac@1.json"),
            ("ä", "%c3%a4@1.json"),
        ];
        for (event_type, name) in cases {
            assert_eq!(files.sample_path(event_type, 1), Path::new("a/events.samples").join(name));
        }
    }
}
