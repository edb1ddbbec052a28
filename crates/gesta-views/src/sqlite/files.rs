//! The files of a view's versions: their names, and how they are removed.

use std::path::{Path, PathBuf};

/// The name of a version's database in the views' folder.
pub(crate) fn file_name(view: &str, hash: &str) -> String {
    format!("{view}.{}.db", &hash[..8])
}

/// The files of a view's versions, each with the first digits of its hash.
pub(crate) fn versions(folder: &Path, view: &str) -> std::io::Result<Vec<(PathBuf, String)>> {
    let entries = std::fs::read_dir(folder)?.collect::<Result<Vec<_>, _>>()?;
    let with_version = |path: PathBuf| version_of(&path, view).map(|version| (path, version));
    Ok(entries.into_iter().map(|entry| entry.path()).filter_map(with_version).collect())
}

/// The version in a file name of the form `<view>.<8 hexadecimal digits>.db`.
fn version_of(path: &Path, view: &str) -> Option<String> {
    let name = path.file_name().and_then(|name| name.to_str())?;
    let hash = name.strip_prefix(view)?.strip_prefix('.')?.strip_suffix(".db")?;
    (hash.len() == 8 && hash.bytes().all(|byte| byte.is_ascii_hexdigit())).then(|| hash.to_owned())
}

/// Removes an old version of a view. A file that cannot be removed is tried again when the view is opened.
pub(crate) fn remove_version(path: &Path) {
    if let Err(error) = remove(path) {
        tracing::warn!(path = %path.display(), %error, "an old version of a view was not removed");
    }
}

/// Removes the file first, then its write-ahead log. A crash in between leaves a log without a file; it is never taken for
/// the log of a new file, since this also runs before a file is created.
pub(crate) fn remove(path: &Path) -> std::io::Result<()> {
    for suffix in ["", "-wal", "-shm"] {
        match std::fs::remove_file(beside(path, suffix)) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    Ok(())
}

pub(crate) fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}
