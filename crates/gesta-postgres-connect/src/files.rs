//! Files that a connection needs: where they are, as libpq looks for them, and who may read them.

use std::ffi::OsStr;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

/// A file that a connection needs cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("cannot use {what} `{}`: {reason}", path.display())]
pub struct FileError {
    /// What the file holds, such as `the file of passwords`.
    pub what: &'static str,
    /// The file.
    pub path: PathBuf,
    /// The cause, and what helps.
    pub reason: String,
}

/// A file of a connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Candidate {
    what: &'static str,
    pub(crate) path: PathBuf,
    /// It was named, so it must be there. A file at its usual place need not.
    is_named: bool,
}

impl Candidate {
    /// The file that the address names, or else the one that the environment names, or else the usual one in the home folder.
    pub(crate) fn find(
        what: &'static str,
        given: Option<&Path>,
        variable: &str,
        usual: impl AsRef<Path>,
    ) -> Option<Self> {
        let named = given.map(Path::to_owned).or_else(|| environment(variable).map(PathBuf::from));
        let is_named = named.is_some();
        let home = || Some(PathBuf::from(std::env::var_os("HOME")?).join(usual));
        named.or_else(home).map(|path| Self { what, path, is_named })
    }

    /// Reads the file; `None` if it is the usual one and does not exist.
    pub(crate) fn read(&self) -> Result<Option<Vec<u8>>, FileError> {
        let read = || match std::fs::metadata(&self.path)?.is_file() {
            true => std::fs::read(&self.path),
            // Reading a pipe could wait for ever.
            false => Err(io::Error::other("it is not a regular file")),
        };
        match read() {
            Ok(bytes) => Ok(Some(bytes)),
            Err(error) if is_missing(&error) && !self.is_named => Ok(None),
            Err(error) if is_missing(&error) => Err(self.error("there is no such file")),
            Err(error) => Err(self.error(error.to_string())),
        }
    }

    /// Reads a file with a secret, which others may not read.
    pub(crate) fn read_secret(&self) -> Result<Option<Vec<u8>>, FileError> {
        if is_open_to_others(&self.path).unwrap_or(false) {
            return Err(self.error("others may read it: `chmod 600` it"));
        }
        self.read()
    }

    pub(crate) fn error(&self, reason: impl Into<String>) -> FileError {
        FileError { what: self.what, path: self.path.clone(), reason: reason.into() }
    }
}

/// True if there is no file, also because a part of its path is no folder, as in a home of `/dev/null`.
fn is_missing(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory)
}

/// A variable of the environment that is set and not empty.
pub(crate) fn environment(name: impl AsRef<OsStr>) -> Option<std::ffi::OsString> {
    std::env::var_os(name).filter(|value| !value.is_empty())
}

/// True if others than the owner may read a regular file. The group may, if the file belongs to root, as libpq has it.
#[cfg(unix)]
fn is_open_to_others(path: &Path) -> io::Result<bool> {
    use std::os::unix::fs::MetadataExt as _;
    let metadata = std::fs::metadata(path)?;
    let closed_to = if metadata.uid() == 0 { 0o027 } else { 0o077 };
    Ok(metadata.is_file() && metadata.mode() & closed_to != 0)
}

#[cfg(not(unix))]
fn is_open_to_others(_: &Path) -> io::Result<bool> {
    Ok(false)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_usual_file_may_be_missing_and_a_named_one_may_not() {
        for path in ["/nowhere/.pgpass", "/dev/null/.pgpass"] {
            let usual = Candidate { what: "the file", path: path.into(), is_named: false };
            assert_eq!(usual.read(), Ok(None));
            assert_eq!(usual.read_secret(), Ok(None));
            let error = Candidate { is_named: true, ..usual }.read().unwrap_err();
            assert_eq!(error.to_string(), format!("cannot use the file `{path}`: there is no such file"));
        }
    }

    #[cfg(unix)]
    #[test]
    fn a_pipe_is_refused_and_not_waited_for() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("pipe");
        assert!(std::process::Command::new("mkfifo").arg(&path).status().unwrap().success());
        let error = Candidate { what: "the file", path, is_named: true }.read_secret().unwrap_err();
        assert_eq!(error.reason, "it is not a regular file");
    }
}
